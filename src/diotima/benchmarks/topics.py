"""What people and a judge said about the same turns, side by side, for each thing that both were asked.

An *item* is one tutor turn with the ratings of everybody who rated it. A *topic* is a criterion, or a measure that is
no mere criterion, as a column over all items; the coefficients of `trust` look at nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from diotima.agreement import Rating
from diotima.corpus.rated import Rated
from diotima.dialogue import TUTOR, Dialogue, Turn
from diotima.errors import SettingsError
from diotima.score import Judgement
from diotima.scoring.case import Case, cases_of
from diotima.scoring.criteria import Criterion, Labels, Measure
from diotima.scoring.panel import combine
from diotima.scoring.rubric import Rubric

Kind = Literal["labels", "ordered", "scale", "measure"]
"""Two labels, or more without an order; three or more in the rubric's order; whole numbers; any number."""

UNNAMED = "unnamed"
"""What a tutor is called that the ratings do not name."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was rated: a dialogue that ends with the tutor's turn.

    ``people``: rater -> what this person said, in the rubric's own spelling. ``other`` and ``against``: in a
    comparison, the turn to compare with and its tutor. ``verdicts``: what the judge said, see `with_verdicts`.
    """

    dialogue: Dialogue
    tutor: str
    people: Mapping[str, Labels]
    other: Turn | None = None
    against: str = ""
    verdicts: tuple[Judgement, ...] = ()

    @property
    def key(self) -> tuple[str, str, int]:
        """Where it stands in a run."""
        return self.tutor, self.dialogue.problem.id, self.dialogue.seed

    @property
    def in_one_order(self) -> tuple[Judgement, ...]:
        """The verdicts that should be the same: of a comparison, those of one order."""
        return tuple(verdict for verdict in self.verdicts if verdict.order != "second")

    def cases(self, rubric: Rubric) -> list[Case]:
        """What is put before the judge."""
        return cases_of(self.dialogue, rubric, "last", self.other)

    def text(self, rubric: Rubric) -> str:
        """What the tutor said, as far as it is judged."""
        turns = self.dialogue.by(TUTOR) if rubric.judges == "dialogue" else self.dialogue.turns[-1:]
        return "\n".join(turn.text for turn in turns)


def items_of(rated: Iterable[Rated], rubric: Rubric, path: Path) -> list[Item]:
    """One item for each rated turn, with all its raters; for a comparison, one for each two turns on one context.

    Raises SettingsError if people were asked nothing that the rubric asks, or gave a label that it does not have.
    """
    items: dict[tuple[str, str, int], Item] = {}
    asked: set[str] = set()
    for number, one in enumerate(rated, 1):
        asked |= one.labels.keys()
        item = Item(one.dialogue, one.tutor or UNNAMED, {})
        item = items.setdefault(item.key, item)
        labels = _spelt(one, rubric, f"{path}, rating {number}")
        if labels and rubric.judges != "comparison":
            rater, times = one.rater, 1
            while rater in item.people:
                rater, times = f"{one.rater}#{times + 1}", times + 1
            items[item.key] = replace(item, people={**item.people, rater: labels})
    if rubric.judges == "comparison":
        return _compared(items.values(), path)
    found = [item for item in items.values() if item.people]
    if not found:
        names = ", ".join(criterion.name for criterion in rubric.criteria if not criterion.text)
        raise SettingsError(
            f"{path} rates {', '.join(sorted(asked)) or 'nothing'}, and rubric {rubric.name} asks for {names}; name "
            "the columns as the rubric does, or take another rubric"
        )
    return found


def _spelt(one: Rated, rubric: Rubric, place: str) -> Labels:
    """What a person said on the rubric's criteria, spelt as there."""
    labels: dict[str, str | int] = {}
    for criterion in rubric.criteria:
        if criterion.text or criterion.name not in one.labels:
            continue
        said = one.labels[criterion.name]
        label = said if criterion.scale is not None else criterion.spelt(str(said))
        low, high = criterion.scale or (0, 0)
        if label is None or (criterion.scale is not None and not (isinstance(label, int) and low <= label <= high)):
            on_offer = f"{low} to {high}" if criterion.scale is not None else ", ".join(criterion.offers)
            raise SettingsError(
                f"{place}: {criterion.name} = {said!r} is not on offer in rubric {rubric.name}: {on_offer}"
            )
        labels[criterion.name] = label
    return labels


