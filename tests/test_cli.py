"""The command line: every command starts, mistakes are one sentence, interrupts exit with 130."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import playable

import diotima
from diotima import cli
from diotima.cli import COMMANDS, Command, main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def _playable(monkeypatch: pytest.MonkeyPatch) -> None:
    playable.PLAYED.clear()
    monkeypatch.setitem(COMMANDS, "write words", Command("runs.playable", "Write.", "diotima write words --out a"))


def test_every_public_name_is_exported() -> None:
    assert set(dir(diotima)) == set(diotima.__all__)
    for name in diotima.__all__:
        assert getattr(diotima, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = diotima.Nothing


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_help(name: str, capsys: Captured) -> None:
    if importlib.util.find_spec(COMMANDS[name].module) is None:
        pytest.skip(f"{COMMANDS[name].module} is not there yet")
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"diotima {name}" in shown
    assert COMMANDS[name].example.split()[-1] in shown


def test_every_setting_has_its_sentence_of_help() -> None:
    for name, command in COMMANDS.items():
        if importlib.util.find_spec(command.module) is None:
            continue
        for key, field in importlib.import_module(command.module).Settings.model_fields.items():
            assert field.description, f"{name}: {key}"


def test_help_and_import_load_nothing_heavy() -> None:
    code = (
        "import sys, diotima, diotima.cli; diotima.cli.main(['--help']); diotima.cli.main(['train', '--help']);"
        "heavy = {'torch', 'pydantic', 'cyclopts', 'rich', 'yaml', 'apsw', 'numpy'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": _source()})
    assert (done.returncode, done.stderr) == (0, "")
    assert "train grpo" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["evalaute"], "evalaute is not a command; did you mean evaluate?"),
        (["train", "sfd"], "train sfd is not a command; did you mean train sft?"),
        (["--verbose"], "--verbose needs a command"),
        (["run", "none.yaml"], "none.yaml: there is no such file"),
        (["run", "x.yaml", "--sed", "1"], "Did you mean --seed?"),
        (["write", "words"], "out is missing"),
        (["write", "words", "--out", "a", "--seed", "many"], "--seed"),
        (["write", "words", "--recipe", "none.yaml"], "none.yaml: there is no such file"),
    ],
)
@pytest.mark.usefixtures("_playable")
def test_a_mistake_is_one_sentence_and_exit_code_2(words: list[str], expected: str, capsys: Captured) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_number_that_may_be_left_out_is_checked_in_a_sentence_too(capsys: Captured) -> None:
    assert main(["teach", "--tutor", "tiny", "--problems", "a", "--out", "b", "--most-problems", "0"]) == 2
    assert capsys.readouterr().err == ("diotima: the command line: most_problems = 0: Input should be greater than 0\n")


@pytest.mark.usefixtures("_playable")
def test_flags_lie_over_a_file_of_settings(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"out: {tmp_path / 'file'}\nword: file\nseed: 5\n")
    assert main(["write", "words", str(file), "--word", "flag"]) == 0
    result = Path(capsys.readouterr().out.strip())
    assert result.read_text() == "flag5 "
    out = str(tmp_path / "flags")
    words = ["--out", out, "--tags", "a", "--tags", "b", "--no-bold", "--group.rate", "2", "--extras.beta", "1e-3"]
    seen = []
    original = playable.run
    try:
        playable.run = lambda settings: seen.append(settings) or original(settings)  # type: ignore[assignment]
        assert main(["write", "words", *words]) == 0
    finally:
        playable.run = original
    settings = seen[0]
    assert (settings.tags, settings.bold, settings.group.rate) == (("a", "b"), False, 2.0)
    assert settings.extras == {"beta": 0.001}


@pytest.mark.usefixtures("_playable")
def test_json_is_alone_on_standard_output(tmp_path: Path, capsys: Captured) -> None:
    assert main(["write", "words", "--out", str(tmp_path / "a"), "--mode", "print", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "command": "write words",
        "path": str(tmp_path / "a" / "words.txt"),
        "summary": {"words": 1},
    }
    assert "chatter" in captured.err


@pytest.mark.usefixtures("_playable")
def test_a_full_disk_is_one_sentence(tmp_path: Path, capsys: Captured) -> None:
    assert main(["write", "words", "--out", str(tmp_path / "full"), "--mode", "fill"]) == 2
    sentence = "No space left on device; what was written before is kept, make room and try again"
    assert capsys.readouterr().err == f"diotima: {tmp_path / 'full'}: {sentence}\n"


@pytest.mark.parametrize("words", [["sandbox", "problems"], ["evaluate", "--tutor", "scripted/guide"], ["run", "demo"]])
def test_a_file_in_place_of_the_folder_is_one_sentence(words: list[str], tmp_path: Path, capsys: Captured) -> None:
    steps = '[{"work": "1 + 0 = 1", "result": "1"}]'
    (tmp_path / "problems.jsonl").write_text(f'{{"id": "a", "question": "?", "answer": "1", "steps": {steps}}}\n')
    (tmp_path / "file").write_text("mine")
    problems = ["--problems", str(tmp_path / "problems.jsonl")] if words[0] == "evaluate" else []
    assert main([*words, *problems, "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"diotima: {tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", "import sys, diotima.cli as c; sys.exit(c.main([]))"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_interrupt_says_how_to_go_on(tmp_path: Path, capsys: Captured) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nstages: [{name: a, run: runs.playable}, {name: b, run: runs.playable}]\n")
    words = ["run", str(recipe), "--out", str(tmp_path / "out"), "--set", "b.mode=interrupt"]
    assert main([*words, "--fresh"]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("diotima: stopped; ")
    assert last.endswith(f"go on with: diotima {' '.join(words)}")
    assert main(words[:4]) == 0
    assert capsys.readouterr().err.splitlines() == ["[1/2] a: finished before", "[2/2] b: runs.playable"]


def test_a_missing_training_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def without_torch(words: list[str]) -> int:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(cli, "_dispatch", without_torch)
    assert main(["train", "sft"]) == 2
    assert "pip install 'diotima[train]'" in capsys.readouterr().err


def _source() -> str:
    return str(Path(diotima.__file__).parents[1])
