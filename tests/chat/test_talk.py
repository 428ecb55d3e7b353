"""The conversation as a value, and a reply while it is spoken."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.chat.talk import Hearing, interrupted, reply_to, said, undone, waits
from diotima.classroom.roles import Role
from diotima.dialogue import TUTOR, Dialogue, Message, Turn, split_reply
from diotima.errors import ModelError
from diotima.models.chat import Reply, Sampling
from diotima.models.scripted import ScriptedModel
from diotima.problems.problem import Problem
from diotima.prompt import load_prompt

EMPTY = Dialogue(Problem("p", "What is 2 + 3?", "5"))


@dataclass(frozen=True)
class Spoken:
    """Streams these pieces; the whole reply is what they make."""

    pieces: tuple[str, ...]
    whole: bool = True

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        raise AssertionError("it can be streamed")

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[str | Reply]:
        for piece in self.pieces:
            yield piece
        if self.whole:
            yield Reply("".join(self.pieces))


def tutor(model: Spoken | ScriptedModel) -> Role:
    return Role(TUTOR, model, load_prompt("tutor/socratic"))


def texts(dialogue: Dialogue) -> list[str]:
    return [turn.text for turn in dialogue.turns]


def test_lines_without_a_reply_are_one_turn() -> None:
    once = said(EMPTY, "Hello")
    assert waits(once)
    assert texts(said(once, "Are you there?")) == ["Hello\nAre you there?"]
    answered = once.then(Turn(TUTOR, "Yes."))
    assert not waits(answered)
    assert texts(said(answered, "Good.")) == ["Hello", "Yes.", "Good."]
    assert not waits(EMPTY)


def test_undo_takes_back_one_exchange_after_the_other_and_then_nothing() -> None:
    opened = EMPTY.then(Turn(TUTOR, "Begin!"))
    one = said(opened, "5?").then(Turn(TUTOR, "Why?"))
    two = said(one, "Because.")
    assert undone(two) == one
    assert undone(one) == opened
    assert undone(opened) == opened


def test_a_reply_is_heard_piece_by_piece_and_its_thought_is_not() -> None:
    heard: list[str] = []
    model = Spoken(("<thi", "nk>so", " it is 5</th", "ink>", "What ", "is it", "?"))
    turn = asyncio.run(reply_to(said(EMPTY, "Hi"), tutor(model), heard.append))
    assert heard == list(model.pieces)
    assert (turn.text, turn.thought, turn.speaker) == ("What is it?", "so it is 5", TUTOR)
    hearing = Hearing()
    assert [hearing.piece(piece) for piece in model.pieces] == ["", "", "", "", "What", " is it", "?"]


def test_a_model_that_cannot_be_streamed_replies_as_a_whole() -> None:
    heard: list[str] = []
    turn = asyncio.run(reply_to(said(EMPTY, "Hi"), tutor(ScriptedModel(lambda messages: "Think!")), heard.append))
    assert (turn.text, heard) == ("Think!", [])


def test_a_stream_without_an_end_is_an_error() -> None:
    with pytest.raises(ModelError, match="broke off"):
        asyncio.run(reply_to(said(EMPTY, "Hi"), tutor(Spoken(("Wh",), whole=False)), lambda piece: None))


def test_a_thought_that_was_not_marked_is_told_to_be_one() -> None:
    hearing = Hearing()
    assert hearing.piece("The answer is 5.") == "The answer is 5."
    assert not hearing.misheard
    assert hearing.piece("</think>What do you think?") == "What do you think?"
    assert hearing.misheard
    assert hearing.heard == "What do you think?"


_MARKED = ["<think>", "</think>", "<end_of_conversation>", "so", " ", "\n", "<", "?", "5"]


@given(st.lists(st.sampled_from(_MARKED), max_size=12), st.integers(1, 5))
def test_in_the_end_what_was_heard_is_the_turn(parts: list[str], size: int) -> None:
    raw, hearing, shown = "".join(parts), Hearing(), ""
    for start in range(0, len(raw), size):
        new = hearing.piece(raw[start : start + size])
        shown = new if hearing.misheard else shown + new
        assert "<think" not in shown
    new = hearing.whole(split_reply(raw)[0])
    assert (new if hearing.misheard else shown + new) == split_reply(raw)[0]


def test_what_was_heard_of_a_stopped_reply_counts() -> None:
    hearing = Hearing()
    assert interrupted(hearing) is None
    hearing.piece("Look at <think>")
    assert interrupted(hearing) == Turn(TUTOR, "Look at", cut=True)
