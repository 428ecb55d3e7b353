from dataclasses import replace
from fractions import Fraction

import pytest

from diotima.classroom.work import lines_shown, plan, write_work, wrong_steps
from diotima.problems.arithmetic import Calculation, Operation
from diotima.problems.problem import Problem, Step

STEPS = (Step("", "17 + 57 = 74", "74", "gain"), Step("", "74 - 14 = 60", "60", "lose"), Step("", "60 / 2 = 30", "30"))
PROBLEM = Problem("p", "How many?", "30", steps=STEPS)
WORK = "Line 1: 17 + 57 = 74\nLine 2: 74 - 14 = 60\nLine 3: 60 / 2 = 30\nMy answer is 30."


def test_written_work_can_be_read() -> None:
    lines = [Calculation.of(17, "+", 57, 74), Calculation.of(74, "-", 14, 60), Calculation.of(60, "/", 2, 30)]
    assert write_work(lines) == WORK
    assert lines_shown(WORK) == dict(enumerate(lines))


def test_unreadable_lines_are_left_out() -> None:
    assert lines_shown(f"Line {'1' * 5000}: 1 + 1 = 2\nLine 2: 1 + 1 = {'9' * 5000}") == {}
    assert lines_shown("Line 1: I forgot\nLine 2: 3 + 4 = 7\nA Line 3: 1 + 1 = 2") == {1: Calculation.of(3, "+", 4, 7)}


@pytest.mark.parametrize(
    ("work", "wrong"),
    [
        (WORK, set()),
        ("Line 1: 17 + 57 = 64\nLine 2: 64 - 14 = 50\nLine 3: 50 / 2 = 25", {0}),  # the rest is carried forward
        ("Line 1: 17 + 57 = 64\nLine 2: 64 + 14 = 78\nLine 3: 78 / 2 = 39", {0, 1}),
        ("Line 1: 17 + 57 = 74\nLine 3: 60 / 2 = 30", {1}),  # left out
        ("Line 1: 17 + 57 = 64\nLine 2: 74 - 14 = 60\nLine 3: 60 / 2 = 30", {0, 1}),
        ("Line 1: 57 + 17 = 74\nLine 2: 100 - 40 = 60\nLine 3: 15 + 15 = 30", set()),  # another way, same amounts
    ],
)
def test_where_work_goes_wrong_by_itself(work: str, wrong: set[int]) -> None:
    assert wrong_steps(work, PROBLEM) == frozenset(wrong)


def test_no_work_is_not_right_work() -> None:
    assert wrong_steps("I do not know where to begin.", PROBLEM) is None


def test_operands_take_the_students_own_result() -> None:
    _, second, third = plan(PROBLEM) or ()
    assert second.asked({0: 64}) == Operation(64, "-", 14)
    assert second.asked({}) == second.expression == Operation(74, "-", 14)
    assert third.asked({0: 64}) == Operation(60, "/", 2)  # does not continue step 1
    assert plan(replace(PROBLEM, steps=(Step("", "think hard", "5"),))) is None
    assert plan(replace(PROBLEM, steps=())) is None


def test_numbers_of_a_solution_from_elsewhere_that_are_earlier_results() -> None:
    steps = ("3 * 4 = 12", "5 * 2 = 10", "12 + 10 + 5 = 27", "27 / 3 = 9")
    problem = Problem(
        "p",
        "3 bags of 4, 5 boxes of 2 and 5 more: shared by 3, how many are 27 / 3?",
        "9",
        steps=tuple(Step("", work, work.rpartition(" ")[2]) for work in steps),
    )
    assert [step.earlier for step in plan(problem) or ()] == [
        (None, None),
        (None, None),
        (0, 1, None),  # the 5 is given
        (2, None),  # follows at once, so it is the result although the story gives a 27 as well
    ]
    assert [step.component for step in plan(problem) or ()] == ["step 1", "step 2", "step 3", "step 4"]
    work = "Line 1: 3 + 4 = 7\nLine 2: 5 * 2 = 10\nLine 3: 7 + 10 + 5 = 22\nLine 4: 22 / 3 = 7.33"
    assert wrong_steps(work, problem) == {0}
    assert wrong_steps(work.replace("7.33", "7"), problem) == {0, 3}


@pytest.mark.parametrize(("written", "wrong"), [("3.33", set()), ("3.333", set()), ("3.3", {0}), ("3", {0})])
def test_a_quotient_may_be_rounded_more_finely_than_in_the_solution(written: str, wrong: set[int]) -> None:
    problem = Problem("p", "10 shared by 3?", "3.33", steps=(Step("", "10 / 3 = 3.33", "3.33"),))
    assert wrong_steps(f"Line 1: 10 / 3 = {written}", problem) == wrong


def test_answers_are_written_to_the_cent() -> None:
    assert write_work([Calculation.of(15, "/", 2, Fraction(15, 2))]) == "Line 1: 15 / 2 = 7.5\nMy answer is 7.5."


def test_work_in_free_text_goes_wrong_where_a_result_is_not_named() -> None:
    assert wrong_steps("First 17 + 57 = 74, and without 14 that is 60. Half is 30.", PROBLEM) == frozenset()
    assert wrong_steps("17 + 57 = 64. I take 14 away and get 60, so 30.", PROBLEM) == {0}
    assert wrong_steps("The answer is 30.", PROBLEM) is None
