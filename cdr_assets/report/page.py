"""Writes the report as one HTML file that loads nothing else. `page.html.jinja` is the layout.

The numbers are read in `figures`, the plots are drawn in `plots`.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import make_private, write_whole
from cdr_assets.domain.settings import Settings
from cdr_assets.publishing.reading import open_published
from cdr_assets.report import plots
from cdr_assets.report.figures import Figures, days_of, read_figures
from cdr_assets.status.hours import HourStatus, State, hours_status_between
from cdr_assets.status.map import MEANINGS, SIGNS, by_day, counts, spans

# Draw a plot for this many survey questions; the others are only in the table.
_QUESTIONS_DRAWN = 4

_MISSING_TOLD = 12

# A quarter of a year: a map of many years would be most of the page.
_DAYS_DRAWN = 92


def write_report(
    settings: Settings, now: dt.datetime, start: dt.date | None = None, finish: dt.date | None = None
) -> tuple[Path, Figures]:
    """Writes the page over [start, finish), by default the last four weeks; returns its path and its numbers.

    `now` is an aware time: it decides which hours are late. The file is named after its first and last day and is
    replaced in one step. Raises OperatorError if there is no published copy, if it has no hour to report, or if the
    page cannot be written.
    """
    published, folder = settings.published_path, settings.reports_dir
    if not published.exists():
        raise OperatorError(f"there is no {published} yet; run `cdr backfill` first")
    published_at = dt.datetime.fromtimestamp(published.stat().st_mtime, dt.UTC)
    with open_published(published) as connection:
        figures = read_figures(connection, *days_of(connection, start, finish))
        hours = hours_status_between(connection, settings, now, figures.start, figures.finish)
    last = figures.finish - dt.timedelta(days=1)
    page = folder / (f"{last}.html" if figures.start == last else f"{figures.start}_{last}.html")
    try:
        make_private(folder)
        write_whole(page, render(figures, hours, published_at))
    except OSError as error:
        raise OperatorError(f"cannot write {page}: {error.strerror}; set CDR_DATA_DIR to another folder") from None
    return page, figures


def render(figures: Figures, hours: Sequence[HourStatus], published_at: dt.datetime) -> str:
    """The page's HTML. `published_at`, an aware time, is when the copy was published."""
    environment = Environment(
        loader=PackageLoader("cdr_assets.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": _number, "percent": _percent, "seconds": _seconds, "hours": _hours, "day": _day}
    questions = figures.csat.filter(figures.csat["queue_name"].is_null()).rows(named=True)
    most = sorted(questions, key=lambda row: -row["answers"])[:_QUESTIONS_DRAWN]
    has_calls = figures.totals["offered"] > 0
    # A plot by weekday needs more than one weekday. For a single day, the first plot shows the hours.
    has_week = has_calls and figures.week["weekday"].n_unique() > 1

    days = by_day(hours)
    return environment.get_template("page.html.jinja").render(
        figures=figures,
        states=counts(hours),
        meanings=MEANINGS,
        signs=SIGNS,
        map=days[-_DAYS_DRAWN:],
        days_left_out=max(0, len(days) - _DAYS_DRAWN),
        failed=spans(hours, State.FAILED)[-_MISSING_TOLD:],
        contacts=figures.contacts,
        title=_title(figures.start, figures.finish),
        published_at=published_at,
        over_time=plots.over_time(figures) if has_calls else None,
        week=plots.offered_by_weekday_and_hour(figures) if has_week else None,
        week_level=plots.service_level_by_weekday_and_hour(figures) if has_week else None,
        waits=plots.waits(figures) if has_calls else None,
        scores=[(row, plots.scores(figures, row["question"], row["scale"])) for row in most],
        csat=figures.csat.rows(named=True),
        missing=[_span(first, last) for first, last in figures.missing[:_MISSING_TOLD]],
        more_missing=max(0, len(figures.missing) - _MISSING_TOLD),
    )


def _title(start: dt.date, finish: dt.date) -> str:
    last = finish - dt.timedelta(days=1)
    if start == last:
        return f"{start:%A, }{_day(start)}"
    return f"{_day(start)} to {_day(last)}"


def _span(first: dt.datetime, last: dt.datetime) -> str:
    end = last + dt.timedelta(hours=1)
    until = f"{end:%H:%M}" if end.date() == first.date() else f"{_day(end)} {end:%H:%M}"
    return f"{_day(first)} {first:%H:%M} to {until}"


def _day(date: dt.date) -> str:
    return f"{date:%-d %B %Y}"


def _number(value: float | None, decimals: int = 0) -> str:
    return "–" if value is None else f"{value:,.{decimals}f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _seconds(value: float | None) -> str:
    """For instance `8.4 s`, `3:07 min` or `1:02:33`."""
    if value is None:
        return "–"
    if value < 60:
        return f"{value:.0f} s" if value == int(value) else f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02} min"


def _hours(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 3600:,.1f}"