def _compared(items: Iterable[Item], path: Path) -> list[Item]:
    """Turns of different tutors on one context, each with the next in the alphabet."""
    contexts: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        said = (turn.text for turn in item.dialogue.turns[:-1])
        contexts.setdefault((item.dialogue.problem.id, *said), []).append(item)
    compared = [
        replace(first, other=second.dialogue.turns[-1], against=second.tutor)
        for group in contexts.values()
        for first, second in pairwise(sorted(group, key=lambda item: item.tutor))
    ]
    if not compared:
        raise SettingsError(f"{path} has no two tutors' turns on one context, which a comparison needs")
    return compared


def with_verdicts(items: Iterable[Item], verdicts: Mapping[tuple[str, str, int], Sequence[Judgement]]) -> list[Item]:
    """The items with what the judge said about each, by its key."""
    return [replace(item, verdicts=tuple(verdicts[item.key])) for item in items]


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing that was asked, over all items in one order.

    ``people``: rater -> rating, for each item. ``judge``: the verdicts that agreement is about: on a criterion every
    valid one, of a measure the one value that its samples come to, as in `diotima score`. ``samples``: the single
    verdicts in their order, None where one is missing. ``labels`` and ``merge`` as in the rubric.
    """

    name: str
    kind: Kind
    people: tuple[Mapping[str, Rating], ...]
    judge: tuple[tuple[Rating, ...], ...]
    samples: tuple[tuple[Rating | None, ...], ...]
    labels: tuple[str, ...] = ()
    merge: Mapping[str, str] | None = None

    @property
    def numeric(self) -> bool:
        """Whether ratings are numbers, so that their differences mean something."""
        return self.kind in ("scale", "measure")


def topics_of(rubric: Rubric, items: Sequence[Item]) -> Iterator[Topic]:
    """The measures that are no mere criterion, the headline first, and then the criteria."""
    criteria = {criterion.name: criterion for criterion in rubric.criteria if not criterion.text}
    for measure in rubric.measures:
        if measure.name not in criteria:
            yield _measured(measure, rubric, items)
    for criterion in criteria.values():
        yield _asked(criterion, items)


def _asked(criterion: Criterion, items: Sequence[Item]) -> Topic:
    name = criterion.name
    samples = tuple(tuple(verdict.labels.get(name) for verdict in item.in_one_order) for item in items)
    return Topic(
        name,
        _kind(criterion),
        tuple({rater: said[name] for rater, said in item.people.items() if name in said} for item in items),
        tuple(tuple(said for said in verdicts if said is not None) for verdicts in samples),
        samples,
        tuple(criterion.labels),
        criterion.merge,
    )


def _kind(criterion: Criterion) -> Kind:
    if criterion.scale is not None:
        return "scale"
    return "ordered" if criterion.ordered and len(criterion.labels) > 2 else "labels"


def _measured(measure: Measure, rubric: Rubric, items: Sequence[Item]) -> Topic:
    def value(labels: Labels) -> float | None:
        if not measure.uses <= labels.keys():
            return None
        exact = measure.value(rubric.by_name, labels)
        return None if exact is None else float(exact)

    def counted(verdicts: Sequence[Judgement]) -> tuple[float, ...]:
        score = combine(rubric, [one for one in verdicts if one.sample < rubric.samples]).get(measure.name)
        return () if score is None or score.value is None else (score.value,)

    people = (((rater, value(labels)) for rater, labels in item.people.items()) for item in items)
    return Topic(
        measure.name,
        "measure",
        tuple({rater: rating for rater, rating in rated if rating is not None} for rated in people),
        tuple(counted(item.verdicts) for item in items),
        tuple(tuple(value(verdict.labels) for verdict in item.in_one_order) for item in items),
    )
