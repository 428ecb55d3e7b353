import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.scripted import Script, ScriptedServer

from diotima.classroom.casting import (
    LessonSettings,
    Part,
    as_recorded,
    cast_early,
    cast_fingerprints,
    cast_learner,
    cast_student,
    cast_tutor,
    furnish,
    model_role,
    part_of,
    remember_part,
    student_fingerprints,
)
from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Limits
from diotima.classroom.roles import Role
from diotima.classroom.students import ModelStudent, OneOf
from diotima.classroom.tutors import guide
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import ModelError, PromptError, SettingsError
from diotima.models.calls import Calls
from diotima.models.chat import Sampling
from diotima.models.endpoint import EndpointModel
from diotima.models.folders import TINY
from diotima.models.scripted import ScriptedModel, queue_of
from diotima.models.weights import weights_fingerprint
from diotima.problems.problem import Problem
from diotima.prompt import Prompt, load_prompt
from diotima.sandbox.world import World
from diotima.settings import load_settings

DEFAULT = LessonSettings()
NAMES = DEFAULT.student_names
DEMANDING = "student/demanding"


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
    tutor = cast_tutor("own_models:make", LessonSettings(tutor_max_tokens=33), 0.7)
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


def test_what_can_be_known_of_a_tutor_before_its_weights_are_loaded(tmp_path: Path) -> None:
    empty = tmp_path / "model"
    empty.mkdir()
    assert cast_early(str(empty), DEFAULT, 0.0, []) is None
    with pytest.raises(PromptError, match="uses answer, solution, but the tutor sees the question only"):
        cast_early(str(empty), LessonSettings(tutor_prompt="tutor/tiny"), 0.0, [])
    assert cast_early("scripted/guide", DEFAULT, 0.0, [World().problem(0)]) == cast_tutor(
        "scripted/guide", DEFAULT, 0.0
    )
    assert cast_early("scripted/leaker", DEFAULT, 0.0, [Problem("p", "How many?", "5")]) is not None
    with pytest.raises(ModelError, match="json:loads: calling it raised TypeError"):
        cast_early("json:loads", DEFAULT, 0.0, [])


def test_the_classroom_is_furnished_as_the_settings_say() -> None:
    settings = LessonSettings(opens="tutor", tutor_turns=2, most_tokens=99, most_words=999)
    room = furnish(cast_tutor("scripted/generic", settings, 0.0), Learner(patience=9), settings)
    assert (room.opens, room.limits) == ("tutor", Limits(2, 99, 999))
    dialogue = asyncio.run(room.teach(World().problem(0)))
    assert (dialogue.stop, [turn.speaker[0] for turn in dialogue.turns]) == ("turn limit", list("tsts"))


def test_a_student_model_gets_persona_limits_and_names() -> None:
    settings = LessonSettings(
        student="scripted/copier",
        student_prompt="student/demanding",
        student_temperature=0.2,
        student_max_tokens=11,
        solution_max_tokens=22,
        student_names=("Zoe",),
    )
    student = cast_student(settings)
    assert isinstance(student, ModelStudent)
    assert (student.persona.name, student.names) == ("student/demanding", ("Zoe",))
    assert (student.speaking, student.solving) == (Sampling(0.2, max_tokens=11), Sampling(0.2, max_tokens=22))
    assert load_settings(LessonSettings, None, {"student_names": ["Zoe"]}).student_names == ("Zoe",)


