"""How far a judge can be trusted: its agreement with people beside that of trivial raters and of people themselves.

Rows are pairs of one person's rating and one verdict, so a turn with several raters, or several verdicts, has several;
intervals draw whole problems, so that this does not narrow them. For each topic one coefficient decides, the one that
fits it: Cohen's kappa for labels without an order, the quadratic one where answers have one, Pearson's correlation for
measures. The judge is better or worse than a trivial rater only if the interval of the difference, on the same rows,
leaves out zero. The best of the trivial raters is chosen on the same rows, too, which makes this harder for the judge.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from math import isnan

from diotima.agreement import (
    Level,
    Rating,
    Ratings,
    Value,
    accuracy,
    cohen_kappa,
    interval,
    krippendorff_alpha,
    macro_f1,
    mean_absolute_error,
    pearson,
    prevalence,
    spearman,
)
from diotima.benchmarks.baselines import BASELINES, Baseline, Pair, said_by
from diotima.benchmarks.topics import Item, Kind, Topic
from diotima.scoring.rubric import Rubric
from diotima.statistics import Interval, wilson_interval

Coefficient = Callable[[Ratings], Value]
Said = Sequence[Sequence[Rating]]
"""What one rater said about each item; several verdicts, one, or none."""
Conversations = Sequence[Hashable]
"""The problem of each item: items with the same are drawn together."""
Row = tuple[tuple[Rating | None, ...], Hashable]
"""Ratings of one thing, and its conversation."""

QUADRATIC: Coefficient = partial(cohen_kappa, weights="quadratic")
_LABELS: dict[str, Coefficient] = {"accuracy": accuracy, "macro_f1": macro_f1, "kappa": cohen_kappa}
_NUMBERS: dict[str, Coefficient] = {"pearson": pearson, "spearman": spearman, "mae": mean_absolute_error}
COEFFICIENTS: Mapping[Kind, Mapping[str, Coefficient]] = {
    "labels": _LABELS,
    "ordered": _LABELS | {"quadratic_kappa": QUADRATIC},
    "scale": _LABELS | {"quadratic_kappa": QUADRATIC} | _NUMBERS,
    "measure": _NUMBERS,
}
"""Which coefficients fit what was asked; lenient accuracy and alpha come on top."""
DECISIVE: Mapping[Kind, str] = {
    "labels": "kappa",
    "ordered": "quadratic_kappa",
    "scale": "quadratic_kappa",
    "measure": "pearson",
}
"""The coefficient by which a judge and a trivial rater are compared."""
CALLED: Mapping[str, str] = {"kappa": "kappa", "quadratic_kappa": "quadratic kappa", "pearson": "r"}
"""What the decisive coefficients are called in a sentence."""
_LEVELS: Mapping[Kind, Level] = {"labels": "nominal", "ordered": "ordinal", "scale": "ordinal", "measure": "interval"}
_CODED = ("quadratic_kappa", "alpha")  # go by the places of ordered labels, not by their texts


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far one rater agrees with people: how many items both rated, and every coefficient with its interval."""

    rater: str
    n: int
    figures: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a judge is better than the best trivial rater, by the interval of the difference; and in a sentence."""

    better: bool | None
    baseline: str
    difference: Interval | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Trust:
    """All that is known of a judge on one topic.

    ``prevalence``: of people's ratings. ``identical``: the share of items on which all of the judge's samples say the
    same, and ``self_alpha`` their Krippendorff's alpha. ``length_bias``: Spearman's correlation of how far the judge is
    above people with the number of words. None where there is nothing to compute it from.
    """

    topic: str
    kind: Kind
    prevalence: Mapping[Rating, float]
    raters: Sequence[Agreement] = ()
    verdict: Verdict | None = None
    identical: Interval | None = None
    self_alpha: Interval | None = None
    length_bias: Interval | None = None


def trust_in(topic: Topic, items: Sequence[Item], rubric: Rubric) -> Trust:
    """All coefficients of a judge on one topic, of the trivial raters, and of people among themselves."""
    texts = [item.text(rubric) for item in items]
    conversations = [item.dialogue.problem.id for item in items]
    decisive = COEFFICIENTS[topic.kind][DECISIVE[topic.kind]]

    def reached(pairs: Sequence[Pair]) -> float:
        return float(decisive(Ratings.of([pair for pair, _ in _coded(topic, [(pair, 0) for pair in pairs])])))

    trivial = {baseline: said_by(baseline, topic, texts, reached) for baseline in BASELINES}
    raters = [agreement("judge", topic, topic.judge, conversations)]
    raters += [agreement(baseline.name, topic, said, conversations) for baseline, said in trivial.items()]
    if any(len(people) > 1 for people in topic.people):
        raters.append(_among_people(topic, conversations))
    rated = any(topic.people)
    return Trust(
        topic.name,
        topic.kind,
        prevalence(rating for people in topic.people for rating in people.values()),
        raters if rated else (),
        _verdict(topic, raters, trivial, conversations) if rated else None,
        *_consistency(topic, conversations),
        _length_bias(topic, texts, conversations),
    )


def agreement(rater: str, topic: Topic, said: Said, conversations: Conversations) -> Agreement:
    """How far one rater agrees with people on a topic."""
    both = sum(bool(people and verdicts) for people, verdicts in zip(topic.people, said, strict=True))
    first = [verdicts[0] if verdicts else None for verdicts in said]
    units = [((*unit, one), where) for (unit, where), one in zip(_units(topic, conversations), first, strict=True)]
    return Agreement(rater, both, _figures(topic, _rows(topic, conversations, said), units))


def _among_people(topic: Topic, conversations: Conversations) -> Agreement:
    rows = [
        (pair, where)
        for people, where in zip(topic.people, conversations, strict=True)
        for pair in combinations(people.values(), 2)
    ]
    both = sum(len(people) > 1 for people in topic.people)
    return Agreement("people", both, _figures(topic, rows, _units(topic, conversations)))


def _rows(topic: Topic, conversations: Conversations, *others: Said) -> list[Row]:
    """A row for each person's rating and each verdict of the others about the same item."""
    return [
        ((rating, *verdicts), where)
        for people, where, *said in zip(topic.people, conversations, *others, strict=True)
        for rating in people.values()
        for verdicts in product(*said)
    ]


