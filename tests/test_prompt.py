"""Prompts: found by name, filled strictly and in one pass."""

import hashlib
from pathlib import Path

import pytest

from diotima import prompt
from diotima.errors import PromptError
from diotima.prompt import load_prompt


def write(folder: Path, text: str) -> str:
    path = folder / "guide.md"
    path.write_text(text)
    return str(path)


def test_filling_leaves_json_braces_and_never_rescans(tmp_path: Path) -> None:
    loaded = load_prompt(write(tmp_path, 'Say {"a": {"b": 1}} to {{ name }}: {{question}} {{name}}\n'))
    filled = loaded.fill(name="{{question}}", question="1 + 1?")
    assert filled == 'Say {"a": {"b": 1}} to {{question}}: 1 + 1? {{question}}'


def test_names_must_fit_exactly(tmp_path: Path) -> None:
    loaded = load_prompt(write(tmp_path, "{{a}} {{b}}"))
    with pytest.raises(PromptError, match="no value for b"):
        loaded.fill(a=1)
    with pytest.raises(PromptError, match="no placeholder for c"):
        loaded.fill(a=1, b=2, c=3)


def test_front_matter_is_meta_and_not_text(tmp_path: Path) -> None:
    loaded = load_prompt(write(tmp_path, "---\nscale: [1, 5]\n---\nJudge.\n---\nMore.\n"))
    assert loaded.meta == {"scale": [1, 5]}
    assert loaded.text == "Judge.\n---\nMore."
    assert loaded.fingerprint == hashlib.sha256(loaded.text.encode()).hexdigest()[:12]


@pytest.mark.parametrize("matter", ["a: 1\na: 2", "- a", "a: ["])
def test_torn_front_matter_is_refused(tmp_path: Path, matter: str) -> None:
    with pytest.raises(PromptError, match="front matter"):
        load_prompt(write(tmp_path, f"---\n{matter}\n---\nText"))


def test_shipped_prompts_go_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tutor").mkdir()
    (tmp_path / "tutor" / "guide.md").write_text("Guide {{name}}.")
    monkeypatch.setattr(prompt, "PROMPTS", tmp_path)
    assert load_prompt("tutor/guide").fill(name="Ada") == "Guide Ada."
    with pytest.raises(PromptError, match=r"no prompt tutor/giude.*tutor/guide"):
        load_prompt("tutor/giude")


def test_every_shipped_prompt_loads() -> None:
    for name in prompt.prompt_names():
        prompted = load_prompt(name)
        assert prompted.text or prompted.meta  # a rubric may be like another, and an attack say nothing
