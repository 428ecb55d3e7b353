"""What a step of GRPO leaves in its run: figures of all its lessons, and now and then a few lessons to read.

A mean is over the lessons that have the score. What the reward needs and some lesson lacks is told beside it, as the
share of lessons without it (``leak.accepted/missing``), and ``reward/missing`` is the share without any reward.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diotima.dialogue import Dialogue
from diotima.runs.run import Run
from diotima.score import Judgement, Score
from diotima.scoring.rewards import RewardWeights

Terms = Mapping[str, float] | None
SHOWN = ("solved_same", "solved_sibling", "leaked", "well_formed", "addressed", "first_wrong", "tutor_turns")
"""Scores whose mean over the step's lessons goes into the run, beside those that the reward is made of."""


@dataclass(frozen=True, slots=True)
class Held:
    """A lesson that was held in a step. ``lost``: why it, or its assessment, was not brought to an end, or ""."""

    dialogue: Dialogue
    scores: Mapping[str, Score]
    judgements: tuple[Judgement, ...] = ()
    lost: str = ""


def note(
    record: Run, step: int, scores: Sequence[Mapping[str, Score]], terms: Sequence[Terms], weights: RewardWeights
) -> None:
    """Write a step's figures down."""
    for name in dict.fromkeys((*SHOWN, *weights.needs)):
        values = [value for one in scores if name in one and (value := one[name].value) is not None]
        if values:
            record.metric(step, name, sum(values) / len(values))
        if name in weights.needs:
            record.metric(step, f"{name}/missing", 1 - len(values) / len(scores))
    record.metric(step, "reward/missing", sum(term is None for term in terms) / len(terms))
    record.metric(step, "penalty", weights.penalty)


def keep_some(record: Run, step: int, held: Sequence[Held], count: int) -> None:
    """Keep ``count`` of a step's lessons, as far apart in it as can be, so that they are about different problems."""
    label = f"step {step}"
    whole = [lesson for lesson in held if not lesson.lost]
    for place in range(min(count, len(whole))):
        lesson = whole[place * len(whole) // min(count, len(whole))]
        if not record.has(label, lesson.dialogue.problem.id, lesson.dialogue.seed):
            record.add(lesson.dialogue, label, lesson.scores, lesson.judgements)
