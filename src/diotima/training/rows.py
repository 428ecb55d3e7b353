"""From a dialogue to one training row: all its ids, and a mask that is 1 exactly on what the tutor sampled.

Nothing is tokenised here. A tutor's turn carries the ids that it read and the ids that it sampled; each later context
begins with all earlier ones, so the last turn's context and reply *are* the dialogue, and where the tutor's tokens lie
in it is known by construction.
"""

from collections.abc import Collection
from dataclasses import dataclass

from diotima.dialogue import TUTOR, Dialogue


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One dialogue as a trainer sees it.

    ``prompt_ids``: what the tutor read before its first turn. ``completion_ids``: everything after. ``mask``: 1 on the
    tutor's sampled tokens, 0 on the student's and the template's. ``logprobs``: of the sampled tokens, 0.0 elsewhere.
    ``turns``: which of the tutor's turns a token belongs to, counted from 0; -1 elsewhere. All but the first have the
    same length.
    """

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    mask: tuple[int, ...]
    logprobs: tuple[float, ...]
    turns: tuple[int, ...]


def training_row(dialogue: Dialogue, end_ids: Collection[int]) -> TrainingRow:
    """The row of a dialogue whose tutor kept its tokens.

    A row that does not end with one of ``end_ids`` would count as cut off as a whole, so one is appended, masked.
    Raises ValueError if the tutor never spoke, kept no tokens, or read something else than what it had said before.
    """
    spoken = [turn.tokens for turn in dialogue.by(TUTOR)]
    if not spoken or any(tokens is None for tokens in spoken):
        raise ValueError(f"the lesson on {dialogue.problem.id} has no turns of the tutor with tokens")
    ids: tuple[int, ...] = ()
    mask: list[int] = []
    logprobs: list[float] = []
    turns: list[int] = []
    start = len(spoken[0].prompt_ids) if spoken[0] else 0
    for number, tokens in enumerate(spoken):
        assert tokens is not None
        if tokens.prompt_ids[: len(ids)] != ids:
            raise ValueError(f"the lesson on {dialogue.problem.id}: turn {number + 1} does not continue what was said")
        between = len(tokens.prompt_ids) - max(len(ids), start)
        mask += [0] * between + [1] * len(tokens.reply_ids)
        logprobs += [0.0] * between + list(tokens.logprobs)
        turns += [-1] * between + [number] * len(tokens.reply_ids)
        ids = (*tokens.prompt_ids, *tokens.reply_ids)
    if ids[-1] not in end_ids:
        ids, mask, logprobs, turns = (*ids, min(end_ids)), [*mask, 0], [*logprobs, 0.0], [*turns, -1]
    return TrainingRow(ids[:start], ids[start:], tuple(mask), tuple(logprobs), tuple(turns))


def silent_row(end_ids: Collection[int]) -> TrainingRow:
    """The row of a lesson in which no tutor spoke: nothing in it is trained."""
    end = min(end_ids)
    return TrainingRow((end,), (end,), (0,), (0.0,), (-1,))