def _units(topic: Topic, conversations: Conversations) -> list[Row]:
    """A row for each item with the ratings of all people, each in a place of its own."""
    raters = sorted({rater for people in topic.people for rater in people})
    return [(tuple(map(people.get, raters)), where) for people, where in zip(topic.people, conversations, strict=True)]


def _figures(topic: Topic, rows: Sequence[Row], units: Sequence[Row]) -> dict[str, Interval]:
    """All coefficients: of rows, pairs of ratings, and alpha of units, one rating a rater."""
    figures = {}
    for name, coefficient in COEFFICIENTS[topic.kind].items():
        figures[name] = _interval(coefficient, _coded(topic, rows) if name in _CODED else rows)
        if name == "accuracy" and topic.merge:
            figures["lenient"] = _interval(accuracy, [(_merged(row, topic.merge), where) for row, where in rows])
    alpha = partial(krippendorff_alpha, level=_LEVELS[topic.kind])
    return figures | {"alpha": _interval(alpha, _coded(topic, units))}


def _interval(coefficient: Coefficient, rows: Sequence[Row]) -> Interval:
    return interval(coefficient, [row for row, _ in rows], [conversation for _, conversation in rows])


def _merged(row: Iterable[Rating | None], merge: Mapping[str, str]) -> tuple[Rating | None, ...]:
    return tuple(merge.get(rating, rating) if isinstance(rating, str) else rating for rating in row)


def _coded(topic: Topic, rows: Sequence[Row]) -> Sequence[Row]:
    """Ordered labels by their places in the rubric; a row with a label that is not there is left out."""
    if topic.kind != "ordered":
        return rows
    places: dict[Rating | None, int | None] = {label: place for place, label in enumerate(topic.labels)}
    places[None] = None
    return [(tuple(places[rating] for rating in row), where) for row, where in rows if all(r in places for r in row)]


