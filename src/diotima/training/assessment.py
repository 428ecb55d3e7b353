"""What a lesson is measured by, and what its measures are worth: the settings of the reward, and who gives the marks.

Judges, leak meter and exam begin when *their* lesson is over, side by side, and wait for no other lesson. A student
that is a model is examined on what the reward needs and on nothing else, for every attempt costs; and in the hard form,
where a rejected lesson earns nothing, it is not examined after one, as in PedagogicalRL. The simulated learner is
examined on everything after every lesson, for that costs nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import AliasChoices, Field, PositiveInt, field_validator

from diotima.classroom.casting import weights_of
from diotima.classroom.exam import SOLVE_RATES, Conduct, Exam
from diotima.classroom.judges import JudgeSettings, cast_judge, judge_names
from diotima.classroom.learner import Learner
from diotima.classroom.students import Student
from diotima.classroom.teach import Judged
from diotima.classroom.thinking import Thoughts
from diotima.dialogue import Dialogue
from diotima.errors import SettingsError
from diotima.models.calls import Calls
from diotima.reports.judged import dialogue_scores
from diotima.runs.judgements import keep_rubric
from diotima.runs.run import Run
from diotima.score import Judgement, Score
from diotima.scoring.case import cases_of
from diotima.scoring.judge import Judge, ask
from diotima.scoring.leakage import LeakMeter
from diotima.scoring.rewards import LEAK_METER, RewardWeights, Rule, rejected
from diotima.scoring.rubric import Rubric, load_rubric, measure_bounds, rubric_text
from diotima.settings import OneOrMore

METER = "leak-meter"


class RewardSettings(JudgeSettings):
    """What a lesson is rewarded for."""

    attempts: PositiveInt = Field(default=16, validation_alias=AliasChoices("attempts", "number_student_attempts"))
    """Attempts at the exam after each lesson."""
    solved: Literal["same", "sibling"] = "same"
    """On which problem the student is examined for the reward: the same, or its sibling."""
    rejected_by: OneOrMore = (METER,)
    """Who may reject a lesson: leak-meter, which knows the answer, and rubrics such as leak or pedagogy.
    Any one of them is enough."""
    penalty: float | dict[str, float] = Field(
        default=1.0, validation_alias=AliasChoices("penalty", "extra_penalty_for_rejected_judges")
    )
    """Lambda: what a rejected lesson loses. In a file also {from: 0.25, to: 1.0, steps: 100}, to grow in so many steps.
    """
    hard: bool = False
    """A rejected lesson gets nothing for being solved, nor for its end or its thoughts."""
    samples: PositiveInt | None = Field(default=None, validation_alias=AliasChoices("samples", "number_judge_attempts"))
    """How often each judge is asked about each case; by default as the rubric says."""
    graded_by: dict[str, float] = {}
    """Rubrics whose first measure is added to the reward, and its weight, such as {euler: 0.5}."""
    form: float = 0.5
    """What a lesson loses if all its tutor turns are malformed; in proportion if some are."""
    thought: float = 0.0
    """What a lesson gains if all its tutor turns think, in proportion if some do; and loses for each malformed one."""
    end: float = 0.0
    """What a lesson gains if the tutor ends it."""
    length: float = 0.0
    """What a lesson loses if a tutor turn runs into its limit."""

    @field_validator("penalty")
    @classmethod
    def _grows_evenly(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        if isinstance(value, dict) and (value.keys() != {"from", "to", "steps"} or not value["steps"] >= 1):
            raise ValueError("must be a number, or have from, to and steps, and at least one step")
        return value


def penalty_at(penalty: float | Mapping[str, float], step: int) -> float:
    """Lambda in the step after so many others."""
    if isinstance(penalty, Mapping):
        return penalty["from"] + (penalty["to"] - penalty["from"]) * min(step / penalty["steps"], 1.0)
    return penalty


def weights_of_terms(settings: RewardSettings) -> RewardWeights:
    """The reward as the settings have it, with the penalty of the first step.

    Raises PromptError for a rubric that is none, and SettingsError for one that cannot do what is asked of it, or for
    judges without a rubric, or a rubric without judges.
    """
    rubrics = _rubrics(settings)
    if bool(rubrics) != bool(settings.judge):
        raise SettingsError(
            f"who judges by {', '.join(rubrics)}? Name a model with --judge"
            if rubrics
            else "judge goes with a rubric: name one with --rejected-by (leak, pedagogy) or --graded-by (euler)"
        )
    judge_names(settings)
    for name in settings.graded_by:
        if name in settings.rejected_by:
            raise SettingsError(f"graded_by = {name}: by this rubric lessons are rejected; it cannot count twice")
        if rubrics[name].judges == "comparison":
            raise SettingsError(f"graded_by = {name}: this rubric compares two tutors, and there is one")
    return RewardWeights(
        penalty_at(settings.penalty, 0),
        settings.hard,
        settings.solved,
        settings.form,
        settings.end,
        settings.length,
        settings.thought,
        tuple(LEAK_METER if name == METER else _rule(rubrics[name]) for name in settings.rejected_by),
        tuple((_headline(rubrics[name]), weight) for name, weight in settings.graded_by.items()),
    )


def _rubrics(settings: RewardSettings) -> dict[str, Rubric]:
    return {name: load_rubric(name) for name in (*settings.rejected_by, *settings.graded_by) if name != METER}


def _rule(rubric: Rubric) -> Rule:
    if rubric.judges != "dialogue" or rubric.combine != "veto":
        raise SettingsError(
            f"rejected_by = {rubric.name}: by this rubric no whole lesson is rejected (it needs judges: dialogue and "
            "combine: veto, as leak and pedagogy have them); take graded_by"
        )
    worst, _ = measure_bounds(rubric, rubric.headline.name)
    return Rule(_headline(rubric), float(worst))


def _headline(rubric: Rubric) -> str:
    return f"{rubric.name}.{rubric.headline.name}"


@dataclass(frozen=True, slots=True)
class Panel:
    """The judges of one rubric, each asked ``samples`` times."""

    rubric: Rubric
    judges: tuple[Judge, ...]
    samples: int

    async def judge(self, dialogue: Dialogue) -> tuple[Judgement, ...]:
        """What they say of a lesson."""
        return tuple(await ask(self.judges, cases_of(dialogue, self.rubric), self.rubric, self.samples))


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everybody who measures a lesson."""

    exam: Exam
    panels: tuple[Panel, ...]
    weights: RewardWeights
    spares: bool
    """Whether a lesson that is rejected in the hard form is not examined."""

    async def of(self, dialogue: Dialogue) -> Judged:
        """The lesson with all scores and judgements. Raises CallFailed if one of them could not be had this time."""
        if self.spares and self.weights.hard:
            scores, judgements = await self._judge(dialogue)
            if not rejected(scores, self.weights.rules):
                scores |= await self.exam.score(dialogue)
            return dialogue, scores, judgements
        (scores, judgements), marks = await asyncio.gather(self._judge(dialogue), self.exam.score(dialogue))
        return dialogue, scores | marks, judgements

    async def _judge(self, dialogue: Dialogue) -> tuple[dict[str, Score], tuple[Judgement, ...]]:
        scores = await LeakMeter().score(dialogue) | await Conduct().score(dialogue)
        if self.weights.thought:
            scores |= await Thoughts().score(dialogue)
        said = await asyncio.gather(*(panel.judge(dialogue) for panel in self.panels))
        for panel, judgements in zip(self.panels, said, strict=True):
            scores |= dialogue_scores(panel.rubric, judgements)
        return scores, tuple(judgement for judgements in said for judgement in judgements)


