import pytest

from diotima.classroom.reading import read_turn
from diotima.problems.problem import Problem, Step
from diotima.problems.skills import SKILLS

PROBLEM = Problem(
    "p",
    "How many?",
    "60",
    steps=(Step("", "17 + 57 = 74", "74", "gain"), Step("", "74 - 14 = 60", "60", "lose"), Step("", "?", "a lot")),
)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("Look at step 2.", 1),
        ("LINE #1 is odd.", 0),
        ("Look at step 3, then at step 1.", 2),
        ("See the second step.", 1),
        ("Your last line is odd.", 2),
        ("Step 4 is missing.", None),  # there is no such step
        ("Step 0?", None),
        ("What about the steps?", None),
        ("Footstep 2", None),
        ("You have 2 apples.", None),
    ],
)
def test_the_first_step_named(text: str, step: int | None) -> None:
    assert read_turn(text, PROBLEM).step == step


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Step 1 gives 74.", {0}),
        ("Is it seventy-four, then 60?", {0, 1}),
        ("The answer is 60.", {1}),
        ("Look at step 2, not at 17 or 57.", set()),
        ("740", set()),
    ],
)
def test_results_told(text: str, told: set[int]) -> None:
    assert read_turn(text, PROBLEM).told == told


def test_what_the_student_has_worked_out_is_not_told() -> None:
    assert read_turn("You have 74. Then 60?", PROBLEM, known={74}).told == {1}


def test_asking_and_length() -> None:
    asks, states = read_turn("How many remain?", PROBLEM), read_turn("Some remain.", PROBLEM)
    assert (asks.asks, asks.words, asks.skill) == (True, 3, "lose")
    assert (states.asks, states.words, states.skill) == (False, 2, "lose")


def test_nothing_can_be_read_in_nothing() -> None:
    reading = read_turn("", PROBLEM)
    assert (reading.step, reading.skill, reading.asks, reading.told, reading.words) == (None, None, False, set(), 0)


def test_concepts_are_names_of_skills() -> None:
    assert {read_turn(q, PROBLEM).skill for skill in SKILLS.values() for q in skill.questions} == set(SKILLS)