def _verdict(
    topic: Topic,
    raters: Sequence[Agreement],
    trivial: Mapping[Baseline, Said],
    conversations: Conversations,
) -> Verdict:
    name = DECISIVE[topic.kind]
    figures = {rater.rater: rater.figures[name] for rater in raters}
    own, n = figures["judge"], raters[0].n
    if isnan(own.mean):
        return Verdict(None, "", None, f"On {topic.name} nothing can be said: {_why_not(topic, n)}.")
    known = [baseline for baseline in trivial if not isnan(figures[baseline.name].mean)]
    title = CALLED[name]
    if not known:
        better = None if isnan(own.low) or own.low <= 0 <= own.high else own.low > 0
        words = {True: "agrees with people", False: "contradicts people", None: "is no better than chance"}[better]
        return Verdict(better, "", None, f"On {topic.name} this judge {words} ({title} {limits(own)}; n = {n}).")
    best = max(known, key=lambda baseline: figures[baseline.name].mean)
    rows = _rows(topic, conversations, topic.judge, trivial[best])
    coefficient = COEFFICIENTS[topic.kind][name]
    difference = _interval(
        lambda ratings: coefficient(ratings.only(0, 1)) - coefficient(ratings.only(0, 2)), _coded(topic, rows)
    )
    clear = not isnan(difference.low) and not difference.low <= 0 <= difference.high
    better = difference.mean > 0 if clear else None
    small_print = (
        f"({title} {own.mean:.2f} against {figures[best.name].mean:.2f}, difference {limits(difference)}; n = {n})"
    )
    if better is None:
        words = f"is no better than {best.phrase}, as far as this shows"
    else:
        words = f"agrees with people {'more' if better else 'less'} than {best.phrase} does"
    return Verdict(better, best.name, difference, f"On {topic.name} this judge {words} {small_print}.")


def _why_not(topic: Topic, n: int) -> str:
    """Why the deciding coefficient of the judge is undefined."""
    if not n:
        return "the judge gave no verdict that could be read"
    people = {rating for ratings in topic.people for rating in ratings.values()}
    return "the judge always said the same" if len(people) > 1 else f"people always said {people.pop()}"


def limits(value: Interval) -> str:
    """A figure with its interval, in words."""
    if isnan(value.mean):
        return "undefined"
    mean, low, high = (f"{round(one, 2) + 0.0:.2f}" for one in (value.mean, value.low, value.high))
    return f"{mean}, limits unknown" if isnan(value.low) else f"{mean}, {low} to {high}"


def in_a_line(topics: Iterable[Trust]) -> str:
    """What all of it comes to, to stand under a table of this judge's scores."""
    rated = [topic for topic in topics if topic.raters]
    if not rated:
        return "not compared with people"
    better = [topic.topic for topic in rated if topic.verdict is not None and topic.verdict.better]
    others = [topic.topic for topic in rated if topic.topic not in better]
    first, name = rated[0], DECISIVE[rated[0].kind]
    parts = [f"{first.topic} {CALLED[name]} {limits(first.raters[0].figures[name])}"]
    parts += [f"better than trivial raters on {', '.join(better)}"] if better else []
    parts += [f"not on {', '.join(others)}" if better else "on nothing better than trivial raters"] if others else []
    return "; ".join(parts)


def _consistency(topic: Topic, conversations: Conversations) -> tuple[Interval | None, Interval | None]:
    """The share of items with identical verdicts, and alpha among samples; of items with two verdicts or more."""
    valid = [[one for one in samples if one is not None] for samples in topic.samples]
    several = [(len(set(one)) == 1, where) for one, where in zip(valid, conversations, strict=True) if len(one) > 1]
    if not several:
        return None, None
    alpha = partial(krippendorff_alpha, level=_LEVELS[topic.kind])
    identical = _interval(_mean, [((float(same),), where) for same, where in several])
    units: list[Row] = list(zip(topic.samples, conversations, strict=True))
    return identical, _interval(alpha, _coded(topic, units))


def _length_bias(topic: Topic, texts: Sequence[str], conversations: Conversations) -> Interval | None:
    if not topic.numeric:
        return None
    words = [(len(text.split()),) for text in texts]
    rows: list[Row] = [
        ((float(verdict) - float(rating), float(length)), where)
        for (rating, verdict, length), where in _rows(topic, conversations, topic.judge, words)
        if rating is not None and verdict is not None and length is not None
    ]
    return _interval(spearman, rows) if rows else None


def _mean(ratings: Ratings) -> Value:
    return (ratings.times @ ratings.values[ratings.codes[:, 0]]) / ratings.times.sum(axis=-1)


def order_flips(items: Iterable[Item]) -> Interval:
    """In how many comparisons the judge, asked in both orders, says another thing; with Wilson's interval."""
    outcomes = list(_both_orders(items))
    return wilson_interval(sum(first != second for first, second in outcomes), len(outcomes))


def _both_orders(items: Iterable[Item]) -> Iterator[tuple[object, object]]:
    for item in items:
        said = {one.order: dict(one.labels) for one in item.verdicts if one.sample == 0 and one.state == "valid"}
        if said.keys() >= {"first", "second"}:
            yield said["first"], said["second"]
