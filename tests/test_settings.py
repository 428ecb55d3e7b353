"""Settings: YAML and overrides, and what is said about mistakes."""

from pathlib import Path

import pytest
from runs.playable import Settings

from diotima.benchmarks import evaluate
from diotima.errors import SettingsError
from diotima.settings import load_settings, parse_override


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str, **overrides: object) -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings(Settings, write(folder, text), overrides)
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence


def test_overrides_lie_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "out: a\nword: file\ngroup:\n  rate: 1e-3\n")
    settings = load_settings(Settings, path, {"word": "flag"})
    assert (settings.out, settings.word, settings.group.rate) == (Path("a"), "flag", 0.001)
    assert load_settings(Settings, path, {"group.rate": 2}).group.rate == 2.0


def test_settings_are_frozen() -> None:
    settings = load_settings(Settings, None, {"out": "a"})
    with pytest.raises(ValueError, match="frozen"):
        settings.word = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out: a\nwrod: x\n", "settings.yaml: wrod is not a setting; did you mean word?"),
        ("out: a\ngroup: {rat: 1}\n", "settings.yaml: group.rat is not a setting; did you mean rate?"),
        ("out: a\nzzzz: x\n", "known are: bold, extras, group"),
        ("word: x\n", "settings.yaml: out is missing and has no default"),
        ("out: a\nseed: many\n", "settings.yaml: seed = 'many': "),
        ("out: a\nmode: wrong\n", "settings.yaml: mode = 'wrong': "),
        ("out: a\nword: x\nword: y\n", "settings.yaml, line 3: the key word stands here a second time"),
        ("out: a\nword: [1\n", "settings.yaml, line "),
        ("- a\n- b\n", "must hold settings as 'key: value' lines"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(tmp_path, text)


def test_a_mistake_in_an_override_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, "out: a\n", sead=3)
    assert sentence == "the command line: sead is not a setting; did you mean seed?"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: there is no such file"):
        load_settings(Settings, tmp_path / "none.yaml")


def test_a_word_cannot_have_settings_below_it() -> None:
    with pytest.raises(SettingsError, match="word is not a group"):
        load_settings(Settings, None, {"out": "a", "word": "b", "word.more": 1})


def test_overrides_are_read_as_yaml() -> None:
    assert parse_override("grpo.learning_rate=1e-4") == ("grpo.learning_rate", 0.0001)
    assert parse_override("a=[1, b]") == ("a", [1, "b"])
    assert parse_override("a=x=y") == ("a", "x=y")
    with pytest.raises(SettingsError, match="key=value"):
        parse_override("steps")


def test_one_number_stands_for_several(tmp_path: Path) -> None:
    told = evaluate.Settings.model_validate({"tutor": "tiny", "problems": "p", "out": tmp_path, "temperature": 0.7})
    assert (told.tutor, told.temperature) == (("tiny",), (0.7,))
