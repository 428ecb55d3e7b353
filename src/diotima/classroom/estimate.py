"""What lessons will cost, before anything is asked: counts of calls and tokens, by arithmetic alone.

How many calls there are is exact for lessons that take all their turns; how many tokens they are is not, for nobody has
tokenised anything. So there are two figures. *At most*: every reply runs to its limit, and a token is three bytes of
UTF-8, which is short for prose in any script. *Expected*: replies are half as long as they may be, and a token is four
bytes. Both let every lesson take all its turns, for models rarely end one; a simulated learner leaves earlier, so with
one the estimate is high. Calls that have to be sent again come on top, and a discount on cached prompts goes off.

What does not depend on the tutor is asked once for all of them: the student's own first attempt, and the exams without
the lesson (before, and the control). The calls are those of `lesson`, `roles`, `students` and `exam`; a test holds real
lessons and compares. Candidates and verdicts are counted one by one: what is read is there already.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from diotima.classroom.lesson import Opens, who_opens
from diotima.classroom.students import Requests
from diotima.dialogue import STUDENT, Dialogue
from diotima.models.prices import Price, cost, dollars, prices_as_of
from diotima.problems.problem import Problem
from diotima.prompt import Prompt

_TOKENS_A_MESSAGE = 8  # what a chat template puts around one, about


@dataclass(frozen=True, slots=True)
class Voice:
    """Someone who speaks in lessons, as far as it matters for what they cost.

    ``model``: backend/NAME of a model behind an endpoint, "" for everybody whose turns cost nothing. ``prompt``: its
    system prompt, or None. ``max_tokens``: of a turn; None for turns about as long as the problem's solution (scripted
    tutors, the simulated learner).
    """

    model: str = ""
    prompt: Prompt | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Sitting:
    """How a student sits an exam: the longest solution in tokens, and whether all ``attempts`` are alike (greedy)."""

    attempts: int
    max_tokens: int
    greedy: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """How lessons are held: how many on a problem, for how many tutor turns, who begins, what students are called."""

    lessons: int
    tutor_turns: int
    opens: Opens = STUDENT
    names: tuple[str, ...] = ()
    requests: Requests = field(default_factory=Requests)


@dataclass(frozen=True, slots=True)
class Request:
    """What a model will be asked ``times`` times: messages that are there already, and the longest reply in tokens."""

    model: str
    messages: tuple[str, ...]
    max_tokens: int
    times: int = 1


@dataclass(frozen=True, slots=True)
class Load:
    """Calls, and the tokens that they read and write."""

    calls: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.reply_tokens + other.reply_tokens,
        )

    def __mul__(self, times: int) -> "Load":
        return Load(self.calls * times, self.prompt_tokens * times, self.reply_tokens * times)

    def cost(self, price: Price | None) -> int | None:
        """Micro-dollars, None without a price."""
        return None if price is None else cost(price, self.prompt_tokens, 0, self.reply_tokens)


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """What one model will be asked, over all its parts; ``price`` None: not known."""

    model: str
    expected: Load
    at_most: Load
    price: Price | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will ask of endpoints."""

    problems: int
    lessons: int
    models: tuple[ModelEstimate, ...]

    @property
    def expected(self) -> Load:
        """Over all models."""
        return sum((one.expected for one in self.models), Load())

    @property
    def at_most(self) -> Load:
        """Over all models."""
        return sum((one.at_most for one in self.models), Load())

    @property
    def expected_cost(self) -> int | None:
        """Micro-dollars, None if a price is not known."""
        return _total([one.expected.cost(one.price) for one in self.models])

    @property
    def most_cost(self) -> int | None:
        """Micro-dollars, None if a price is not known."""
        return _total([one.at_most.cost(one.price) for one in self.models])


@dataclass(frozen=True, slots=True)
class _Scale:
    """How texts and limits become tokens."""

    bytes_a_token: int
    share: Fraction  # of its limit that a reply takes

    def read(self, *texts: str) -> int:
        """Tokens of these messages."""
        return sum(math.ceil(len(text.encode()) / self.bytes_a_token) + _TOKENS_A_MESSAGE for text in texts)

    def reply(self, most: int) -> int:
        return math.ceil(most * self.share)

    def turn(self, voice: Voice, problem: Problem) -> int:
        """Tokens of a turn, as the other reads it."""
        if voice.max_tokens is not None:
            return self.reply(voice.max_tokens)
        return math.ceil(len((problem.solution or problem.question).encode()) / self.bytes_a_token)


