"""What other people's columns are taken for, and what is told when they do not fit."""

import json
from pathlib import Path

import pytest

from diotima.errors import ProblemFileError
from diotima.problems.files import read_set
from diotima.problems.problem import Problem

GSM8K = {"question": "How many?", "answer": "It is 2+3=<<2+3=5>>5.\n#### 5"}


def read(tmp_path: Path, *rows: dict[str, object], columns: dict[str, str] | None = None) -> list[Problem]:
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_set(path, columns=columns).problems


def test_the_forms(tmp_path: Path) -> None:
    (gsm8k,) = read(tmp_path, GSM8K | {"split": "test"})
    assert (gsm8k.source, gsm8k.question, gsm8k.answer, gsm8k.solution) == ("gsm8k", "How many?", "5", "It is 2+3=5.")
    (math,) = read(
        tmp_path,
        {"problem": "Return your final response within \\boxed{}. Find $x$.", "solution": "So $1 + 1 = \\boxed{2}$",
         "answer": "2", "level": 3},
    )  # fmt: skip
    assert (math.source, math.question, math.answer, math.steps) == ("math", "Find $x$.", "2", ())
    (checked,) = read(
        tmp_path,
        {"problem": "How many?", "reference_solution": "It is 2 x 3 = 6\n 6", "incorrect_index": 0, "topic": "Sums"},
    )
    assert (checked.source, checked.answer, checked.solution) == ("stepverify", "6", "It is 2 x 3 = 6")
    assert [step.work for step in checked.steps] == ["2 * 3 = 6"]
    (plain,) = read(tmp_path, {"Problem": "How many?", "Final_Answer": 5, "domain": ["Sums"]})
    assert (plain.source, plain.question, plain.answer) == ("set", "How many?", "5")


def test_the_same_question_has_the_same_id_in_every_file(tmp_path: Path) -> None:
    (one,) = read(tmp_path, GSM8K)
    (other,) = read(tmp_path, GSM8K | {"question": " How  many? ", "answer": "What? ** It is 2+3=<<2+3=5>>5.\n#### 5"})
    assert one.id == other.id
    assert one.solution == other.solution
    (different,) = read(tmp_path, GSM8K | {"question": "How much?"})
    assert different.id != one.id


def test_solutions_and_steps_as_lists(tmp_path: Path) -> None:
    row = {"question": "How many?", "answer": "7", "steps": ["She has 2 * 3 = 6 pears.", "With one more 6 + 1 = 7."]}
    (problem,) = read(tmp_path, row)
    assert problem.solution == "She has 2 * 3 = 6 pears.\nWith one more 6 + 1 = 7."
    assert [step.work for step in problem.steps] == ["2 * 3 = 6", "6 + 1 = 7"]
    assert read(tmp_path, row, row | {"question": "Why?", "steps": None})[1].steps == ()


def test_a_set_says_its_own_sources(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        {"problem": "How many?", "answer": "5", "source": "amc_aime"},
        {"problem": "Why?", "answer": "6", "source": None},
    )
    assert (first.source, second.source) == ("amc_aime", "set")


@pytest.mark.parametrize(
    ("written", "read_as"),
    [("1,200", "1200"), ("-1,234,567.5", "-1234567.5"), ("1,2", "1,2"), (18.0, "18"), (0.5, "0.5"), ("(B)", "(B)")],
)
def test_answers(tmp_path: Path, written: object, read_as: str) -> None:
    assert read(tmp_path, {"question": "?", "answer": written})[0].answer == read_as


