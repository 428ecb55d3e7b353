"""Lessons for GRPO: the policy teaches, each lesson is scored, and becomes one row with its mask and reward terms.

This is the one adapter between the classroom and TRL's ``rollout_func``. TRL hands over prompts only, repeated once
for each lesson of a group, so the problem's id travels in the prompt's message. A row comes back for every prompt, in
order. A lesson that was lost, for a call of its student failed, or one without reward is a row on which nothing is
trained.

Several processes that train together hold a share of the lessons each, the same ones that a single process would hold:
a lesson's seed follows from its place among those of all. Which group has spread is seen from the rewards of all.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Literal, TypeVar

from pydantic import NonNegativeInt, PositiveInt

from diotima.classroom.casting import Part, cast_learner, furnish, model_role
from diotima.classroom.lesson import side_by_side
from diotima.classroom.students import Student
from diotima.classroom.syllabus import SyllabusSettings
from diotima.dialogue import TUTOR, Dialogue, stable_seed
from diotima.errors import CallFailed, ModelError, TrainingError
from diotima.models.calls import Calls
from diotima.models.chat import ChatModel
from diotima.problems.problem import Problem
from diotima.processes import is_first
from diotima.runs.run import Run
from diotima.score import Score
from diotima.scoring.rewards import RewardWeights, reward_terms, unweighted
from diotima.training.assessment import Assessment, RewardSettings, penalty_at
from diotima.training.credit import turn_advantages, turn_credits
from diotima.training.rollout_modes import Mode, policy_of
from diotima.training.rows import TrainingRow, silent_row, training_row
from diotima.training.step_log import Held, Terms, keep_some, note

T = TypeVar("T")


class RolloutSettings(SyllabusSettings, RewardSettings):
    """Which lessons are held in a training, what they are worth, and which of them are kept."""

    credit: Literal["lesson", "turn"] = "lesson"
    """What an advantage belongs to: the whole lesson, or each turn by what the simulated learner could learn from it.
    By turn, of the terms of the reward only penalty and form count."""
    shuffle_rewards: bool = False
    """A control: hand every lesson another one's reward."""
    patience: PositiveInt = 20
    """Training stops if so many times in a row no group's rewards differed in the lessons that were held."""
    keep_every: PositiveInt = 10
    """Of every so many steps some lessons are kept to read, under the label "step N"."""
    keep_lessons: NonNegativeInt = 4
    """How many lessons are kept of such a step."""
    seed: int = 0
    """Seed of the lessons and of the order of problems."""
    rollouts: Mode = "process"
    """Where the tutor speaks in training: process, by the weights that are trained; colocate, by a vLLM on the same
    GPU; server, by a vllm serve elsewhere."""


