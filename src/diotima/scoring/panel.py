"""What several samples, or several judges, come to about one case: by arithmetic, as the rubric says; nothing is asked.

* ``mean``: of each measure; a judge's samples first, then the judges, who weigh the same. A judge without any valid
  verdict makes it missing, for the mean of whoever happened to answer is another measure.
* ``majority``: on each criterion, what more than half have said. Missing verdicts count among all, so that none of
  them could have changed the outcome.
* ``veto``: one valid verdict that is as bad as can be decides; else any missing one leaves the case open; else the
  worst counts. So it is with PedagogicalRL's judges, except that its code took an unreadable verdict for approval.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from diotima.score import Judgement, Score
from diotima.scoring.criteria import Labels, Measure
from diotima.scoring.rubric import Rubric, measure_values


def combine(rubric: Rubric, judgements: Sequence[Judgement]) -> dict[str, Score]:
    """Every measure of one case, from all that was said about it.

    A measure that does not apply to the case is not in the result; one that verdicts are missing for is there, missing.
    """
    exact = combine_exactly(rubric, judgements)
    return {name: value if isinstance(value, Score) else Score(float(value)) for name, value in exact.items()}


def combine_exactly(rubric: Rubric, judgements: Sequence[Judgement]) -> dict[str, Fraction | Score]:
    """As `combine`, for whoever compares with a threshold; a Score stands only for what is missing."""
    if not judgements:
        return {measure.name: Score.missing("no judge was asked") for measure in rubric.measures}
    valid = [judgement for judgement in judgements if judgement.state == "valid"]
    values = [measure_values(rubric, judgement.labels) for judgement in valid]
    labels = majority_labels(judgements) if rubric.combine == "majority" else {}
    combined: dict[str, Fraction | Score | None] = {}
    for measure in rubric.measures:
        said = [(judgement.judge, value[measure.name]) for judgement, value in zip(valid, values, strict=True)]
        if rubric.combine == "mean":
            combined[measure.name] = _mean(said, judgements)
        elif rubric.combine == "veto":
            combined[measure.name] = _veto([value for _, value in said], measure, rubric, judgements)
        else:
            combined[measure.name] = _majority(labels, measure, rubric, judgements)
    return {name: value for name, value in combined.items() if value is not None}


def _mean(said: Sequence[tuple[str, Fraction | None]], judgements: Sequence[Judgement]) -> Fraction | Score | None:
    by_judge: dict[str, list[Fraction | None]] = {judgement.judge: [] for judgement in judgements}
    for judge, value in said:
        by_judge[judge].append(value)
    if not all(by_judge.values()):
        return _missing(judgements)
    applied = [[value for value in values if value is not None] for values in by_judge.values()]
    means = [_average(values) for values in applied if values]
    return _average(means) if means else None


def _average(values: Sequence[Fraction]) -> Fraction:
    return values[0] if len(values) == 1 else sum(values, Fraction(0)) / len(values)  # exact sums take their time


def _veto(
    said: Sequence[Fraction | None], measure: Measure, rubric: Rubric, judgements: Sequence[Judgement]
) -> Fraction | Score | None:
    sign = 1 if measure.better == "higher" else -1
    worst = min((value for value in said if value is not None), key=lambda value: sign * value, default=None)
    if len(said) == len(judgements):
        return worst
    floor, _ = measure.bounds(rubric.by_name)
    return worst if worst is not None and sign * worst <= sign * floor else _missing(judgements)


def _majority(
    labels: Labels, measure: Measure, rubric: Rubric, judgements: Sequence[Judgement]
) -> Fraction | Score | None:
    open_ones = measure.uses - labels.keys()
    if not open_ones & measure.where.keys() and any(labels[name] != label for name, label in measure.where.items()):
        return None
    if not open_ones:
        return measure.value(rubric.by_name, labels)
    if any(judgement.state != "valid" for judgement in judgements):
        return _missing(judgements)
    return Score.missing(f"no majority of the {len(judgements)} verdicts on {', '.join(sorted(open_ones))}")


def majority_labels(judgements: Sequence[Judgement]) -> Labels:
    """On each criterion what more than half of all judgements say; a criterion without such is left out."""
    votes: dict[str, Counter[str | int]] = defaultdict(Counter)
    for judgement in judgements:
        for name, said in judgement.labels.items():
            votes[name][said] += 1
    winners = {name: counted.most_common(1)[0] for name, counted in votes.items()}
    return {name: said for name, (said, count) in winners.items() if 2 * count > len(judgements)}


def _missing(judgements: Sequence[Judgement]) -> Score:
    missing = [judgement for judgement in judgements if judgement.state != "valid"]
    count = f"{len(missing)} of {len(judgements)} verdicts are missing: " if len(judgements) > 1 else ""
    return Score.missing(count + missing[0].reason, missing[0].state)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How often two valid verdicts about one case differ on a criterion: of two judges, and of two samples of one."""

    judge_pairs: int = 0
    judges_differ: int = 0
    sample_pairs: int = 0
    samples_differ: int = 0


def disagreement(rubric: Rubric, cases: Iterable[Sequence[Judgement]]) -> dict[str, Disagreement]:
    """For each criterion that is no text, over cases, each with all judgements about it."""
    counts = {criterion.name: [0, 0, 0, 0] for criterion in rubric.criteria if not criterion.text}
    for judgements in cases:
        valid = [judgement for judgement in judgements if judgement.state == "valid"]
        for one, other in combinations(valid, 2):
            if one.order != other.order:
                continue  # of the two orders of a comparison, which are no two samples
            first = 2 if one.judge == other.judge else 0
            for name, counted in counts.items():
                counted[first] += 1
                counted[first + 1] += one.labels[name] != other.labels[name]
    return {name: Disagreement(*counted) for name, counted in counts.items()}
