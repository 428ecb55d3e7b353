"""Two tutors on the same problems: what differs, how sure that is, and what could not have been seen.

Lessons about one problem are averaged first, so problems are what is counted and drawn anew; only those that both
tutors have a valid value for are used, and how many were left out is kept. Whether a difference in one of the
`PRIMARY` measures is clear, `reports/paired.py` says. `SECONDARY` are there to understand the first and have no
p-value: whether the students were equal before, and what the figures hang together with. The gain is not tested
beside the sibling: the control is the same student without any lesson, so both differ by the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from statistics import fmean
from typing import Any

from diotima.dialogue import stable_seed
from diotima.errors import RunError
from diotima.reports.collect import Lessons
from diotima.reports.measures import GAIN, MEASURES, Measure
from diotima.reports.paired import PRIMARY, Judgement, Pairs, Test, judge, paired
from diotima.runs.manifest import differences
from diotima.statistics import Interval, mean_interval, paired_effect, smallest_difference, wilson_interval

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
# The student without a lesson is the same under both tutors, so these change as much: the same draws, and one interval.
CHANGES_AS = {GAIN: "solved_sibling", "delta_same": "solved_same"}
FEW = 20


@dataclass(frozen=True, slots=True)
class Side:
    """One tutor of one run: what its lessons were scored, under which settings, on which questions by problem id.

    ``versions``: of diotima, its commit, and of the libraries.
    """

    name: str
    run: str
    lessons: Lessons
    settings: Mapping[str, Any]
    questions: Mapping[str, str]
    finished: bool
    versions: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of two tutors, over the ``interval.n`` problems that both have a valid value for.

    ``left_out``: shared problems without such a pair. ``only``: where every value is yes or no, in how many problems
    only the baseline, and only the new one, has a yes. ``effect`` and ``smallest``: see `paired_effect` and
    `smallest_difference`; ``test``, ``p``, ``adjusted`` and ``verdict``: see `Judgement`.
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
    old, fresh = baseline.lessons.values, new.lessons.values
    measures = (*PRIMARY, *SECONDARY)
    found = [both for name in measures if (both := paired(MEASURES[name], old[name], fresh[name], shared))]
    if not found:
        raise RunError(f"{baseline.name} and {new.name} share {len(shared)} problems, but no measure with valid scores")
    judgements = judge(found, level, seed)
    whole = tuple(difference(pairs, judgements[pairs.measure.name], len(shared), level, seed) for pairs in found)
    notes = _notes(baseline, new, whole, len(everything - shared))
    return Compared(baseline, new, len(shared), whole, tuple(notes))


def difference(pairs: Pairs, judgement: Judgement, problems: int, level: float, seed: int) -> Difference:
    """What is known of one measure of two tutors that share so many problems."""
    measure, changes = pairs.measure, pairs.changes
    drawn = stable_seed("compare", seed, CHANGES_AS.get(measure.name, measure.name), "interval")
    return Difference(
        measure,
        fmean(pairs.first),
        fmean(pairs.second),
        _honest(mean_interval(changes, level=level, seed=drawn), measure, level),
        problems - len(changes),
        paired_effect(changes),
        smallest_difference(changes, level),
        pairs.only,
        judgement.test,
        judgement.p,
        judgement.adjusted,
        judgement.verdict,
    )


def _honest(interval: Interval, measure: Measure, level: float) -> Interval:
    """Resampling cannot show that what changed by the same in all these problems may change otherwise in the next."""
    if interval.low != interval.high or not interval.mean:
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
    if changed := differences(baseline.versions, new.versions):
        notes.append(f"the runs were made by other versions, which may be the difference: {'; '.join(changed)}")
    for one in found:
        if one.measure.name == "solved_before" and (one.interval.low > 0 or one.interval.high < 0):
            notes.append("the students were not equally good before the lessons, so compare the changes")
    if (most := max(one.interval.n for one in found)) < FEW:
        notes.append(f"with {most} problems intervals are too narrow and effects too large; take {FEW} or more")
    return notes
