"""`--dry-run`: who of a stage is asked over the network, and what that will come to; see `estimate`."""

from collections.abc import Sequence
from typing import Any

from diotima.classroom.casting import LessonSettings, TutorSettings
from diotima.classroom.estimate import Sitting, Terms, Voice, estimate, estimate_replies, plain, render
from diotima.classroom.lesson import Participant
from diotima.classroom.roles import Role
from diotima.classroom.students import ModelStudent, OneOf, Student
from diotima.dialogue import Dialogue
from diotima.models.calls import Calls
from diotima.models.chat import ChatModel
from diotima.models.endpoint import EndpointModel
from diotima.models.prices import Price
from diotima.problems.problem import Problem


def tell_costs(
    settings: LessonSettings,
    lessons: int,
    attempts: int,
    problems: Sequence[Problem],
    tutors: Sequence[Participant | None],
    student: Student,
    calls: Calls,
) -> dict[str, Any]:
    """Print what the lessons will cost; returns the figures. ``tutors``: None for one whose weights were not loaded."""
    estimated = estimate(
        problems,
        [_tutor(tutor, settings) for tutor in tutors],
        _student(student),
        _sitting(student, attempts),
        Terms(lessons, settings.tutor_turns, settings.opens, settings.student_names),
        _prices(calls),
    )
    print(render(estimated))
    return plain(estimated)


def tell_costs_of_replies(
    settings: TutorSettings,
    contexts: Sequence[Dialogue],
    count: int,
    tutors: Sequence[Participant | None],
    calls: Calls,
) -> dict[str, Any]:
    """Print what ``count`` replies of every tutor to every context will cost; returns the figures, see `tell_costs`."""
    voices = [_tutor(tutor, settings) for tutor in tutors]
    estimated = estimate_replies(contexts, voices, count, settings.student_names, _prices(calls))
    print(render(estimated, "candidates", "contexts"))
    told = plain(estimated)
    return {"contexts": told.pop("problems"), "candidates": told.pop("lessons")} | told


def _prices(calls: Calls) -> dict[str, Price | None]:
    return {line.address.name: line.price for line in calls.lines if line.price is not None}


def _tutor(tutor: Participant | None, settings: TutorSettings) -> Voice:
    if isinstance(tutor, Role):
        return Voice(_name(tutor.model), tutor.prompt, tutor.sampling.max_tokens)
    return Voice() if tutor else Voice(max_tokens=settings.tutor_max_tokens)


def _student(student: Student) -> Voice:
    if isinstance(student, OneOf):
        return max(map(_student, student.students), key=lambda voice: len(voice.prompt.text) if voice.prompt else 0)
    if isinstance(student, ModelStudent):
        return Voice(_name(student.model), student.persona, student.speaking.max_tokens)
    return Voice()


def _sitting(student: Student, attempts: int) -> Sitting:
    if isinstance(student, OneOf):
        return _sitting(student.students[0], attempts)  # they differ in their personas only
    if isinstance(student, ModelStudent):
        return Sitting(attempts, student.solving.max_tokens, student.solving.temperature == 0)
    return Sitting(attempts, 0)


def _name(model: ChatModel) -> str:
    return model.line.address.name if isinstance(model, EndpointModel) else ""
