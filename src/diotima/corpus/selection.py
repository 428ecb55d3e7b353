"""Which two of a context's candidates make a pair, if any do: plain arithmetic on exact scores."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from diotima.dialogue import Turn, raw_reply, stable_seed

LEAKED = "in the held-out set"
REPEATED = "with the prompt of an earlier pair"
FEW = "with fewer than two valid candidates"
LOW = "with no candidate that is good enough"
CLOSE = "with a best and a worst too close to each other"
SAME = "with a best and a worst of the same text"
REASONS = {
    LEAKED: "take other contexts",
    REPEATED: "take other contexts",
    FEW: "look at what the judges said, and at replies that were cut off (--tutor-max-tokens)",
    LOW: "lower --above, or ask for more candidates",
    CLOSE: "ask for more or hotter candidates",
    SAME: "ask the judge for more --samples",
}
"""Why contexts give no pair, in the order in which it is looked for, and what may help."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One reply in a context: whose, under which seed, and its score (None where there is no verdict)."""

    label: str
    seed: int
    turn: Turn
    value: Fraction | None

    @property
    def fit(self) -> bool:
        """Whether it may stand in a pair: a reply that was cut off or is malformed shows no whole turn."""
        return self.value is not None and bool(self.turn.text) and not (self.turn.cut or self.turn.malformed)


@dataclass(frozen=True, slots=True)
class Choice:
    """The best and the worst candidate of a context, and their scores."""

    chosen: Candidate
    rejected: Candidate
    chosen_score: Fraction
    rejected_score: Fraction


def choose(candidates: Iterable[Candidate], above: Fraction, least_margin: Fraction = Fraction(0)) -> Choice | str:
    """The best and the worst of one context's candidates, or the reason (of `REASONS`) why there is no pair.

    The best has to have more than ``above``, and more than the worst, by ``least_margin`` or more. Among equals a lot
    decides that is drawn by seed and label: always the same, and no tutor's because of its name.
    """
    fit = [(one.value, one) for one in candidates if one.value is not None and one.fit]
    if len(fit) < 2:
        return FEW
    ranked = sorted(fit, key=lambda scored: (scored[0], stable_seed("lot", scored[1].seed, scored[1].label)))
    (worst, rejected), (best, chosen) = ranked[0], ranked[-1]
    if best <= above:
        return LOW
    if best <= worst or best - worst < least_margin:
        return CLOSE
    return SAME if raw_reply(chosen.turn) == raw_reply(rejected.turn) else Choice(chosen, rejected, best, worst)
