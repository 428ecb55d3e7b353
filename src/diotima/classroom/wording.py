"""Which step of a solution a tutor's words are about, where no lexicon of concepts is known.

A solution from elsewhere comes with its own words: the sub-question of a step, the sentence in which it stands, its
numbers. A turn is about the step whose words it shares, each word weighing the more the fewer steps have it (inverse
document frequency, with the steps of one problem as the documents; cosine similarity). Numbers are words too: who asks
"how did you get 12?" means the line with the 12 in it.

Nothing is learned or tuned on any tutor of ours; what the reader is worth on official sub-questions and on what human
teachers said is measured in `benchmarks/reading.py`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt

from diotima.problems.arithmetic import Calculation, operands, read_work
from diotima.problems.numbers import find_numbers
from diotima.problems.problem import Problem, Step

LEAST_SIMILARITY = 0.10
LEAST_LEAD = 1.15
_SENTENCE = re.compile(r"[^.?!\n]+(?:[.](?=\d)[^.?!\n]*)*[.?!\n]*")
_WORD = re.compile(r"[a-z]+")
# Words that any turn or any solution may have, whatever step they are about.
_EVERYWHERE = frozenset(
    "a about again all also am an and any are as at be because been but by can could did do does doing done each for "
    "from get gets give given go going got had has have having he help her here him his how i if in into is it its "
    "just know let like line look made make makes many me more much must my need needs next no not now of off ok okay "
    "on one or our out please problem question right say see she should show so solve solution some step steps take "
    "tell than that the their them then there therefore these they thing think this those thus to total try up us use "
    "was we well were what when where which while who why will with work would wrong yes yet you your answer number "
    "calculate calculation find first second third hint idea mean means explain sure great good job so far".split()
)


def step_meant(text: str, problem: Problem, shown: Mapping[int, Calculation] | None = None) -> int | None:
    """The index of the step that a turn is about, or None if its words do not single one out.

    ``shown``: the lines of the student's latest work, whose results stand for their steps too. Sentences are taken one
    by one, questions before statements, and the first that singles out a step counts: whoever names every step has
    named the first only.
    """
    profiles = _profiles(problem)
    if not profiles.steps:
        return None
    sentences = _SENTENCE.findall(text)
    for sentence in sorted(sentences, key=lambda sentence: "?" not in sentence):
        step = _nearest(sentence, profiles, shown or {})
        if step is not None:
            return step
    return None


@dataclass(frozen=True, slots=True)
class _Profiles:
    """For each step the weight of its words, with their norm; and the weight of each word."""

    steps: tuple[tuple[Mapping[str, float], float], ...]
    weights: Mapping[str, float]


@lru_cache(maxsize=2048)
def _profiles(problem: Problem) -> _Profiles:
    bags = [_step_words(step) for step in problem.steps]
    frequency = Counter(word for bag in bags for word in bag)
    weights = {word: log((1 + len(bags)) / count) for word, count in frequency.items()}
    vectors = [{word: weights[word] for word in bag} for bag in bags]
    return _Profiles(tuple((vector, _norm(vector.values())) for vector in vectors), weights)


def _step_words(step: Step) -> frozenset[str]:
    calculation = read_work(step.work)
    numbers = [] if calculation is None else operands(calculation.expression)
    told = (word for word in words(f"{step.question} {step.text}") if not word.startswith("#"))
    return frozenset(told) | {f"#{number}" for number in numbers}


def _nearest(sentence: str, profiles: _Profiles, shown: Mapping[int, Calculation]) -> int | None:
    heard = {word: profiles.weights[word] for word in words(sentence) if word in profiles.weights}
    own = {f"#{line.result}": index for index, line in shown.items()}
    quoted = {own[word] for word in words(sentence) if word in own and own[word] < len(profiles.steps)}
    spoken = any(not word.startswith("#") for word in heard)
    if not spoken and not ("?" in sentence and (heard or quoted)):
        return None  # "the answer is 18" is about no step, even where an 18 stands in one
    norm = _norm(heard.values()) or 1.0
    scores = [
        sum(heard[word] * weight for word, weight in vector.items() if word in heard) / (norm * size or 1.0)
        + (index in quoted)
        for index, (vector, size) in enumerate(profiles.steps)
    ]
    best, *others = sorted(scores, reverse=True)
    if best < LEAST_SIMILARITY or (others and best < LEAST_LEAD * others[0]):
        return None
    return scores.index(best)


def words(text: str) -> list[str]:
    """The words of a text that can tell one step from another, cut to their stems, and its numbers as ``#12``."""
    stems = [_stem(word) for word in _WORD.findall(text.lower().replace("'s", "").replace("’s", ""))]
    return [stem for stem in stems if stem] + [f"#{number.value}" for number in find_numbers(text)]


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    if word in _EVERYWHERE or len(word) < 2:
        return ""
    for ending in ("ings", "ing", "ies", "ied", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)].removesuffix("e")
    return word.removesuffix("e").removesuffix("y") if len(word) > 3 else word


def _norm(weights: Iterable[float]) -> float:
    return sqrt(sum(weight * weight for weight in weights))
