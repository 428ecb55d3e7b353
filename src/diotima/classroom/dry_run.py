"""`--dry-run`: who of a stage is asked over the network, and what that will come to; see `estimate`."""

from collections.abc import Iterable, Sequence
from typing import Any

from diotima.classroom.casting import LessonSettings, TutorSettings
from diotima.classroom.estimate import (
    Request,
    Sitting,
    Terms,
    Voice,
    estimate,
    estimate_requests,
    plain,
    render,
    replies_wanted,
)
from diotima.classroom.judges import JudgeSettings
from diotima.classroom.lesson import Participant
from diotima.classroom.roles import Role
from diotima.classroom.students import ModelStudent, OneOf, Student
from diotima.dialogue import Dialogue
from diotima.models.calls import Calls
from diotima.models.chat import ChatModel
from diotima.models.endpoint import EndpointModel
from diotima.models.prices import Price
from diotima.problems.problem import Problem
from diotima.scoring.case import Case
from diotima.scoring.judge import Judge, ModelJudge, question
from diotima.scoring.rubric import Rubric


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
    wanted = replies_wanted(contexts, voices, count, settings.student_names)
    estimated = estimate_requests(wanted, len(contexts), len(contexts) * count * len(voices), _prices(calls))
    print(render(estimated, "candidates", "contexts", "Both take every candidate."))
    told = plain(estimated)
    return {"contexts": told.pop("problems"), "candidates": told.pop("lessons")} | told


def tell_costs_of_verdicts(
    settings: JudgeSettings,
    rubric: Rubric,
    judges: Sequence[Judge],
    dialogues: Iterable[tuple[Sequence[Case], int]],
    calls: Calls,
    more: str = "",
) -> dict[str, Any]:
    """Print what it will cost to have judges asked; returns the figures.

    ``dialogues``: the cases of each, and how often every judge is asked about each of them. ``more``: a sentence.
    """
    models = [name for judge in judges if isinstance(judge, ModelJudge) and (name := _name(judge.model))]
    longest = settings.judge_max_tokens or rubric.max_tokens
    requests: list[Request] = []
    count = verdicts = 0
    for cases, samples in dialogues:
        count, verdicts = count + 1, verdicts + len(cases) * samples * len(judges)
        texts = [question(case, rubric) for case in cases] if models else []
        requests += [Request(model, (text,), longest, samples) for text in texts for model in models]
    estimated = estimate_requests(requests, count, verdicts, _prices(calls))
    print(render(estimated, "verdicts", "dialogues", "Both take every verdict as read when it is first given."))
    if more:
        print(more)
    told = plain(estimated)
    return {"dialogues": told.pop("problems"), "verdicts": told.pop("lessons")} | told


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
