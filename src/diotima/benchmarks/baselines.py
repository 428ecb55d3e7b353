"""Trivial raters: what a judge has to beat before its agreement with people means anything.

Each sorts turns by something that takes no understanding, and gives all turns of a sort the same rating: whichever
makes it agree with people best, of a measure people's mean. So it is fitted on the very ratings that it is compared
with, which favours it, the more the fewer there are; a judge that is better all the same has seen something.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf, isnan
from statistics import fmean, median_low

from diotima.agreement import Rating
from diotima.benchmarks.topics import Topic

Pair = tuple[Rating, Rating]
"""What a person said, and what the trivial rater says."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """One trivial rater: what tables and sentences call it, and how it sorts turns."""

    name: str
    phrase: str
    sort: Callable[[Sequence[str]], Sequence[Hashable]]


def _all_alike(texts: Sequence[str]) -> Sequence[Hashable]:
    return ["any"] * len(texts)


def _asks(texts: Sequence[str]) -> Sequence[Hashable]:
    return ["?" in text for text in texts]


def _long(texts: Sequence[str]) -> Sequence[Hashable]:
    words = [len(text.split()) for text in texts]
    middle = median_low(words)
    if middle == max(words):
        return [count == middle for count in words]
    return [count > middle for count in words]


BASELINES = (
    Baseline("majority", "always saying the same", _all_alike),
    Baseline("question mark", "looking for a question mark", _asks),
    Baseline("length", "telling long from short", _long),
)


def said_by(
    baseline: Baseline, topic: Topic, texts: Sequence[str], agreement: Callable[[Sequence[Pair]], float]
) -> tuple[tuple[Rating, ...], ...]:
    """What this rater says about each turn, if ``agreement`` of such pairs is what it is out for.

    Nothing about turns of a sort that nobody rated.
    """
    sorts = baseline.sort(texts)
    heard: Mapping[Hashable, list[Rating]] = defaultdict(list)
    for sort, people in zip(sorts, topic.people, strict=True):
        heard[sort] += people.values()
    rated = {sort: ratings for sort, ratings in heard.items() if ratings}
    says = _means(rated) if topic.kind == "measure" else _best(rated, agreement)
    return tuple((says[sort],) if sort in says else () for sort in sorts)


def _means(rated: Mapping[Hashable, Sequence[Rating]]) -> Mapping[Hashable, Rating]:
    return {sort: fmean(map(float, ratings)) for sort, ratings in rated.items()}


def _best(
    rated: Mapping[Hashable, Sequence[Rating]], agreement: Callable[[Sequence[Pair]], float]
) -> Mapping[Hashable, Rating]:
    """Of all ways to give every sort one rating the one that agrees best; of equals, the one most often right."""

    def merit(says: Mapping[Hashable, Rating]) -> tuple[float, int]:
        pairs = [(rating, says[sort]) for sort, ratings in rated.items() for rating in ratings]
        reached = agreement(pairs)
        return -inf if isnan(reached) else reached, sum(rating == said for rating, said in pairs)

    on_offer = sorted({rating for ratings in rated.values() for rating in ratings})
    ways = (dict(zip(rated, way, strict=True)) for way in product(on_offer, repeat=len(rated)))
    return max(ways, key=merit)