def test_columns_are_mapped(tmp_path: Path) -> None:
    row = {"text": "How many?", "label": "5", "key": 7, "question": "not this", "why": "It is 2 + 3 = 5."}
    columns = {"question": "text", "answer": "label", "id": "key", "solution": "why"}
    (problem,) = read(tmp_path, row, columns=columns)
    assert (problem.id, problem.question, problem.answer) == ("7", "How many?", "5")
    assert [step.work for step in problem.steps] == ["2 + 3 = 5"]
    own = {"id": "a", "question": "How many?", "answer": "5", "more": 1}
    assert read(tmp_path, own, columns={"question": "question"})[0].id != "a"


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"question": "none"}, "columns.question = none: there is no such column; there are question, answer"),
        ({"sibling": "question"}, "columns = sibling: a column can be mapped to question, answer, solution, steps, id"),
    ],
)
def test_maps_that_do_not_fit(tmp_path: Path, columns: dict[str, str], sentence: str) -> None:
    with pytest.raises(ProblemFileError, match=f"line 1: {sentence}"):
        read(tmp_path, GSM8K, columns=columns)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            {"text": "?", "label": 1},
            "line 1: no column is known to hold the question; the columns are 'text', 'label'",
        ),
        ({"question": "?", "label": 1}, "line 1: no column is known to hold the answer; .*--columns.answer NAME"),
        ({"question": "?", "problem": "?", "answer": "1"}, "line 1: question and problem could each be the question"),
        ({"question": "?", "answer": None}, "line 1: the field answer is missing or empty"),
        ({"question": "?", "answer": "  "}, "line 1: the field answer is missing or empty"),
        ({"question": 5, "answer": "5"}, "line 1: the field question must be text, not int"),
        ({"question": "?", "answer": ["5"]}, "line 1: the field answer must be text or a number, not list"),
        ({"question": "?", "answer": True}, "line 1: the field answer must be text or a number, not bool"),
        ({"question": "?", "answer": "5", "solution": 5}, "line 1: the field solution must be text, not int"),
        (
            {"question": "x" * 131_073, "answer": "5"},
            "line 1: the field question has 131,073 characters",
        ),
    ],
)
def test_rows_that_do_not_fit(tmp_path: Path, row: dict[str, object], sentence: str) -> None:
    with pytest.raises(ProblemFileError, match=rf"set\.jsonl, {sentence}"):
        read(tmp_path, row)


def test_a_set_has_one_form_throughout(tmp_path: Path) -> None:
    plain = {"question": "Why?", "answer": "6"}
    with pytest.raises(ProblemFileError, match="line 2: the field answer does not end in #### and the final answer"):
        read(tmp_path, GSM8K, plain)
    with pytest.raises(ProblemFileError, match="line 2: the field answer ends in #### and an answer"):
        read(tmp_path, plain, GSM8K)
    with pytest.raises(ProblemFileError, match="line 2: the field answer does not end in ####"):
        read(tmp_path, GSM8K, GSM8K | {"question": "Why?", "answer": "It is 5.\n#### \n"})


@pytest.mark.parametrize(
    ("answer", "letter"), [(1, "B"), ("1", "B"), ("C", "C"), ("(a)", "A"), ("water", "B"), ("b", "B")]
)
def test_choices(tmp_path: Path, answer: object, letter: str) -> None:
    row = {"question": "What runs?", "choices": ["stone", "water", "2"], "answer": answer}
    (problem,) = read(tmp_path, row)
    assert (problem.question, problem.answer) == ("What runs?\n(A) stone\n(B) water\n(C) 2", letter)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"answer": 3}, "names none of the options"),
        ({"answer": "F"}, "names none of the options"),
        ({"choices": ["one"]}, "has 1 options, not 2 to 5"),
        ({"choices": list("abcdef")}, "has 6 options, not 2 to 5"),
        ({"choices": ["a", None]}, "must be a list of texts"),
    ],
)
def test_choices_that_are_none(tmp_path: Path, changed: dict[str, object], sentence: str) -> None:
    with pytest.raises(ProblemFileError, match=f"line 1: .*{sentence}"):
        read(tmp_path, {"question": "What runs?", "choices": ["stone", "water"], "answer": 1} | changed)


def test_a_dialogue_set_is_read_for_its_problems(tmp_path: Path) -> None:
    row = {"question": "How many?", "ground_truth": "It is 2 x 3 = 6\n 6", "conversation": "Teacher: Hi", "qid": 5}
    (problem,) = read(tmp_path, row)
    assert (problem.source, problem.answer, problem.solution) == ("mathdial", "6", "It is 2 x 3 = 6")


def test_a_solution_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(ProblemFileError, match=r"the field answer holds 2 lines, .* --columns.solution answer"):
        read(tmp_path, {"question": "How many?", "answer": "It is 2 x 3 = 6\n6"})
