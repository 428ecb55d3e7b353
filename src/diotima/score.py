"""A score is a fact about a dialogue: a number, or the reason why there is none.

Missing is missing. An unreadable verdict is neither a pass nor a fail, so the value is optional and its absence is
named by one of three states; whoever aggregates must decide what to do with it and can say how many there were.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from diotima.dialogue import Dialogue

State = Literal["valid", "invalid", "refused", "error"]


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


class Scorer(Protocol):
    """Anything that measures a dialogue: ``{name: Score}``, never an exception for a bad dialogue."""

    def score(self, dialogue: Dialogue) -> Awaitable[Mapping[str, Score]]:
        """Measure one dialogue."""
        ...
