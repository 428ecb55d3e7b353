"""Charts of what judges said: a measure of several tutors, or several measures of them, one panel a test set.

They redraw the bars in which EULER was presented (Bonino et al. 2024): the score by test set, and what it is made of.
Departures: every bar has its interval, and tutors stand below each other under their names, so that sampled and greedy
ones of the same colour can be told apart.
"""

from collections.abc import Mapping, Sequence
from math import isnan

from diotima.reports.charts import INK, ROLE_COLOURS, Chart, as_chart, canvas, chart_style, draw_bar, share_axis
from diotima.reports.collect import Role
from diotima.reports.judged import Judged, Measured
from diotima.reports.measures import Measure
from diotima.reports.tables import value_text

GAP = 0.5  # between two measures, in bars


def judged_chart(
    name: str, title: str, tutors: Sequence[Judged], measures: Sequence[Measure], roles: Mapping[str, Role]
) -> Chart:
    """These measures of these tutors as bars; ``name`` tells the chart from all others of its page."""
    with chart_style():
        return _bars(name, title, tutors, measures, roles)


def _bars(
    name: str, title: str, tutors: Sequence[Judged], measures: Sequence[Measure], roles: Mapping[str, Role]
) -> Chart:
    several = len(measures) > 1
    rows = len(measures) * (len(tutors) + (1 + GAP) * several)
    shares = all(measure.kind == "share" for measure in measures)
    found = {tutor.label: {one.measure.name: one for one in tutor.measured} for tutor in tutors}
    wanted = [found[tutor.label][measure.name] for tutor in tutors for measure in measures]
    end = max([1.0 if shares else 0.0, *(bound for one in wanted for bound in _ends(one))]) or 1.0
    figure, axes = canvas(4.6, 1.1 + 0.3 * rows)
    place, places, said = 0.0, list[float](), list[str]()
    for measure in measures:
        if several:
            axes.text(0, place, _title(measure), va="center", fontsize=9, color=INK)
            place += 1
        told = []
        for tutor in tutors:
            one = found[tutor.label][measure.name]
            text = value_text(measure, one.interval.mean) if one.valid else "no verdict"
            draw_bar(axes, place, one.interval, ROLE_COLOURS[roles.get(tutor.label, "reference")], text, end)
            places.append(place)
            told.append(f"{tutor.label} {text}")
            place += 1
        said.append(f"{_title(measure)}: {', '.join(told)}")
        place += GAP
    axes.set_yticks(places, [tutor.label for tutor in tutors] * len(measures), color=INK)
    axes.set_ylim(place - GAP - 0.4, -0.6)
    axes.set_xlim(min([0.0, *(one.interval.low for one in wanted if one.interval.low < 0)]), 1.16 * end)
    if shares:
        share_axis(axes.xaxis, "mean with its 95% interval")
    else:
        axes.set_xlabel("mean with its 95% interval")
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_title(title)
    return as_chart(figure, name, title, f"{title}. {'; '.join(said)}.")


def _title(measure: Measure) -> str:
    return f"{measure.title} (lower is better)" if measure.better == "lower" else measure.title


def _ends(one: Measured) -> list[float]:
    return [value for value in (one.interval.mean, one.interval.high) if not isnan(value)]
