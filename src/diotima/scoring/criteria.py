"""What a judge answers, and the numbers that follow from its answers: the parts of a rubric, and their arithmetic.

All of it is exact, because thresholds are compared with the results: a sum of quarters and twentieths in floats lands
on either side of 0.8, depending on the order in which it is added up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from diotima.prompt import shipped_prompt

Labels = Mapping[str, str | int]

OUTCOMES: Mapping[str, str] = {"A": "win", "same": "tie", "B": "lost"}
"""In a comparison: what a judge may say of the turns A and B, and what this means for the turn that is shown as A."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that a judge answers.

    ``labels``: what may come out, and the credit of each (None where it has none); empty for a number or a text.
    ``ordered``: whether three labels or more go from one end to the other, so that neighbours nearly agree.
    ``offers``: what the judge may say; the labels, but in a comparison the names of the turns.
    ``scale``: the lowest and the highest whole number; the credit of x is (x - ``zero``) / (highest - ``zero``).
    ``merge``: labels that count as another one where agreement is lenient. ``text``: free text, the judge's reasoning.
    """

    name: str
    about: str = ""
    labels: Mapping[str, Fraction | None] = field(default_factory=dict, hash=False)
    offers: tuple[str, ...] = ()
    scale: tuple[int, int] | None = None
    zero: int = 0
    merge: Mapping[str, str] = field(default_factory=dict, hash=False)
    text: bool = False
    ordered: bool = True

    @property
    def credits(self) -> tuple[Fraction, ...]:
        """All that can be had for an answer on offer, or the ends of it; empty where nothing counts."""
        if self.scale is not None:
            return self.credit(self.scale[0]), self.credit(self.scale[1])
        return tuple(credit for credit in self.labels.values() if credit is not None)

    def allows(self, said: object, lenient: bool) -> bool:
        """Whether a judgement can say this of it; ``lenient``: also a label or a number that is not on offer."""
        if self.scale is not None:
            return isinstance(said, int) and (lenient or self.scale[0] <= said <= self.scale[1])
        return isinstance(said, str) and (lenient or said in self.labels)

    def credit(self, said: str | int) -> Fraction:
        """What an answer counts for: a label that is not on offer 0, a number off the scale what the formula gives."""
        if isinstance(said, str) or self.scale is None:
            return self.labels.get(str(said)) or Fraction(0)
        return Fraction(said - self.zero, self.scale[1] - self.zero)

    def spelt(self, said: str) -> str | None:
        """What was said as the rubric spells it, or None if it is not on offer; blanks around it and case are nothing.

        A label that people gave is looked up by this as well.
        """
        plain = said.strip().lower()
        return next((offer for offer in self.offers if offer.lower() == plain), None)


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that follows from one judgement: a weighted sum of credits, or 1 where a certain label was said, else 0.

    ``weights``: of the criteria's credits. ``share``: instead of them, the labels that have to be said, all of them.
    ``where``: it applies only to cases with these labels. ``better``: which way is good.
    """

    name: str
    weights: Mapping[str, Fraction] = field(default_factory=dict, hash=False)
    share: Mapping[str, str] = field(default_factory=dict, hash=False)
    where: Mapping[str, str] = field(default_factory=dict, hash=False)
    better: Literal["higher", "lower"] = "higher"

    @property
    def uses(self) -> frozenset[str]:
        """The criteria that it is about."""
        return frozenset({*self.weights, *self.share, *self.where})

    def value(self, criteria: Mapping[str, Criterion], labels: Labels) -> Fraction | None:
        """What it comes to; None where it does not apply."""
        if any(labels[name] != label for name, label in self.where.items()):
            return None
        if self.share:
            return Fraction(all(labels[name] == label for name, label in self.share.items()))
        return sum((weight * criteria[name].credit(labels[name]) for name, weight in self.weights.items()), Fraction(0))

    def bounds(self, criteria: Mapping[str, Criterion]) -> tuple[Fraction, Fraction]:
        """The worst and the best that answers on offer can come to, in this order."""
        lowest = highest = Fraction(0)
        for name, weight in self.weights.items():
            reach = [weight * credit for credit in criteria[name].credits]
            lowest, highest = lowest + min(reach), highest + max(reach)
        if self.share:
            highest = Fraction(1)
        return (lowest, highest) if self.better == "higher" else (highest, lowest)


def describe(criteria: Sequence[Criterion]) -> str:
    """How to answer, for the judge: the keys of the JSON object, in their order, and what each may hold."""
    return shipped_prompt("judge/form").fill(keys="\n".join(map(_key, criteria)))


def _key(criterion: Criterion) -> str:
    kind = "text"
    if criterion.scale is not None:
        kind = f"a whole number from {criterion.scale[0]} to {criterion.scale[1]}"
    elif not criterion.text:
        kind = " or ".join(f'"{offer}"' for offer in criterion.offers)
    return f'- "{criterion.name}", {kind}' + (f": {criterion.about}" if criterion.about else "")
