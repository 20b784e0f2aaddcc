"""The report: its figures equal the marts', and its page needs only a browser."""

import dataclasses
import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.settings import Settings
from cdr_assets.publishing.reading import open_published
from cdr_assets.report import Figures, read_figures, render, write_report
from cdr_assets.status.hours import HourStatus, State
from cdr_assets_tests.marts import centre
from cdr_assets_tests.marts.built import Marts
from cdr_assets_tests.marts.test_questions import published

# The generated centre's days. On the second, the clock repeats an hour.
FIRST, SECOND = dt.date(2026, 10, 24), dt.date(2026, 10, 25)
AFTER = dt.date(2026, 10, 26)


@pytest.fixture(scope="module")
def copy(generated: Marts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    published(generated, folder).close()
    return folder / "published.duckdb"


@pytest.fixture(scope="module")
def analyst(copy: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_published(copy) as connection:
        yield connection


@pytest.fixture(scope="module")
def figures(analyst: duckdb.DuckDBPyConnection) -> Figures:
    return read_figures(analyst, FIRST, AFTER)


# A month after the generated centre's last loaded hour.
NOW = dt.datetime(2027, 4, 28, tzinfo=dt.UTC)


def page_of(figures: Figures, hours: Sequence[HourStatus] = ()) -> str:
    return render(figures, hours, dt.datetime(2026, 11, 1, 6, tzinfo=dt.UTC))


def settings_of(copy: Path, folder: Path) -> Settings:
    return Settings(cdr_published=copy, cdr_data_dir=folder, alotech_timezone=centre.ZONE.key)


@pytest.mark.parametrize("day", [FIRST, SECOND])
@pytest.mark.parametrize(
    ("of", "mart", "name"), [("queues", "queue_daily", "queue_name"), ("agents", "agent_daily", "agent_username")]
)
def test_a_day_of_the_report_is_a_day_of_the_marts(
    analyst: duckdb.DuckDBPyConnection, day: dt.date, of: str, mart: str, name: str
) -> None:
    shown: pl.DataFrame = getattr(read_figures(analyst, day, day + dt.timedelta(days=1)), of)
    stored = analyst.execute(f"FROM marts.{mart} WHERE local_date = $day", {"day": day}).pl()
    assert shown.height > 3
    assert len(set(shown.columns) & set(stored.columns)) > 20
    columns = [column for column in shown.columns if column in stored.columns]
    # Agents without a call are left out.
    kept = stored.filter(pl.col(name).is_in(shown[name].implode()))
    assert_frame_equal(shown.select(columns).sort(name), kept.select(columns).sort(name), check_dtypes=False)


def test_rates_of_two_days_are_sums_divided(analyst: duckdb.DuckDBPyConnection, figures: Figures) -> None:
    calls = analyst.execute("FROM marts.fct_calls WHERE local_date IN ($a, $b)", {"a": FIRST, "b": SECOND}).pl()
    offered, answered, abandoned, short, in_time, known = (
        calls[f"is_{name}"].sum()
        for name in ("offered", "answered", "abandoned", "short_abandoned", "answered_within_threshold", "sl_known")
    )
    assert 0 < known < answered
    totals = figures.totals
    assert totals["offered"] == offered
    assert totals["service_level"] == in_time / (known + abandoned - short)
    assert totals["service_level_strict"] == in_time / (known + abandoned)
    assert totals["abandonment_rate"] == abandoned / offered
    waits = calls.filter("is_answered")["wait_seconds"].drop_nulls()
    assert 0 < len(waits) < answered
    assert totals["asa_seconds"] == waits.sum() / len(waits)
    # The mean of the hours' levels is a different number, and wrong.
    assert abs(totals["service_level"] - figures.week["service_level"].mean()) > 0.001  # type: ignore[operator]


def test_every_part_of_the_page_tells_of_the_same_calls(figures: Figures) -> None:
    offered, answered = figures.totals["offered"], figures.totals["answered"]
    assert figures.queues["offered"].sum() == figures.steps["offered"].sum() == offered
    assert figures.agents["answered"].sum() == answered
    known = figures.totals["wait_known_answered"]
    assert figures.waits["answered"].sum() == known < answered
    assert f"the wait of {answered - known} and the talk of" in page_of(figures)
    assert figures.scores["answers"].sum() == figures.csat.filter(pl.col("queue_name").is_null())["answers"].sum() > 0
    assert 0 < figures.contacts["with_an_answer"] < figures.contacts["answered"]


def test_hours_that_are_not_there_are_told(figures: Figures) -> None:
    """The centre opens at 8 on the first day, so eight hours were never loaded. The second day repeats an hour."""
    assert (figures.loads["expected"], figures.loads["loaded"]) == (48, 40)
    assert figures.missing[0] == (dt.datetime(2026, 10, 24), dt.datetime(2026, 10, 24, 7))
    hours = figures.steps.select(pl.sum("final", "open", "missing")).row(0)
    assert sum(hours) == 48
    assert hours[2] == 8
    page = page_of(figures)
    assert "8 of 48 hours are not loaded" in page
    assert "24 October 2026 00:00 to 08:00" in page


def test_the_real_month_has_its_published_figures(real_month: Marts, tmp_path: Path) -> None:
    with published(real_month, tmp_path) as connection:
        figures = read_figures(connection, dt.date(1999, 1, 1), dt.date(1999, 2, 1))
    totals = figures.totals
    assert [totals[name] for name in ("offered", "answered", "abandoned", "short_abandoned")] == [
        30161,
        27060,
        3101,
        195,
    ]
    rates = (
        "service_level",
        "service_level_strict",
        "service_level_2t",
        "service_level_answered",
        "service_level_credit",
    )
    assert [round(100 * totals[name], 3) for name in rates] == [54.735, 54.381, 56.258, 60.613, 57.717]
    assert round(totals["asa_seconds"], 4) == 35.0280
    assert round(totals["aht_ex_acw_seconds"], 4) == 183.4517
    assert totals["wait_seconds_max"] == 1_500
    assert figures.missing == []
    assert len(page_of(figures).encode()) < 300_000


class Outside(HTMLParser):
    """Collects everything that a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "object", "img", "image", "use", "base"):
            self.found.append(tag)
        self.found += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]


def test_the_page_is_one_file_and_small(figures: Figures) -> None:
    page = page_of(figures)
    outside = Outside()
    outside.feed(page)
    assert outside.found == []
    assert "url(" not in page
    assert "@import" not in page
    assert page.count("<svg") >= 5
    assert len(page.encode()) < 300_000


def test_names_are_text_and_never_markup(figures: Figures) -> None:
    name = '<script>alert("x")</script>'
    named = dataclasses.replace(
        figures,
        queues=figures.queues.with_columns(queue_name=pl.lit(name)),
        agents=figures.agents.with_columns(agent_username=pl.lit(name)),
        scores=figures.scores.with_columns(question=pl.lit(name)),
        csat=figures.csat.with_columns(question=pl.lit(name)),
    )
    assert "<script" not in page_of(named)


def test_odd_ranges_have_pages_too(analyst: duckdb.DuckDBPyConnection, figures: Figures) -> None:
    day = dt.timedelta(days=1)
    nothing = read_figures(analyst, dt.date(2020, 1, 1), dt.date(2020, 1, 31))
    assert nothing.totals["offered"] == 0
    assert nothing.totals["service_level"] is None
    assert "None of the 720 hours is loaded" in page_of(nothing)
    # A single day has no plot by weekday.
    assert "by weekday and hour" not in page_of(read_figures(analyst, FIRST, SECOND))
    year = read_figures(analyst, AFTER - 365 * day, AFTER)
    assert (year.step, year.totals) == ("week", figures.totals)
    assert len(page_of(year).encode()) < 300_000
    decade = read_figures(analyst, AFTER - 3650 * day, AFTER)
    assert (decade.step, decade.totals) == ("month", figures.totals)
    crowd = dataclasses.replace(figures, agents=pl.concat([figures.agents] * 8), queues=figures.queues[:1])
    assert page_of(crowd).count('class="level"') == figures.agents.height * 8 + 2


class _Map(HTMLParser):
    """The rows of the map: the day, then a state, a sign and a title per cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, str, str]]] = []
        self._is_in_map = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "table":
            self._is_in_map = given.get("class") == "map"
        if self._is_in_map and tag == "tr":
            self.rows.append([])
        if self._is_in_map and tag == "td":
            self.rows[-1].append((given.get("class", ""), "", given.get("title", "")))

    def handle_endtag(self, tag: str) -> None:
        self._is_in_map = self._is_in_map and tag != "table"

    def handle_data(self, data: str) -> None:
        if self._is_in_map and self.rows and self.rows[-1]:
            state, sign, title = self.rows[-1][-1]
            self.rows[-1][-1] = (state, sign + data.strip(), title)


