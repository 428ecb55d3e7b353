"""MathDial: teachers help students who have solved a word problem wrongly.

Macina et al., "MathDial", Findings of EMNLP 2023; files of eth-nlped/mathdial. A turn is ``Teacher: (probing)How ...``:
who speaks, the student also by name, and the teacher's move, which was not said and is left out. A few teachers sent a
move and no words. The student's solution, which the file keeps beside the conversation, is its first turn.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from diotima.corpus.conversations import merged, turn_of, with_text_seed
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import ProblemFileError
from diotima.problems.formats import form_of, text_of

COLUMNS: Final = ("question", "ground_truth", "conversation", "student_incorrect_solution")

_BETWEEN = "|EOM|"
_SPEAKER = re.compile(r"\s*(?P<speaker>\w+):")
_MOVE = re.compile(r"\s*\((?:generic|probing|focus|telling)\)")


def read_lesson(fields: Mapping[str, Any]) -> Dialogue:
    """One row of MathDial's own files, with answer and solution. Raises ProblemFileError with the field."""
    problem = form_of(fields, {}, "").problem(fields)
    told = text_of(fields, "conversation").split(_BETWEEN)
    turns = (solution_turn(text_of(fields, "student_incorrect_solution")), *spoken_turns(told))
    return with_text_seed(Dialogue(problem, merged(turns)))


def solution_turn(solution: str) -> Turn:
    """The student's solution as its first turn."""
    return turn_of(STUDENT, "\n".join(line.strip() for line in solution.splitlines()))


def spoken_turns(texts: Iterable[str]) -> list[Turn]:
    """Turns from texts such as ``Teacher: (focus)Try step 2.`` Raises ProblemFileError if nobody is said to speak."""
    turns = []
    for text in texts:
        named = _SPEAKER.match(text)
        if named is None:
            raise ProblemFileError(f"a turn does not begin with a speaker: {' '.join(text.split())[:40]!r}")
        said = _MOVE.sub("", text[named.end() :], count=1)
        if said.strip():
            turns.append(turn_of(TUTOR if named["speaker"] == "Teacher" else STUDENT, said))
    return turns
