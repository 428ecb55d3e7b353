"""A chat with a person who sits there: what goes wrong, and what is stopped, costs no conversation."""

from collections.abc import AsyncIterator, Sequence

from diotima.chat.session import Chat, Keeping
from diotima.classroom.roles import Role
from diotima.dialogue import TUTOR, Dialogue, Message
from diotima.errors import CallRefused, ModelError
from diotima.models.calls import Calls
from diotima.models.chat import Reply, Sampling
from diotima.problems.problem import Problem
from diotima.prompt import load_prompt


def texts(dialogue: Dialogue) -> list[str]:
    return [turn.text for turn in dialogue.turns]


class Alive:
    """A person at a terminal who says these lines, or presses Ctrl-C."""

    def __init__(self, *lines: str) -> None:
        self.alive = True
        self.shown: list[str] = []
        self._lines = iter(lines)

    def ask(self, prompt: str) -> str:
        line = next(self._lines, None)
        if line is None:
            raise EOFError
        if line == "^C":
            raise KeyboardInterrupt
        return line

    def speech(self, name: str) -> "Alive":
        return self

    def hear(self, text: str) -> None:
        self.shown.append(text)

    def end(self) -> None:
        pass

    def complain(self, sentence: str) -> None:
        self.shown.append(f"! {sentence}")

    def aside(self, text: str, style: str = "") -> None:
        self.shown.append(text)

    tell = aside


class Breaking:
    """Streams pieces, and then an exception."""

    def __init__(self, *replies: Sequence[str | BaseException]) -> None:
        self._replies = iter(replies)

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        raise AssertionError("it can be streamed")

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[str | Reply]:
        heard = ""
        for piece in next(self._replies):
            if isinstance(piece, BaseException):
                raise piece
            heard += piece
            yield piece
        yield Reply(heard)


def held(screen: Alive, *replies: Sequence[str | BaseException]) -> Chat:
    tutor = Role(TUTOR, Breaking(*replies), load_prompt("tutor/socratic"))
    dialogue = Dialogue(Problem("p", "What is 3/4 of 20?", "15"))
    keeping = Keeping(None, lambda dialogue: None, lambda dialogue, folder: None)
    chat = Chat(dialogue, tutor, Calls(), screen, keeping, lambda dialogue, name: (None, []))  # type: ignore[arg-type,return-value]
    chat.hold()
    return chat


def test_a_model_that_fails_costs_one_reply_and_not_the_conversation() -> None:
    screen = Alive("one", "", "two")
    chat = held(screen, ["Wh", ModelError("vllm/m: 500: broken")], ["Why?"], ["So?"])
    assert texts(chat.dialogue) == ["one", "Why?", "two", "So?"]
    assert "! vllm/m: 500: broken" in screen.shown
    assert any("Enter asks again" in line for line in screen.shown)


def test_a_conversation_that_is_too_long_can_be_taken_back() -> None:
    screen = Alive("one", "much more", "/undo", "less")
    chat = held(screen, ["Why?"], [CallRefused("vllm/m: 400: too long")], ["So?"])
    assert texts(chat.dialogue) == ["one", "Why?", "less", "So?"]
    assert any("/undo takes back" in line for line in screen.shown)


def test_a_stopped_reply_counts_as_far_as_it_was_heard() -> None:
    screen = Alive("one", "two", "", "^C", "three")
    chat = held(screen, ["Look at ", KeyboardInterrupt()], [KeyboardInterrupt()], ["So?"], ["Yes."])
    assert texts(chat.dialogue) == ["one", "Look at", "two", "So?", "three", "Yes."]
    assert chat.dialogue.turns[1].cut


def test_two_interrupts_in_a_row_end_the_chat() -> None:
    assert texts(held(Alive("^C", "one", "^C", "^C", "two"), ["Why?"]).dialogue) == ["one", "Why?"]


def test_thoughts_that_were_not_marked_are_told_to_be_such() -> None:
    screen = Alive("one")
    held(screen, ["It is 15.", "</think>", "What is 20 / 4?"])
    remark = "(this was a thought, which the model had not marked as one)"
    assert [shown for shown in screen.shown if shown] == ["It is 15.", remark, "What is 20 / 4?"]
