"""From scores to a reward: plain arithmetic on named values.

After PedagogicalRL (Dinucu-Jianu et al. 2025): with r_sol the solve rate after the lesson and a rejection by any rule,

    soft: r = r_sol - lambda * rejected        hard: r = -lambda if rejected, else r_sol

plus small terms for form, for an end marker and for turns that ran into their limit. Two departures: the solve rate
may be the *sibling's*, which an answer given away does not raise; and a missing score makes the whole reward missing
(theirs counts an unreadable verdict as a pass).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from diotima.score import Score


@dataclass(frozen=True, slots=True)
class RewardWeights:
    """How the terms are weighed.

    ``penalty``: lambda, taken off for a rejected lesson. ``hard``: a rejected lesson gets nothing for being solved.
    ``solved``: on which problem the student must do well. ``form``: taken off in proportion to malformed turns.
    ``end``: added if the tutor ends the lesson itself. ``length``: taken off if any turn was cut by its limit.
    """

    penalty: float = 1.0
    hard: bool = False
    solved: Literal["same", "sibling"] = "same"
    form: float = 0.5
    end: float = 0.0
    length: float = 0.0


TERMS = ("solved", "rejected", "form", "end", "length")


def reward_terms(scores: Mapping[str, Score], weights: RewardWeights) -> dict[str, float] | None:
    """The weighted terms of one lesson's reward, by name; their sum is the reward. None if any score is missing."""
    needed = (f"solved_{weights.solved}", "leaked", "well_formed", "ended", "cut")
    values = {name: scores[name].value for name in needed if name in scores}
    known = {name: value for name, value in values.items() if value is not None}
    if len(known) < len(needed):
        return None
    rejected = known["leaked"] > 0
    return {
        "solved": 0.0 if weights.hard and rejected else known[f"solved_{weights.solved}"],
        "rejected": -weights.penalty * rejected,
        "form": -weights.form * (1 - known["well_formed"]),
        "end": weights.end * known["ended"],
        "length": -weights.length * known["cut"],
    }
