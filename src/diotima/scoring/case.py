"""A case is one thing that is put before a judge: a tutor's turn in its context, a whole dialogue, or two turns."""

from dataclasses import dataclass
from typing import Literal

from diotima.dialogue import TUTOR, Dialogue, Turn
from diotima.score import WHOLE
from diotima.scoring.rubric import Rubric


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is put before a judge.

    ``position``: which turn of the dialogue is judged, from 0, or `WHOLE`. In a comparison ``other`` is the turn that
    another tutor would have said in its place, and ``order`` where the dialogue's own turn stands.
    """

    dialogue: Dialogue
    position: int = WHOLE
    other: Turn | None = None
    order: Literal["", "first", "second"] = ""


def cases_of(
    dialogue: Dialogue, rubric: Rubric, turns: Literal["all", "last"] = "all", other: Turn | None = None
) -> list[Case]:
    """What is put before a judge of this dialogue: the tutor's turns, or the whole; nothing if the tutor said nothing.

    For a comparison ``other`` is the turn to compare its last turn with, and both orders are cases. Raises ValueError
    if it is missing there.
    """
    positions = [position for position, turn in enumerate(dialogue.turns) if turn.speaker == TUTOR]
    if rubric.judges == "dialogue":
        return [Case(dialogue)] if positions else []
    if rubric.judges == "turn":
        return [Case(dialogue, position) for position in (positions if turns == "all" else positions[-1:])]
    if other is None:
        raise ValueError(f"rubric {rubric.name} compares two turns, and there is one")
    return [Case(dialogue, position, other, order) for position in positions[-1:] for order in ("first", "second")]
