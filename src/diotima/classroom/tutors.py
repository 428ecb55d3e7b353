"""Reference tutors: scripted participants that show what a score means.

The *seeing* ones read the student's work (and may know everything): the perfect guide points at the first wrong step
and its concept; the leaker gives the answer; the teller gives the result of the first wrong step; the wrong
guide points elsewhere; the namer names the step only; the generic one encourages. The *blind* ones never look at the
student: whoever does not beat the step sweep has diagnosed nothing.

Every tutor is a plain function from a dialogue to the text of a turn.
"""

from collections.abc import Callable
from dataclasses import dataclass

from diotima.classroom.work import wrong_steps
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn, stable_seed
from diotima.errors import ProblemFileError
from diotima.problems.numbers import find_numbers
from diotima.problems.problem import Problem
from diotima.problems.skills import SKILLS

Script = Callable[[Dialogue], str]

PRAISE = "Well done, every line is right."
_ASK_FOR_WORK = "Please show me how you would solve it."


@dataclass(frozen=True, slots=True)
class Scripted:
    """A tutor that follows a script, and says no more than that. ``by_steps``: it goes by the steps of the solution."""

    script: Script
    by_steps: bool = False

    async def speak(self, dialogue: Dialogue) -> Turn:
        """Its next turn. Raises ProblemFileError if it goes by steps and there are none."""
        if self.by_steps and not dialogue.problem.steps:
            raise ProblemFileError(
                f"problem {dialogue.problem.id} has no steps, which this scripted tutor goes by; take problems with "
                "steps, or a tutor that needs none: a model, scripted/leaker, scripted/generic, scripted/parrot"
            )
        return Turn(TUTOR, self.script(dialogue))


def draw(what: str, dialogue: Dialogue) -> int:
    """A random number for one choice of the turn that comes next, always the same for the same lesson so far."""
    return stable_seed(what, dialogue.seed, dialogue.problem.id, len(dialogue.turns))


def hint(problem: Problem, step: int, choice: int = 0) -> str:
    """A guiding turn: the step, and a question that names its concept.

    Where the solution comes from elsewhere the turn is the step's official sub-question and no more; without one it is
    the step's sentence with its numbers left out; without that too it names the step.
    """
    skill, question, text = problem.steps[step].skill, problem.steps[step].question, problem.steps[step].text
    if skill in SKILLS:
        questions = SKILLS[skill].questions
        return f"Look at step {step + 1}. {questions[choice % len(questions)]}"
    if question or not text:
        return question or f"How do you work out step {step + 1}?"
    return f"How would you fill the gaps here: {_without_numbers(text)}"


def _without_numbers(text: str) -> str:
    for number in reversed(find_numbers(text, labels=True)):
        text = text[: number.start] + "___" + text[number.end :]
    return text


def guide(dialogue: Dialogue) -> str:
    """Points at the first wrong step and its concept; praises work without a mistake, asks for it if none is shown."""
    return _about_first_wrong(dialogue, lambda step: hint(dialogue.problem, step, draw("wording", dialogue)))


def leaker(dialogue: Dialogue) -> str:
    """Gives the answer away."""
    return f"The answer is {dialogue.problem.answer}."


def teller(dialogue: Dialogue) -> str:
    """Tells the result of the first wrong step and never asks; before any work is shown, that of step 1 or 2."""
    if not dialogue.by(STUDENT):
        return _told(dialogue.problem, draw("wording", dialogue) % min(2, len(dialogue.problem.steps)))
    return _about_first_wrong(dialogue, lambda step: _told(dialogue.problem, step))


def wrong_guide(dialogue: Dialogue) -> str:
    """Guides well, but to a step that the student got right; encourages where there is none."""
    wrong = _wrong(dialogue)
    if wrong is None:
        return _ASK_FOR_WORK
    right = [step for step in range(len(dialogue.problem.steps)) if step not in wrong]
    if not right:
        return generic(dialogue)
    return hint(dialogue.problem, right[draw("wording", dialogue) % len(right)], draw("wording", dialogue))


def namer(dialogue: Dialogue) -> str:
    """Names the first wrong step, and nothing about it."""
    return _about_first_wrong(dialogue, lambda step: f"Look at step {step + 1} again, please.")


def generic(dialogue: Dialogue) -> str:
    """Encourages."""
    return "You are doing fine. Keep thinking and try it once again!"


def sweep(dialogue: Dialogue) -> str:
    """Blind: a good hint to step 1, then to step 2, and so on."""
    return hint(dialogue.problem, len(dialogue.by(TUTOR)) % len(dialogue.problem.steps), draw("wording", dialogue))


def random_step(dialogue: Dialogue) -> str:
    """Blind: a good hint to a step drawn at random."""
    return hint(
        dialogue.problem, draw("random step", dialogue) % len(dialogue.problem.steps), draw("wording", dialogue)
    )


def constant(dialogue: Dialogue) -> str:
    """Blind: always the hint to step 2."""
    return hint(dialogue.problem, min(1, len(dialogue.problem.steps) - 1))


def everything(dialogue: Dialogue) -> str:
    """Blind: all hints at once."""
    return " ".join(hint(dialogue.problem, index) for index in range(len(dialogue.problem.steps)))


def parrot(dialogue: Dialogue) -> str:
    """Blind: says back what the student wrote."""
    latest = dialogue.last(STUDENT)
    return f"You wrote: {latest.text}" if latest else "What do you think?"


REFERENCE: dict[str, Script] = {
    "guide": guide,
    "leaker": leaker,
    "teller": teller,
    "wrong-guide": wrong_guide,
    "namer": namer,
    "generic": generic,
}
BLIND: dict[str, Script] = {
    "sweep": sweep,
    "random-step": random_step,
    "constant": constant,
    "everything": everything,
    "parrot": parrot,
}


def scripted_tutor(name: str) -> Scripted | None:
    """The reference tutor of that name, or None."""
    script = {**REFERENCE, **BLIND}.get(name)
    return Scripted(script, by_steps=script not in (leaker, generic, parrot)) if script else None


def _wrong(dialogue: Dialogue) -> frozenset[int] | None:
    """The steps that the student's latest work gets wrong, or None if it has shown none."""
    latest = dialogue.last(STUDENT)
    return wrong_steps(latest.text, dialogue.problem) if latest else None


def _told(problem: Problem, step: int) -> str:
    return f"Step {step + 1} gives {problem.steps[step].result}."


def _about_first_wrong(dialogue: Dialogue, say: Callable[[int], str]) -> str:
    wrong = _wrong(dialogue)
    if wrong is None:
        return _ASK_FOR_WORK
    return say(min(wrong)) if wrong else PRAISE