def test_the_map_has_a_cell_an_hour_with_colour_sign_and_title(figures: Figures) -> None:
    hours = [
        HourStatus(dt.datetime(2026, 10, 24, 8), State.FINAL, 12, None, None),
        HourStatus(dt.datetime(2026, 10, 24, 9), State.EMPTY, 0, None, None),
        HourStatus(dt.datetime(2026, 10, 25, 0), State.FAILED, None, None, "HTTP 503 <b>; try again"),
        HourStatus(dt.datetime(2026, 10, 25, 23), State.LATE, None, None, None),
    ]
    page = page_of(figures, hours)
    _, first, second = _Map(page).rows
    assert (len(first), len(second)) == (24, 24)
    assert first[8:10] == [("final", "#", "08:00 final, 12 calls"), ("empty", "o", "09:00 empty, 0 calls")]
    assert (second[0], second[23]) == (("failed", "x", "00:00 failed"), ("late", "!", "23:00 late"))
    assert {cell for row in (first, second) for cell in row if not cell[0]} == {("", "", "")}
    # The text alternative: how many, which, and why.
    assert "1 failed</span> (could not be read)" in page
    assert "Failed: 2026-10-25 00:00: HTTP 503 &lt;b&gt;; try again" in page
    assert 'class="map"' not in page_of(figures)


