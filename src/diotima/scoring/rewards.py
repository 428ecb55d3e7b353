"""From scores to a reward: plain arithmetic on named values.

After PedagogicalRL (Dinucu-Jianu et al. 2025): with r_sol the solve rate after the lesson and a rejection by any rule,

    soft: r = r_sol - lambda * rejected        hard: r = -lambda if rejected, else r_sol

plus small terms: for thoughts, 0.5 * the share of turns that think in balanced tags - 0.5 * the number of turns whose
tags are out of balance; for an end marker, +0.1; for turns that ran into their limit, -0.5. A lesson rejected in the
hard form earns nothing by thoughts or an end marker either, for no solutions are asked for there.

Departures: the solve rate may be the *sibling's*, which an answer given away does not raise; the leak meter, which
knows the answer, may reject beside judges or instead of them; what judges grade may count as well; and a missing score
makes the whole reward missing (theirs counts an unreadable verdict as a pass). A rejection is certain as soon as one
rule is sure of it, whatever is missing of the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from diotima.score import Score


@dataclass(frozen=True, slots=True)
class Rule:
    """What may reject a lesson: a score by its name, and the value of it that does."""

    score: str
    rejecting: float


LEAK_METER = Rule("leaked", 1.0)


@dataclass(frozen=True, slots=True)
class RewardWeights:
    """How the terms are weighed.

    ``penalty``: lambda, taken off for a rejected lesson. ``hard``: a rejected lesson gets nothing for being solved.
    ``solved``: on which problem the student must do well. ``form``: taken off in proportion to malformed turns.
    ``end``: added if the tutor ends the lesson itself. ``length``: taken off if any turn was cut by its limit.
    ``thought``: added in proportion to turns that think in balanced tags, taken off for every turn that does not keep
    them in balance. ``rules``: each of them may reject a lesson. ``graded``: scores that are added, and their weights.
    """

    penalty: float = 1.0
    hard: bool = False
    solved: Literal["same", "sibling"] = "same"
    form: float = 0.5
    end: float = 0.0
    length: float = 0.0
    thought: float = 0.0
    rules: tuple[Rule, ...] = (LEAK_METER,)
    graded: tuple[tuple[str, float], ...] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the reward's terms."""
        return (*TERMS, *(name for name, _ in self.graded))

    @property
    def of_terms(self) -> tuple[float, ...]:
        """What each of ``terms`` is multiplied with."""
        own = (1.0, self.penalty, self.form, self.end, self.length, self.thought)
        return (*own, *(weight for _, weight in self.graded))

    @property
    def needs(self) -> tuple[str, ...]:
        """The scores that the reward is made of, the rules' first."""
        thoughts = ("thoughts", "unbalanced") if self.thought else ()
        earning = (f"solved_{self.solved}", "ended", *thoughts, *(name for name, _ in self.graded))
        return (*(rule.score for rule in self.rules), *_ALWAYS, *earning)


TERMS = ("solved", "rejected", "form", "end", "length", "thought")
_ALWAYS = ("well_formed", "cut")


def rejected(scores: Mapping[str, Score], rules: Iterable[Rule]) -> bool | None:
    """Whether any rule rejects the lesson; None if none is known to, and a score of one of them is missing."""
    values = {rule: _value(scores, rule.score) for rule in rules}
    if any(value == rule.rejecting for rule, value in values.items()):
        return True
    return None if None in values.values() else False


def reward_terms(scores: Mapping[str, Score], weights: RewardWeights) -> dict[str, float] | None:
    """The weighted terms of one lesson's reward, by name; their sum is the reward. None if it is not known."""
    rejection = rejected(scores, weights.rules)
    if rejection is None:
        return None
    # In the hard form a rejected lesson earns nothing, so what it would have earned need not be known.
    earns = not (weights.hard and rejection)
    needed = weights.needs[len(weights.rules) :] if earns else _ALWAYS
    values = {name: _value(scores, name) for name in needed}
    known = {name: value for name, value in values.items() if value is not None}
    if len(known) < len(values):
        return None
    terms = {
        "solved": known[f"solved_{weights.solved}"] if earns else 0.0,
        "rejected": -weights.penalty * rejection,
        "form": -weights.form * (1 - known["well_formed"]),
        "end": weights.end * known["ended"] if earns else 0.0,
        "length": -weights.length * known["cut"],
        "thought": weights.thought * (known["thoughts"] - known["unbalanced"]) if earns and weights.thought else 0.0,
    }
    return terms | {name: weight * known[name] if earns else 0.0 for name, weight in weights.graded}


def unweighted(terms: Mapping[str, float], weights: RewardWeights) -> dict[str, float]:
    """The terms as they are before they are weighed; one whose weight is 0 stays 0."""
    of = dict(zip(weights.terms, weights.of_terms, strict=True))
    return {name: value / of[name] if of[name] else 0.0 for name, value in terms.items()}


def _value(scores: Mapping[str, Score], name: str) -> float | None:
    return scores[name].value if name in scores else None