def test_of_several_personas_each_problem_draws_one() -> None:
    both = cast_student(LessonSettings(student="scripted/copier", student_prompt=("student/cooperative", DEMANDING)))
    assert isinstance(both, OneOf)
    problems = [World().problem(number) for number in range(40)]
    drawn = [both._of(Dialogue(problem, seed=3)).persona.name for problem in problems]
    assert drawn == [both._of(Dialogue(problem, (Turn(STUDENT, "Hm."),), 4)).persona.name for problem in problems]
    assert 10 < drawn.count(DEMANDING) < 30
    # Who was taught sits the exam, on the sibling too.
    taught = Dialogue(problems[0], seed=1)
    assert asyncio.run(both.attempts(problems[1], taught, 2)) == asyncio.run(
        both._of(taught).attempts(problems[1], taught, 2)
    )
    assert asyncio.run(both.speak(taught)).speaker == STUDENT
    prompts = student_fingerprints(LessonSettings(student="scripted/copier", student_prompt=(DEMANDING,)))["prompts"]
    assert DEMANDING in prompts
    with pytest.raises(SettingsError, match="student_prompt"):
        load_settings(LessonSettings, None, {"student_prompt": []})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "leaner",
            r"student = leaner: there is no model 'leaner'; use tiny, .* \(the simulated student is called learner",
        ),
        ("hf/./nowhere", r"student = hf/\./nowhere: hf/\./nowhere: there is no such folder"),
        ("scripted/guide", "there is no model scripted/guide; scripted models are copier"),
        ("no_such_module:make", "No module named 'no_such_module'"),
    ],
)
def test_a_student_of_no_such_name(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        cast_student(LessonSettings(student=name))


def test_a_students_prompt_of_no_such_name() -> None:
    with pytest.raises(PromptError, match="there is no prompt student/genius"):
        cast_student(LessonSettings(student="scripted/copier", student_prompt="student/genius"))


def test_only_the_simulated_learner_is_a_learner() -> None:
    assert cast_learner(DEFAULT) == cast_student(DEFAULT)
    with pytest.raises(
        SettingsError, match="student = tiny: this needs the simulated student, which is called learner"
    ):
        cast_learner(LessonSettings(student="tiny"))


def test_the_tutors_prompt_may_name_the_student() -> None:
    greeting = Prompt("greeting", "Greet {{name}}.", "0")
    lesson = Dialogue(Problem("p", "How many?", "5"), seed=3)
    named = ModelStudent(patient_model(), Prompt("p", "{{name}} {{question}}", "0"), Sampling(), Sampling(), NAMES)
    tutor = Role(TUTOR, patient_model(), greeting, names=NAMES)
    assert tutor.messages(lesson)[0].content.removeprefix("Greet ").rstrip(".") in NAMES
    assert named.messages(lesson)[0].content.split()[0] in tutor.messages(lesson)[0].content
    assert Role(TUTOR, patient_model(), greeting).messages(lesson)[0].content == "Greet the student."
    assert model_role(patient_model(), Part(), DEFAULT, 1.0).names == NAMES


def test_a_student_and_a_tutor_of_one_name_share_the_weights() -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'diotima[train]'")
    tutor = cast_tutor("tiny", DEFAULT, 1.0)
    student = cast_student(LessonSettings(student="tiny"))
    assert isinstance(tutor, Role)
    assert isinstance(student, ModelStudent)
    assert tutor.model is student.model


def test_fingerprints_tell_weights_and_prompts(tmp_path: Path) -> None:
    assert cast_fingerprints(DEFAULT, "scripted/guide", "own_models:make") == {
        "weights": {},
        "prompts": {"tutor/socratic": load_prompt("tutor/socratic").fingerprint},
    }
    persona = tmp_path / "persona.md"
    persona.write_text("You think about {{question}}.")
    settings = LessonSettings(student="tiny", student_prompt=str(persona))
    before = cast_fingerprints(settings, "scripted/guide")
    assert before["weights"] == {"tiny": weights_fingerprint(TINY)}
    assert set(before["prompts"]) == {
        str(persona),
        *(f"student/request/{request}" for request in ("attempt", "solution", "sibling")),
    }
    persona.write_text("You wonder about {{question}}.")
    assert cast_fingerprints(settings, "scripted/guide")["prompts"] != before["prompts"]
    assert cast_fingerprints(DEFAULT, "tiny") == {
        "weights": {"tiny": weights_fingerprint(TINY)},
        "prompts": {"tutor/tiny": load_prompt("tutor/tiny").fingerprint},
    }
    with pytest.raises(ModelError, match="student = leaner: 'leaner' has no weights on this machine"):
        cast_fingerprints(LessonSettings(student="leaner"))


@pytest.mark.parametrize("name", ["learner_guided", "learner_confused"])
@pytest.mark.parametrize("value", [-0.1, 3])
def test_a_probability_is_one(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{name} = "):
        load_settings(LessonSettings, overrides={name: value})


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with ScriptedServer(Script(kind="vllm", models=("m", "n"))) as server:
        yield server.url


def test_a_model_behind_an_endpoint_plays_either_part(served: str) -> None:
    settings = LessonSettings(student=f"vllm/n@{served}", tutor_max_tokens=33)
    calls = Calls(settings)
    tutor = cast_tutor(f"vllm/m@{served}", settings, 0.7, calls)
    assert isinstance(tutor, Role)
    assert isinstance(tutor.model, EndpointModel)
    assert (tutor.prompt.name, tutor.sampling.temperature, tutor.sampling.max_tokens) == ("tutor/socratic", 0.7, 33)
    student = cast_student(settings, calls)
    assert isinstance(student, ModelStudent)
    assert isinstance(student.model, EndpointModel)
    assert tutor.model.calls is student.model.calls is calls
    assert [line.address.name for line in calls.lines] == ["vllm/m", "vllm/n"]
    assert cast_tutor(f"vllm/m@{served}", settings, 0.7, calls).model.line is tutor.model.line  # type: ignore[attr-defined]


def test_an_endpoint_of_ones_own_by_its_name(served: str) -> None:
    endpoints = {"lab": {"base_urls": [served], "at_once": 2}}
    settings = load_settings(LessonSettings, overrides={"endpoints": endpoints, "student": "lab/m"})
    student = cast_student(settings)
    assert isinstance(student, ModelStudent)
    assert isinstance(student.model, EndpointModel)
    with pytest.raises(ModelError, match=r"'lab/m' has no weights on this machine|there is no model 'lab/m'"):
        cast_student(LessonSettings(student="lab/m"))


def test_a_tutor_elsewhere_is_there_before_the_run_and_may_not_see_more_than_it_should(served: str) -> None:
    assert isinstance(cast_early(f"vllm/m@{served}", DEFAULT, 0.0, []), Role)
    with pytest.raises(PromptError, match="uses answer, solution, but the tutor sees the question only"):
        cast_early("vllm/m@http://127.0.0.1:9/v1", LessonSettings(tutor_prompt="tutor/tiny"), 0.0, [])


def test_nobody_at_the_address_of_the_student() -> None:
    settings = LessonSettings(student="vllm/m@http://127.0.0.1:9/v1")
    for cast in (cast_student, cast_fingerprints):
        with pytest.raises(
            ModelError, match=r"student = vllm/m.*: nobody answers at .*simulated student is called learner"
        ):
            cast(settings)


def test_what_is_served_is_part_of_who_plays_and_where_is_not(served: str) -> None:
    with (
        ScriptedServer(Script(kind="vllm", models=("m",))) as other,
        ScriptedServer(Script(kind="vllm", models=("m",), weights="2")) as changed,
    ):
        one, same, else_ = (cast_fingerprints(DEFAULT, f"vllm/m@{url}") for url in (served, other.url, changed.url))
    assert list(one["weights"]) == ["vllm/m"]
    assert one == same
    assert one["weights"] != else_["weights"]
    assert one["prompts"] == else_["prompts"] == {"tutor/socratic": load_prompt("tutor/socratic").fingerprint}


def test_a_run_is_what_decides_its_lessons_and_not_how_calls_are_made() -> None:
    endpoints = {"lab": {"base_urls": ["http://gpu1/v1"], "key": "LAB_KEY", "timeout": 5, "extra": {"top_k": 5}}}
    values = {"tutor": "lab/m@http://gpu2/v1", "student": "learner", "seed": 3, "endpoints": endpoints, "max_cost": 2.0}
    settings = LessonSettings(endpoints=endpoints)  # type: ignore[arg-type]
    kept = {"tutor": "lab/m", "student": "learner", "seed": 3, "extra": {"lab": {"top_k": 5}}}
    assert as_recorded(settings, values) == kept
    both = {"tutor": ["lab/m@http://gpu2/v1", "tiny", "a@http://b/v1"]}
    assert as_recorded(settings, both)["tutor"] == ["lab/m", "tiny", "a@http://b/v1"]
    assert as_recorded(DEFAULT, {"tutor": "lab/m", "prices": None}) == {"tutor": "lab/m"}
