"""What reaches the terminal, and how."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.chat.screen import Screen, Speech, harmless


def spoken(*pieces: str, width: int | None = None, column: int = 0, plain: bool = False) -> str:
    written: list[str] = []
    speech = Speech(written.append, width, column, plain)
    for piece in pieces:
        speech.hear(piece)
    speech.end()
    return "".join(written)


@given(st.text())
def test_no_control_character_passes(text: str) -> None:
    assert all(sign.isprintable() or sign == "\n" for sign in harmless(text))


@pytest.mark.parametrize("attack", ["\x1b[2J", "\x1b]0;title\x07", "\u202egnp.exe", "\r", "\x9b31m", "\x08"])
def test_escapes_and_overrides_are_made_visible(attack: str) -> None:
    assert "\N{REPLACEMENT CHARACTER}" in harmless(f"look {attack} here")
    assert "\x1b" not in spoken(*f"look {attack} here")


def test_blanks_and_line_ends_of_all_kinds_are_the_common_ones() -> None:
    assert harmless("5\u00a0km\u202f!\r\nso\u2028on\ttab co\u00adop\u200b") == "5 km !\nso\non    tab coop"


def test_words_are_written_when_they_are_whole() -> None:
    written: list[str] = []
    speech = Speech(written.append, None)
    speech.hear("Look at th")
    assert "".join(written) == "Look at"
    speech.hear(r"e \( x^")
    assert "".join(written) == "Look at the"
    speech.hear(r"2 \) now")
    assert "".join(written) == "Look at the x²"
    speech.end()
    assert "".join(written) == "Look at the x² now"


def test_lines_break_between_words_and_keep_what_was_broken_before() -> None:
    text = "one two three four\n  - five six seven eight\n\nnine"
    assert spoken(text, width=12) == "one two\nthree four\n  - five six\nseven eight\n\nnine"
    assert spoken("one two", width=12, column=7) == "one\ntwo"
    assert spoken("数学 数学 数学", width=10) == "数学 数学\n数学"
    assert spoken(text) == text


@given(st.lists(st.sampled_from(["one", " ", "\n", "seven", "  "]), max_size=20), st.integers(1, 4))
def test_pieces_are_broken_into_lines_as_the_whole_is(parts: list[str], size: int) -> None:
    text = "".join(parts)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert spoken(*pieces, width=12) == spoken(text, width=12)


def test_plain_leaves_formulas_alone() -> None:
    assert spoken(r"so \( x^2 \)", plain=True) == r"so \( x^2 \)"


def test_without_a_terminal_there_is_plain_text_and_nothing_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\r\ntwo"))
    screen = Screen()
    assert not screen.alive
    assert [screen.ask("You: "), screen.ask("You: ")] == ["one", "two"]
    with pytest.raises(EOFError):
        screen.ask("You: ")
    speech = screen.speech("Tutor")
    speech.hear("word " * 40)
    speech.end()
    screen.aside("for people")
    screen.tell("told :smile: [bold]x[/bold]")
    screen.say("You", "named")
    screen.complain("see http://me:secret@host/ \x1b[31m")
    captured = capsys.readouterr()
    assert captured.out == ("word " * 40).strip() + "\ntold :smile: [bold]x[/bold]\nYou: named\n"
    assert captured.err == "diotima: see http://host/ \N{REPLACEMENT CHARACTER}[31m\n"
