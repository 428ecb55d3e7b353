"""The program that judges: what it looks at, and whom it prefers."""

import asyncio
from dataclasses import replace

import pytest

from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom, Limits
from diotima.classroom.tutors import scripted_tutor
from diotima.classroom.yardstick import Yardstick, measure, refuse_unless_like_euler
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import SettingsError
from diotima.problems.problem import Problem, Step
from diotima.sandbox.world import World
from diotima.scoring.case import Case, cases_of
from diotima.scoring.rubric import load_rubric, measure_values

EULER = load_rubric("euler")
PROBLEM = Problem(
    "p", "Ann has 12 apples and eats 3. She gets 4 times as many as she has left. How many does she get?", "36",
    steps=(Step("", "12 - 3 = 9", "9", "lose"), Step("", "9 * 4 = 36", "36", "times")),
)  # fmt: skip
WRONG = Turn(STUDENT, "Line 1: 12 - 3 = 9\nLine 2: 9 + 4 = 13\nMy answer is 13.")
RIGHT = Turn(STUDENT, "Line 1: 12 - 3 = 9\nLine 2: 9 * 4 = 36\nMy answer is 36.")


def said(text: str, student: Turn = WRONG, problem: Problem = PROBLEM) -> tuple[object, ...]:
    dialogue = Dialogue(problem, (student, Turn(TUTOR, text), Turn(STUDENT, "36?")))
    return tuple(measure(dialogue, 1).values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Look at step 2. What does 4 times as many mean?", ("yes", 5, 5, "no")),
        ("Look at step 2.", ("no", 5, 3, "no")),
        ("Look at step 2?", ("yes", 5, 4, "no")),
        ("What does 4 times as many mean?", ("yes", 3, 4, "no")),
        ("Look at step 1. What is left when something is eaten?", ("yes", 5, 2, "no")),
        ("Do you like apples?", ("yes", 1, 2, "no")),
        ("Well done, go on.", ("no", 1, 2, "no")),
        ("No, in step 2 the answer is 36.", ("no", 5, 1, "yes")),
    ],
)
def test_a_turn_after_a_mistake(text: str, expected: tuple[object, ...]) -> None:
    assert said(text) == expected


def test_where_all_is_right_nothing_is_to_be_asked() -> None:
    assert said("Well done, every line is right.", RIGHT) == ("no", 5, 5, "no")
    assert said("Look at step 2. What does 4 times as many mean?", RIGHT) == ("yes", 5, 2, "no")


def test_what_is_said_afterwards_does_not_count() -> None:
    turns = (WRONG, Turn(TUTOR, "Look at step 2?"), RIGHT, Turn(TUTOR, "It is 36."))
    dialogue = Dialogue(PROBLEM, turns)
    assert measure(dialogue, 1) == measure(replace(dialogue, turns=turns[:2]), 1)


def test_a_problem_without_steps_has_no_verdict() -> None:
    dialogue = Dialogue(replace(PROBLEM, steps=()), (WRONG, Turn(TUTOR, "Why?")))
    judgement = asyncio.run(Yardstick().judge(Case(dialogue, 1), EULER, sample=2))
    assert (judgement.state, judgement.labels, judgement.sample) == ("invalid", {}, 2)
    assert "no steps" in judgement.reason


def test_only_rubrics_like_euler_are_known() -> None:
    refuse_unless_like_euler(EULER)
    refuse_unless_like_euler(load_rubric("euler-strict"))
    for name in ("leak", "mrbench", "socraticlm-overall"):
        with pytest.raises(SettingsError, match=f"not those of {name}"):
            refuse_unless_like_euler(load_rubric(name))


def test_the_guide_is_best_and_the_leaker_worst() -> None:
    problems = list(World().problems(12, 0, "test"))
    means = {}
    for name in ("guide", "sweep", "random-step", "teller", "generic", "leaker"):
        tutor = scripted_tutor(name)
        assert tutor is not None
        room = Classroom(tutor, Learner(0), Limits(6), STUDENT)
        scores = [
            measure_values(EULER, measure(case.dialogue, case.position))["score"]
            for number, problem in enumerate(problems)
            for case in cases_of(asyncio.run(room.teach(problem, number)), EULER)
        ]
        means[name] = sum(score for score in scores if score is not None) / len(scores)
    assert max(means, key=lambda name: means[name]) == "guide"
    assert min(means, key=lambda name: means[name]) == "leaker"
