import pytest

from diotima.classroom.work import lines_shown, operands, write_work, wrong_steps
from diotima.problems.arithmetic import Calculation
from diotima.problems.problem import Problem, Step

STEPS = (Step("", "17 + 57 = 74", "74", "gain"), Step("", "74 - 14 = 60", "60", "lose"), Step("", "60 / 2 = 30", "30"))
PROBLEM = Problem("p", "How many?", "30", steps=STEPS)
WORK = "Line 1: 17 + 57 = 74\nLine 2: 74 - 14 = 60\nLine 3: 60 / 2 = 30\nMy answer is 30."


def test_written_work_can_be_read() -> None:
    lines = [Calculation(17, "+", 57, 74), Calculation(74, "-", 14, 60), Calculation(60, "/", 2, 30)]
    assert write_work(lines) == WORK
    assert lines_shown(WORK) == dict(enumerate(lines))


def test_unreadable_lines_are_left_out() -> None:
    assert lines_shown("Line 1: I forgot\nLine 2: 3 + 4 = 7\nA Line 3: 1 + 1 = 2") == {1: Calculation(3, "+", 4, 7)}


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
    assert operands(STEPS[1], STEPS[0], 64) == (64, "-", 14)
    assert operands(STEPS[1], STEPS[0], None) == (74, "-", 14)
    assert operands(STEPS[2], STEPS[0], 64) == (60, "/", 2)  # does not continue step 1
    assert operands(Step("", "think hard", "5"), None, None) is None
