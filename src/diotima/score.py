"""A score is a fact about a dialogue: a number, or the reason why there is none; a judgement, what one judge said once.

Missing is missing. An unreadable verdict is neither a pass nor a fail, so the value is optional and its absence is
named by one of three states; whoever aggregates must decide what to do with it and can say how many there were.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from diotima.dialogue import Dialogue

State = Literal["valid", "invalid", "refused", "error"]
WHOLE: Final = -1  # the position of a judgement of a whole dialogue


@dataclass(frozen=True, slots=True)
class Score:
    """One named number on a record.

    ``value`` is None exactly if ``state`` is not "valid": "invalid" (an answer that could not be read, or a measure
    that does not apply here), "refused" (the judge declined), "error" (the call failed). ``reason`` is for people.
    """

    value: float | None
    state: State = "valid"
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.state == "valid"):
            raise ValueError(f"a {self.state} score cannot have the value {self.value}")

    @classmethod
    def missing(cls, reason: str, state: State = "invalid") -> "Score":
        """A score without a value, and why."""
        return cls(None, state, reason)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one judge said once about one case under one rubric; measures are computed from it by arithmetic alone.

    ``rubric``: the rubric's name, such as "euler"; ``rubric_fingerprint`` tells its content.
    ``judge``: the judge's name, without address.
    ``position``: which of the dialogue's turns is judged, from 0; `WHOLE` for a whole dialogue.
    ``sample``: which of this judge's samples, from 0.
    ``labels``: what the judge said on each criterion, a label's text or a whole number; empty unless ``state`` is
    "valid".
    ``reason``: the judge's own reasoning if it gave any, else why there is no verdict.
    ``asks``: how often it was asked, 1 to 3.
    ``against``: in a comparison, the label of the other dialogue; ``order``: the place that this dialogue had in it.
    """

    rubric: str
    rubric_fingerprint: str
    judge: str
    position: int
    sample: int
    state: State
    labels: Mapping[str, str | int]
    reason: str
    asks: int
    against: str = ""
    order: Literal["", "first", "second"] = ""

    def __post_init__(self) -> None:
        if bool(self.labels) != (self.state == "valid"):
            raise ValueError(f"a {self.state} judgement cannot have the labels {dict(self.labels)}")


class Scorer(Protocol):
    """Anything that measures a dialogue: ``{name: Score}``, never an exception for a bad dialogue."""

    def score(self, dialogue: Dialogue) -> Awaitable[Mapping[str, Score]]:
        """Measure one dialogue."""
        ...
