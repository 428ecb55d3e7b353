"""The public sets as they are published, where they lie beside the repository: all of them is read."""

from functools import lru_cache
from pathlib import Path

import pytest

from diotima.problems.files import ProblemSet, read_set
from diotima.problems.solutions import executable

DATA = Path(__file__).parents[3] / "shared" / "data"


@lru_cache
def read(name: str) -> ProblemSet:
    if not (DATA / name).is_file():
        pytest.skip(f"needs a public set, which is not shipped: {DATA / name} is not there")
    return read_set(DATA / name)


@pytest.mark.parametrize(
    ("name", "source", "rows", "problems", "with_steps", "that_execute"),
    [
        ("gsm8k/train.jsonl", "gsm8k", 7473, 7473, 7406, 7035),
        ("gsm8k/test.jsonl", "gsm8k", 1319, 1319, 1307, 1223),
        ("gsm8k/test_socratic.jsonl", "gsm8k", 1319, 1319, 1307, 1224),
        ("math500/test.jsonl", "math", 500, 500, 0, 0),
        ("stepverify/dataset.json", "stepverify", 1002, 612, 580, 580),
    ],
)
def test_counts(name: str, source: str, rows: int, problems: int, with_steps: int, that_execute: int) -> None:
    found = read(name)
    assert (found.rows, len(found.problems)) == (rows, problems)
    assert {problem.source for problem in found.problems} == {source}
    assert sum(bool(problem.steps) for problem in found.problems) == with_steps
    assert sum(map(executable, found.problems)) == that_execute


def test_no_marks_of_a_format_are_left() -> None:
    for name in ("gsm8k/test_socratic.jsonl", "math500/test.jsonl", "stepverify/dataset.json"):
        for problem in read(name).problems:
            shown = [problem.question, problem.answer, problem.solution, *(step.text for step in problem.steps)]
            assert not any(mark in text for mark in ("<<", ">>", "####", " ** ", "Return your") for text in shown)


def test_the_socratic_variant_has_the_same_problems_with_sub_questions() -> None:
    plain, socratic = read("gsm8k/test.jsonl").problems, read("gsm8k/test_socratic.jsonl").problems
    for one, other in zip(plain, socratic, strict=True):
        assert (one.id, one.question, one.answer, one.solution) == (
            other.id, other.question, other.answer, other.solution,
        )  # fmt: skip
    assert not any(step.question for problem in plain for step in problem.steps)
    assert all(step.question for problem in socratic for step in problem.steps)


def test_stepverify_is_gsm8k() -> None:
    def texts(name: str) -> set[str]:
        return {problem.id.partition("-")[2] for problem in read(name).problems}

    overlap = texts("stepverify/dataset.json")
    assert len(overlap & texts("gsm8k/train.jsonl")) == 567
    assert len(overlap & texts("gsm8k/test.jsonl")) == 45
    assert not texts("gsm8k/train.jsonl") & texts("gsm8k/test.jsonl")


def test_mmlu_and_mathdial_are_read_too() -> None:
    choices, dialogues = DATA / "mmlu_stem" / "test.jsonl", DATA / "mathdial" / "test.jsonl"
    if not (choices.is_file() and dialogues.is_file()):
        pytest.skip(f"MMLU's STEM part and MathDial are not at {DATA}")
    assert {problem.answer for problem in read_set(choices).problems} == set("ABCD")
    assert len(read_set(dialogues).problems) == 394
