"""Charts as SVG text that becomes part of a page: no scripts, no dates, the same bytes for the same figures.

Colours are written as CSS variables with a fallback (``var(--ink, #23262b)``), so the page decides how a chart looks
in light and in dark, and a chart saved by itself still has its colours. Before and after are orange and blue of the
palette of Okabe and Ito (2008), which colour-blind readers tell apart; shapes and labels say the same again. Panels
are charts of their own, so that a narrow screen shows them below each other instead of small.
"""

import html
import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from diotima.reports.collect import Examination
from diotima.reports.measures import MEASURES
from diotima.reports.tables import ordered, percent
from diotima.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, FAINT, RULE = "#23262b", "#6a6f78", "#d9dadc"
ROLE_COLOURS = {"before": "#d9730b", "after": "#0a72b5", "reference": "#85898f", "blind": "#c3c6ca"}
ROLE_MARKERS = {"before": "s", "after": "D", "reference": "o", "blind": "o"}
LINES = ("#009e73", "#cc79a7", "#b07d12", "#56b4e9", "#a5533a")
VARIABLES = (
    {INK: "ink", FAINT: "faint", RULE: "rule"}
    | {colour: role for role, colour in ROLE_COLOURS.items()}
    | {colour: f"line{place}" for place, colour in enumerate(LINES, 1)}
)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titlepad": 10,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
}
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart as inline SVG, with the words that stand for it where it cannot be seen."""

    name: str
    title: str
    svg: str
    alt: str


def bar_charts(examinations: Sequence[Examination]) -> tuple[Chart, ...]:
    """The leak rate and the solve rate on the sibling, one bar a tutor, the same order in both."""
    with chart_style():
        return tuple(
            _bars(examinations, measure)
            for measure in ("leaked", "solved_sibling")
            if any(measure in examination.intervals for examination in examinations)
        )


def _bars(examinations: Sequence[Examination], measure: str) -> Chart:
    rows = [e for e in ordered(examinations) if measure in e.intervals]
    title = {"leaked": "Leak rate (lower is better)", "solved_sibling": "Sibling solved (higher is better)"}[measure]
    figure, axes = canvas(4.6, 1.1 + 0.3 * len(rows))
    said = []
    for place, examination in enumerate(rows):
        interval = examination.intervals[measure]
        draw_bar(axes, place, interval, ROLE_COLOURS[examination.role], percent(interval.mean))
        said.append(f"{examination.label} {percent(interval.mean)}")
    controls = [mean for e in rows if (mean := e.mean("control_sibling")) is not None]
    if measure == "solved_sibling" and controls:
        control = sum(controls) / len(controls)
        axes.axvline(control, color=INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.text(control + 0.01, len(rows) - 0.4, "no lesson", va="top", fontsize=8, color=FAINT)
        said.append(f"no lesson {percent(control)}")
    axes.set_yticks(range(len(rows)), [e.label for e in rows], color=INK)
    axes.set_ylim(len(rows) + (0.1 if controls else -0.4), -0.6)
    axes.set_xlim(0, 1.16)
    share_axis(axes.xaxis, f"{MEASURES[measure].title}, 95% interval")
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_title(title)
    return as_chart(figure, f"bars-{measure}", title, f"{title}. {'; '.join(said)}.")


def transfer_chart(examinations: Sequence[Examination]) -> Chart | None:
    """Same problem against sibling problem, one point a tutor; None without a tutor that has both."""
    rows = [e for e in ordered(examinations) if {"solved_same", "solved_sibling"} <= e.intervals.keys()]
    if not rows:
        return None
    with chart_style():
        return _transfer(rows)


def _transfer(rows: Sequence[Examination]) -> Chart:
    figure, axes = canvas(5.2, 4.6)
    axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.text(
        0.95,
        0.97,
        "sibling as often",
        color=FAINT,
        fontsize=8,
        ha="right",
        rotation=45,
        rotation_mode="anchor",
        transform_rotates_text=True,
    )
    said, taken = [], [(0.74, 0.76, 0.97, 1.0)]  # the words along the diagonal
    for examination in rows:
        same, sibling = (examination.intervals[name] for name in ("solved_same", "solved_sibling"))
        taken += [
            (same.low, sibling.mean - 0.005, same.high, sibling.mean + 0.005),
            (same.mean - 0.005, sibling.low, same.mean + 0.005, sibling.high),
            (same.mean - 0.014, sibling.mean - 0.018, same.mean + 0.014, sibling.mean + 0.018),
        ]
    for examination in rows:
        same, sibling = (examination.intervals[name] for name in ("solved_same", "solved_sibling"))
        colour = ROLE_COLOURS[examination.role]
        axes.plot([same.low, same.high], [sibling.mean, sibling.mean], color=colour, linewidth=1)
        axes.plot([same.mean, same.mean], [sibling.low, sibling.high], color=colour, linewidth=1)
        axes.plot(
            [same.mean],
            [sibling.mean],
            marker=ROLE_MARKERS[examination.role],
            color=colour,
            markersize=7,
            markeredgecolor=INK,
            markeredgewidth=0.6,
            linestyle="",
        )
        box = _free_place(same, sibling.mean, examination.label, taken)
        taken.append(box)
        axes.text((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, examination.label, ha="center", va="center", fontsize=8)
        said.append(f"{examination.label}: same {percent(same.mean)}, sibling {percent(sibling.mean)}")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.03, 1.02)
    share_axis(axes.xaxis, "same problem solved after the lesson (a copied answer counts)")
    share_axis(axes.yaxis, "sibling problem solved after the lesson")
    axes.grid()
    title = "Solving it again is not learning"
    axes.set_title(title)
    return as_chart(figure, "transfer", title, f"Same problem against sibling problem. {'; '.join(said)}.")


def _free_place(across: Interval, y: float, label: str, taken: Sequence[Box]) -> Box:
    """The box of a label near a point that overlaps least with what is there, in the units of the axes."""
    width, height = 0.0135 * len(label) + 0.01, 0.036
    places = []
    for rise in (0.0, 0.034, -0.034, 0.055, -0.055, 0.08, -0.08, 0.11, -0.11):
        for left in (across.high + 0.012, across.low - 0.012 - width, across.mean - width / 2):
            box = (left, y + rise - height / 2, left + width, y + rise + height / 2)
            outside = max(0.0, -box[0]) + max(0.0, box[2] - 1.02) + max(0.0, -box[1]) + max(0.0, box[3] - 1.02)
            hidden = sum(_overlap(box, other) for other in taken)
            far = abs(rise) + abs(left + width / 2 - across.mean) / 4
            places.append((1000 * hidden + 100 * outside + far, box))
    return min(places)[1]


def _overlap(one: Box, two: Box) -> float:
    return max(0.0, min(one[2], two[2]) - max(one[0], two[0])) * max(0.0, min(one[3], two[3]) - max(one[1], two[1]))


def chart_style() -> AbstractContextManager[None]:
    """Fonts, colours and lines of all charts, as long as the context lasts."""
    import matplotlib

    return matplotlib.rc_context(STYLE)


def canvas(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure of ``width`` by ``height`` inches and its only axes; call it and draw inside `chart_style`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def share_axis(axis: "Axis", label: str) -> None:
    """Make an axis one of shares, in per cent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_ticks([0, 0.25, 0.5, 0.75, 1])
    axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set_label_text(label)


