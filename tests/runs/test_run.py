"""A run on disk: what goes in comes out, killed or not."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import diotima
from diotima.dialogue import Dialogue, Tokens, Turn
from diotima.errors import RunError
from diotima.problems.problem import Problem, Step
from diotima.runs import store
from diotima.runs.records import turn_rows, turns_from_rows
from diotima.runs.run import PAGE, Run
from diotima.score import Score

PROBLEM = Problem(
    "p1", "How many?", "57", "12 + 45 = 57", (Step("Sum?", "12 + 45", "57", "add"),), "sandbox",
    Problem("p1s", "How many now?", "58"),
)  # fmt: skip
TURNS = (
    Turn("tutor", "Look at step 2.", "the student erred", tokens=Tokens((1, 2, 3), (4, 5), (-0.1, -1e-7))),
    Turn("student", "Ah: ½ \u2212 \x00 \U0001f600"),
    Turn("tutor", "", ends=True, cut=True, tokens=Tokens((1, 2, 3, 4, 5, 9, 8), (7,), (-2.5,))),
    Turn("tutor", "x", malformed=True, tokens=Tokens((1, 2, 6), (), ())),
)
DIALOGUE = Dialogue(PROBLEM, TURNS, seed=2**63 - 1, stop="ended by tutor")
SCORES = {"solved": Score(1.0), "judge": Score.missing("no verdict", "refused")}
SETTINGS = {"tutor": "scripted/guide", "limits": {"turns": 4}, "out": "somewhere"}


def create(folder: Path, **changes: object) -> Run:
    return Run.create(folder, stage="evaluate", settings={**SETTINGS, **changes}, seed=7)


def many(number: int) -> Iterator[Dialogue]:
    return (replace(DIALOGUE, problem=replace(PROBLEM, id=f"p{i % 7}"), seed=i) for i in range(number))


def test_dialogues_come_back_as_they_were(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.add(DIALOGUE, "guide", SCORES)
        assert run.has("guide", "p1", DIALOGUE.seed)
        assert not run.has("other", "p1", DIALOGUE.seed)
        run.finish()
    with Run.open(tmp_path / "run") as run:
        (record,) = run.records()
        assert (record.label, record.dialogue, record.scores) == ("guide", DIALOGUE, SCORES)
        assert run.manifest["finished"]
        assert run.manifest["settings"]["limits"] == {"turns": 4}
        assert run.manifest["versions"]["diotima"] == diotima.__version__


ids = st.lists(st.integers(0, 2**32 - 1), max_size=6)
token_turns = st.builds(
    lambda speaker, prompt, reply: Turn(
        speaker, "t", tokens=Tokens(tuple(prompt), tuple(reply), tuple(-float(i) / 3 for i in reply))
    ),
    st.sampled_from(["tutor", "student"]), ids, ids,
)  # fmt: skip


@given(st.lists(token_turns | st.just(Turn("student", "none")), max_size=6))
def test_tokens_survive_packing_whatever_their_contexts_share(turns: list[Turn]) -> None:
    assert turns_from_rows(turn_rows(turns)) == tuple(turns)


def test_only_new_context_is_stored() -> None:
    rows = list(turn_rows(TURNS))
    assert [row[4] for row in rows] == [0, None, 5, 2]
    assert len(rows[2][5] or b"") == 4 * 2


def test_records_are_ordered_whatever_the_order_of_arrival(tmp_path: Path) -> None:
    dialogues = list(many(2 * PAGE + 5))
    for name, order in (("a", dialogues), ("b", dialogues[::-1])):
        with create(tmp_path / name) as run:
            for dialogue in order:
                run.add(dialogue, "x")
            run.add(DIALOGUE, "another")
    with Run.open(tmp_path / "a") as first, Run.open(tmp_path / "b") as second:
        records = list(first.records())
        assert records == list(second.records())
        assert len(records) == len(dialogues) + 1
        assert first.labels() == ["x", "another"]
        assert [r.dialogue.seed for r in first.records("x")][:3] == [0, 7, 14]


def test_a_problem_is_stored_once_per_content(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        for dialogue in many(14):
            run.add(dialogue, "x")
        run.add(replace(DIALOGUE, problem=replace(PROBLEM, id="p0", answer="other")), "x")
        assert [r.dialogue.problem.answer for r in run.records()].count("other") == 1
    database = apsw.Connection(str(tmp_path / "run" / store.FILE))
    assert list(database.execute("SELECT count(*) FROM problems")) == [(8,)]


def test_score_table_and_metrics(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.add(replace(DIALOGUE, seed=2), "x", SCORES)
        run.add(replace(DIALOGUE, seed=1), "x", {"solved": Score(0.5)})
        run.add(replace(DIALOGUE, seed=3), "y", SCORES)
        for step, value in ((2, math.nan), (1, 0.1), (1, 0.2)):
            run.metric(step, "loss", value)
        assert run.score_table("solved", "x") == [("p1", 1, Score(0.5)), ("p1", 2, Score(1.0))]
        assert run.score_table("judge", "x") == [("p1", 2, SCORES["judge"])]
        losses = run.metrics()["loss"]
    assert losses[0] == (1, 0.2)
    assert math.isnan(losses[1][1])


def test_a_lesson_is_stored_once_and_a_score_is_a_number(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.add(DIALOGUE, "x")
        with pytest.raises(RunError, match="has a dialogue of x on p1"):
            run.add(DIALOGUE, "x")
        with pytest.raises(ValueError, match="not a number"):
            run.add(replace(DIALOGUE, seed=1), "x", {"solved": Score(math.nan)})
        assert len(list(run.records())) == 1


def test_a_dialogue_that_goes_on_takes_the_place_of_what_it_was(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.add(DIALOGUE, "guide", SCORES)
        run.add(DIALOGUE, "other", SCORES)
        run.replace(DIALOGUE.then(Turn("student", "And?")), "guide")
        run.replace(replace(DIALOGUE, seed=1), "guide")
        found = {(record.label, record.dialogue.seed): record for record in run.records()}
    assert len(found) == 3
    assert len(found["guide", DIALOGUE.seed].dialogue.turns) == len(TURNS) + 1
    assert found["guide", DIALOGUE.seed].scores == {}
    assert found["other", DIALOGUE.seed].scores == SCORES


def test_a_run_is_continued_only_with_its_own_settings(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with create(folder) as run:
        run.add(DIALOGUE, "x")
        started = run.manifest["started"]
    with create(folder, out="elsewhere") as run:
        assert run.has("x", "p1", DIALOGUE.seed)
        assert run.manifest["started"] == started
    with pytest.raises(RunError, match=r"settings\.limits\.turns: 4 -> 5; settings\.tutor: .*guide.* -> .*sweep"):
        create(folder, limits={"turns": 5}, tutor="scripted/sweep")
    with pytest.raises(RunError, match="seed: 7 -> 8"):
        Run.create(folder, stage="evaluate", settings=SETTINGS, seed=8)
    with pytest.raises(RunError, match=f"{folder.name} is a run of evaluate, not of score: choose another folder$"):
        Run.create(folder, stage="score", settings={}, seed=7)
    create(folder).close()


def test_a_run_in_which_nothing_has_happened_is_begun_anew(tmp_path: Path) -> None:
    def begin(rate: float) -> Run:
        return Run.create(tmp_path / "run", stage="train dpo", settings={"rate": rate}, seed=0)

    begin(1.0).close()
    begin(2.0).close()
    with begin(3.0) as run:
        assert run.manifest["settings"] == {"rate": 3.0}
        run.metric(0, "pairs", 5)
    with pytest.raises(RunError, match=r"begun with other settings \(settings.rate: 3.0 -> 4.0\)"):
        begin(4.0)


def test_a_run_beside_which_something_lies_is_not_begun_anew(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", stage="train dpo", settings={}, seed=0).close()
    (tmp_path / "run" / "checkpoints").mkdir()
    with pytest.raises(RunError, match="begun with other settings"):
        Run.create(tmp_path / "run", stage="train dpo", settings={"rate": 1.0}, seed=0)


def test_a_second_writer_is_refused_by_name_and_readers_are_not(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.add(DIALOGUE, "x")
        run.flush()
        with pytest.raises(RunError, match=f"being written by process {os.getpid()} on "):
            create(tmp_path / "run")
        with Run.open(tmp_path / "run") as reader:
            assert len(list(reader.records())) == 1
            with pytest.raises(RunError, match="read only"):
                reader.add(DIALOGUE, "y")


def test_a_killed_writer_leaves_whole_dialogues_and_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal; from runs.test_run import *\n"
        "run = create(Path(sys.argv[1]))\n"
        "for dialogue in many(300): run.add(dialogue, 'x', SCORES)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    source = Path(diotima.__file__).parents[1]
    paths = os.pathsep.join(map(str, (source, Path(__file__).parents[1])))
    folder = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", code, folder], env={"PYTHONPATH": paths}, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "writer.lock").read_text()
    with create(folder) as run:
        kept = list(run.records())
        assert 256 <= len(kept) < 300
        assert all(r.dialogue.turns == TURNS and r.scores == SCORES for r in kept)


def test_a_full_disk_is_one_sentence_and_keeps_what_was_committed(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.add(DIALOGUE, "x")
    run.flush()
    disk = run._writer._db  # type: ignore[union-attr]
    disk.pragma("max_page_count", disk.pragma("page_count") + 1)
    run.add(replace(DIALOGUE, seed=1, turns=(Turn("tutor", "long " * 50_000),)), "x")
    with pytest.raises(RunError, match="the disk is full"):
        run.flush()
    assert not run.has("x", "p1", 1)
    run.close()
    with Run.open(tmp_path / "run") as reader:
        assert [record.dialogue for record in reader.records()] == [DIALOGUE]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Not a directory"):
        create(tmp_path / "file" / "run")


def test_newer_foreign_damaged_and_absent_runs_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    create(folder).close()
    path = folder / store.FILE
    for pragma, value, expected in (("user_version", 99, "newer diotima"), ("application_id", 5, "another program")):
        database = apsw.Connection(str(path))
        before = database.pragma(pragma)
        database.pragma(pragma, value)
        database.close()
        with pytest.raises(RunError, match=expected):
            create(folder)
        with pytest.raises(RunError, match=expected):
            Run.open(folder)
        database = apsw.Connection(str(path))
        database.pragma(pragma, before)
        database.close()
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(RunError, match="damaged"):
        Run.open(folder)
    with pytest.raises(RunError, match="is not a run"):
        Run.open(tmp_path)


def test_the_manifest_is_whole_json(tmp_path: Path) -> None:
    create(tmp_path / "run").close()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert set(manifest) == {
        "stage", "settings", "seed", "fingerprint", "versions", "commit", "started", "finished",
    }  # fmt: skip
    assert not list((tmp_path / "run").glob("*.new"))
