import json
from pathlib import Path
from typing import Any

import pytest

from diotima.benchmarks import compare, comparison, evaluate
from diotima.benchmarks.compare import sides
from diotima.benchmarks.score import Settings, run
from diotima.errors import RunError, SettingsError
from diotima.problems.files import write_problems
from diotima.problems.problem import Problem
from diotima.reports.collect import collect
from diotima.runs.run import Run
from diotima.sandbox.world import World
from diotima.scoring.leakage import LeakMeter

GUIDE, LEAKER = "scripted/guide", "scripted/leaker"


@pytest.fixture
def lessons(tmp_path: Path) -> Path:
    write_problems(World().problems(6, 0, "test"), tmp_path / "problems.jsonl")
    settings = evaluate.Settings(
        out=tmp_path / "lessons", problems=str(tmp_path / "problems.jsonl"), tutor=(GUIDE, LEAKER), attempts=4
    )
    return evaluate.run(settings)


def conditions(*runs: Path) -> list[str]:
    baseline, new = sides(compare.Settings(runs=tuple(map(str, runs)), label=(GUIDE,)))
    return [note for note in comparison.compare(baseline, new).notes if "conditions" in note]


def scores(path: Path, name: str, label: str = GUIDE) -> list[float | None]:
    with Run.open(path) as record:
        return [score.value for _, _, score in record.score_table(name, label)]


def test_the_same_measures_again_say_the_same(lessons: Path, tmp_path: Path) -> None:
    again = run(Settings(run=lessons, out=tmp_path / "again", attempts=4))
    for label in (GUIDE, LEAKER):
        for name in ("solved_sibling", "leaked", "addressed", "unread"):
            assert scores(again, name, label) == scores(lessons, name, label)
    with Run.open(lessons) as before, Run.open(again) as after:
        assert [r.dialogue for r in after.records()] == [r.dialogue for r in before.records()]


def test_only_what_is_asked_for_is_measured(lessons: Path, tmp_path: Path) -> None:
    settings = Settings(run=lessons, out=tmp_path / "leaks", measures=("leak",), label=(LEAKER,))
    with Run.open(run(settings)) as record:
        assert record.labels() == [LEAKER]
        assert set(next(record.records()).scores) == {"leaked", "leak_level", "first_leak_turn"}


def test_another_student_sits_the_exam(lessons: Path, tmp_path: Path) -> None:
    settings = Settings(run=lessons, out=tmp_path / "copier", measures=("exam",), student="scripted/copier", attempts=2)
    path = run(settings)
    assert scores(path, "solved_same", LEAKER) == [1.0] * 6
    assert scores(path, "solved_sibling", LEAKER) == [0.0] * 6
    with Run.open(path) as record:
        assert record.manifest["settings"]["student"] == "scripted/copier"
        assert "student/cooperative" in record.manifest["settings"]["prompts"]


def test_scored_lessons_are_compared_like_those_they_were(lessons: Path, tmp_path: Path) -> None:
    again = run(Settings(run=lessons, out=tmp_path / "again", attempts=4, label=(GUIDE, LEAKER)))
    with pytest.raises(SettingsError, match="several tutors, choose one by --label"):
        sides(compare.Settings(runs=(str(again), str(lessons))))
    assert not conditions(lessons, again)


def test_measures_without_an_exam_are_not_taken_for_another_student(lessons: Path, tmp_path: Path) -> None:
    leaks = run(Settings(run=lessons, out=tmp_path / "leaks", measures=("leak",), attempts=3))
    assert not conditions(lessons, leaks)
    examined = run(Settings(run=lessons, out=tmp_path / "examined", measures=("exam",), attempts=3))
    assert "attempts: 4 -> 3" in conditions(lessons, examined)[0]


def test_scores_of_a_run_that_is_not_finished_are_not_finished(
    lessons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((lessons / "manifest.json").read_text())
    (lessons / "manifest.json").write_text(json.dumps(manifest | {"finished": None}))
    settings = Settings(run=lessons, out=tmp_path / "leaks", measures=("leak",))
    run(settings)
    assert f"{lessons} is not finished, and so {tmp_path / 'leaks'} is not" in capsys.readouterr().err
    assert "leaks is not finished (12 lessons so far)" in collect(tmp_path / "leaks", pairs=()).notes
    (lessons / "manifest.json").write_text(json.dumps(manifest))
    run(settings)
    assert collect(tmp_path / "leaks", pairs=()).notes == ()


def test_a_killed_run_goes_on(lessons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(run=lessons, out=tmp_path / "again", attempts=4, at_once=1)
    read = LeakMeter.score
    seen: list[str] = []

    async def dies(self: LeakMeter, dialogue: Any) -> Any:
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(dialogue.problem.id)
        return await read(self, dialogue)

    with monkeypatch.context() as patch:
        patch.setattr(LeakMeter, "score", dies)
        with pytest.raises(KeyboardInterrupt):
            run(settings)
    kept = len(scores(tmp_path / "again", "leaked", GUIDE))
    assert 0 < kept < 6
    run(settings)
    assert scores(tmp_path / "again", "leaked", GUIDE) == scores(lessons, "leaked", GUIDE)


def test_what_cannot_be_measured_is_told(lessons: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no lessons of scripted/gide; did you mean scripted/guide"):
        run(Settings(run=lessons, out=tmp_path / "x", label=("scripted/gide",)))
    with pytest.raises(RunError, match="is not a run"):
        run(Settings(run=tmp_path / "nowhere", out=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_the_learner_cannot_be_examined_on_a_problem_without_steps(tmp_path: Path) -> None:
    write_problems([Problem("p", "How many are 2 and 3?", "5")], tmp_path / "p.jsonl")
    held = evaluate.Settings(
        out=tmp_path / "held",
        problems=str(tmp_path / "p.jsonl"),
        tutor=(LEAKER,),
        student="scripted/copier",
        attempts=1,
    )
    evaluate.run(held)
    with pytest.raises(RunError, match=r"problem p has no steps .* name another --student"):
        run(Settings(run=tmp_path / "held", out=tmp_path / "x", student="learner"))