_EXPECTED, _AT_MOST = _Scale(4, Fraction(1, 2)), _Scale(3, Fraction(1))


def estimate(
    problems: Sequence[Problem],
    tutors: Sequence[Voice],
    student: Voice,
    sitting: Sitting,
    terms: Terms,
    prices: Mapping[str, Price | None],
) -> Estimate:
    """What it takes to hold and examine lessons with every tutor; a tutor at two temperatures is two.

    ``prices``: by the models' names; one that is not there is not known.
    """
    expected, at_most = (_loads(problems, tutors, student, sitting, terms, scale) for scale in (_EXPECTED, _AT_MOST))
    models = tuple(ModelEstimate(model, expected[model], at_most[model], prices.get(model)) for model in expected)
    return Estimate(len(problems), len(problems) * terms.lessons * len(tutors), models)


def estimate_requests(
    requests: Iterable[Request], problems: int, lessons: int, prices: Mapping[str, Price | None]
) -> Estimate:
    """What it takes to have these requests answered; ``problems`` and ``lessons`` are the counts that go with it."""
    expected, at_most = defaultdict[str, Load](Load), defaultdict[str, Load](Load)
    for one in requests:
        for loads, scale in ((expected, _EXPECTED), (at_most, _AT_MOST)):
            loads[one.model] += Load(1, scale.read(*one.messages), scale.reply(one.max_tokens)) * one.times
    models = tuple(ModelEstimate(model, expected[model], at_most[model], prices.get(model)) for model in expected)
    return Estimate(problems, lessons, models)


def replies_wanted(
    contexts: Iterable[Dialogue], tutors: Sequence[Voice], count: int, names: tuple[str, ...]
) -> Iterator[Request]:
    """What models behind endpoints are asked, to have every tutor reply ``count`` times to each context."""
    for context in contexts:
        for tutor in tutors:
            if tutor.model and tutor.max_tokens is not None:
                prompt = _filled(tutor.prompt, context.problem, names)
                yield Request(tutor.model, (prompt, *(turn.text for turn in context.turns)), tutor.max_tokens, count)


