import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.errors import ProblemFileError
from diotima.problems.files import problem_from_json, problem_to_json, read_problems, write_problems
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
    with pytest.raises(ProblemFileError, match="cannot be read"):
        read_problems(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ProblemFileError, match="holds no problems"):
        read_problems(tmp_path / "empty.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b"\xe4")
    with pytest.raises(ProblemFileError, match=r"not UTF-8 text \(byte 0\)"):
        read_problems(tmp_path / "latin.jsonl")
