"""Two tutors on the same problems: what differs, how sure that is, and what could not have been seen.

Lessons about one problem are averaged first, so problems are what is counted and drawn anew; only those that both
tutors have a valid value for are used, and how many were left out is kept. Five measures are tested, `PRIMARY`, named
before anyone has looked; Holm's correction runs over them, for each comparison by itself. `SECONDARY` are there to
understand the first and have no p-value: whether the students were equal before, and what the figures hang
together with. The gain is not tested beside the sibling: the control is the same student without any lesson, so
both differ by the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from statistics import fmean
from typing import Any, Literal

from diotima.dialogue import stable_seed
from diotima.errors import RunError
from diotima.reports.collect import GAIN, MEASURES, Lessons, Measure, Values
from diotima.reports.tables import direction_word
from diotima.runs.manifest import differences
from diotima.statistics import (
    Interval,
    holm,
    mcnemar_test,
    mean_interval,
    paired_effect,
    sign_flip_test,
    smallest_difference,
    wilson_interval,
)

PRIMARY = ("leaked", "solved_sibling", "solved_same", "addressed", "well_formed")
SECONDARY = (
    "solved_before",
    "delta_same",
    GAIN,
    "leak_level",
    "first_wrong",
    "unread",
    "tutor_turns",
    "tutor_words",
)
CONDITIONS = ("student", "learner", "attempts", "lessons", "seed", "opens", "tutor_turns", "most_words", "most_tokens")
FEW = 20
NOT_CLEAR, EQUAL = "not clear", "equal"

Test = Literal["exact McNemar", "sign flips", ""]


@dataclass(frozen=True, slots=True)
class Side:
    """One tutor of one run: what its lessons were scored, under which settings, on which questions by problem id."""

    name: str
    run: str
    lessons: Lessons
    settings: Mapping[str, Any]
    questions: Mapping[str, str]
    finished: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of two tutors, over the ``interval.n`` problems that both have a valid value for.

    ``left_out``: shared problems without such a pair. ``only``: where every value is yes or no, in how many problems
    only the baseline, and only the new one, has a yes. ``effect`` and ``smallest``: see `paired_effect` and
    `smallest_difference`. ``test`` and ``verdict`` are "" and both p-values nan where nothing was tested.
    """

    measure: Measure
    baseline: float
    new: float
    interval: Interval
    left_out: int
    effect: float
    smallest: float
    only: tuple[int, int] | None
    test: Test
    p: float
    adjusted: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Two tutors over ``problems`` shared problems; ``notes`` say what a reader has to know before trusting it."""

    baseline: Side
    new: Side
    problems: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def compare(baseline: Side, new: Side, level: float = 0.95, seed: int = 0) -> Compared:
    """Two tutors on the problems that both taught. Raises RunError if there is none, or none with valid scores."""
    everything = {problem for side in (baseline, new) for problem, _ in side.lessons.lessons}
    # In another file of problems the same id may stand for another question.
    shared = {problem for problem in everything if baseline.questions.get(problem) == new.questions.get(problem)}
    if not shared:
        raise RunError(
            f"{baseline.name} and {new.name} share no problem ({baseline.run}, {new.run}); "
            "compare runs on the same file of problems"
        )
    found = [
        difference
        for name in (*PRIMARY, *SECONDARY)
        if (difference := _difference(MEASURES[name], baseline, new, shared, level, seed))
    ]
    if not found:
        raise RunError(f"{baseline.name} and {new.name} share {len(shared)} problems, but no measure with valid scores")
    tested = [one for one in found if one.test]
    adjusted = holm([one.p for one in tested])
    judged = [_judged(one, p, level) for one, p in zip(tested, adjusted, strict=True)]
    whole = (*judged, *(one for one in found if not one.test))
    notes = _notes(baseline, new, whole, len(everything - shared))
    return Compared(baseline, new, len(shared), whole, tuple(notes))


def _judged(difference: Difference, p: float, level: float) -> Difference:
    clear = p < 1 - level
    verdict = direction_word(difference.measure, difference.interval.mean > 0) if clear else difference.verdict
    return replace(difference, adjusted=p, verdict=verdict)


def _difference(
    measure: Measure, baseline: Side, new: Side, problems: set[str], level: float, seed: int
) -> Difference | None:
    old, fresh = (_by_problem(side.lessons.values[measure.name]) for side in (baseline, new))
    used = sorted(problems & old.keys() & fresh.keys())
    if not used:
        return None
    before, after = [old[problem] for problem in used], [fresh[problem] for problem in used]
    pairs = list(zip(before, after, strict=True))
    changes = [round(b - a, 12) for a, b in pairs]  # what differs by rounding only is equal
    yes_or_no = measure.kind == "share" and {*before, *after} <= {0.0, 1.0}
    only = (pairs.count((1.0, 0.0)), pairs.count((0.0, 1.0))) if yes_or_no else None
    drawn = partial(stable_seed, "compare", seed, measure.name)
    test: Test = ""
    p, verdict = nan, ""
    if measure.name in PRIMARY:
        test = "exact McNemar" if only else "sign flips"
        p = mcnemar_test(*only) if only else sign_flip_test(changes, seed=drawn("test"))
        verdict = NOT_CLEAR if any(changes) else EQUAL
    interval = mean_interval(changes, level=level, seed=drawn("interval"))
    return Difference(
        measure,
        fmean(before),
        fmean(after),
        _honest(interval, measure, level),
        len(problems) - len(used),
        paired_effect(changes),
        smallest_difference(changes, level),
        only,
        test,
        p,
        p,
        verdict,
    )


def _by_problem(values: Values) -> dict[str, float]:
    lessons: dict[str, list[float]] = {}
    for (problem, _), value in sorted(values.items()):
        lessons.setdefault(problem, []).append(value)
    return {problem: fmean(found) for problem, found in lessons.items()}


def _honest(interval: Interval, measure: Measure, level: float) -> Interval:
    """Resampling cannot show that what was the same in all these problems may be otherwise in the next."""
    if interval.low != interval.high:
        return interval
    if measure.kind == "number":
        return replace(interval, low=nan, high=nan)
    unseen = wilson_interval(0, interval.n, level).high
    return replace(interval, low=max(-1.0, interval.mean - unseen), high=min(1.0, interval.mean + unseen))


def _notes(baseline: Side, new: Side, found: Sequence[Difference], left_out: int) -> list[str]:
    notes = [f"{side.run} is not finished" for side in (baseline, new) if not side.finished]
    if left_out:
        notes.append(f"{left_out:,} problems are not in both runs, or ask another question there, and were left out")
    if absent := [MEASURES[name].title for name in PRIMARY if all(one.measure.name != name for one in found)]:
        notes.append(f"no problem has valid values of both for {', '.join(absent)}")
    known = [key for key in baseline.settings.keys() & new.settings.keys() if key.startswith(CONDITIONS)]
    if changed := differences(*({key: side.settings[key] for key in known} for side in (baseline, new))):
        notes.append(f"the runs were held under other conditions, which may be the difference: {'; '.join(changed)}")
    for one in found:
        if one.measure.name == "solved_before" and (one.interval.low > 0 or one.interval.high < 0):
            notes.append("the students were not equally good before the lessons, so compare the changes")
    if (most := max(one.interval.n for one in found)) < FEW:
        notes.append(f"with {most} problems intervals are too narrow and effects too large; take {FEW} or more")
    return notes