def plain(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON can hold it; costs in dollars, None where a price is not known."""

    def figures(load: Load, micro: int | None) -> dict[str, Any]:
        return {
            "calls": load.calls,
            "prompt_tokens": load.prompt_tokens,
            "reply_tokens": load.reply_tokens,
            "cost": None if micro is None else micro / 1_000_000,
        }

    return {
        "problems": estimate.problems,
        "lessons": estimate.lessons,
        "prices_as_of": prices_as_of().isoformat(),
        "expected": figures(estimate.expected, estimate.expected_cost),
        "at_most": figures(estimate.at_most, estimate.most_cost),
        "models": {
            one.model: {
                "expected": figures(one.expected, one.expected.cost(one.price)),
                "at_most": figures(one.at_most, one.at_most.cost(one.price)),
            }
            for one in estimate.models
        },
    }


def render(
    estimate: Estimate,
    lessons: str = "lessons",
    problems: str = "problems",
    counted: str = "Both take all turns of all lessons.",
) -> str:
    """An estimate as a table for people; ``lessons`` and ``problems`` are what its two counts are called."""
    title = f"An estimate, not a promise: {estimate.lessons:,} {lessons} on {estimate.problems:,} {problems}."
    if not estimate.models:
        return f"{title}\nNo model behind an endpoint takes part; there is nothing to pay."
    rows: list[tuple[str, ...]] = [("model", "", "calls", "prompt tokens", "reply tokens", "cost")]
    for one in estimate.models:
        rows.append(_row(one.model, "expected", one.expected, one.expected.cost(one.price)))
        rows.append(_row("", "at most", one.at_most, one.at_most.cost(one.price)))
    if len(estimate.models) > 1:
        rows.append(_row("all", "expected", estimate.expected, estimate.expected_cost))
        rows.append(_row("", "at most", estimate.at_most, estimate.most_cost))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    note = (
        f"{counted} Expected: replies half as long as they may be, four bytes a token.\n"
        "At most: replies as long as they may be, three bytes a token. Calls sent again come on top.\n"
        f"Prices, where neither your own nor told by the service, are as of {prices_as_of().isoformat()}."
    )
    return "\n".join([title, *lines, note])


def _row(model: str, which: str, load: Load, micro: int | None) -> tuple[str, ...]:
    figures = (f"{load.calls:,}", f"{load.prompt_tokens:,}", f"{load.reply_tokens:,}")
    return (model, which, *figures, "not known" if micro is None else dollars(micro))


def _total(costs: Sequence[int | None]) -> int | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _loads(
    problems: Sequence[Problem],
    tutors: Sequence[Voice],
    student: Voice,
    sitting: Sitting,
    terms: Terms,
    scale: _Scale,
) -> dict[str, Load]:
    """What every model behind an endpoint is asked."""
    loads: defaultdict[str, Load] = defaultdict(Load)
    for problem in problems:
        if student.model:
            for load in _without_tutor(problem, student, sitting, terms, scale):
                loads[student.model] += load * terms.lessons
        for tutor in tutors:
            if tutor.model:
                loads[tutor.model] += _tutoring(problem, tutor, student, terms, scale) * terms.lessons
            if student.model:
                for load in _taught(problem, tutor, student, sitting, terms, scale):
                    loads[student.model] += load * terms.lessons
    return dict(loads)


def _tutoring(problem: Problem, tutor: Voice, student: Voice, terms: Terms, scale: _Scale) -> Load:
    """The turns of a tutor in one lesson: each reads the prompt and all that was said so far."""
    own, heard = scale.turn(tutor, problem), scale.turn(student, problem)
    first = int(who_opens(terms.opens, problem) == STUDENT)
    system = scale.read(_filled(tutor.prompt, problem, terms.names))
    return sum(
        (Load(1, system + turn * _said(own) + (turn + first) * _said(heard), own) for turn in range(terms.tutor_turns)),
        Load(),
    )


def _taught(
    problem: Problem, tutor: Voice, student: Voice, sitting: Sitting, terms: Terms, scale: _Scale
) -> Iterator[Load]:
    """What a student is asked in one lesson and after it: its turns but an opening one, and two exams."""
    own, heard = scale.turn(student, problem), scale.turn(tutor, problem)
    first = int(who_opens(terms.opens, problem) == STUDENT)
    start = scale.read(_filled(student.prompt, problem, terms.names), *[terms.requests.attempt.fill()] * first)
    for turn in range(1, terms.tutor_turns + 1):
        yield Load(1, start + turn * _said(heard) + (turn - 1 + first) * _said(own), own)
    lesson = start + terms.tutor_turns * _said(heard) + (terms.tutor_turns + first) * _said(own)
    yield _exam(lesson + scale.read(terms.requests.solution.fill()), sitting, scale)
    if problem.sibling is not None:
        request = terms.requests.sibling.fill(question=problem.sibling.question)
        yield _exam(lesson + scale.read(request), sitting, scale)


def _without_tutor(problem: Problem, student: Voice, sitting: Sitting, terms: Terms, scale: _Scale) -> Iterator[Load]:
    """What a student is asked before any tutor has spoken: its opening turn, and the exams without the lesson."""
    if who_opens(terms.opens, problem) == STUDENT:
        texts = (_filled(student.prompt, problem, terms.names), terms.requests.attempt.fill())
        yield Load(1, scale.read(*texts), scale.turn(student, problem))
    for one in (problem, problem.sibling):
        if one is not None:
            texts = (_filled(student.prompt, one, terms.names), terms.requests.solution.fill())
            yield _exam(scale.read(*texts), sitting, scale)


def _exam(prompt: int, sitting: Sitting, scale: _Scale) -> Load:
    return Load(1, prompt, scale.reply(sitting.max_tokens)) * (1 if sitting.greedy else sitting.attempts)


def _said(tokens: int) -> int:
    return tokens + _TOKENS_A_MESSAGE


def _filled(prompt: Prompt | None, problem: Problem, names: Sequence[str]) -> str:
    """A system prompt with the longest name that it may get."""
    if prompt is None:
        return ""
    known = {"question": problem.question, "answer": problem.answer, "solution": problem.solution}
    known["name"] = max(names, key=len, default="the student")
    return prompt.fill(**{name: known[name] for name in prompt.placeholders})
