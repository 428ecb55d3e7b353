"""The learning curves of a training stage: which metrics share a chart, and how it is drawn.

A run keeps some fifty metrics; a reader wants to know what came of the lessons, what the reward is made of, and whether
anything went wrong. What never changed is left out where it says nothing: a term that is switched off, a penalty that
is constant, rewards that were never missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from diotima.reports.charts import (
    FAINT,
    LINES,
    ROLE_COLOURS,
    Chart,
    as_chart,
    canvas,
    chart_style,
    share_axis,
)
from diotima.reports.collect import Curve
from diotima.reports.tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WINDOW = 10
COLOURS = (ROLE_COLOURS["after"], FAINT, ROLE_COLOURS["before"], *LINES)


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart of its own. ``metrics``: names, or one pattern that any number may match, whose words besides the star
    are no part of a line's name. ``flat``: whether a line that never changes is drawn. ``scale``: of the values.
    ``noisy``: whether means over some steps tell more than each step.
    """

    title: str
    metrics: tuple[str, ...]
    scale: Literal["number", "share", "small"] = "number"
    flat: bool = True
    noisy: bool = True


PANELS = (
    Panel("reward", ("reward",)),
    Panel("terms of the reward", ("rewards/*/mean",), flat=False),
    Panel("leak rate", ("leaked",), "share"),
    Panel("problems solved", ("solved_sibling", "solved_same", "solved"), "share"),
    Panel("accepted by judges", ("*.accepted",), "share"),
    Panel("well-formed turns", ("well_formed",), "share"),
    Panel("lessons without a reward", ("reward/missing",), "share", flat=False),
    Panel("penalty of a rejected lesson", ("penalty",), flat=False, noisy=False),
    Panel("drift of log-probabilities (nats)", ("drift/mean", "drift/max"), "small"),
    Panel("margin between chosen and rejected", ("rewards/margins",)),
    Panel("chosen turn preferred", ("rewards/accuracies",), "share"),
    Panel("loss", ("loss",)),
)
NAMES = {
    "solved_sibling": "sibling problem",
    "solved_same": "same problem",
    "solved": "same problem",
    "drift/mean": "mean",
    "drift/max": "largest",
}


def curve_charts(curves: Sequence[Curve]) -> tuple[Chart, ...]:
    """One chart for each group of metrics that a training stage recorded; the loss only where there is no reward."""
    named = {curve.name: curve for curve in curves if curve.points}
    with chart_style():
        return tuple(
            _draw(panel, lines)
            for panel in PANELS
            if (lines := _lines(panel, named)) and not (panel.title == "loss" and "reward" in named)
        )


def _lines(panel: Panel, named: Mapping[str, Curve]) -> dict[str, Curve]:
    """The curves of a panel by the names of their lines."""
    lines: dict[str, Curve] = {}
    for pattern in panel.metrics:
        before, _, after = pattern.partition("*")
        for name, curve in named.items():
            if fnmatchcase(name, pattern) and (panel.flat or len({value for _, value in curve.points}) > 1):
                line = name.removeprefix(before).removesuffix(after) if "*" in pattern else NAMES.get(name, panel.title)
                lines[line] = curve
    return lines


def _draw(panel: Panel, lines: Mapping[str, Curve]) -> Chart:
    from matplotlib.ticker import MaxNLocator

    figure, axes = canvas(4.6, 2.9)
    said, means = [], False
    for place, (line, curve) in enumerate(lines.items()):
        colour = COLOURS[place % len(COLOURS)]
        steps, values = zip(*curve.points, strict=True)
        means = panel.noisy and len(values) >= 2 * WINDOW
        smooth = smoothed(values) if means else list(values)
        axes.plot(steps, values, color=colour, alpha=0.28, linewidth=0.8)
        axes.plot(steps, smooth, color=colour, linewidth=2, label=line)
        first, last = _told(panel, smooth[0]), _told(panel, smooth[-1])
        said.append(f"{line} from {first} to {last}")
    if len(lines) > 1:
        axes.legend(frameon=False, loc="best", fontsize=8.5)
    _scale(axes, panel, [value for curve in lines.values() for _, value in curve.points])
    axes.set_title(f"{panel.title[0].upper()}{panel.title[1:]}")
    axes.set_xlabel("training step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    stage, count = next((curve.stage, len(curve.points)) for curve in lines.values())
    over = f"{count} steps of {stage}" + f", means over {WINDOW} steps" * means
    alt = f"{panel.title} over {over}: {'; '.join(said)}."
    return as_chart(figure, f"curve-{stage}-{panel.metrics[0]}", panel.title, alt)


def _scale(axes: "Axes", panel: Panel, values: Sequence[float]) -> None:
    from matplotlib.ticker import LogFormatter, NullFormatter

    if panel.scale == "share":
        share_axis(axes.yaxis, "share")
        axes.set_ylim(-0.03, 1.03)
    elif panel.scale == "small" and min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())  # the usual one writes TeX
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif panel.scale == "number" and len(panel.metrics) == 1 and "*" not in panel.metrics[0]:
        axes.set_ylabel(panel.title)


def _told(panel: Panel, value: float) -> str:
    if panel.scale == "share":
        return percent(value)
    return f"{value:.1e}" if panel.scale == "small" else f"{value:.2f}"


def smoothed(values: Sequence[float], window: int = WINDOW) -> list[float]:
    """The mean of the ``window`` values around each value, fewer at both ends, same length as ``values``."""
    parts = (values[max(0, place - window // 2) : place + (window + 1) // 2] for place in range(len(values)))
    return [sum(part) / len(part) for part in parts]
