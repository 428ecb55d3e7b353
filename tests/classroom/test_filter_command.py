"""`diotima problems filter`: what is kept for a student, and what is told about the rest."""

import json
from pathlib import Path

import pytest

from diotima.cli import main
from diotima.problems.files import read_problems, write_problems
from diotima.problems.problem import Problem
from diotima.sandbox.world import World

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    problems = [*World(2, 3).problems(12, 0), Problem("bare", "Who is it?", "Ada")]
    write_problems(problems, tmp_path / "problems.jsonl")
    return tmp_path / "problems.jsonl"


def kept(file: Path, *words: str) -> list[Problem]:
    out = file.parent / "kept.jsonl"
    assert main(["problems", "filter", str(file), "--out", str(out), "--attempts", "8", *words]) == 0
    return read_problems(out)


def test_a_band_of_solve_rates(file: Path, capsys: Captured) -> None:
    everything = kept(file, "--solve-rate", "0-1")
    assert everything == read_problems(file)[:12]
    shown = capsys.readouterr().out
    assert "1 cannot be worked out step by step" in shown
    assert "0 of 96 attempts could not be marked" in shown
    assert "12 of 13 problems are kept" in shown
    lines = (file.parent / "kept.rates.jsonl").read_text().splitlines()[1:]
    solved = {entry["problem"].split()[0]: entry["solved"] for entry in map(json.loads, lines)}
    limit = sorted(solved.values())[5]
    band = f"0-{limit / 8}"
    assert [problem.id for problem in kept(file, "--solve-rate", band)] == [
        problem.id for problem in everything if solved[problem.id] <= limit
    ]
    assert 6 <= len(read_problems(file.parent / "kept.jsonl")) < 12
    assert "are solved too often" in capsys.readouterr().out
    summary = json.loads((file.parent / "kept.json").read_text())
    assert sum(summary["solve_rates"].values()) == 12
    assert summary["mean_solve_rate"] == pytest.approx(sum(solved.values()) / 96)


def test_no_student_is_needed_for_steps_and_siblings(file: Path, capsys: Captured) -> None:
    assert len(kept(file, "--executable", "--student", "none/such")) == 12
    assert not (file.parent / "kept.rates.jsonl").exists()
    write_problems(
        [Problem("bare", "Who?", "Ada"), Problem("twin", "Who?", "Ada", sibling=Problem("t", "?", "1"))], file
    )
    assert [problem.id for problem in kept(file, "--with-sibling")] == ["twin"]
    assert "1 have no sibling\n1 of 2 problems are kept" in capsys.readouterr().out


def test_the_summary_as_json(file: Path, capsys: Captured) -> None:
    kept(file, "--executable", "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["path"] == str(file.parent / "kept.jsonl")
    assert result["summary"] == {"problems": 13, "kept": 12, "left_out": {"cannot be worked out step by step": 1}}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "say what to keep: --solve-rate 0.01-0.60, --executable or --with-sibling"),
        (["--solve-rate", "0.6-0.01"], "solve_rate = 0.6-0.01: must be a band in 0 to 1, such as 0.01-0.60"),
        (["--solve-rate", "1-60"], "solve_rate = 1-60: must be a band in 0 to 1"),
        (["--solve-rate", "half"], "solve_rate = half: must be a band in 0 to 1"),
        (["--executable", "--out", "kept.json"], "out = kept.json: problems are written as JSON lines"),
        (
            ["--solve-rate", "0.99999-0.999999"],
            "none of its 13 problems is kept: 1 cannot be worked out step by step, ",
        ),
        (["--executable", "--columns.question", "text"], "line 1: columns.question = text: there is no such column"),
    ],
)
def test_mistakes_are_one_sentence(file: Path, words: list[str], sentence: str, capsys: Captured) -> None:
    out = [] if "--out" in words else ["--out", str(file.parent / "kept.jsonl")]
    assert main(["problems", "filter", str(file), *out, *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (file.parent / "kept.jsonl").exists()


@pytest.mark.parametrize("name", ["problems.jsonl", "problems.json"])
def test_the_problems_that_are_read_are_not_written_over(file: Path, name: str, capsys: Captured) -> None:
    source = file.with_name(name)
    if name != file.name:
        source.write_text("[" + ",".join(file.read_text().splitlines()) + "]")
    before = source.read_bytes()
    assert main(["problems", "filter", str(source), "--executable", "--out", str(file)]) == 2
    assert "that would write over" in capsys.readouterr().err
    assert source.read_bytes() == before
