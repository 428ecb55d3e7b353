"""Credit for each turn instead of one reward for the whole lesson.

A lesson's reward hardly says which of its turns earned it. The simulated learner knows more: what each turn could have
taught it. A turn's credit is the P(learn) that it had for a skill not yet mastered, less the penalty if it was the turn
that gave the answer away, less the form term if it was malformed. The advantage of a turn is its credit against the
mean over the group's turns at the same place, over their spread, and TRL takes advantages of shape (rows, tokens) as
they are.

This is possible with the simulated learner only; a real student does not say what a turn did.
"""

from collections.abc import Sequence
from statistics import fmean, stdev

from diotima.classroom.learner import Learner
from diotima.dialogue import TUTOR, Dialogue
from diotima.scoring.leakage import Leak, read_leak
from diotima.scoring.rewards import RewardWeights


def turn_credits(dialogue: Dialogue, student: Learner, weights: RewardWeights) -> list[float]:
    """What each tutor turn of one lesson earned."""
    earned = []
    reactions = student.reactions(dialogue)
    for place, turn in enumerate(dialogue.turns):
        if turn.speaker == TUTOR:
            leak = read_leak(turn.text, dialogue.problem, dialogue.turns[:place]).level >= Leak.FINAL_ANSWER
            malformed = turn.malformed or turn.cut
            earned.append(next(reactions).learning - weights.penalty * leak - weights.form * malformed)
    return earned


def turn_advantages(names: Sequence[str], credits: Sequence[Sequence[float]]) -> list[list[float]]:
    """Each turn's credit against its group's turns at the same place. ``names``: the group of each lesson."""
    groups: dict[tuple[str, int], list[float]] = {}
    for name, lesson in zip(names, credits, strict=True):
        for place, credit in enumerate(lesson):
            groups.setdefault((name, place), []).append(credit)
    return [
        [_standardised(credit, groups[name, place]) for place, credit in enumerate(lesson)]
        for name, lesson in zip(names, credits, strict=True)
    ]


def _standardised(value: float, group: Sequence[float]) -> float:
    return (value - fmean(group)) / (stdev(group) + 1e-4) if len(group) > 1 else 0.0