class Rollouts:
    """Holds a step's lessons when TRL calls it."""

    def __init__(
        self,
        problems: Sequence[Problem],
        settings: RolloutSettings,
        part: Part,
        student: Student,
        assessment: Assessment,
        record: Run,
        calls: Calls,
    ) -> None:
        self._problems = {problem.id: problem for problem in problems}
        self._settings = settings
        self._part = part
        self._student = student
        self._assessment = assessment
        self._record = record
        self._calls = calls
        self._in_vain = 0  # how often in a row lessons taught nothing
        self._noted: tuple[int, list[Mapping[str, Score]], list[Terms], list[int]] = (-1, [], [], [])
        self.token_advantages: list[list[float]] = []
        self._policy = policy_of(settings.rollouts)

    def prompts(self) -> list[dict[str, list[dict[str, str]]]]:
        """The data set for TRL: one prompt a problem."""
        return [{"prompt": [{"role": "user", "content": "", "problem": name}]} for name in self._problems]

    def __call__(self, prompts: list[list[dict[str, str]]], trainer: Any) -> dict[str, Any]:
        """One row for each prompt; see TRL's ``rollout_func``.

        Raises ModelError if most lessons were lost, and TrainingError if there has been nothing to learn for long.
        """
        settings, step = self._settings, trainer.state.global_step
        weights = replace(self._assessment.weights, penalty=penalty_at(settings.penalty, step))
        names = of_all([prompt[0]["problem"] for prompt in prompts])
        lessons = [
            (self._problems[name], stable_seed("rollout", settings.seed, step, name, number))
            for name, number in zip(names, _occurrences(names), strict=True)
        ]
        first = trainer.accelerator.process_index * len(prompts)
        mine = slice(first, first + len(prompts))
        with self._policy.speaking(trainer) as tutor:
            held = self._calls.conduct(self._hold(lessons[mine], tutor, trainer.args.temperature))
        _refuse_if_most_are_lost(of_all([lesson.lost for lesson in held]), step + 1)
        scores = of_all([lesson.scores for lesson in held])
        terms = [reward_terms(one, weights) for one in scores]
        rows = [_row(lesson.dialogue, tutor.format.end_ids) for lesson in held]
        lengths = of_all([len(row.prompt_ids) + len(row.completion_ids) for row in rows])
        if is_first():
            begins = self._noted[0] != step  # else some of this step's lessons are kept already
            self._note(step, scores, terms, lengths, weights)
            if begins and (step + 1) % settings.keep_every == 0:
                keep_some(self._record, step + 1, held, settings.keep_lessons)
        if settings.shuffle_rewards:
            Random(stable_seed("shuffle", settings.seed, step)).shuffle(terms)
        apart = trainer.args.multi_objective_aggregation == "normalize_then_sum"
        telling = with_spread(names, terms, apart)
        if settings.credit == "turn":
            student = cast_learner(settings)
            credits = of_all([turn_credits(lesson.dialogue, student, weights) for lesson in held])
            advantages = turn_advantages(names, credits)
            telling = [any(lesson) for lesson in advantages]
            self.token_advantages = [
                [0.0 if turn < 0 else lesson[turn] for turn in row.turns]
                for lesson, row in zip(advantages[mine], rows, strict=True)
            ]
        self._lose_patience(any(telling), terms, step)
        return {
            "prompt_ids": [list(row.prompt_ids) for row in rows],
            "completion_ids": [list(row.completion_ids) for row in rows],
            "logprobs": [list(row.logprobs) for row in rows],
            "env_mask": [_mask(row, keep) for row, keep in zip(rows, telling[mine], strict=True)],
            "terms": _weighed_by_trl(terms, weights, trainer)[mine] if apart else terms[mine],
        }

    async def _hold(self, lessons: Sequence[tuple[Problem, int]], tutor: ChatModel, temperature: float) -> list[Held]:
        # TRL's temperature, nothing cut off: the loss takes the log-probabilities under this whole distribution.
        classroom = furnish(model_role(tutor, self._part, self._settings, temperature), self._student, self._settings)

        async def one(place: int) -> tuple[int, Held]:
            problem, seed = lessons[place]
            dialogue = Dialogue(problem, seed=seed)
            try:
                dialogue = await classroom.teach(problem, seed)
                return place, Held(*await self._assessment.of(dialogue))
            except CallFailed as failure:
                return place, Held(dialogue, {}, (), str(failure))

        held = [result async for result in side_by_side(one, range(len(lessons)), len(lessons))]
        return [lesson for _, lesson in sorted(held, key=lambda result: result[0])]

    def _note(
        self,
        step: int,
        scores: Sequence[Mapping[str, Score]],
        terms: Sequence[Terms],
        lengths: Sequence[int],
        weights: RewardWeights,
    ) -> None:
        """Write the figures of a step down; of all its lessons where they are held in several generations."""
        if self._noted[0] != step:
            self._noted = (step, [], [], [])
        _, all_scores, all_terms, all_lengths = self._noted
        all_scores += scores
        all_terms += terms
        all_lengths += lengths
        note(self._record, step + 1, all_scores, all_terms, weights)
        self._record.metric(step + 1, "dialogue_tokens", sum(all_lengths))

    def _lose_patience(self, taught: bool, terms: Sequence[Terms], step: int) -> None:
        self._in_vain = 0 if taught else self._in_vain + 1
        if self._in_vain >= self._settings.patience:
            rewards = [sum(term.values()) for term in terms if term is not None]
            worth = f"between {min(rewards):.3g} and {max(rewards):.3g}" if rewards else "not known for any lesson"
            raise TrainingError(
                f"train grpo: after step {step} there is nothing more to learn: the last {self._in_vain} times that "
                f"lessons were held, no group's rewards differed (now they are {worth}), so training stops, and the "
                "last whole step is kept. Look at its lessons with diotima runs show and change what is rewarded, in a "
                "new run; or have more --patience, and the same command goes on"
            )


def _weighed_by_trl(terms: Sequence[Terms], weights: RewardWeights, trainer: Any) -> list[Terms]:
    """The terms without their weights, which TRL is told: where it normalises each by itself, they would be lost."""
    trainer.reward_weights = trainer.reward_weights.new_tensor(weights.of_terms)
    return [None if term is None else unweighted(term, weights) for term in terms]


def _refuse_if_most_are_lost(reasons: Sequence[str], step: int) -> None:
    lost = [reason for reason in reasons if reason]
    if 2 * len(lost) > len(reasons):
        raise ModelError(
            f"train grpo: {len(lost)} of the {len(reasons)} lessons of step {step} were lost, so training stops; the "
            f"last: {lost[-1]}. What was answered is kept, and the same command goes on"
        )


def with_spread(names: Sequence[str], terms: Sequence[Terms], separately: bool = False) -> list[bool]:
    """For each row, whether its reward is known and the rewards of its group differ: else it can teach nothing.

    ``separately``: each term is set against the group's by itself, so it is enough that one of them differs.
    """
    groups: dict[str, list[list[float]]] = {}
    for name, term in zip(names, terms, strict=True):
        if term is not None:
            groups.setdefault(name, []).append(list(term.values()) if separately else [sum(term.values())])
    spread = {
        name
        for name, group in groups.items()
        if any(max(values) - min(values) > 1e-9 for values in zip(*group, strict=True))
    }
    return [term is not None and name in spread for name, term in zip(names, terms, strict=True)]


def of_all(mine: list[T]) -> list[T]:
    """The items of all processes that train together, in the order of their ranks; of one alone, its own."""
    from accelerate.utils import gather_object

    everyones: list[T] = gather_object(mine)
    return everyones


def _occurrences(names: Sequence[str]) -> list[int]:
    """How often each name has stood in the list before."""
    seen: Counter[str] = Counter()
    numbers = []
    for name in names:
        numbers.append(seen[name])
        seen[name] += 1
    return numbers


def _row(dialogue: Dialogue, end_ids: frozenset[int]) -> TrainingRow:
    return training_row(dialogue, end_ids) if dialogue.by(TUTOR) else silent_row(end_ids)


def _mask(row: TrainingRow, keep: bool) -> list[int]:
    return list(row.mask) if keep else [0] * len(row.mask)
