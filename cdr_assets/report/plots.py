"""The report's plots, each an SVG picture of one table in `figures`. `page` leaves out plots without data.

The plots have a phone's width, so that letters stay readable there. A wide screen shows two of them side by side.
"""

import io
import json

import altair as alt
import polars as pl

from cdr_assets.report.figures import Figures

_WIDTH = 400

_TEAL, _RED, _AMBER, _GREY, _PALE = "#12798a", "#c8403c", "#e0a030", "#98a4ae", "#d5dde3"
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DATE_FORMATS = {"hour": "%a %H:%M", "day": "%-d %b", "week": "%-d %b", "month": "%b %Y"}

# The outcomes of offered calls, stacked in this order from the axis up.
_OUTCOMES = {"answered": _TEAL, "abandoned": _RED, "voicemail": _AMBER, "other exits": _GREY}
_LOADS = {"final": _TEAL, "still changing": _AMBER, "not loaded": _RED}


def over_time(figures: Figures) -> str:
    """Offered calls by outcome, below them the service level, and below that how many hours of each step are loaded."""
    steps = figures.steps.with_columns(pl.col("step_start").dt.to_string("%Y-%m-%dT%H:%M"))
    axis = _time_axis(figures)
    calls = (
        alt.Chart(_long(steps.rename({"other_exits": "other exits"}), ["step_start"], _OUTCOMES))
        .mark_bar()
        .encode(
            alt.X("step_start:O", title=None, axis=alt.Axis(labels=False, ticks=False)),
            alt.Y("count:Q", title=None, stack=True, axis=_counts()),
            _colours(_OUTCOMES),
            alt.Order("order:Q"),
        )
        .properties(title="offered calls", width=_WIDTH, height=150)
    )
    level = (
        alt.Chart(steps.select("step_start", "service_level"))
        .mark_line(point=alt.OverlayMarkDef(size=14, color=_TEAL), color=_TEAL, strokeWidth=1.8)
        .encode(
            alt.X("step_start:O", title=None, axis=alt.Axis(labels=False, ticks=False)),
            alt.Y(
                "service_level:Q",
                title=None,
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format=".0%", tickCount=3),
            ),
        )
        .properties(title="service level", width=_WIDTH, height=90)
    )
    loads = (
        alt.Chart(_long(steps.rename({"open": "still changing", "missing": "not loaded"}), ["step_start"], _LOADS))
        .mark_bar()
        .encode(
            alt.X("step_start:O", title=None, axis=axis),
            alt.Y("count:Q", title=None, stack=True, axis=_counts(ticks=2)),
            _colours(_LOADS),
            alt.Order("order:Q"),
        )
        .properties(title="hours loaded", width=_WIDTH, height=36)
    )
    return _svg(alt.vconcat(calls, level, loads, spacing=12).resolve_scale(color="independent", x="shared"))


def offered_by_weekday_and_hour(figures: Figures) -> str:
    """Mean offered calls per hour; darker means more."""
    return _heatmap(
        figures.week,
        "offered_per_hour",
        alt.Scale(scheme="teals", domainMin=0),
        label="format(datum.value, datum.value < 9.95 ? '.1f' : ',.0f')",
        is_dark=f"datum.value > {0.55 * max(figures.week['offered_per_hour'])}",
    )


def service_level_by_weekday_and_hour(figures: Figures) -> str:
    """The service level in percent; darker means lower. Hours that have none stay white."""
    return _heatmap(
        figures.week,
        "service_level",
        alt.Scale(scheme="oranges", domain=[1, 0.3], clamp=True),
        label="format(datum.value * 100, '.0f')",
        is_dark="datum.value < 0.55",
    )


def _heatmap(week: pl.DataFrame, measure: str, colours: alt.Scale, label: str, is_dark: str) -> str:
    shown = week.select(
        pl.col("weekday").replace_strict(range(1, 8), _WEEKDAYS), "hour_of_day", value=measure
    ).drop_nulls()
    cells = (
        alt.Chart(shown)
        .transform_calculate(label=label, ink=f"{is_dark} ? 'white' : '#1d2b36'")
        .encode(
            alt.X(
                "weekday:O", title=None, scale=alt.Scale(domain=_WEEKDAYS), axis=alt.Axis(orient="top", labelAngle=0)
            ),
            alt.Y(
                "hour_of_day:O",
                title=None,
                scale=alt.Scale(domain=list(range(24))),
                axis=alt.Axis(labelExpr="format(datum.value, '02d') + ':00'"),
            ),
        )
    )
    return _svg(
        alt.layer(
            cells.mark_rect(stroke="white").encode(alt.Color("value:Q", scale=colours, legend=None)),
            cells.mark_text(fontSize=10).encode(alt.Text("label:N"), alt.Color("ink:N", scale=None)),
        )
        .resolve_scale(color="independent")
        .properties(width=_WIDTH, height=24 * 17)
    )


