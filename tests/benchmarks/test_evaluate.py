import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from diotima.benchmarks.evaluate import Settings, run
from diotima.classroom.lesson import Classroom
from diotima.classroom.teach import HoldingSettings
from diotima.dialogue import Dialogue
from diotima.errors import ModelError, ProblemFileError, PromptError, RunError, SettingsError
from diotima.models.folders import TINY
from diotima.problems.files import write_problems
from diotima.problems.problem import Problem, Step
from diotima.runs.run import Run
from diotima.sandbox.world import World
from diotima.settings import load_settings

GUIDE, LEAKER = "scripted/guide", "scripted/leaker"


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    write_problems(World().problems(8, 0, "test"), tmp_path / "problems" / "test.jsonl")
    return tmp_path / "problems"


@pytest.fixture
def settings(tmp_path: Path, problems: Path) -> dict[str, Any]:
    return {"out": tmp_path / "run", "problems": problems, "tutor": (GUIDE, LEAKER), "attempts": 4}


def mean(path: Path, name: str, label: str) -> float:
    with Run.open(path) as record:
        values = [score.value for _, _, score in record.score_table(name, label)]
    assert None not in values
    return sum(values) / len(values)  # type: ignore[arg-type]


def test_tutors_are_examined_under_their_labels(settings: dict[str, Any]) -> None:
    path = run(Settings(**settings, label=("good", "bad"), lessons=2))
    with Run.open(path) as record:
        assert record.labels() == ["good", "bad"]
        assert record.manifest["finished"]
        scores = next(record.records("good")).scores
    assert {"solved_same", "solved_sibling", "control_sibling", "gain", "leaked", "addressed", "tutor_turns"} <= set(
        scores
    )
    assert mean(path, "leaked", "good") == 0.0
    assert mean(path, "leaked", "bad") > 0.9
    assert mean(path, "gain", "good") > 0.3
    assert mean(path, "gain", "bad") == 0.0


def test_all_tutors_meet_the_same_students(settings: dict[str, Any]) -> None:
    path = run(Settings(**settings, lessons=2))
    with Run.open(path) as record:
        lessons = [[(r.dialogue.problem.id, r.dialogue.seed) for r in record.records(t)] for t in (GUIDE, LEAKER)]
        openings = [[r.dialogue.turns[0] for r in record.records(t)] for t in (GUIDE, LEAKER)]
    assert lessons[0] == lessons[1]
    assert len(set(lessons[0])) == 16
    assert openings[0] == openings[1]
    assert [mean(path, "control_sibling", t) for t in (GUIDE, LEAKER)] == [mean(path, "control_sibling", GUIDE)] * 2


def test_another_seed_is_another_draw_of_lessons(settings: dict[str, Any], tmp_path: Path) -> None:
    seeds = []
    for seed in (0, 1):
        with Run.open(run(Settings(**settings | {"out": tmp_path / str(seed)}, seed=seed))) as record:
            seeds.append({lesson.dialogue.seed for lesson in record.records(GUIDE)})
    assert not seeds[0] & seeds[1]


