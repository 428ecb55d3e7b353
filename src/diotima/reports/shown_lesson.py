"""A lesson as a page shows it: who said what, what is to be noted about a turn, and the scores worth a badge."""

from dataclasses import dataclass

from diotima.dialogue import TUTOR
from diotima.reports.collect import Taught
from diotima.reports.measures import MEASURES

BADGES = ("solved_before", "leaked", "solved_same", "solved_sibling")
ACCEPTED = ".accepted"  # how the scores end that say whether a judge accepts a lesson


@dataclass(frozen=True, slots=True)
class Bubble:
    """One turn. ``thought`` is "" where thoughts are not shown."""

    speaker: str
    text: str
    thought: str
    note: str


@dataclass(frozen=True, slots=True)
class ShownLesson:
    """One tutor's lesson. ``badges``: (name, value in words); ``stop``: why it ended."""

    label: str
    badges: tuple[tuple[str, str], ...]
    bubbles: tuple[Bubble, ...]
    stop: str


def shown_lesson(taught: Taught, thoughts: bool) -> ShownLesson:
    """The lesson in words. What has no valid score has no badge."""
    values = {name: score.value for name, score in taught.scores.items() if score.value is not None}
    badges = []
    for name in BADGES:
        if (value := values.get(name)) is not None:
            text = ("yes" if value else "no") if name == "leaked" else f"{value:.0%}"
            badges.append(("answer given away" if name == "leaked" else MEASURES[name].title, text))
    badges += [
        (f"judged by {name.removesuffix(ACCEPTED)}", "accepted" if value else "rejected")
        for name, value in values.items()
        if name.endswith(ACCEPTED)
    ]
    tutor_turns, bubbles = 0, []
    for turn in taught.dialogue.turns:
        tutor_turns += turn.speaker == TUTOR
        notes = ["cut off at the token limit"] * turn.cut + ["malformed"] * turn.malformed
        if turn.speaker == TUTOR and tutor_turns == values.get("first_leak_turn"):
            notes.append("gives the answer away")
        bubbles.append(Bubble(turn.speaker, turn.text, turn.thought if thoughts else "", ", ".join(notes)))
    return ShownLesson(taught.label, tuple(badges), tuple(bubbles), taught.dialogue.stop)
