"""The chats by which a served tutor is compared with its model: short, and each hard for templates in one way."""

from collections.abc import Sequence
from dataclasses import replace

from diotima.classroom.casting import Part
from diotima.classroom.roles import Role
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Message, Turn
from diotima.models.scripted import queue_of
from diotima.problems.problem import Problem

_PROBLEM = Problem(
    "parity",
    "Noor picks 7 pears a day for 4 days and gives 9 of them away. How many has she left?",
    "19",
    "7 * 4 = 28\n28 - 9 = 19",
)
_ATTEMPT = "Line 1: 7 + 4 = 11\nLine 2: 11 - 9 = 2\nThe answer is 2."
_LESSON = (
    Turn(STUDENT, _ATTEMPT),
    Turn(TUTOR, "Look at line 1. What happens to the 7 pears each day?"),
    Turn(STUDENT, "They come again, so it is 7 * 4 = 28?"),
    Turn(TUTOR, "Yes. And then?"),
    Turn(STUDENT, "28 - 9 = 19."),
)


def chats(part: Part) -> dict[str, Sequence[Message]]:
    """The chats by name. Those with the tutor's own prompt have it filled as in a lesson about one problem."""

    def lesson(*turns: Turn) -> Sequence[Message]:
        return as_tutor(part, Dialogue(_PROBLEM, turns))

    first, reply, answer, *_ = _LESSON
    thought = replace(reply, thought="Line 1 adds where it should multiply.")
    return {
        "a lesson's first turn": lesson(first),
        "a lesson of several turns": lesson(*_LESSON),
        "the tutor opens": lesson(),
        "the tutor has opened": lesson(Turn(TUTOR, "What have you tried?"), first),
        "with a thought": lesson(first, thought, answer),
        "no system message": [Message("user", _ATTEMPT)],
        "blanks at both ends": lesson(Turn(STUDENT, "  7 * 4\n\n"), Turn(TUTOR, " Go on.\n"), Turn(STUDENT, "\n\t28 ")),
        "signs of many scripts": lesson(
            Turn(STUDENT, "7 × 4 = 28 😀, ½ ≠ ⅓, Übung, 七, سبعة, e\N{COMBINING ACUTE ACCENT}")
        ),
        "marks of templates": lesson(Turn(STUDENT, '{{ 7 }} {% if %} [INST] ### \\boxed{28} "quoted" </s')),
    }


def as_tutor(part: Part, dialogue: Dialogue) -> Sequence[Message]:
    """A dialogue as the tutor's model sees it, by the prompt it was trained with."""
    nobody = queue_of(())
    return Role(TUTOR, nobody, part.load(), sees=part.sees).messages(dialogue)
