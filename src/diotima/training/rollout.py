"""Lessons for GRPO: the policy teaches, each lesson is scored, and becomes one row with its mask and reward terms.

This is the one adapter between the classroom and TRL's ``rollout_func``. TRL hands over prompts only, repeated once
for each lesson of a group, so the problem's id travels in the prompt's message. A row comes back for every prompt, in
order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from diotima.classroom.casting import LessonSettings, Part, cast_learner, furnish, model_role
from diotima.classroom.exam import Conduct, Exam
from diotima.classroom.lesson import side_by_side
from diotima.classroom.students import Student
from diotima.classroom.teach import measured
from diotima.dialogue import Dialogue, stable_seed
from diotima.models.calls import Calls
from diotima.problems.problem import Problem
from diotima.runs.run import Run
from diotima.score import Score
from diotima.scoring.leakage import LeakMeter
from diotima.scoring.rewards import RewardWeights, reward_terms
from diotima.training.credit import turn_advantages, turn_credits
from diotima.training.rows import TrainingRow, training_row

if TYPE_CHECKING:
    from diotima.models.local import LocalModel

Terms = Mapping[str, float] | None
SHOWN = ("solved_same", "solved_sibling", "leaked", "well_formed", "addressed", "first_wrong", "tutor_turns")
"""Scores whose mean over the step's lessons goes into the run."""


class Rollouts:
    """Holds a step's lessons when TRL calls it."""

    def __init__(
        self,
        problems: Sequence[Problem],
        settings: LessonSettings,
        part: Part,
        student: Student,
        weights: RewardWeights,
        record: Run,
        seed: int,
        attempts: int,
        shuffled: bool = False,
        by_turn: bool = False,
        calls: Calls | None = None,
    ) -> None:
        self._problems = {problem.id: problem for problem in problems}
        self._settings = settings
        self._part = part
        self._student = student
        self._scorers = (Exam(student, attempts), LeakMeter(), Conduct())
        self._weights = weights
        self._record = record
        self._seed = seed
        self._shuffled = shuffled
        self._by_turn = by_turn
        self._calls = calls or Calls()
        self.token_advantages: list[list[float]] = []
        self._local: LocalModel | None = None

    def prompts(self) -> list[dict[str, list[dict[str, str]]]]:
        """The data set for TRL: one prompt a problem."""
        return [{"prompt": [{"role": "user", "content": "", "problem": name}]} for name in self._problems]

    def __call__(self, prompts: list[list[dict[str, str]]], trainer: Any) -> dict[str, Any]:
        """One row for each prompt; see TRL's ``rollout_func``."""
        step, local = trainer.state.global_step, self._model(trainer)
        names = [prompt[0]["problem"] for prompt in prompts]
        lessons = [
            (self._problems[name], stable_seed("rollout", self._seed, step, name, number))
            for name, number in zip(names, _occurrences(names), strict=True)
        ]
        training = local.model.training
        local.model.train(False)
        held = self._calls.conduct(self._hold(lessons, local, trainer.args.temperature))
        local.model.train(training)
        self._note(step + 1, [scores for _, scores in held])
        terms = [reward_terms(scores, self._weights) for _, scores in held]
        if self._shuffled:
            Random(stable_seed("shuffle", self._seed, step)).shuffle(terms)
        rows = [training_row(dialogue, local.format.end_ids) for dialogue, _ in held]
        lengths = [len(row.prompt_ids) + len(row.completion_ids) for row in rows]
        self._record.metric(step + 1, "dialogue_tokens", sum(lengths))
        telling = with_spread(names, terms)
        if self._by_turn:
            student = cast_learner(self._settings)
            credits = [turn_credits(dialogue, student, self._weights) for dialogue, _ in held]
            advantages = turn_advantages(names, credits)
            self.token_advantages = [
                [0.0 if turn < 0 else lesson[turn] for turn in row.turns]
                for lesson, row in zip(advantages, rows, strict=True)
            ]
            telling = [any(lesson) for lesson in advantages]
        return {
            "prompt_ids": [list(row.prompt_ids) for row in rows],
            "completion_ids": [list(row.completion_ids) for row in rows],
            "logprobs": [list(row.logprobs) for row in rows],
            "env_mask": [_mask(row, keep) for row, keep in zip(rows, telling, strict=True)],
            "terms": terms,
        }

    def _model(self, trainer: Any) -> "LocalModel":
        from diotima.models.local import LocalModel

        if self._local is None:
            policy = trainer.accelerator.unwrap_model(trainer.model)
            self._local = LocalModel(policy, trainer.processing_class, "the policy")
        self._local.forget()
        return self._local

    async def _hold(
        self, lessons: Sequence[tuple[Problem, int]], local: "LocalModel", temperature: float
    ) -> list[tuple[Dialogue, dict[str, Score]]]:
        # TRL's temperature, nothing cut off: the loss takes the log-probabilities under this whole distribution.
        classroom = furnish(model_role(local, self._part, self._settings, temperature), self._student, self._settings)

        async def one(place: int) -> tuple[int, Dialogue, dict[str, Score]]:
            return place, *await measured(await classroom.teach(*lessons[place]), self._scorers)

        held = [result async for result in side_by_side(one, range(len(lessons)), len(lessons))]
        return [(dialogue, scores) for _, dialogue, scores in sorted(held, key=lambda result: result[0])]

    def _note(self, step: int, scores: Sequence[Mapping[str, Score]]) -> None:
        for name in SHOWN:
            values = [value for one in scores if name in one and (value := one[name].value) is not None]
            if values:
                self._record.metric(step, name, sum(values) / len(values))


def with_spread(names: Sequence[str], terms: Sequence[Terms]) -> list[bool]:
    """For each row, whether its reward is known and the rewards of its group differ: else it can teach nothing."""
    rewards = [None if term is None else sum(term.values()) for term in terms]
    groups: dict[str, list[float]] = {}
    for name, reward in zip(names, rewards, strict=True):
        if reward is not None:
            groups.setdefault(name, []).append(reward)
    spread = {name for name, values in groups.items() if max(values) - min(values) > 1e-9}
    return [reward is not None and name in spread for name, reward in zip(names, rewards, strict=True)]


def _occurrences(names: Sequence[str]) -> list[int]:
    """How often each name has stood in the list before."""
    seen: Counter[str] = Counter()
    numbers = []
    for name in names:
        numbers.append(seen[name])
        seen[name] += 1
    return numbers


def _mask(row: TrainingRow, keep: bool) -> list[int]:
    return list(row.mask) if keep else [0] * len(row.mask)
