"""The leak meter where the answer is no plain number."""

from pathlib import Path

import pytest

from diotima.dialogue import STUDENT, TUTOR, Turn
from diotima.problems.problem import Problem
from diotima.problems.source import SourceSettings
from diotima.scoring.leakage import Leak, read_leak

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "math500" / "test.jsonl"


def level(answer: str, text: str, *said: str, question: str = "What is it?") -> Leak:
    turns = [Turn(STUDENT, words) for words in said]
    return read_leak(text, Problem("p", question, answer), turns).level


@pytest.mark.skipif(not DATA.is_file(), reason=f"needs MATH-500, which is not shipped: {DATA} is not there")
@pytest.mark.parametrize("words", ["The answer is {}.", "The answer is ${}$.", r"The answer is \[ {} \]"])
def test_every_answer_of_math_500_that_is_said_is_found(words: str) -> None:
    problems = SourceSettings(problems=str(DATA)).read().problems
    assert len(problems) == 500
    missed = [p.answer for p in problems if read_leak(words.format(p.answer), p, []).level < Leak.FINAL_ANSWER]
    assert missed == []


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("(6,31,-1)", "It has to be $( 6, 31, -1 )$."),
        ("6 - 5i", "Don't you see 6−5i here?"),
        (r"\frac 59", r"You get \dfrac{5}{9}."),
        (r"10,\!080", "That makes 10,080 ways."),
        ("10080", r"That makes 10,\!080 ways."),
        ("y = 2x + 3", "The line y=2x+3 fits."),
        (r"1\frac{4}{5}", r"The result is $1 \frac45$."),
        (r"1\frac{4}{5}", "The result is 1.8."),
        (r"(-\infty, 0]", "Take all of (-∞, 0]."),
        ("-13x+3", r"\boxed{-13x+3}"),
        ("(-2,1)", "The point P(-2, 1) is it."),
        ("3, 5, 7", "They are 3, 5, 7."),
        ("x", r"The answer is $x$."),
        ("2k", "So the sum equals 2k."),
        (r"\text{(C)}", "#### (C)"),
        ("y", "It is 3 + 4, so the answer is y, because it rains."),
    ],
)
def test_a_formula_is_given_away_by_whoever_says_it(answer: str, text: str) -> None:
    assert level(answer, text) == Leak.FINAL_ANSWER


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("(6,31,-1)", "What about (6,31,-12), or (16,31,-1)?"),
        ("6 - 5i", "It is not 6 - 5i."),
        ("6 - 5i", "How far is 16 - 5i?"),
        ("2k+2", "Look at 2k+25 and 2k+2m."),
        ("y = 2x + 3", "Why y = 2x + 3.5?"),
        ("-13x+3", "What is 5 -13x+3?"),
        ("(a+5)(b+2)", "Expand 2(a+5)(b+2), please."),
        ("3, 5, 7", "The first primes are 2, 3, 5, 7, 11."),
        ("x", "What is x? The answer is x + 1, or not?"),
        ("2k", "Write the even number as 2k and go on."),
        (r"\pi", r"A circle goes with \pi in any case."),
    ],
)
def test_a_part_of_something_else_is_no_answer(answer: str, text: str) -> None:
    assert level(answer, text) < Leak.FINAL_ANSWER


def test_a_formula_that_the_student_has_is_confirmed_and_not_leaked() -> None:
    yes = "Yes, the answer is 6 - 5i."
    assert level("6 - 5i", yes) == Leak.FINAL_ANSWER
    assert level("6 - 5i", yes, "I think 6-5i") < Leak.KEY_STEP
    assert level("6 - 5i", yes, "Then it is $6−5i$.", "Is that good?") < Leak.KEY_STEP
    assert level("6 - 5i", yes, "6-5i?", r"No, \boxed{6+5i}") == Leak.FINAL_ANSWER
    assert level("6 - 5i", yes, "It is not 6-5i.") == Leak.FINAL_ANSWER
    assert level("6 - 5i", "So it is 6-5i, not 6+5i.", "6+5i") == Leak.FINAL_ANSWER
    assert level("1\\frac{4}{5}", "Right, 1\\frac{4}{5} it is.", "9/5") < Leak.KEY_STEP


def test_a_formula_of_the_question_must_be_asserted() -> None:
    question = "Which is larger in size, $1+2i$ or $3$?"
    assert level("1+2i", "Look at 1+2i first.", question=question) < Leak.KEY_STEP
    assert level("1+2i", "Is it 1+2i?", question=question) < Leak.KEY_STEP
    assert level("1+2i", "The answer is 1+2i.", question=question) == Leak.FINAL_ANSWER


def test_the_whole_solution_with_a_formula_at_its_end() -> None:
    problem = Problem("p", "What is it?", "6 - 5i", "4 + 2 = 6, and 2 + 3 = 5")
    text = "Since the sum is 6, the other total is 5: "
    assert read_leak(text + "6 - 5i.", problem, []).level == Leak.WHOLE_SOLUTION
    assert read_leak("The answer is 6 - 5i.", problem, []).level == Leak.FINAL_ANSWER


def test_a_turn_of_any_length_is_read_in_a_moment() -> None:
    reading = read_leak("6 - 5 " * 20_000 + "\\", Problem("p", "?", "6 - 5i"), [Turn(TUTOR, "(" * 50_000)])
    assert reading.level < Leak.FINAL_ANSWER
