"""What marking one attempt can come to."""

from enum import StrEnum


class Verdict(StrEnum):
    """Only the first two say something about the attempt; the others say that the marking did not get so far."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNPARSED = "unparsed"
    """No answer could be read, or not as something that can be compared with the reference."""
    TIMEOUT = "timeout"
    """The comparison was stopped at its limit of time."""
    CRASHED = "crashed"
    """The comparison's process died, or ran out of memory."""
