import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.errors import ProblemFileError
from diotima.problems.files import (
    problem_from_json,
    problem_to_json,
    read_problems,
    read_set,
    split_file,
    with_siblings,
    write_problems,
)
from diotima.problems.problem import Problem, Step
from diotima.sandbox.world import World

SIMPLE = '{"id": "a", "question": "How many?", "answer": "5"}'
text = st.text(min_size=1)


@given(st.builds(Problem, text, text, text, st.text(), st.tuples(st.builds(Step, text, text, text, st.text()))))
def test_any_problem_survives_a_line(problem: Problem) -> None:
    line = problem_to_json(problem)
    assert "\n" not in line
    assert problem_from_json(line) == problem


def test_a_file_keeps_problems_with_their_siblings(tmp_path: Path) -> None:
    odd = Problem("odd", "A line\u2028and\x85another\u000b,\n and 'Größe' 🍎?", "5")
    problems = [*World().problems(20, seed=1), odd]
    path = tmp_path / "deep" / "problems.jsonl"
    assert write_problems(iter(problems), path) == 21
    assert read_problems(path) == problems
    assert all(problem.sibling for problem in problems[:-1])
    assert [file.name for file in path.parent.iterdir()] == ["problems.jsonl"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    write_problems([Problem("a", "?", "5")], path)

    def failing():  # type: ignore[no-untyped-def]
        yield Problem("b", "?", "6")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_problems(failing(), path)
    assert [problem.id for problem in read_problems(path)] == ["a"]


def test_a_step_needs_no_question() -> None:
    line = changed(steps=[{"work": "2 + 3 = 5", "result": "5"}])
    assert problem_from_json(line).steps == (Step("", "2 + 3 = 5", "5"),)


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + f"{SIMPLE}\r\n\r\n  \n".encode())
    assert read_problems(path) == [Problem("a", "How many?", "5")]


def changed(**fields: object) -> str:
    return json.dumps(json.loads(SIMPLE) | fields)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{oops", r"not valid JSON \(.*character 1\)"),
        ("[1]", "a problem must be an object with fields, not list"),
        (changed(answer=""), "the field answer is missing or empty"),
        ('{"id": "a", "question": "?"}', "the field answer is missing or empty"),
        (changed(answer=5), "the field answer must be text, not int"),
        (changed(anwser="5"), "anwser is not a field of a problem; it has answer, id,"),
        (changed(steps="none"), "the field steps must be a list"),
        (changed(steps=[1]), "a step must be an object with fields, not int"),
        (changed(steps=[{"question": "?", "work": "1 + 1 = 2"}]), "the field result is missing or empty"),
        (changed(steps=[{"question": "?", "work": "1", "result": "2", "kind": ""}]), "kind is not a field of a step"),
        (changed(sibling={"id": "b"}), "the field question is missing or empty"),
        (changed(sibling="b"), "a problem must be an object with fields, not str"),
        (changed(sibling=json.loads(SIMPLE)), "the field sibling must be another problem"),
        (changed(sibling=json.loads(changed(id="b")) | {"sibling": json.loads(SIMPLE)}), "the field sibling must be"),
        (SIMPLE, "the id a stands on line 1 too"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, line: str, sentence: str) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(f"{SIMPLE}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(ProblemFileError, match=rf"problems\.jsonl, line 3: {sentence}"):
        read_problems(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        ProblemFileError, match=r"there is no file of problems .*make one with: diotima sandbox problems"
    ):
        read_problems(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ProblemFileError, match="holds no problems"):
        read_problems(tmp_path / "empty.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b"\xe4")
    with pytest.raises(ProblemFileError, match=r"latin\.jsonl, line 1: not UTF-8 text \(byte 0\)"):
        read_problems(tmp_path / "latin.jsonl")


def test_a_folder_has_a_file_for_each_split(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("question,answer\nHow many?,5\n")
    (tmp_path / "test.jsonl").write_text(SIMPLE)
    assert [problem.answer for problem in read_problems(tmp_path)] == ["5"]
    assert [problem.id for problem in read_problems(tmp_path, "test")] == ["a"]
    assert split_file(tmp_path / "test.jsonl", "train") == tmp_path / "test.jsonl"
    with pytest.raises(ProblemFileError, match=r"holds no dev\.jsonl \(or .*\); it holds test\.jsonl, train\.csv"):
        read_problems(tmp_path, "dev")
    (tmp_path / "train.jsonl").write_text(SIMPLE)
    with pytest.raises(ProblemFileError, match=r"holds train\.jsonl and train\.csv; name the one you mean"):
        read_problems(tmp_path)


def test_own_steps_do_for_an_id(tmp_path: Path) -> None:
    row = {
        "question": "What is 2 + 3?",
        "answer": "5",
        "steps": [{"work": "2 + 3 = 5", "result": "5", "text": "So 5."}],
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (problem,) = read_problems(tmp_path / "a.jsonl")
    assert (problem.steps, problem.id[:8]) == ((Step("", "2 + 3 = 5", "5", text="So 5."),), "problem-")
    (tmp_path / "a.jsonl").write_text(json.dumps(row | {"anwser": "6"}))
    with pytest.raises(ProblemFileError, match="anwser is not a field of a problem"):
        read_problems(tmp_path / "a.jsonl")


def test_a_problem_that_stands_twice_is_kept_once_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "twice.csv"
    path.write_text('question,answer\nHow many?,"1,000"\nHow  many?,1000.0\nHow few?,2\n')
    assert [problem.answer for problem in read_problems(path)] == ["1000", "2"]
    assert capsys.readouterr().err == f"{path}: 3 rows are 2 different problems\n"
    assert read_set(path).rows == 3
    path.write_text("question,answer\nHow many?,5\nHow few?,2\nHow many?,6\n")
    with pytest.raises(
        ProblemFileError, match=r"twice\.csv, line 4: the question of line 2 again, but with the answer '6', not '5'"
    ):
        read_problems(path)
    path.write_text("number,question,answer\n1,How many?,5\n1,How few?,5\n")
    with pytest.raises(ProblemFileError, match="line 3: the id 1 stands on line 2 too"):
        read_problems(path, columns={"id": "number"})


def test_siblings_are_made_where_steps_can_be_carried_out_and_there_is_none() -> None:
    question = "Ann has 24 apples in each of 3 boxes and eats 13 apples. How many apples are left?"
    steps = (Step("", "24 * 3 = 72", "72"), Step("", "72 - 13 = 59", "59"))
    problem = Problem("a", question, "59", steps=steps)
    stored, wrong = replace(problem, sibling=Problem("b", "?", "1")), replace(problem, answer="60")
    made, kept, none = with_siblings([problem, stored, wrong])
    assert made.sibling is not None
    assert made.sibling.answer != "59"
    assert (kept, none) == (stored, wrong)
