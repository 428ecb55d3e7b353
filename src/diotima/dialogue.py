"""Turns, dialogues and how each speaker sees them.

A dialogue is an immutable value: ``dialogue.then(turn)`` returns a new one, so branching candidates from a shared
history costs nothing and no lesson can disturb another. Every speaker gets a view of its own: its turns are the
assistant's, all others the user's, and what others think in private is not in it.

A turn spoken by a model in this process keeps its ``Tokens``: the ids it read, the ids it sampled, and the
log-probability of each. Training builds its loss mask from these and never tokenises text again.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Final, Literal

from diotima.problems.problem import Problem

TUTOR: Final = "tutor"
STUDENT: Final = "student"

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
END_OF_CONVERSATION = "<end_of_conversation>"
MARKS = (THINK_OPEN, THINK_CLOSE, END_OF_CONVERSATION)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a model read and wrote for one turn.

    ``prompt_ids``: the whole context, all earlier turns included. ``reply_ids``: the sampled ids, the end-of-turn id
    included if it was sampled. ``logprobs``: the natural log-probability of each reply id under the sampling
    distribution, same length as ``reply_ids``.
    """

    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.reply_ids) != len(self.logprobs):
            raise ValueError(f"{len(self.reply_ids)} reply ids but {len(self.logprobs)} log-probabilities")


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message as a model sees it. ``tokens`` is set on the speaker's own earlier turns, where known."""

    role: Literal["system", "user", "assistant"]
    content: str
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One contribution. ``text`` is what everyone hears, ``thought`` what only the speaker knows.

    ``ends``: the speaker closes the conversation with this turn. ``cut``: the model ran into its token limit.
    ``malformed``: the raw reply broke the rules of form (an unclosed thought, for one), see `split_reply`.
    """

    speaker: str
    text: str
    thought: str = ""
    ends: bool = False
    cut: bool = False
    malformed: bool = False
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A lesson about one problem, so far.

    ``seed`` identifies the lesson: every random choice of its participants is spread from it. ``stop`` is the reason
    why the lesson ended ("" while it goes on).
    """

    problem: Problem
    turns: tuple[Turn, ...] = ()
    seed: int = 0
    stop: str = ""

    def then(self, turn: Turn) -> "Dialogue":
        """This dialogue and one more turn."""
        return replace(self, turns=(*self.turns, turn))

    def stopped(self, reason: str) -> "Dialogue":
        """This dialogue, over for the given reason."""
        return replace(self, stop=reason)

    def by(self, speaker: str) -> tuple[Turn, ...]:
        """All turns of one speaker, in order."""
        return tuple(turn for turn in self.turns if turn.speaker == speaker)

    def last(self, speaker: str) -> Turn | None:
        """The latest turn of one speaker."""
        return next((turn for turn in reversed(self.turns) if turn.speaker == speaker), None)

    def seen_by(self, speaker: str) -> list[Message]:
        """The messages of this dialogue as ``speaker`` may see them: own thoughts kept, others' hidden."""
        return [
            Message("assistant", raw_reply(turn), turn.tokens)
            if turn.speaker == speaker
            else Message("user", turn.text)
            for turn in self.turns
        ]


def split_reply(raw: str) -> tuple[str, str, bool, bool]:
    """Split what a model wrote into ``(text, thought, ends, malformed)``.

    Every ``<think>...</think>`` goes to the thought. An opening tag that is never closed hides all that follows it,
    and a closing tag without an opening one hides all that precedes it: in doubt nothing private is shown. Both count
    as malformed, as does a reply that leaves nothing to be heard. The end marker is removed wherever it stands; it ends
    the conversation only where it can be heard.
    """
    text, thoughts, rest, malformed = "", [], raw, False
    while rest:
        before, opening, after = rest.partition(THINK_OPEN)
        if THINK_CLOSE in before:
            hidden, _, before = before.rpartition(THINK_CLOSE)
            thoughts.append(text + hidden)
            text, malformed = "", True
        text += before
        if not opening:
            break
        thought, closing, rest = after.partition(THINK_CLOSE)
        thoughts.append(thought)
        malformed = malformed or not closing or THINK_OPEN in thought
    ends = END_OF_CONVERSATION in text
    text, kept = _without_marks(text), [thought for thought in map(_without_marks, thoughts) if thought]
    return text, "\n".join(kept), ends, malformed or not (text or ends)


def _without_marks(text: str) -> str:
    for mark in MARKS:
        text = text.replace(mark, " ")  # a blank, so that what stood on both sides cannot join into a new mark
    return text.strip()


def raw_reply(turn: Turn) -> str:
    """The turn as its speaker would write it: thought, text, end marker. The inverse of `split_reply`."""
    thought = f"{THINK_OPEN}{turn.thought}{THINK_CLOSE}" if turn.thought else ""
    return thought + turn.text + (END_OF_CONVERSATION if turn.ends else "")


def stable_seed(*parts: str | int | float) -> int:
    """A 63-bit seed from any identifying parts: the same in every process, unlike Python's ``hash``."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
