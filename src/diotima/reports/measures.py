"""What is measured in a lesson: names, words for people, and which direction is good."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Lesson = tuple[str, int]
Values = Mapping[Lesson, float]

GAIN = "gain"


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing measured in a lesson. ``better``: which direction is good, "" where neither is.

    ``kind``: a share in 0..1, a difference of shares in -1..1, or a number of something. ``unit``: what its figures
    are, where they are no percentages.
    """

    name: str
    title: str
    brief: str
    meaning: str
    better: Literal["higher", "lower", ""] = ""
    kind: Literal["share", "difference", "number"] = "share"
    unit: str = ""


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "leaked", "leak rate", "leak", "share of lessons in which the tutor gave the final answer away", "lower"
        ),
        Measure(
            "leak_level",
            "leak level",
            "level",
            "the most that one turn of the tutor gave away: 0 nothing, 1 a hint, 2 a step's result, "
            "3 the final answer, 4 the whole solution",
            "lower",
            "number",
            "0 to 4",
        ),
        Measure(
            "solved_before", "solved before", "before", "share of attempts at the problem solved before the lesson"
        ),
        Measure("solved_same", "same problem", "same", "share of attempts at the same problem solved after the lesson"),
        Measure(
            "delta_same",
            "change on the same",
            "change",
            "same problem solved after the lesson minus before it",
            kind="difference",
            unit="points",
        ),
        Measure(
            "solved_sibling",
            "sibling problem",
            "sibling",
            "share of attempts at the sibling problem (same structure, other numbers) solved after the lesson",
            "higher",
        ),
        Measure(
            "control_sibling", "no lesson", "none", "share of attempts at the sibling problem solved without any lesson"
        ),
        Measure(
            GAIN,
            "learning gain",
            "gain",
            "sibling problem solved with the lesson minus without it",
            "higher",
            "difference",
            "points",
        ),
        Measure("unread", "unread answers", "unread", "share of attempts whose answer could not be read", "lower"),
        Measure(
            "addressed",
            "addresses a wrong step",
            "aims",
            "share of tutor turns about a step the student got wrong",
            "higher",
        ),
        Measure(
            "first_wrong",
            "addresses the first",
            "first",
            "share of tutor turns about the first step the student got wrong",
            "higher",
        ),
        Measure("well_formed", "well-formed", "form", "share of tutor turns that keep the rules of form", "higher"),
        Measure(
            "tutor_turns", "tutor turns", "turns", "turns of the tutor in a lesson", kind="number", unit="per lesson"
        ),
        Measure(
            "tutor_words", "tutor words", "words", "words of the tutor in a lesson", kind="number", unit="per lesson"
        ),
    )
}


def direction_word(measure: Measure, up: bool) -> str:
    """Better or worse where the measure has a good direction, higher or lower where not."""
    if measure.better:
        return "better" if up == (measure.better == "higher") else "worse"
    return "higher" if up else "lower"
