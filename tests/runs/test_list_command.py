"""`diotima runs list`: every run below a folder, newest first, whatever state it is in."""

import json
from pathlib import Path

import pytest
from runs.kept import make_run

from diotima.cli import main
from diotima.runs.list_command import list_runs
from diotima.runs.manifest import FILE, read_json, write_json
from diotima.runs.run import Run

Captured = pytest.CaptureFixture[str]


def change(folder: Path, **values: object) -> None:
    write_json(folder / FILE, {**read_json(folder / FILE), **values})


def test_every_run_is_listed_the_newest_first(tmp_path: Path) -> None:
    make_run(tmp_path / "old")
    make_run(tmp_path / "demo" / "after", 1, finish=False)
    change(tmp_path / "old", started="2026-01-01T00:00:00+00:00")
    change(tmp_path / "demo" / "after", started="2026-01-02T00:00:00+00:00", expected={"ours": 4, "guide": 4})
    (tmp_path / "no run").mkdir()
    newest, oldest = list_runs(tmp_path)
    assert (newest.folder, newest.state, newest.tutors) == (
        str(tmp_path / "demo" / "after"),
        "stopped",
        ("ours", "guide"),
    )
    assert (newest.lessons, newest.expected) == (2, 8)
    assert (oldest.state, oldest.stage, oldest.lessons, oldest.expected) == ("finished", "evaluate", 6, None)
    assert (oldest.calls, oldest.cost) == (17, 0.016)
    assert list_runs(tmp_path, depth=1) == [oldest]


def test_a_run_that_is_being_written_names_its_writer(tmp_path: Path) -> None:
    with Run.create(tmp_path / "a", stage="teach", settings={}, seed=0):
        (one,) = list_runs(tmp_path)
        assert one.state.startswith("being written by process ")
    assert list_runs(tmp_path)[0].state == "stopped"


def test_a_damaged_run_is_listed_with_its_reason(tmp_path: Path) -> None:
    make_run(tmp_path / "good", 1)
    make_run(tmp_path / "bad", 1)
    (tmp_path / "bad" / "run.db").write_bytes(b"not a database" * 100)
    good, bad = list_runs(tmp_path)
    assert good.state == "finished"
    assert "is damaged or not a run's database" in bad.state


def test_the_command(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "a", 2)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["runs", "list", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "evaluate 4 12 $0.01 finished ours, guide" in shown
    assert main(["runs", "list", str(tmp_path), "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["summary"]["runs"]
    assert (one["lessons"], one["calls"]) == (4, 12)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: Captured) -> None:
    assert main(["runs", "list", str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err