def test_a_killed_evaluation_goes_on_with_what_is_missing(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add, teach = Run.add, Classroom.teach
    held: list[tuple[str, int]] = []

    def killed(self: Run, dialogue: Dialogue, *rest: Any) -> None:
        if len(held) >= 11:
            raise KeyboardInterrupt
        add(self, dialogue, *rest)

    async def counted(self: Classroom, problem: Problem, seed: int = 0) -> Dialogue:
        held.append((problem.id, seed))
        return await teach(self, problem, seed)

    monkeypatch.setattr(Classroom, "teach", counted)
    monkeypatch.setattr(Run, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        run(Settings(**settings, at_once=1))
    monkeypatch.setattr(Run, "add", add)
    with Run.open(settings["out"]) as record:
        kept = sum(1 for _ in record.records())
        assert record.labels() == [GUIDE, LEAKER]
    assert 8 < kept < 16
    held.clear()
    run(Settings(**settings))
    assert len(held) == 16 - kept
    whole = run(Settings(**settings | {"out": tmp_path / "whole"}))
    with Run.open(settings["out"]) as one, Run.open(whole) as other:
        assert list(one.records()) == list(other.records())


def test_other_settings_are_another_run(settings: dict[str, Any]) -> None:
    run(Settings(**settings))
    run(Settings(**settings, at_once=3))  # says nothing about the result
    with pytest.raises(RunError, match="attempts"):
        run(Settings(**settings | {"attempts": 5}))


def test_one_tutor_needs_no_list(settings: dict[str, Any]) -> None:
    assert Settings(**settings | {"tutor": GUIDE}).tutor == (GUIDE,)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"label": ("one",)}, "there are 2 tutors but 1 labels"),
        ({"label": ("one", "one")}, "two tutors cannot share a label"),
        ({"tutor": (GUIDE, GUIDE)}, "two tutors cannot share a label"),
        ({"tutor": ("scripted/guru",)}, "there is no tutor scripted/guru"),
        ({"temperature": (1.0, -1.0)}, "temperature needs .* none below 0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        run(Settings(**settings | changed))
    assert not settings["out"].exists()  # the mended command begins in a clean folder


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"tutor": (GUIDE, "json:loads")}, ModelError),
        ({"tutor": (GUIDE, "os:nope")}, ModelError),
        ({"tutor": (GUIDE, "tiny"), "tutor_sees": "question"}, PromptError),
    ],
)
def test_what_can_be_known_is_told_before_there_is_a_run(
    settings: dict[str, Any], changed: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(Settings(**settings | changed))
    assert not settings["out"].exists()


def test_a_model_that_is_none(settings: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="'tinny' has no weights on this machine; use tiny, a folder or hf/NAME"):
        run(Settings(**settings | {"tutor": (GUIDE, "tinny")}))
    assert not settings["out"].exists()


@pytest.mark.parametrize("name", ["lessons", "attempts", "at_once", "most_problems"])
def test_numbers_must_be_positive(settings: dict[str, Any], name: str) -> None:
    assert name in HoldingSettings.model_fields
    with pytest.raises(SettingsError, match=f"{name} = 0: .*greater than 0"):
        load_settings(Settings, None, settings | {name: 0})


def test_problems_that_the_learner_cannot_work_on(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.jsonl"
    bad = Problem("bad", "How many?", "5", steps=(Step("", "2 + 4 = 5", "5", "counting"),))
    write_problems([bad], path)
    with pytest.raises(ProblemFileError, match=r"none of its 1 problems will do: the first has no steps"):
        run(Settings(**settings | {"problems": path}))
    good = Problem("good", "How many?", "5", steps=(Step("", "2 + 3 = 5", "5", "counting"),))
    write_problems([bad, good], path)
    with Run.open(run(Settings(**settings | {"problems": path, "tutor": GUIDE}))) as record:
        assert [each.dialogue.problem.id for each in record.records()] == ["good"]
    assert "1 of 2 problems are left out; the first has no steps" in capsys.readouterr().err
    with pytest.raises(ProblemFileError, match="there is no file of problems"):
        run(Settings(**settings | {"problems": tmp_path / "none.jsonl"}))


def test_a_problem_without_a_sibling_has_no_sibling_scores(settings: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_problems([Problem("mine", "How many?", "5", steps=(Step("", "2 + 3 = 5", "5", "gain"),))], path)
    with Run.open(run(Settings(**settings | {"problems": path, "tutor": GUIDE}))) as record:
        scores = next(record.records()).scores
    assert scores["solved_sibling"].reason == "the problem has no sibling"
    assert scores["solved_same"].value is not None


def test_other_weights_in_the_same_folder_are_another_run(tmp_path: Path, problems: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(TINY, model)
    settings = Settings(out=tmp_path / "run", problems=problems, tutor=(str(model),), tutor_max_tokens=10, threads=1)
    run(settings)
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    with pytest.raises(RunError, match="weights"):
        run(settings)


def test_figures_for_machines_and_a_table_for_people(
    tmp_path: Path, problems: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(Settings(out=tmp_path / "run", problems=problems, tutor=(GUIDE, LEAKER)))
    assert "leaker" in capsys.readouterr().out
    figures = json.loads((out / "summary.json").read_text())["tutors"]
    leak_rates = {one["tutor"]: one["measures"]["leaked"]["mean"] for one in figures}
    assert leak_rates[GUIDE] == 0.0
    assert leak_rates[LEAKER] > 0.5


def test_a_model_without_weights_is_told_before_there_is_a_run(tmp_path: Path, problems: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    with pytest.raises(ModelError, match="has no weights"):
        run(Settings(out=tmp_path / "run", problems=problems, tutor=(str(model),)))
    assert not (tmp_path / "run").exists()
