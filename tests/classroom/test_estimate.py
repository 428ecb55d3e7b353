"""The estimate: its counts are those of real lessons, and its sums are right."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Literal

import pytest

from diotima.classroom.estimate import Estimate, Load, Sitting, Terms, Voice, estimate, plain, render
from diotima.classroom.exam import Exam
from diotima.classroom.lesson import Classroom, Limits, Participant
from diotima.classroom.roles import Role
from diotima.classroom.students import ModelStudent
from diotima.classroom.tutors import Scripted
from diotima.dialogue import TUTOR, Message, stable_seed
from diotima.models.chat import Reply, Sampling
from diotima.models.prices import FREE, Price, price_from, prices_as_of
from diotima.problems.problem import Problem
from diotima.prompt import Prompt

SIBLING = Problem("s", "How many pears are there?", "7777", "7770 + 7 = 7777")
PROBLEMS = [
    Problem("p", "How many apples are there?", "5555", "5550 + 5 = 5555", sibling=SIBLING),
    Problem("q", "Wie viele Äpfel?", "12", "6 + 6 = 12"),
]
TUTOR_PROMPT = Prompt("tutor", "Teach {{name}}: {{question}} ({{solution}})", "0")
PERSONA = Prompt("persona", "You are {{name}}. {{question}}", "1")
TUTOR_MODEL = Voice("openai/tutor", TUTOR_PROMPT, 20)
STUDENT_MODEL = Voice("vllm/student", PERSONA, 10)
SITTING = Sitting(attempts=3, max_tokens=50)
TERMS = Terms(lessons=2, tutor_turns=4, names=("Priya",))
PRICE = price_from({"prompt": 1, "reply": 2}, "here")


class Counter:
    """Replies that run to their limit, at three bytes a token; equal calls are counted once."""

    def __init__(self) -> None:
        self.calls: dict[tuple[tuple[Message, ...], int | None], Load] = {}

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        read = sum(math.ceil(len(message.content.encode()) / 3) + 8 for message in messages)
        self.calls[tuple(messages), sampling.seed] = Load(1, read, sampling.max_tokens)
        return Reply("x" * 3 * sampling.max_tokens)

    @property
    def total(self) -> Load:
        return sum(self.calls.values(), Load())


def held(tutors: Sequence[Participant], student: ModelStudent, terms: Terms, attempts: int) -> None:
    async def all_lessons() -> None:
        for tutor in tutors:
            classroom = Classroom(tutor, student, Limits(terms.tutor_turns), terms.opens)
            for problem in PROBLEMS:
                for number in range(terms.lessons):
                    dialogue = await classroom.teach(problem, stable_seed("lesson", problem.id, number))
                    await Exam(student, attempts).score(dialogue)

    asyncio.run(all_lessons())


@pytest.mark.parametrize("opens", ["student", "tutor", "both"])
@pytest.mark.parametrize("greedy", [False, True])
def test_at_most_is_what_lessons_take_whose_replies_all_run_to_their_limit(
    opens: Literal["tutor", "student", "both"], greedy: bool
) -> None:
    terms = replace(TERMS, opens=opens)
    asked_tutor, asked_student = Counter(), Counter()
    speaking = Sampling(0.0 if greedy else 1.0, max_tokens=10)
    student = ModelStudent(asked_student, PERSONA, speaking, replace(speaking, max_tokens=50), terms.names)
    tutors = [
        Role(TUTOR, asked_tutor, TUTOR_PROMPT, Sampling(max_tokens=20), "solution", terms.names),
        Scripted(lambda dialogue: dialogue.problem.solution),
    ]
    held(tutors, student, terms, SITTING.attempts)
    sitting = replace(SITTING, greedy=greedy)
    found = estimate(PROBLEMS, [TUTOR_MODEL, Voice()], STUDENT_MODEL, sitting, terms, {})
    assert {one.model: one.at_most for one in found.models} == {
        "openai/tutor": asked_tutor.total,
        "vllm/student": asked_student.total,
    }
    assert found.lessons == 8


def expected_less(found: Estimate) -> bool:
    return all(
        one.expected.calls == one.at_most.calls
        and one.expected.prompt_tokens < one.at_most.prompt_tokens
        and one.expected.reply_tokens * 2 == one.at_most.reply_tokens
        for one in found.models
    )


def test_what_is_expected_are_the_same_calls_with_half_as_long_replies() -> None:
    found = estimate(PROBLEMS, [TUTOR_MODEL], STUDENT_MODEL, SITTING, TERMS, {})
    assert len(found.models) == 2
    assert expected_less(found)


def test_counts_by_hand() -> None:
    found = estimate(PROBLEMS[:1], [TUTOR_MODEL], STUDENT_MODEL, SITTING, TERMS, {})
    calls = {one.model: one.at_most.calls for one in found.models}
    # Two lessons: four tutor turns, five student turns, four sittings of three attempts.
    assert calls == {"openai/tutor": 2 * 4, "vllm/student": 2 * (5 + 4 * 3)}


def test_who_is_no_endpoint_costs_nothing_and_is_heard_all_the_same() -> None:
    learner = estimate(PROBLEMS, [TUTOR_MODEL], Voice(), SITTING, TERMS, {"openai/tutor": PRICE})
    assert [one.model for one in learner.models] == ["openai/tutor"]
    wordy = [replace(problem, solution="word " * 1000) for problem in PROBLEMS]
    more = estimate(wordy, [replace(TUTOR_MODEL, prompt=PERSONA)], Voice(), SITTING, TERMS, {})
    less = estimate(PROBLEMS, [replace(TUTOR_MODEL, prompt=PERSONA)], Voice(), SITTING, TERMS, {})
    assert more.at_most.prompt_tokens > less.at_most.prompt_tokens
    assert more.at_most.reply_tokens == less.at_most.reply_tokens
    nobody = estimate(PROBLEMS, [Voice()], Voice(), SITTING, TERMS, {})
    assert nobody.models == ()
    assert nobody.most_cost == 0
    assert "nothing to pay" in render(nobody)


def test_two_parts_of_one_model_are_one_sum() -> None:
    both = estimate(PROBLEMS, [TUTOR_MODEL], replace(STUDENT_MODEL, model="openai/tutor"), SITTING, TERMS, {})
    apart = estimate(PROBLEMS, [TUTOR_MODEL], STUDENT_MODEL, SITTING, TERMS, {})
    assert len(both.models) == 1
    assert both.at_most == apart.at_most


def test_costs_are_known_only_if_all_prices_are() -> None:
    def found(prices: dict[str, Price | None]) -> Estimate:
        return estimate(PROBLEMS, [TUTOR_MODEL], STUDENT_MODEL, SITTING, TERMS, prices)

    free = found({"openai/tutor": PRICE, "vllm/student": FREE})
    tutor = next(one for one in free.models if one.model == "openai/tutor")
    assert free.most_cost == tutor.at_most.prompt_tokens + 2 * tutor.at_most.reply_tokens
    assert free.expected_cost is not None
    assert free.expected_cost < free.most_cost
    unknown = found({"openai/tutor": PRICE})
    assert (unknown.expected_cost, unknown.most_cost) == (None, None)
    assert plain(unknown)["at_most"]["cost"] is None
    assert "not known" in render(unknown)


def test_the_table_and_the_figures_say_the_same() -> None:
    found = estimate(
        PROBLEMS, [TUTOR_MODEL], STUDENT_MODEL, SITTING, TERMS, {"openai/tutor": PRICE, "vllm/student": FREE}
    )
    table, figures = render(found), plain(found)
    assert found.most_cost is not None
    assert Decimal(str(figures["at_most"]["cost"])) * 1_000_000 == found.most_cost
    for model in ("openai/tutor", "vllm/student"):
        row = next(line for line in table.splitlines() if line.startswith(model))
        assert f"{figures['models'][model]['expected']['prompt_tokens']:,}" in row
    assert prices_as_of().isoformat() in table
    assert "4 lessons on 2 problems" in table
