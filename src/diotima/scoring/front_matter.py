"""The front matter of a rubric's file: its keys, and how criteria and measures are made of it.

What is wrong with it is told in one sentence, with the file, the key and the remedy. Numbers are read as text where
they can be ("1/4"), so that they are exact.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field

from diotima.errors import PromptError, SettingsError
from diotima.scoring.criteria import OUTCOMES, Criterion, Measure
from diotima.settings import Settings, did_you_mean, load_settings

Judges = Literal["turn", "dialogue", "comparison"]
Sees = Literal["question", "answer", "solution", "history"]
Combine = Literal["mean", "majority", "veto"]


class CriterionFields(Settings):
    """One criterion: what the judge answers, one of `labels`, `scale` and `text`."""

    about: str = ""
    """What is asked; the judge reads it."""
    labels: dict[str, str | int | float] | list[str] = {}
    """What may be said, with the credit of each, or a list of labels that have none."""
    scale: tuple[int, int] | None = None
    """The lowest and the highest whole number."""
    zero: int | None = None
    """The number that would have no credit; the lowest of the scale, unless said otherwise."""
    merge: dict[str, str] = {}
    """Labels that count as another one where agreement with people is lenient."""
    text: bool = False
    """The answer is free text, the judge's reasoning."""
    ordered: bool = True
    """Whether labels stand in an order, for better or worse; false where they are merely different."""

    def criterion(self, name: str, where: str) -> Criterion:
        """The criterion itself. Raises PromptError."""
        place = f"{where}: criteria.{name}"
        if sum([bool(self.labels), self.scale is not None, self.text]) != 1:
            raise PromptError(f"{place} needs one of labels, scale: [1, 5] or text: true")
        zero = 0
        if self.scale is not None:
            low, high = self.scale
            zero = low if self.zero is None else self.zero
            if low >= high or zero >= high:
                raise PromptError(
                    f"{place}: a scale goes from a lower to a higher number, and its zero is not the highest"
                )
        elif self.zero is not None:
            raise PromptError(f"{place}: zero belongs to a scale; labels say their credit themselves")
        if not self.ordered and not self.labels:
            raise PromptError(f"{place}: ordered belongs to labels; leave it out")
        labels: dict[str, Fraction | None] = (
            {label: _fraction(credit, f"{place}.{label}") for label, credit in self.labels.items()}
            if isinstance(self.labels, dict)
            else dict.fromkeys(self.labels)
        )
        plain = [label.strip().lower() for label in labels]
        if "" in plain or len(plain) != len(set(plain)) or (labels and len(labels) < 2):
            raise PromptError(f"{place}: needs two labels or more, which differ by more than case")
        for label in (*self.merge, *self.merge.values()):
            _known(label, labels, f"{place}.merge")
        offers = tuple(OUTCOMES) if set(labels) == set(OUTCOMES.values()) else tuple(labels)
        return Criterion(name, self.about, labels, offers, self.scale, zero, self.merge, self.text, self.ordered)


class MeasureFields(Settings):
    """One measure: one of `of`, `weights` and `share`."""

    of: str = ""
    """The criterion whose credit it is."""
    weights: dict[str, str | int | float] = {}
    """The criteria whose credits are added up, and their weights."""
    share: dict[str, str] = {}
    """The label of a criterion that has to be said: 1 if it was, else 0."""
    where: dict[str, str] = {}
    """It applies only to cases with these labels."""
    better: Literal["higher", "lower"] = "higher"
    """Which way is good."""


