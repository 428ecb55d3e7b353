"""The simulated learner: Bayesian knowledge tracing, driven by what the tutor's turns say.

Per skill the learner has either mastered it or not (the latent state of knowledge tracing; Corbett & Anderson 1995).
A mastered step comes out right with P = 1 - slip, another one with P = guess; a step that comes out wrong shows the
mal-rule this learner keeps to. Every problem starts with one or two of its skills not mastered.

What departs from plain knowledge tracing is the learning itself: P(learn) depends on what the turn *says* (see
`reading`). A question that names a step and its concept teaches; naming one of the two teaches little; telling an
intermediate result teaches less, and giving the answer away nothing: told values are copied on the same problem and
are no help on another. So the same problem rewards telling, and the sibling does not.

The parameters are chosen, not fitted to children. They are fixed here so that every result means the same, and
`benchmarks/` at the root varies them.

The learner is a pure function of its seed and the dialogue: it keeps no state between turns, so lessons can branch,
run side by side and be resumed. It has patience for one tutor turn more than it has gaps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from diotima.classroom.reading import Reading, read_dialogue
from diotima.classroom.work import components, plan, write_work
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn, stable_seed
from diotima.errors import ProblemFileError
from diotima.problems.arithmetic import Calculation, Value
from diotima.problems.problem import Problem
from diotima.problems.skills import SKILLS, carry_out, wrong_calculation
from diotima.problems.solutions import executable

_SKILLS = frozenset(SKILLS)
UNREADABLE = (
    "has no steps that the simulated learner can work out: each needs a calculation such as 12 + 7 = 19 that is right, "
    "and the last one must come to the answer"
)


def can_work_out(problem: Problem) -> bool:
    """Whether the simulated learner can work out a problem, and its sibling if it has one."""
    return executable(problem) and (problem.sibling is None or executable(problem.sibling))


@dataclass(frozen=True, slots=True)
class LearnerParameters:
    """Probabilities of the learner, and where they are from.

    ``correct``: P(right | mastered), one minus the slip of .04; ``guess``: P(right | not mastered); both within what
    Corbett & Anderson (1995) allow (slip <= .1, guess <= .3). ``guided``: P(learn) from a question that names a step
    and its concept, ``named``: from naming only one of them or asking nothing, ``told``: from an intermediate result
    told: the order follows Chi et al. (2001) and VanLehn (2011), the sizes are ours. ``confused``: P(forget) when step
    and concept contradict each other. ``copied``: P(a told value is written down on the same problem). Turns of more
    than ``long`` words count half.
    """

    correct: float = 0.96
    guess: float = 0.08
    guided: float = 0.75
    named: float = 0.12
    told: float = 0.08
    confused: float = 0.10
    copied: float = 0.90
    long: int = 40


@dataclass(frozen=True, slots=True)
class Reaction:
    """What one tutor turn did to the learner.

    ``skill``: the skill that it bears on, or None. ``learning``: P(learn) it had for a skill not mastered, 0 if it was
    mastered already. ``learned`` and ``forgot``: what came of it. ``mastered``: all skills mastered afterwards.
    ``told``: the steps whose results it has been told so far.
    """

    reading: Reading
    skill: str | None
    learning: float
    learned: bool
    forgot: bool
    mastered: frozenset[str]
    told: frozenset[int]


@dataclass(frozen=True, slots=True)
class Learner:
    """A simulated student with a seed of its own; takes part in lessons and sits exams."""

    seed: int = 0
    parameters: LearnerParameters = field(default_factory=LearnerParameters)
    fewest_gaps: int = 1
    most_gaps: int = 2
    patience: int | None = None
    """Tutor turns it stays for; None: one more than it has gaps."""

    def gaps(self, problem: Problem) -> frozenset[str]:
        """The skills of this problem that the learner has not mastered before the lesson."""
        return _gaps(self.seed, self.fewest_gaps, self.most_gaps, problem)

    def reactions(self, dialogue: Dialogue) -> Iterator[Reaction]:
        """What each tutor turn did, in order."""
        mastered = self._mastered_before(dialogue.problem)
        told: frozenset[int] = frozenset()
        for index, reading in read_dialogue(dialogue):
            told |= reading.told
            reaction = self._react(reading, dialogue, index, mastered, told)
            mastered = reaction.mastered
            yield reaction

    async def speak(self, dialogue: Dialogue) -> Turn:
        """Its work on the problem, as far as it has come. Raises ProblemFileError if it cannot read the steps."""
        heard = len(dialogue.by(TUTOR))
        patience = self.patience if self.patience is not None else len(self.gaps(dialogue.problem)) + 1
        mastered, told = self._state(dialogue)
        work = self._work(dialogue, dialogue.problem, f"turn {len(dialogue.turns)}", mastered, told)
        return Turn(STUDENT, work, ends=heard >= patience)

    async def attempts(self, problem: Problem, after: Dialogue, count: int) -> list[str]:
        """``count`` independent attempts at ``problem`` in an exam after a lesson (without turns: before any)."""
        mastered, told = self._state(after)
        if problem.id != after.problem.id:
            told = frozenset()
        return [self._work(after, problem, f"exam {sample}", mastered, told) for sample in range(count)]

    def _mastered_before(self, problem: Problem) -> frozenset[str]:
        return _SKILLS.union(components(problem)) - self.gaps(problem)

    def _state(self, dialogue: Dialogue) -> tuple[frozenset[str], frozenset[int]]:
        """The skills mastered and the results told, after this dialogue."""
        mastered, told = self._mastered_before(dialogue.problem), frozenset[int]()
        for reaction in self.reactions(dialogue):
            mastered, told = reaction.mastered, reaction.told
        return mastered, told

    def _work(
        self, dialogue: Dialogue, problem: Problem, occasion: str, mastered: frozenset[str], told: frozenset[int]
    ) -> str:
        steps = plan(problem)
        if steps is None:
            raise ProblemFileError(f"problem {problem.id} {UNREADABLE}")
        lines: list[Calculation] = []
        own: dict[int, Value] = {}
        for index, step in enumerate(steps):
            expression = step.asked(own)
            right = step.result if expression is step.expression else carry_out(expression, step.skill)
            where = (dialogue.seed, problem.id, occasion, index)
            if index in told and self._chance("copy", *where) < self.parameters.copied:
                line = Calculation(expression, step.result)
            elif self._chance("work", *where) < (
                self.parameters.correct if step.component in mastered else self.parameters.guess
            ):
                line = Calculation(expression, right)
            elif step.component in mastered:
                line = Calculation(expression, right + 1)
            else:
                choice = stable_seed("mal-rule", self.seed, dialogue.problem.id, step.component)
                line = wrong_calculation(expression, step.skill, choice)
            lines.append(line)
            own[index] = line.result
        return write_work(lines)

    def _react(
        self, reading: Reading, dialogue: Dialogue, index: int, mastered: frozenset[str], told: frozenset[int]
    ) -> Reaction:
        skill, learning, forgetting = self.effect(reading, dialogue.problem)
        chance = self._chance("learn", dialogue.seed, dialogue.problem.id, index)
        knows = skill in mastered
        learned = skill is not None and not knows and chance < learning
        forgot = skill is not None and knows and chance < forgetting
        if skill is not None and learned:
            mastered |= {skill}
        if skill is not None and forgot:
            mastered -= {skill}
        return Reaction(reading, skill, 0.0 if knows else learning, learned, forgot, mastered, told)

    def effect(self, reading: Reading, problem: Problem) -> tuple[str | None, float, float]:
        """The skill a turn bears on, P(learn) if it is not mastered, P(forget) if it is."""
        skill, learning, forgetting = self._effect_of_words(reading, problem)
        share = 0.5 if reading.words > self.parameters.long else 1.0
        return skill, learning * share, forgetting * share

    def _effect_of_words(self, reading: Reading, problem: Problem) -> tuple[str | None, float, float]:
        skills = components(problem)
        if len(skills) - 1 in reading.told:
            return None, 0.0, 0.0
        if reading.told:
            return skills[min(reading.told)], self.parameters.told, 0.0
        if reading.step is not None and reading.skill is not None:
            skill = skills[reading.step]
            if reading.skill != skill:
                return skill, 0.0, self.parameters.confused
            return skill, self.parameters.guided if reading.asks else self.parameters.named, 0.0
        if reading.step is not None:
            return skills[reading.step], self.parameters.named, 0.0
        if reading.skill in skills:
            return reading.skill, self.parameters.named, 0.0
        return None, 0.0, 0.0

    def _chance(self, *what: str | int) -> float:
        """A number in [0, 1) that belongs to this event alone."""
        return stable_seed(self.seed, *what) / 2**63


@lru_cache(maxsize=2048)
def _gaps(seed: int, fewest: int, most: int, problem: Problem) -> frozenset[str]:
    count = fewest + stable_seed("gaps", seed, problem.id) % (most - fewest + 1)
    skills = sorted(set(components(problem)), key=lambda skill: stable_seed("gap", seed, problem.id, skill))
    return frozenset(skills[:count])
