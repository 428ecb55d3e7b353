"""`diotima problems list` and `diotima problems show`."""

import json
import sys
from pathlib import Path

import pytest

from diotima.cli import main
from diotima.problems.files import write_problems
from diotima.problems.list_command import answer_kind, visible
from diotima.problems.problem import Problem, Step
from diotima.problems.show_command import changes
from diotima.sandbox.world import World

APPLES = "Ann has 24 apples in each of 3 boxes and eats 13 apples. How many apples are left?"
GSM8K = {
    "question": APPLES,
    "answer": "How many at first? ** She has 24*3=<<24*3=72>>72.\n"
    "And then? ** That leaves 72-13=<<72-13=59>>59.\n#### 59",
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    rows = [GSM8K, GSM8K, GSM8K | {"question": "Why \u001b[31m?", "answer": "Who knows.\n#### nobody"}]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "set.jsonl")


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_list(file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    text = shown(capsys, "problems", "list", file)
    for part in (
        "problems 2, in 3 rows",
        "from gsm8k 2",
        "with steps 1 (50.0%) executable 1 (50.0%) with sibling 1 (50.0%)",
        "answers number 1, text 1",
        "2 yes 59 Ann has 24 apples",
        "0 no nobody Why �[31m?",
    ):
        assert part in text
    assert "Ann has" not in shown(capsys, "problems", "list", file, "--most", "0")


def test_list_as_json(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    summary = json.loads(shown(capsys, "problems", "list", file, "--json"))["summary"]
    assert summary == {
        "rows": 3,
        "problems": 2,
        "sources": {"gsm8k": 2},
        "with_steps": 1,
        "executable": 1,
        "with_sibling": 1,
        "no_sibling_because": {"there are no steps": 1},
        "answers": {"number": 1, "text": 1},
        "median_words": 10,
        "most_words": 18,
    }


def test_columns_are_mapped_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set.csv").write_text("text,label\nHow many?,5\n")
    file = str(tmp_path / "set.csv")
    words = ["problems", "show", file, "--columns.question", "text", "--columns.answer", "label"]
    assert "How many? Answer: 5 It has no sibling: there are no steps." in shown(capsys, *words)
    assert main(["problems", "list", file]) == 2
    assert "say which it is: --columns.question NAME" in capsys.readouterr().err


def test_show(file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = shown(capsys, "problems", "show", file)
    assert "gsm8k; executable" in text
    assert "Ann has «24» apples" in text
    assert "answer «59» «" in text
    assert "1 How many at first? She has 24*3=72. 24 * 3 = 72" in text
    id = text.split()[0]
    assert shown(capsys, "problems", "show", file, "--problem", id) == text
    other = shown(capsys, "problems", "show", file, "--problem", "2")
    assert "no steps" in other
    assert "Answer: nobody It has no sibling: there are no steps. Who knows." in other
    for wrong in ("0", "3", "none"):
        assert main(["problems", "show", file, "--problem", wrong]) == 2
        assert "holds problems 1 to 2" in capsys.readouterr().err


def test_show_as_json_and_skills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = next(iter(World().problems(1, 0)))
    write_problems([problem], tmp_path / "a.jsonl")
    summary = json.loads(shown(capsys, "problems", "show", str(tmp_path / "a.jsonl"), "--json"))["summary"]
    assert summary["sibling"]["answer"] == problem.sibling.answer  # type: ignore[union-attr]
    assert problem.steps[0].skill in shown(capsys, "problems", "show", str(tmp_path / "a.jsonl"))


def test_steps_that_do_not_execute_are_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_problems([Problem("a", "?", "6", steps=(Step("", "2 + 3 = 5", "5"),))], tmp_path / "a.jsonl")
    assert "steps that do not execute" in shown(capsys, "problems", "show", str(tmp_path / "a.jsonl"))


def test_changes_are_marked_in_both_texts() -> None:
    one, other = changes("It costs $3.00, or $1,200 for Ann.", "It costs $4.50, or $1,300 for Bob.")
    assert (one.plain, other.plain) == (
        "It costs $«3.00», or $«1,200» for «Ann».",
        "It costs $«4.50», or $«1,300» for «Bob».",
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("5", "number"), ("$1,200.50", "number"), ("\\frac{1}{2}", "number"), ("B", "choice"), ("(C)", "choice"),
     ("p - q", "text"), ("Evelyn", "text")],
)  # fmt: skip
def test_kinds_of_answers(answer: str, kind: str) -> None:
    assert answer_kind(answer) == kind


@pytest.mark.parametrize(("source", "module"), [("hf:owner/name", "datasets"), ("a.parquet", "pyarrow")])
def test_what_must_be_installed_is_told(
    source: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"")
    assert main(["problems", "list", source]) == 2
    assert capsys.readouterr().err == f"diotima: this needs {module}: pip install 'diotima[data]'\n"


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert visible("a\x1b[2J\x07b\r\tc\nd é 🍎") == "a�[2J�b�\tc\nd é 🍎"
