import asyncio
from pathlib import Path

import pytest

from diotima.classroom.casting import LessonSettings, Part, cast_student, cast_tutor, furnish, part_of, remember_part
from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Limits
from diotima.classroom.roles import Role
from diotima.classroom.tutors import guide
from diotima.dialogue import TUTOR
from diotima.errors import ModelError, PromptError, SettingsError
from diotima.models.scripted import ScriptedModel, queue_of
from diotima.sandbox.world import World
from diotima.settings import load_settings

DEFAULT = LessonSettings()


def patient_model() -> ScriptedModel:
    return queue_of(["Look at step 1."] * 9)


def test_the_default_student_is_the_default_learner() -> None:
    assert cast_student(DEFAULT) == Learner()
    student = cast_student(LessonSettings(learner_seed=3, learner_guided=0.5, learner_confused=0.2))
    assert (student.seed, student.parameters.guided, student.parameters.confused) == (3, 0.5, 0.2)


def test_scripted_tutors_by_name() -> None:
    assert cast_tutor("scripted/guide", DEFAULT, 0.0).script is guide  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="there is no tutor scripted/guru; scripted tutors are guide, leaker"):
        cast_tutor("scripted/guru", DEFAULT, 0.0)


def test_an_unknown_name() -> None:
    with pytest.raises(ModelError, match="'gpt'"):
        cast_tutor("gpt", DEFAULT, 0.0)


def test_a_model_of_ones_own_gets_prompt_temperature_and_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("own_models")
    module.make = patient_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_models", module)
    tutor = cast_tutor("own_models:make", LessonSettings(max_tokens=33), 0.7)
    assert isinstance(tutor, Role)
    assert (tutor.speaker, tutor.sampling.temperature, tutor.sampling.max_tokens) == (TUTOR, 0.7, 33)
    assert (tutor.prompt.name, tutor.sees) == ("tutor/socratic", "question")
    with pytest.raises(PromptError, match="there is no prompt tutor/nowhere"):
        cast_tutor("own_models:make", LessonSettings(tutor_prompt="tutor/nowhere"), 0.7)
    with pytest.raises(
        PromptError, match="prompt tutor/tiny uses answer, solution, but the tutor sees the question only"
    ):
        cast_tutor("own_models:make", LessonSettings(tutor_prompt="tutor/tiny"), 0.7)


def test_a_model_plays_the_part_it_was_trained_for_unless_told_otherwise(tmp_path: Path) -> None:
    assert part_of(None, DEFAULT) == part_of(tmp_path, DEFAULT) == Part()
    remember_part(tmp_path, Part("tutor/tiny", "solution"))
    assert part_of(tmp_path, DEFAULT) == Part("tutor/tiny", "solution")
    assert part_of(tmp_path, LessonSettings(tutor_sees="answer")) == Part("tutor/tiny", "answer")
    assert part_of(tmp_path, LessonSettings(tutor_prompt="mine.md")) == Part("mine.md", "solution")


@pytest.mark.parametrize("content", ["{oops", "[]", '{"style": "kind"}', "null", '{"sees": "all"}'])
def test_a_part_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "tutor.json").write_text(content)
    with pytest.raises(ModelError, match=r"tutor\.json cannot be read .*; delete it or mend it"):
        part_of(tmp_path, DEFAULT)


def test_the_classroom_is_furnished_as_the_settings_say() -> None:
    settings = LessonSettings(opens="tutor", tutor_turns=2, most_tokens=99, most_words=999)
    room = furnish(cast_tutor("scripted/generic", settings, 0.0), Learner(patience=9), settings)
    assert (room.opens, room.limits) == ("tutor", Limits(2, 99, 999))
    dialogue = asyncio.run(room.teach(World().problem(0)))
    assert (dialogue.stop, [turn.speaker[0] for turn in dialogue.turns]) == ("turn limit", list("tsts"))


def test_another_student_is_refused() -> None:
    with pytest.raises(SettingsError, match="student"):
        load_settings(LessonSettings, None, {"student": "genius"})