class FrontMatter(Settings):
    """All keys of a rubric's file, except `like`."""

    name: str = ""
    """What the rubric is called; the file's name, unless said otherwise."""
    judges: Judges
    """What one case is."""
    sees: list[Sees] = ["history"]
    """What the judge is shown beside what it judges."""
    criteria: dict[str, CriterionFields]
    """What the judge answers, in this order."""
    measures: dict[str, MeasureFields] = {}
    """What follows from the answers; the first stands for all."""
    leaks: dict[str, str] = {}
    """The label of a criterion by which the judge says that the answer was given away: {reveal_answer: 'yes'}."""
    combine: Combine = "mean"
    """What several samples, or judges, come to."""
    samples: int = Field(1, ge=1)
    """How often one judge is asked about one case."""
    temperature: float = Field(0.0, ge=0)
    """The judge's sampling temperature."""
    max_tokens: int = Field(1024, ge=1)
    """The most tokens of one answer."""
    lenient: bool = False
    """Labels that are not on offer and numbers off the scale are kept."""

    def parts(self, where: str) -> tuple[tuple[Criterion, ...], tuple[Measure, ...]]:
        """Criteria, the judge's reasoning first, and measures.

        A criterion with credit has a measure of its own, unless one is named after it or made of it alone. Raises
        PromptError.
        """
        criteria = {name: fields.criterion(name, where) for name, fields in self.criteria.items()}
        self._check(criteria.values(), where)
        _known_labels(self.leaks, criteria, f"{where}: leaks")
        named = {*self.measures, *(measure.of for measure in self.measures.values() if not measure.where)}
        own = [name for name, criterion in criteria.items() if criterion.credits and name not in named]
        fields = {**self.measures, **{name: MeasureFields(of=name) for name in own}}
        if not fields:
            raise PromptError(f"{where}: nothing can be measured; give labels credits (labels: {{good: 1}})")
        measures = (measure_from(name, told, criteria, where) for name, told in fields.items())
        return tuple(sorted(criteria.values(), key=lambda criterion: not criterion.text)), tuple(measures)

    def _check(self, criteria: Iterable[Criterion], where: str) -> None:
        """What concerns several criteria."""
        criteria = list(criteria)
        if all(criterion.text for criterion in criteria):
            raise PromptError(f"{where}: criteria needs at least one with labels or a scale")
        if sum(criterion.text for criterion in criteria) > 1:
            raise PromptError(f"{where}: only one criterion can be the judge's reasoning (text: true)")
        for criterion in criteria:
            compares, place = criterion.offers == tuple(OUTCOMES), f"{where}: criteria.{criterion.name}"
            if compares and self.judges != "comparison":
                raise PromptError(f"{place}: win, tie and lost are labels of a comparison")
            if not compares and self.judges == "comparison" and not criterion.text:
                raise PromptError(f"{place}: a comparison has the labels win, tie and lost, and no others")
        if self.lenient and self.judges == "comparison":
            raise PromptError(f"{where}: a comparison cannot be lenient: another word than A, B or same says nothing")


def read_front_matter(meta: Mapping[str, Any], where: str) -> FrontMatter:
    """The front matter of a file, checked key by key. Raises PromptError."""
    try:
        return load_settings(FrontMatter, overrides=meta, where=where)
    except SettingsError as error:
        raise PromptError(str(error)) from None


def refuse_booleans(told: object, where: str, key: object = "") -> None:
    """YAML takes a bare yes, no, on or off for a truth value, which no label is. Raises PromptError."""
    if isinstance(told, bool) and key not in ("lenient", "text", "ordered"):
        raise PromptError(f"{where}: a bare yes, no, on or off is a truth value in YAML; put labels in quotes ('yes')")
    if isinstance(told, Mapping):
        for inner, value in told.items():
            refuse_booleans(inner, where)
            refuse_booleans(value, where, inner)
    elif isinstance(told, list):
        for value in told:
            refuse_booleans(value, where)


def measure_from(name: str, told: MeasureFields, criteria: Mapping[str, Criterion], where: str) -> Measure:
    """The measure itself. Raises PromptError if it names what the criteria do not have."""
    place = f"{where}: measures.{name}"
    if sum([bool(told.of), bool(told.weights), bool(told.share)]) != 1:
        raise PromptError(
            f"{place} needs one of of: CRITERION, weights: {{CRITERION: 1/2}} or share: {{CRITERION: LABEL}}"
        )
    weights = {told.of: Fraction(1)} if told.of else {
        criterion: _fraction(weight, f"{place}.{criterion}") for criterion, weight in told.weights.items()
    }  # fmt: skip
    for criterion in weights:
        _known(criterion, criteria, place)
        if not criteria[criterion].credits:
            raise PromptError(f"{place}: {criterion} has no credit; give its labels some (labels: {{good: 1, bad: 0}})")
    for labels in (told.share, told.where):
        _known_labels(labels, criteria, place)
    return Measure(name, weights, told.share, told.where, told.better)


def _fraction(told: str | int | float, where: str) -> Fraction:
    try:
        return Fraction(str(told))
    except (ValueError, ZeroDivisionError):
        raise PromptError(f"{where} = {told!r} is no number; write 1, 0.25 or 1/4") from None


def _known_labels(told: Mapping[str, str], criteria: Mapping[str, Criterion], where: str) -> None:
    """Raise PromptError unless these are labels of the criteria."""
    for criterion, label in told.items():
        _known(criterion, criteria, where)
        _known(label, criteria[criterion].labels, f"{where}.{criterion}")


def _known(name: str, names: Mapping[str, Any], where: str) -> None:
    if name not in names:
        raise PromptError(f"{where}: there is no {name}; {did_you_mean(name, names)}")
