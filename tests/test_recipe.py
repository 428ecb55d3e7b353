"""Recipes: stages in order, resumed, refused when changed."""

import json
import shutil
from pathlib import Path

import pytest
from runs import playable

from diotima.errors import RunError, SettingsError
from diotima.recipe import load_recipe, play

COMMANDS = {"write": "runs.playable"}
TWO = """
name: two
seed: 3
stages:
  - {name: first, run: write, word: a}
  - {name: second, run: runs.playable, word: b, from: {source: first}}
"""


@pytest.fixture(autouse=True)
def _nothing_played() -> None:
    playable.PLAYED.clear()


def write(folder: Path, text: str = TWO) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_stages_are_played_in_order_and_feed_each_other(tmp_path: Path) -> None:
    out = play(load_recipe(write(tmp_path), COMMANDS), tmp_path / "out")
    assert playable.PLAYED == ["first", "second"]
    assert (out / "second" / "words.txt").read_text() == "a3 b3 "
    summary = json.loads((out / "summary.json").read_text())
    assert summary["stages"]["second"]["path"] == "second/words.txt"
    assert summary["stages"]["second"]["summary"] == {"words": 1}


def test_obvious_input_and_whole_run(tmp_path: Path) -> None:
    text = TWO.replace("from: {source: first}", "from: first, tags: [x]")
    text += "  - {name: third, run: write, from: {word: .}}\n"
    out = play(load_recipe(write(tmp_path, text), COMMANDS, seed=4), tmp_path / "out")
    assert (out / "second" / "words.txt").read_text() == "a4 b4 "
    assert (out / "third" / "words.txt").read_text() == f"{out}4 "


def test_finished_stages_are_skipped_even_after_a_move(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path), COMMANDS)
    play(recipe, tmp_path / "out")
    (tmp_path / "out" / "second" / "done.json").unlink()
    shutil.move(tmp_path / "out", tmp_path / "moved")
    play(recipe, tmp_path / "moved")
    assert playable.PLAYED == ["first", "second", "second"]


def test_an_interrupted_recipe_goes_on(tmp_path: Path) -> None:
    path, out = write(tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        play(load_recipe(path, COMMANDS, changes=["second.mode=interrupt"]), out)
    play(load_recipe(path, COMMANDS), out)
    assert playable.PLAYED == ["first", "second"]


def test_a_changed_finished_stage_is_refused_field_by_field(tmp_path: Path) -> None:
    path, out = write(tmp_path), tmp_path / "out"
    play(load_recipe(path, COMMANDS), out)
    changed = load_recipe(path, COMMANDS, changes=["first.word=z", "first.group.rate=0.1"])
    with pytest.raises(RunError, match=r'settings\.group\.rate: 0\.5 -> 0\.1; settings\.word: "a" -> "z".*--fresh'):
        play(changed, out)
    assert playable.PLAYED == ["first", "second"]
    play(changed, out, fresh=True)
    assert (out / "second" / "words.txt").read_text() == "z3 b3 "


def test_what_was_played_on_an_earlier_stage_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path), COMMANDS)
    out = play(recipe, tmp_path / "out")
    shutil.rmtree(out / "first")
    with pytest.raises(RunError, match=r"first is to be played anew: remove .*second too"):
        play(recipe, out)
    shutil.rmtree(out / "second")
    play(recipe, out)
    assert playable.PLAYED == ["first", "second", "first", "second"]


def test_who_looks_at_the_whole_run_looks_again(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, TWO.replace("from: {source: first}", "from: {word: .}")), COMMANDS)
    out = play(recipe, tmp_path / "out")
    play(recipe, out)
    assert playable.PLAYED == ["first", "second"]
    (out / "first" / "done.json").unlink()
    play(recipe, out)
    assert playable.PLAYED == ["first", "second", "first", "second"]


def test_a_stages_own_check_comes_before_anything_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(settings: playable.Settings) -> None:
        if settings.word == "b":
            raise SettingsError("not b")

    monkeypatch.setattr(playable, "check", check, raising=False)
    with pytest.raises(SettingsError, match="not b"):
        play(load_recipe(write(tmp_path), COMMANDS), tmp_path / "out")
    assert playable.PLAYED == []
    monkeypatch.undo()
    play(load_recipe(write(tmp_path), COMMANDS), tmp_path / "out")
    assert playable.PLAYED == ["first", "second"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out" / "first").mkdir(parents=True)
    (tmp_path / "out" / "first" / "precious.txt").write_text("mine")
    with pytest.raises(RunError, match="choose another --out"):
        play(load_recipe(write(tmp_path), COMMANDS), tmp_path / "out", fresh=True)
    assert (tmp_path / "out" / "first" / "precious.txt").exists()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("word: b", "wrod: b", r"recipe\.yaml, stage second: wrod is not a setting; did you mean word"),
        ("run: write", "run: wriet", "stage first: wriet is not a stage; did you mean write"),
        ("runs.playable", "runs.nothing", r"there is no module runs\.nothing"),
        ("runs.playable", "os.path", r"os\.path is not a stage, it has no Settings and run"),
        ("source: first", "source: fisrt", "fisrt is not an earlier stage; did you mean first"),
        ("name: second", "name: first", "two stages of this name"),
        ("name: second", "name: ../x", "becomes a folder"),
        ("seed: 3", "sead: 3", r"recipe\.yaml: sead is not a setting; did you mean seed"),
    ],
)
def test_mistakes_are_told_before_anything_is_played(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = write(tmp_path, TWO.replace(old, new, 1))
    with pytest.raises(SettingsError, match=expected):
        play(load_recipe(path, COMMANDS), tmp_path / "out")
    assert playable.PLAYED == []


def test_a_change_of_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"secnod is not a stage.*did you mean second"):
        load_recipe(write(tmp_path), COMMANDS, changes=["secnod.word=x"])