def waits(figures: Figures) -> str:
    """Answered and abandoned calls by waiting time."""
    edges = figures.waits["edge"].to_list()
    names = [f"{seconds} s" if seconds < 60 else f"{seconds / 60:g} min" for seconds in edges[:-1]]
    order = [f"≤ {name}" for name in names] + [f"> {names[-1]}"]
    colours = {name: _OUTCOMES[name] for name in ("answered", "abandoned")}
    shown = figures.waits.with_columns(wait=pl.Series(order))
    return _svg(
        alt.Chart(_long(shown, ["wait"], colours))
        .mark_bar()
        .encode(
            alt.X("wait:O", sort=order, title=None, axis=alt.Axis(labelAngle=-45)),
            alt.Y("count:Q", title=None, stack=True, axis=_counts()),
            _colours(colours),
            alt.Order("order:Q"),
        )
        .properties(width=_WIDTH, height=270)
    )


def scores(figures: Figures, question: str | None, scale: float | None) -> str:
    """How often each score of a question was given."""
    given = figures.scores.filter(
        pl.col("question").eq_missing(pl.lit(question)), pl.col("scale").eq_missing(pl.lit(scale))
    )
    best = given["score"].max() if scale is None else scale
    return _svg(
        alt.Chart(given.select("score", "answers", is_top=pl.col("score") >= pl.lit(best) - 1))
        .mark_bar()
        .encode(
            alt.X("score:O", title=None, axis=alt.Axis(labelAngle=0)),
            alt.Y("answers:Q", title=None, axis=_counts()),
            alt.Color("is_top:N", scale=alt.Scale(domain=[True, False], range=[_TEAL, _GREY]), legend=None),
        )
        .properties(width=_WIDTH, height=110)
    )


def _time_axis(figures: Figures) -> alt.Axis:
    """An axis with about seven labels, however many steps there are.

    The steps are names, not times, because a time would be drawn in the time zone of this machine.
    """
    moments = figures.steps["step_start"].to_list()
    every = -(-len(moments) // 7)
    labels = {f"{at:%Y-%m-%dT%H:%M}": f"{at:{_DATE_FORMATS[figures.step]}}" for at in moments[::every]}
    return alt.Axis(
        labelExpr=f"{json.dumps(labels)}[datum.value]", values=list(labels), labelAngle=0, labelOverlap=True
    )


def _counts(ticks: int = 5) -> alt.Axis:
    # Short labels: a long one like 450,000 is cut off if the reader's font is wider than ours.
    short = "datum.value < 10000 ? format(datum.value, ',') : format(datum.value / 1000, ',') + 'k'"
    return alt.Axis(labelExpr=f"datum.value % 1 ? '' : {short}", tickCount=ticks)


def _long(frame: pl.DataFrame, by: list[str], columns: dict[str, str]) -> pl.DataFrame:
    """One row per `by` and column: `kind` (the column's name), `count` (its value) and `order` (its place)."""
    order = pl.DataFrame({"kind": list(columns), "order": range(len(columns))})
    return frame.unpivot(list(columns), index=by, variable_name="kind", value_name="count").join(order, on="kind")


def _colours(colours: dict[str, str]) -> alt.Color:
    return alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        legend=alt.Legend(orient="top", symbolType="square"),
    )


def _svg(chart: alt.TopLevelMixin) -> str:
    configured = (
        chart.configure(
            font="system-ui, sans-serif",
            background="transparent",
            padding={"left": 10, "right": 2, "top": 2, "bottom": 2},
        )
        # Without this, every mark has its own text for screen readers and the page is three times as large.
        .configure_mark(aria=False)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            labelColor="#51606c",
            titleColor="#51606c",
            gridColor="#e8edf0",
            domainColor="#b8c4cc",
            tickColor="#b8c4cc",
        )
        .configure_title(anchor="start", frame="group", fontSize=11, fontWeight="normal", color="#51606c", offset=6)
        .configure_legend(labelFontSize=11, labelColor="#51606c", symbolSize=80, padding=0, offset=6)
    )
    picture = io.StringIO()
    configured.save(picture, format="svg")
    return picture.getvalue()
