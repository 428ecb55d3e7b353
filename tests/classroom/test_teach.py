"""Holding lessons: a run goes on with what is missing, and what was held is kept while others are still waited for."""

import asyncio
import sys
import types
from pathlib import Path

import pytest

from diotima.classroom import teach
from diotima.classroom.casting import cast_student
from diotima.classroom.syllabus import problems_for
from diotima.classroom.teach import Settings, begin, hold_lessons, recorded, run
from diotima.classroom.tutors import Scripted, guide
from diotima.dialogue import TUTOR, Dialogue, Turn
from diotima.errors import ModelError, ProblemFileError, RunError
from diotima.models.calls import Calls
from diotima.problems.files import write_problems
from diotima.problems.problem import Problem
from diotima.runs.run import Run
from diotima.sandbox.world import World


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_problems(World().problems(6, 0), tmp_path / "problems.jsonl")
    return Settings(out=tmp_path / "run", problems=tmp_path / "problems.jsonl", tutor="scripted/guide")


class Counting:
    """The guide, who remembers which lessons it held."""

    def __init__(self) -> None:
        self.held: set[str] = set()

    async def speak(self, dialogue: Dialogue) -> Turn:
        self.held.add(dialogue.problem.id)
        return Turn(TUTOR, guide(dialogue))


def hold(settings: Settings, tutor: object, count: int | None = None) -> None:
    calls, student = Calls(), cast_student(settings)
    problems = problems_for(student, settings)
    with Run.create(settings.out, stage="teach", settings=recorded(settings, problems, calls), seed=0) as record:
        calls.conduct(hold_lessons("guide", tutor, student, problems[:count], settings, record, calls))  # type: ignore[arg-type]


def test_only_the_missing_lessons_are_held(settings: Settings) -> None:
    tutor = Counting()
    hold(settings, Scripted(guide), 4)
    hold(settings, tutor)
    assert len(tutor.held) == 2
    with Run.open(settings.out) as record:
        assert len(list(record.records("guide"))) == 6


def test_lessons_are_kept_while_a_slow_one_is_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teach, "GROUP_SECONDS", 0.02)
    seen: list[int] = []

    class Slow:
        async def speak(self, dialogue: Dialogue) -> Turn:
            for _ in range(100 if dialogue.problem.id == last else 0):
                await asyncio.sleep(0.01)
                with Run.open(settings.out) as record:
                    seen.append(len(list(record.records())))
                if seen[-1] == 5:
                    break
            return Turn(TUTOR, guide(dialogue), ends=True)

    last = problems_for(cast_student(settings), settings)[-1].id
    hold(settings, Slow())
    assert seen[-1] == 5


def test_what_could_not_be_kept_is_told_and_held_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(record: Run, show: object) -> None:
        raise RunError("the disk is full")

    with monkeypatch.context() as disk:
        disk.setattr(teach, "_keep", fail)
        with pytest.raises(RunError, match="the disk is full"):
            run(settings)
    assert run(settings) == settings.out
    with Run.open(settings.out) as record:
        assert len(list(record.records())) == 6


def test_a_start_that_fails_leaves_no_run_behind(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for tutor in ("json:loads", "os:nope", "no_such_module:make"):
        with pytest.raises(ModelError):
            run(settings.model_copy(update={"tutor": tutor}))
        assert not settings.out.exists()

    class Down:
        async def reply(self, messages: object, sampling: object) -> str:
            raise ConnectionError("my endpoint is down")

    monkeypatch.setitem(sys.modules, "own_tutors", types.SimpleNamespace(make=Down))
    with pytest.raises(ModelError, match="own_tutors:make: its reply raised ConnectionError: my endpoint is down"):
        run(settings.model_copy(update={"tutor": "own_tutors:make"}))
    assert not settings.out.exists()
    assert run(settings) == settings.out


def test_a_failure_takes_nothing_that_was_there_before(settings: Settings) -> None:
    hold(settings, Scripted(guide), 2)

    class Broken:
        async def speak(self, dialogue: Dialogue) -> Turn:
            raise ModelError("torn")

    calls, student = Calls(), cast_student(settings)
    problems = problems_for(student, settings)
    with pytest.raises(ModelError), begin("teach", settings, recorded(settings, problems, calls), calls) as record:
        calls.conduct(hold_lessons("guide", Broken(), student, problems, settings, record, calls))
    with Run.open(settings.out) as record:
        assert record.count("guide") == 2
    (settings.out.parent / "mine").mkdir()
    (settings.out.parent / "mine" / "notes.txt").touch()
    elsewhere = settings.model_copy(update={"out": settings.out.parent / "mine"})
    with pytest.raises(ModelError), begin("teach", elsewhere, {}, calls):
        raise ModelError("torn")
    assert (elsewhere.out / "notes.txt").exists()


def test_a_tutor_that_goes_by_steps_needs_them(settings: Settings) -> None:
    write_problems([Problem("p", "How many?", "5"), *World().problems(1, 0)], Path(settings.problems))
    by_steps = settings.model_copy(update={"student": "scripted/copier"})
    sentence = r"1 of 2 problems have no steps, which scripted/guide goes by, the first is p; .* scripted/leaker, "
    with pytest.raises(ProblemFileError, match=sentence):
        run(by_steps)
    assert not settings.out.exists()
    assert run(by_steps.model_copy(update={"tutor": "scripted/leaker", "attempts": 1, "tutor_turns": 1}))


def test_other_problems_in_the_same_file_are_another_run(settings: Settings) -> None:
    run(settings)
    write_problems(World().problems(6, 1), Path(settings.problems))
    with pytest.raises(RunError, match="problems_fingerprint"):
        run(settings)


def test_a_dry_run_says_what_it_would_cost_and_does_nothing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(settings.model_copy(update={"dry_run": True}))
    assert isinstance(told, dict)
    assert (told["problems"], told["lessons"], told["at_most"]["calls"]) == (6, 6, 0)
    assert "6 lessons on 6 problems" in capsys.readouterr().out
    assert not settings.out.exists()
