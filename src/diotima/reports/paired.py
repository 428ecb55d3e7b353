"""Whether two tutors differ by more than chance: one rule, which `diotima report` and `diotima compare` share.

Lessons about one problem are averaged first, so problems are what is counted. Five measures are tested, `PRIMARY`,
named before anyone has looked: by McNemar's exact test where every value is yes or no, else by sign flips. A
difference is clear if its p-value, adjusted by Holm over these five for each pair of tutors by itself, is below
1 - level. Intervals stand beside it and decide nothing. What is the same in every problem is called equal, which says
nothing about other problems.
"""

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from math import nan
from statistics import fmean
from typing import Literal

from diotima.dialogue import stable_seed
from diotima.reports.measures import Measure, Values, direction_word
from diotima.statistics import holm, mcnemar_test, sign_flip_test

PRIMARY = ("leaked", "solved_sibling", "solved_same", "addressed", "well_formed")
LEVEL = 0.95
NOT_CLEAR, EQUAL = "not clear", "equal"

Test = Literal["exact McNemar", "sign flips", ""]


@dataclass(frozen=True, slots=True)
class Pairs:
    """One measure of two tutors, a value of each for every problem that both have a valid one for, in one order."""

    measure: Measure
    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def changes(self) -> list[float]:
        """Second minus first; what differs by rounding only is equal."""
        return [round(b - a, 12) for a, b in zip(self.first, self.second, strict=True)]

    @property
    def only(self) -> tuple[int, int] | None:
        """In how many problems only the first, and only the second, has a yes; None unless all are yes or no."""
        if self.measure.kind != "share" or not {*self.first, *self.second} <= {0.0, 1.0}:
            return None
        both = list(zip(self.first, self.second, strict=True))
        return both.count((1.0, 0.0)), both.count((0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What may be said of a difference: better, worse, higher, lower, "not clear" or "equal".

    ``adjusted``: p after Holm. ``test`` is "" and both p-values nan where nothing was tested; ``verdict`` is then
    "equal" or "".
    """

    test: Test
    p: float
    adjusted: float
    verdict: str


def paired(measure: Measure, first: Values, second: Values, problems: AbstractSet[str] | None = None) -> Pairs | None:
    """The problems (among ``problems``, if given) that both have valid values for; None if there is none."""
    old, new = _by_problem(first), _by_problem(second)
    used = sorted(old.keys() & new.keys() if problems is None else problems & old.keys() & new.keys())
    if not used:
        return None
    return Pairs(measure, tuple(old[problem] for problem in used), tuple(new[problem] for problem in used))


def judge(
    pairs: Iterable[Pairs], level: float = LEVEL, seed: int = 0, primary: Collection[str] = PRIMARY
) -> dict[str, Judgement]:
    """A judgement for each measure of two tutors, by its name; ``pairs`` holds all of them, for Holm's sake.

    ``primary``: the measures that are tested; of judges' scores all that their rubric has.
    """
    found = {one.measure.name: one for one in pairs}
    judgements = {name: _tested(one, seed, primary) for name, one in found.items()}
    tested = [name for name, one in judgements.items() if one.test]
    for name, adjusted in zip(tested, holm([judgements[name].p for name in tested]), strict=True):
        judgements[name] = replace(judgements[name], adjusted=adjusted)
        if adjusted < 1 - level:
            up = fmean(found[name].changes) > 0
            judgements[name] = replace(judgements[name], verdict=direction_word(found[name].measure, up))
    return judgements


def _tested(pairs: Pairs, seed: int, primary: Collection[str]) -> Judgement:
    changes, only, name = pairs.changes, pairs.only, pairs.measure.name
    if name not in primary:
        return Judgement("", nan, nan, "" if any(changes) else EQUAL)
    p = mcnemar_test(*only) if only else sign_flip_test(changes, seed=stable_seed("compare", seed, name, "test"))
    return Judgement("exact McNemar" if only else "sign flips", p, p, NOT_CLEAR if any(changes) else EQUAL)


def _by_problem(values: Values) -> dict[str, float]:
    lessons: dict[str, list[float]] = {}
    for (problem, _), value in sorted(values.items()):
        lessons.setdefault(problem, []).append(value)
    return {problem: fmean(found) for problem, found in lessons.items()}
