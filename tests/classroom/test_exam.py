import asyncio
import dataclasses
from collections.abc import Sequence

import pytest

from diotima.classroom.exam import Conduct, Exam
from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom
from diotima.classroom.tutors import scripted_tutor
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import CallRefused
from diotima.problems.problem import Problem, Step
from diotima.sandbox.world import World

SIBLING = Problem("sibling", "How many?", "7")
PROBLEM = Problem("p", "How many?", "5", sibling=SIBLING)
TAUGHT = Dialogue(PROBLEM, (Turn(TUTOR, "Look!"),))


class Examinee:
    """Gives these attempts: by problem and whether there was a lesson."""

    def __init__(self, attempts: dict[tuple[str, bool], Sequence[str]]) -> None:
        self._attempts = attempts

    async def attempts(self, problem: Problem, after: Dialogue, count: int) -> list[str]:
        texts = self._attempts[problem.id, bool(after.turns)]
        assert count == len(texts)
        return list(texts)


ATTEMPTS: dict[tuple[str, bool], Sequence[str]] = {
    ("p", False): ["My answer is 5.", "6", "6", "6"],
    ("p", True): ["The answer is 5.", "5", "I get 5.", "6"],
    ("sibling", False): ["5", "5", "5", "5"],
    ("sibling", True): ["7", "it is 7", "8", "8"],
}


def examined(dialogue: Dialogue = TAUGHT, **changed: Sequence[str]) -> dict[str, float | None]:
    attempts = ATTEMPTS | {("sibling", True): changed.get("sibling", ATTEMPTS["sibling", True])}
    scores = asyncio.run(Exam(Examinee(attempts), 4).score(dialogue))
    return {name: score.value for name, score in scores.items()}


def test_shares_of_a_scripted_examinee() -> None:
    assert examined() == {
        "solved_before": 0.25,
        "solved_same": 0.75,
        "delta_same": 0.5,
        "solved_sibling": 0.5,
        "control_sibling": 0.0,
        "gain": 0.5,
        "unread": 0.0,
    }


def test_without_a_sibling_there_is_nothing_to_transfer_to() -> None:
    dialogue = dataclasses.replace(TAUGHT, problem=dataclasses.replace(PROBLEM, sibling=None))
    scores = asyncio.run(Exam(Examinee(ATTEMPTS), 4).score(dialogue))
    for name in ("solved_sibling", "control_sibling", "gain"):
        assert (scores[name].value, scores[name].state) == (None, "invalid")
        assert scores[name].reason == "the problem has no sibling"
    assert scores["solved_same"].value == 0.75


def test_attempts_that_cannot_be_compared_are_neither_right_nor_wrong() -> None:
    formula = "The answer is blue."
    found = examined(sibling=["7", formula, formula, "8"])
    assert (found["solved_sibling"], found["unread"]) == (0.5, 2 / 16)
    missing = examined(sibling=[formula] * 4)
    assert (missing["solved_sibling"], missing["gain"], missing["unread"]) == (None, None, 4 / 16)
    assert missing["control_sibling"] == 0.0


def test_who_names_no_answer_has_not_solved_it() -> None:
    found = examined(sibling=["7", "no idea", "I would have to think", ""])
    assert (found["solved_sibling"], found["unread"]) == (0.25, 0.0)


def test_a_lesson_that_teaches_nothing_changes_nothing() -> None:
    problem = World().problem(3)
    dialogue = asyncio.run(Classroom(scripted_tutor("generic"), Learner()).teach(problem, 1))  # type: ignore[arg-type]
    scores = asyncio.run(Exam(Learner()).score(dialogue))
    assert scores["delta_same"].value == scores["gain"].value == 0.0


TWO_STEPS = Problem(
    "p",
    "How many?",
    "60",
    steps=(Step("", "17 + 57 = 74", "74", "gain"), Step("", "74 - 14 = 60", "60", "fewer")),
)
BOTH_WRONG = Turn(STUDENT, "Line 1: 17 + 57 = 64\nLine 2: 64 + 14 = 78")
SECOND_WRONG = Turn(STUDENT, "Line 1: 17 + 57 = 74\nLine 2: 74 + 14 = 88")
ALL_RIGHT = Turn(STUDENT, "Line 1: 17 + 57 = 74\nLine 2: 74 - 14 = 60")