def draw_bar(axes: "Axes", place: float, interval: Interval, colour: str, told: str, unit: float = 1.0) -> None:
    """A bar across at height ``place`` with its interval, and in words behind it; ``unit``: how long the axis is."""
    axes.barh(place, interval.mean, height=0.66, color=colour)
    axes.plot([interval.low, interval.high], [place, place], color=INK, linewidth=1.2, solid_capstyle="butt")
    end = next(value for value in (interval.high, interval.mean, 0.0) if not isnan(value))
    axes.text(end + 0.02 * unit, place, told, va="center", fontsize=8.5)


def as_chart(figure: "Figure", name: str, title: str, alt: str) -> Chart:
    """The drawing as inline SVG; call it and all that draws inside `chart_style`."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Chart(name, title, _inline(buffer.getvalue(), name, alt), alt)


def _inline(svg: str, name: str, alt: str) -> str:
    """The ``<svg>`` element alone: its width is the page's to set, its ids cannot clash with another chart's."""
    opening, _, body = svg[svg.index("<svg") :].partition(">")
    view_box = opening.split('viewBox="')[1].split('"')[0]
    prefix = re.sub(r"[^a-zA-Z0-9]+", "-", name)
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable}, {colour})")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{view_box}" '
        f'role="img" aria-label="{html.escape(alt)}">{body}'
    )