def test_a_map_of_years_does_not_become_the_page(figures: Figures) -> None:
    start = dt.datetime(2020, 1, 1)
    hours = [HourStatus(start + n * dt.timedelta(hours=1), State.FINAL, 12, None, None) for n in range(24 * 365)]
    page = page_of(figures, hours)
    assert len(_Map(page).rows) == 93
    assert "without the first 273 days" in page
    assert len(page.encode()) < 400_000


def test_a_phone_shows_the_page_without_scrolling_sideways(copy: Path, tmp_path: Path) -> None:
    """Uses a browser without a network."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    page, _ = write_report(settings_of(copy, tmp_path), NOW, FIRST, AFTER)
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_context(viewport={"width": 360, "height": 800}, offline=True).new_page()
        troubles: list[str] = []
        tab.on("console", lambda message: troubles.append(message.text))
        tab.on("requestfailed", lambda request: troubles.append(request.url))
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") == 360
        assert tab.locator("svg").first.bounding_box()["width"] > 300
        browser.close()
    assert troubles == []


def test_pages_are_named_after_their_days(copy: Path, tmp_path: Path) -> None:
    assert write_report(settings_of(copy, tmp_path), NOW, FIRST, SECOND)[0].name == "2026-10-24.html"
    assert write_report(settings_of(copy, tmp_path), NOW, FIRST, AFTER)[0].name == "2026-10-24_2026-10-25.html"
    # The newest loaded hour is months later, so the four weeks before it hold no call.
    assert write_report(settings_of(copy, tmp_path), NOW)[0].name == "2027-03-01_2027-03-28.html"
    assert sorted(path.suffix for path in (tmp_path / "reports").iterdir()) == [".html"] * 3


def test_what_the_operator_can_mend_is_told(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="run `cdr backfill` first"):
        write_report(settings_of(tmp_path / "no-such.duckdb", tmp_path), NOW)
    with pytest.raises(OperatorError, match="its newest day is 2027-03-28"):
        write_report(settings_of(copy, tmp_path), NOW, dt.date(2028, 1, 1))
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError, match="set CDR_DATA_DIR to another folder"):
        write_report(settings_of(copy, tmp_path / "file"), NOW, FIRST, AFTER)
