"""Problems, their steps, and their siblings.

A problem carries its sibling: the same structure with other numbers and, where possible, another story. Solving the
sibling after a lesson is what we call learning; solving the same problem again may be mere copying.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the reference solution.

    ``question``: the sub-question it answers, or "". ``work``: the calculation as written, e.g. ``12 + 7 = 19``.
    ``result``: its value as text. ``skill``: the knowledge component it exercises, a name of `skills`, or "".
    ``text``: the sentence of the solution in which it stands, or "".
    """

    question: str
    work: str
    result: str
    skill: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its reference answer and, where known, solution, steps and sibling."""

    id: str
    question: str
    answer: str
    solution: str = ""
    steps: tuple[Step, ...] = ()
    source: str = ""
    sibling: "Problem | None" = None

    def __hash__(self) -> int:
        return hash(self.id)  # equal problems have equal ids; hashing every step would cost more than most look-ups
