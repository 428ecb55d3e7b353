import pytest

from diotima.classroom.reading import read_turn
from diotima.classroom.wording import step_meant
from diotima.problems.arithmetic import Calculation
from diotima.problems.problem import Problem, Step

FISH = Problem(
    "p",
    "Tom catches 3 trout a day for 5 days. He sells each trout for $4 and buys a net for $20. How much is left?",
    "40",
    steps=(
        Step("", "3 * 5 = 15", "15", text="In the week Tom catches 3 * 5 = 15 trout."),
        Step("", "15 * 4 = 60", "60", text="Selling all trout brings 15 * 4 = $60."),
        Step("", "60 - 20 = 40", "40", text="After buying the net 60 - 20 = $40 is left."),
    ),
)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("How many does he catch in the week?", 0),
        ("What does selling them bring?", 1),
        ("And what about the net he buys?", 2),
        ("What is left once he has bought it?", 2),
        ("You have 15, and each is worth 4, so what now?", 1),
        ("The answer is 40.", None),
        ("Good work, keep going!", None),
        ("What do you think?", None),
        ("", None),
        ("trout", None),  # said in two steps alike
        ("???!!! ... \n\n", None),
    ],
)
def test_the_step_whose_words_are_used(text: str, step: int | None) -> None:
    assert step_meant(text, FISH) == step


def test_questions_come_before_statements_and_the_first_counts() -> None:
    assert step_meant("You know what he catches in the week. What does selling bring?", FISH) == 1
    everything = "What does he catch in the week? What does selling bring? What about the net?"
    assert step_meant(everything, FISH) == 0


def test_a_number_of_the_students_own_means_its_line() -> None:
    shown = {0: Calculation.of(3, "+", 5, 8), 1: Calculation.of(8, "*", 4, 32)}
    assert step_meant("How did you get 32?", FISH, shown) == 1
    assert step_meant("How did you get 32?", FISH) is None


def test_a_problem_without_steps_has_none() -> None:
    assert step_meant("How many?", Problem("p", "?", "1")) is None


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("What does selling them bring?", True),
        ("what does selling them bring", True),
        ("Okay, can you tell me what selling brings", True),
        ("Try to work out the selling.", True),
        ("Explain the selling to me.", True),
        ("Selling them brings more.", False),
        ("You should look at the selling.", False),
    ],
)
def test_asking_without_a_question_mark(text: str, asks: bool) -> None:
    assert read_turn(text, FISH).asks is asks


def test_the_topic_stays_until_another_step_is_meant() -> None:
    assert (read_turn("What do you think?", FISH).step, read_turn("What do you think?", FISH).skill) == (None, None)
    reading = read_turn("What do you think?", FISH, topic=1)
    assert (reading.step, reading.skill) == (1, "step 2")
    assert read_turn("And what about the net he buys?", FISH, topic=1).step == 2
    contradiction = read_turn("Look at step 1. What about the net he buys?", FISH, topic=1)
    assert (contradiction.step, contradiction.skill) == (0, "step 3")


def test_a_number_of_the_story_tells_nothing() -> None:
    assert read_turn("Is it 60?", FISH).told == {1}
    assert read_turn("He has 20 to pay.", FISH).told == frozenset()
    twenty = Problem("q", "20 apples and 0 pears, how many?", "20", steps=(Step("", "20 + 0 = 20", "20"),))
    assert read_turn("There are 20 apples.", twenty).told == frozenset()
    assert read_turn("Half is 7.5.", Problem("r", "?", "7.5", steps=(Step("", "15 / 2 = 7.5", "7.5"),))).told == {0}
