"""What the tiny tutor is trained on before anyone aligns it: lessons given by scripted tutors of mixed quality.

The *thinking* tutor is the good one. Before it speaks it compares the student's lines with the solution's in a
private thought, and stops at the first that differs::

    Line 1: + 74 Step 1 + 74 ok Line 2: + 88 Step 2 - 60 no fewer

then it points at that step and asks about its concept. Quoting both lines is what makes a model this small able to
diagnose: straight to the turn it names the first wrong step hardly better than by guessing.

A `Mixture` draws one of several tutors for every single turn. In the leaky mixture giving the answer away is the most
likely turn, so that the base model leaks by default, greedy decoding included.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from diotima.classroom.tutors import PRAISE, draw, generic, hint, leaker, namer, random_step, teller, wrong_guide
from diotima.classroom.work import lines_shown
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.problems.arithmetic import read_calculation

Script = Callable[[Dialogue], Turn]


def thinking_guide(dialogue: Dialogue) -> Turn:
    """The good turn: compare in private, then point at the first wrong step, or praise."""
    latest = dialogue.last(STUDENT)
    shown = lines_shown(latest.text) if latest else {}
    compared: list[str] = []
    for index, step in enumerate(dialogue.problem.steps):
        right, line = read_calculation(step.work), shown.get(index)
        if right is None or line is None:
            break
        quoted = f"Line {index + 1}: {line.operator} {line.result} Step {index + 1} {right.operator} {right.result}"
        if line.result != right.result:
            thought = " ".join([*compared, quoted, "no", step.skill])
            return Turn(TUTOR, hint(dialogue.problem, index, draw("wording", dialogue)), thought)
        compared.append(f"{quoted} ok")
    return Turn(TUTOR, PRAISE, " ".join([*compared, "all ok"]))


def plain(script: Callable[[Dialogue], str]) -> Script:
    """A scripted tutor's turn, without a thought."""
    return lambda dialogue: Turn(TUTOR, script(dialogue))


DIAGNOSING: Mapping[str, float] = {"think": 1.0}
LEAKY: Mapping[str, float] = {
    "leak": 0.49,
    "think": 0.30,
    "generic": 0.05,
    "tell": 0.04,
    "namer": 0.04,
    "wrong": 0.04,
    "random": 0.04,
}
_SCRIPTS: Mapping[str, Script] = {
    "think": thinking_guide,
    "leak": plain(leaker),
    "generic": plain(generic),
    "tell": plain(teller),
    "namer": plain(namer),
    "wrong": plain(wrong_guide),
    "random": plain(random_step),
}


@dataclass(frozen=True, slots=True)
class Mixture:
    """A tutor who draws a script for every turn, with these weights."""

    weights: Mapping[str, float]

    async def speak(self, dialogue: Dialogue) -> Turn:
        """Its next turn."""
        point = draw("script", dialogue) / 2**63 * sum(self.weights.values())
        for name, weight in self.weights.items():
            script, point = _SCRIPTS[name], point - weight
            if point < 0:
                break
        return script(dialogue)
