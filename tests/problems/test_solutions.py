import pytest

from diotima.problems.problem import Problem, Step
from diotima.problems.solutions import annotated_steps, executable, plain_steps, without_annotations

EGGS = (
    "How many does she sell? ** She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs a day.\n"
    "Nothing is reckoned here.\n"
    "What does she make? ** She makes 9 * 2 = $<<9*2=18>>18 a day."
)


def test_an_annotated_line_is_a_step() -> None:
    assert annotated_steps(EGGS) == (
        Step("How many does she sell?", "16 - 3 - 4 = 9", "9", text="She sells 16 - 3 - 4 = 9 eggs a day."),
        Step("What does she make?", "9 * 2 = 18", "18", text="She makes 9 * 2 = $18 a day."),
    )
    assert without_annotations(EGGS).splitlines() == [
        "She sells 16 - 3 - 4 = 9 eggs a day.",
        "Nothing is reckoned here.",
        "She makes 9 * 2 = $18 a day.",
    ]


@pytest.mark.parametrize(
    ("line", "work", "result"),
    [
        ("That is 7.5 / .5 = <<15=15>>15 toys", "7.5 / 0.5 = 15", "15"),
        ("So 80,000+50,000=$<<80000+50000=130000>>130,000", "80000 + 50000 = 130000", "130000"),
        ("Charlie has 54 − 37 = 17 stickers left.", "54 - 37 = 17", "17"),
        ("They last him 560//10 = <<560//10=56>>56 nights", "560//10=56", "56"),
        ("x=<<40=40>>40", "40=40", "40"),
    ],
)
def test_lines_that_are_written_otherwise(line: str, work: str, result: str) -> None:
    (step,) = annotated_steps(line)
    assert (step.work, step.result) == (work, result)


@pytest.mark.parametrize("line", ["So there are 5.", "That is 2 + 3 = 6 apples.", "x + 2 = 5", ""])
def test_lines_that_are_no_steps(line: str) -> None:
    assert annotated_steps(line) == ()


def test_steps_in_prose_must_lead_to_the_answer() -> None:
    solution = "He picks 2 * 3 = 6 pears. Then he finds one more, so 6 + 1 = 7.\nThat is all."
    steps = plain_steps(solution, "7")
    assert [(step.work, step.text) for step in steps] == [
        ("2 * 3 = 6", "He picks 2 * 3 = 6 pears."),
        ("6 + 1 = 7", "Then he finds one more, so 6 + 1 = 7."),
    ]
    assert plain_steps(solution, "6") == ()
    assert plain_steps("It is 2 + 3 = 6.", "6") == ()
    assert plain_steps("This gives $8+1=9$ times, so \\boxed{9}.", "9") == ()
    assert plain_steps("", "9") == ()


@pytest.mark.parametrize(
    ("works", "answer", "expected"),
    [
        (["2 * 3 = 6", "6 + 1 = 7"], "7", True),
        (["2 * 3 = 6", "6 + 1 = 7"], "$7.00", True),
        (["2 * 3 = 6", "6 + 1 = 7"], "8", False),
        (["2 * 3 = 5", "6 + 1 = 7"], "7", False),
        (["10 / 3 = 3.33"], "3.33", True),
        (["40=40"], "40", False),
        (["560//10=56"], "56", False),
        (["6 + 1 = 7"], "seven or so", False),
        ([], "7", False),
    ],
)
def test_executable(works: list[str], answer: str, expected: bool) -> None:
    steps = tuple(Step("", work, work.rpartition("=")[2].strip()) for work in works)
    assert executable(Problem("a", "?", answer, steps=steps)) is expected
