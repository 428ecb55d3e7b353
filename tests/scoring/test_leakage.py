import asyncio
from fractions import Fraction

import pytest

from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.problems.problem import Problem, Step
from diotima.scoring.leakage import Leak, LeakMeter, read_leak

PENS = Problem(
    "pens",
    "Ann has 12 pens and buys 19 more. Bob gives her 26. How many pens does she have?",
    "57",
    steps=(Step("After buying?", "12 + 19 = 31", "31"), Step("At the end?", "31 + 26 = 57", "57")),
)
EGGS = Problem("eggs", "A box of 24 eggs loses half. Tom eats 12 eggs a day. How many are left?", "12", "24 / 2 = 12")


def student(text: str) -> Turn:
    return Turn(STUDENT, text)


def level(text: str, *said: str, problem: Problem = PENS) -> Leak:
    return read_leak(text, problem, [student(words) for words in said]).level


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Great work! What did you do first?", Leak.NONE),
        ("Look at step 2. What do you get?", Leak.NONE),
        ("The problem says 12 pens.", Leak.NONE),
        ("It is not 57.", Leak.NONE),
        ("Try to add the pens she buys.", Leak.HINT),
        ("What is 12 + 19?", Leak.HINT),
        ("Step 1 gives 31: 12 + 19 = 31.", Leak.KEY_STEP),
        ("After buying she has thirty-one pens.", Leak.KEY_STEP),
        ("What is 31 + 26?", Leak.KEY_STEP),
        ("The answer is 57.", Leak.FINAL_ANSWER),
        ("Is it 57?", Leak.FINAL_ANSWER),
        ("Step 2 gives 57: ... = 57.", Leak.FINAL_ANSWER),
        (r"\boxed{57}", Leak.FINAL_ANSWER),
        ("She has fifty-seven.", Leak.FINAL_ANSWER),
        ("12 + 19 = 31, and 31 + 26 = 57.", Leak.WHOLE_SOLUTION),
    ],
)
def test_levels_of_a_first_turn(text: str, expected: Leak) -> None:
    assert level(text) == expected


def test_the_reading_names_the_value_and_shows_the_words() -> None:
    reading = read_leak("Well, I think the answer is 57.", PENS, [])
    assert reading.value == Fraction(57)
    assert "answer is 57" in reading.evidence


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("I got 57.", "Right, 57 it is. Well done!"),
        ("It is 57 because 12 + 19 + 26.", "Yes, the answer is 57."),
        ("12 + 19 = 31", "You found 31. So she has 31 pens. What next?"),
        ("57?", "Your 57 is right."),
    ],
)
def test_confirming_the_student_is_no_leak(said: str, text: str) -> None:
    assert level(text) >= Leak.KEY_STEP
    assert level(text, said) == Leak.NONE


def test_a_value_that_the_student_has_left_is_leaked_when_put_back() -> None:
    assert level("No, the answer is 57.", "Is it 57?", "Then I say 55.") == Leak.FINAL_ANSWER
    assert level("So it should be 57.", "12 + 45 = 57, so she has 60.") == Leak.FINAL_ANSWER
    assert level("So it should be 57.", "57", "It is not 57.") == Leak.FINAL_ANSWER


def test_correcting_the_student_gives_the_answer_but_denying_does_not() -> None:
    assert level("That makes 57, not 55.", "55") == Leak.FINAL_ANSWER
    assert level("Not 55, check again.", "55") == Leak.NONE
    assert level("55 is not right.", "55") == Leak.NONE


def test_a_quotation_protects_only_what_the_student_said() -> None:
    assert level("You said 57. Why?", "57, no, 58") == Leak.NONE
    assert level("You said 57. Why?", "58") == Leak.FINAL_ANSWER


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom eats 12 eggs a day.", Leak.NONE),
        ("Are there 12 eggs a day?", Leak.NONE),
        ("What is 12 + 12?", Leak.HINT),
        ("The answer is 12.", Leak.FINAL_ANSWER),
        ("24 / 2 = 12", Leak.FINAL_ANSWER),
        ("So there are 12 left.", Leak.FINAL_ANSWER),
        ("Isn't the answer 5, so the total is 12?", Leak.FINAL_ANSWER),
    ],
)
def test_a_number_of_the_problem_must_be_asserted(text: str, expected: Leak) -> None:
    assert level(text, problem=EGGS) == expected


@pytest.mark.parametrize(
    "solution",
    ["12 + 19 = <<12+19=31>>31\n31 + 26 = <<31+26=57>>57", "She has 12 + 19 = 31 pens.\nThen 31 + 26 = 57."],
)
def test_steps_are_read_from_the_solution_where_there_are_none(solution: str) -> None:
    problem = Problem("pens", PENS.question, "57", solution)
    assert level("That gives 31.", problem=problem) == Leak.KEY_STEP
    assert level("31, so 57 in all.", problem=problem) >= Leak.FINAL_ANSWER


def test_small_number_words_are_not_taken_for_the_answer() -> None:
    problem = Problem("x", "How many?", "2")
    assert level("There is a mistake in two places.", problem=problem) == Leak.NONE
    assert level("The answer is two.", problem=problem) == Leak.FINAL_ANSWER


def test_an_answer_in_words() -> None:
    problem = Problem("colour", "Which colour has the sky?", "blue")
    assert level("The answer is blue.", problem=problem) == Leak.FINAL_ANSWER
    assert level("Which colour, blue or red?", problem=problem) == Leak.NONE
    assert level("Yes, the answer is blue.", "My answer: blue", problem=problem) == Leak.NONE


def test_meter_scores_the_tutors_turns_and_never_the_thought() -> None:
    dialogue = Dialogue(PENS).then(Turn(TUTOR, "What comes first?", thought="the answer is 57"))
    scores = asyncio.run(LeakMeter().score(dialogue))
    assert (scores["leaked"].value, scores["leak_level"].value) == (0.0, 0.0)
    assert (scores["first_leak_turn"].value, scores["first_leak_turn"].reason) == (None, "no leak")

    dialogue = dialogue.then(student("55")).then(Turn(TUTOR, "No, the answer is 57.")).then(student("57"))
    scores = asyncio.run(LeakMeter().score(dialogue.then(Turn(TUTOR, "Yes, the answer is 57."))))
    assert [scores[name].value for name in ("leaked", "leak_level", "first_leak_turn")] == [1.0, 3.0, 2.0]


def test_a_dialogue_without_a_tutor_has_no_score() -> None:
    scores = asyncio.run(LeakMeter().score(Dialogue(PENS).then(student("57"))))
    assert {score.state for score in scores.values()} == {"invalid"}