def conduct(*turns: Turn) -> dict[str, float | None]:
    scores = asyncio.run(Conduct().score(Dialogue(TWO_STEPS, turns)))
    return {name: score.value for name, score in scores.items()}


def test_addressing_a_mistake_and_the_first_one() -> None:
    step_1, step_2 = Turn(TUTOR, "Look at step 1."), Turn(TUTOR, "Look at step 2.")
    found = conduct(BOTH_WRONG, step_2, BOTH_WRONG, step_1, SECOND_WRONG, step_1, SECOND_WRONG, Turn(TUTOR, "Hm?"))
    assert (found["addressed"], found["first_wrong"]) == (0.5, 0.25)


def test_turns_after_right_work_or_none_are_not_asked_to_address_anything() -> None:
    hello, praise = Turn(TUTOR, "Show me."), Turn(TUTOR, "Well done.")
    assert conduct(hello, ALL_RIGHT, praise)["addressed"] is None
    assert conduct(hello, Turn(STUDENT, "I have no idea"), praise)["first_wrong"] is None
    assert conduct(hello, SECOND_WRONG, Turn(TUTOR, "Look at step 2."), ALL_RIGHT, praise)["addressed"] == 1.0


@pytest.mark.parametrize(
    ("turns", "well_formed", "ended", "cut"),
    [
        ([Turn(TUTOR, "Go on now.")], 1.0, 0.0, 0.0),
        ([Turn(TUTOR, "Go on now."), Turn(TUTOR, "", malformed=True)], 0.5, 0.0, 0.0),
        ([Turn(TUTOR, "Go on", cut=True), Turn(TUTOR, "Bye.", ends=True)], 0.5, 1.0, 1.0),
        ([Turn(TUTOR, "x", cut=True, malformed=True)], 0.0, 0.0, 1.0),
    ],
)
def test_form(turns: list[Turn], well_formed: float, ended: float, cut: float) -> None:
    found = conduct(*turns)
    assert (found["well_formed"], found["ended"], found["cut"]) == (well_formed, ended, cut)
    assert found["tutor_turns"] == len(turns)
    assert found["tutor_words"] == sum(len(turn.text.split()) for turn in turns)


def test_a_tutor_that_never_spoke() -> None:
    scores = asyncio.run(Conduct().score(Dialogue(TWO_STEPS, (BOTH_WRONG,))))
    assert scores.pop("tutor_turns").value == 0.0
    assert {score.reason for score in scores.values()} == {"the tutor never spoke"}
    assert set(scores) | {"tutor_turns"} == set(conduct(Turn(TUTOR, "Hm.")))


class TooLong(Examinee):
    """Cannot be asked after any lesson, or at all."""

    def __init__(self, even_before: bool = False) -> None:
        super().__init__(ATTEMPTS)
        self.even_before = even_before

    async def attempts(self, problem: Problem, after: Dialogue, count: int) -> list[str]:
        if after.turns or self.even_before:
            raise CallRefused("vllm/m: 400: the context is too long")
        return await super().attempts(problem, after, count)


def test_an_exam_that_cannot_be_taken_after_a_long_lesson_is_an_error_and_no_failure() -> None:
    scores = asyncio.run(Exam(TooLong(), 4).score(TAUGHT))
    assert {name: score.state for name, score in scores.items()} == {
        "solved_before": "valid", "control_sibling": "valid", "unread": "valid",
        "solved_same": "error", "delta_same": "error", "solved_sibling": "error", "gain": "error",
    }  # fmt: skip
    assert scores["gain"].reason == "vllm/m: 400: the context is too long"


def test_an_exam_that_cannot_be_taken_at_all_says_nothing_about_the_lesson() -> None:
    with pytest.raises(CallRefused):
        asyncio.run(Exam(TooLong(even_before=True), 4).score(TAUGHT))