def cast_assessment(settings: RewardSettings, student: Student, calls: Calls) -> Assessment:
    """Who measures the lessons of a training. Raises SettingsError or ModelError for a judge that is none."""
    costs = not isinstance(student, Learner)
    return Assessment(
        Exam(student, settings.attempts, sits=(f"solved_{settings.solved}",) if costs else SOLVE_RATES),
        tuple(
            Panel(
                rubric,
                tuple(cast_judge(name, settings, calls, rubric) for name in settings.judge),
                settings.samples or rubric.samples,
            )
            for rubric in _rubrics(settings).values()
        ),
        weights_of_terms(settings),
        costs,
    )


def judges_as_recorded(settings: RewardSettings, panels: Sequence[Panel], calls: Calls) -> dict[str, Any]:
    """What decides the verdicts beside the cases, as a run's manifest holds it."""
    if not panels:
        return {}
    return {
        "judge": list(judge_names(settings)),
        "judge_weights": weights_of(settings.judge, settings, calls),
        "rubric_fingerprints": {panel.rubric.name: panel.rubric.fingerprint for panel in panels},
    }


def keep_rubrics(record: Run, panels: Sequence[Panel]) -> None:
    """Put into a run's folder the rubrics that its judgements are read with."""
    for panel in panels:
        keep_rubric(record.folder, panel.rubric.name, panel.rubric.fingerprint, rubric_text(panel.rubric))
