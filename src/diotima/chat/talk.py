"""A conversation between a person and a tutor, as a value, and how the tutor's reply is heard while it is spoken.

The person is the student, the conversation a `Dialogue` like every lesson: it can be stored, scored, measured and
trained on. A line that got no reply stays as the student's last turn, and what is said next is added to it, so that
speakers always take turns, which many chat templates insist on.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from diotima.classroom.lesson import Participant
from diotima.classroom.roles import Role
from diotima.dialogue import MARKS, STUDENT, TUTOR, Dialogue, Message, Turn, split_reply
from diotima.errors import ModelError
from diotima.models.chat import Reply, Sampling


def said(dialogue: Dialogue, text: str) -> Dialogue:
    """The conversation with one more line of the student's."""
    if not waits(dialogue):
        return dialogue.then(Turn(STUDENT, text))
    *earlier, last = dialogue.turns
    return replace(dialogue, turns=(*earlier, Turn(STUDENT, f"{last.text}\n{text}")))


def waits(dialogue: Dialogue) -> bool:
    """Whether the student has said something that has no reply yet."""
    return bool(dialogue.turns) and dialogue.turns[-1].speaker == STUDENT


def undone(dialogue: Dialogue) -> Dialogue:
    """The conversation without what the student said last and all that followed; what there is if that is nothing."""
    positions = [position for position, turn in enumerate(dialogue.turns) if turn.speaker == STUDENT]
    return replace(dialogue, turns=dialogue.turns[: positions[-1]]) if positions else dialogue


class Hearing:
    """What may be heard of a reply that comes in pieces: no thought, and no half of a mark.

    ``heard``: all that was. ``misheard``: whether some of it turned out to be a thought that had not been marked as
    such at its beginning; then ``heard`` begins anew.
    """

    def __init__(self) -> None:
        self.heard = ""
        self.misheard = False
        self._raw = ""

    def piece(self, text: str) -> str:
        """What this piece adds to what is heard."""
        self._raw += text
        return self.whole(split_reply(_without_half_a_mark(self._raw))[0])

    def whole(self, text: str) -> str:
        """What is to be heard in all, and how much of it is new."""
        before, self.heard = self.heard, text
        self.misheard = not text.startswith(before)
        return text if self.misheard else text[len(before) :]


def _without_half_a_mark(raw: str) -> str:
    longest = max(map(len, MARKS))
    for length in range(min(longest, len(raw)), 0, -1):
        if any(mark.startswith(raw[-length:]) for mark in MARKS if len(mark) > length):
            return raw[:-length]
    return raw


@runtime_checkable
class Streaming(Protocol):
    """A model whose replies can be had piece by piece."""

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[str | Reply]:
        """Pieces of text, which may hold think tags, and at last the whole reply."""
        ...


@dataclass(frozen=True, slots=True)
class Aloud:
    """A model that tells ``hear`` every piece of its reply as it comes."""

    model: Streaming
    hear: Callable[[str], None]

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """The next message, which has been heard by then."""
        reply: Reply | None = None
        async for piece in self.model.stream(messages, sampling):
            if isinstance(piece, Reply):
                reply = piece
            else:
                self.hear(piece)
        if reply is None:
            raise ModelError("the reply broke off")
        return reply


async def reply_to(dialogue: Dialogue, tutor: Participant, hear: Callable[[str], None]) -> Turn:
    """What the tutor says next; ``hear`` gets the pieces of a reply that comes in such."""
    if isinstance(tutor, Role) and isinstance(tutor.model, Streaming):
        tutor = replace(tutor, model=Aloud(tutor.model, hear))
    return await tutor.speak(dialogue)


def interrupted(hearing: Hearing) -> Turn | None:
    """What counts as said of a reply that was stopped: all that was heard, or nothing."""
    return Turn(TUTOR, hearing.heard, cut=True) if hearing.heard else None
