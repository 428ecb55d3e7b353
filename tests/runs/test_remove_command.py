"""`diotima runs rm`: a run goes, everything else stays."""

import io
from pathlib import Path

import pytest
from runs.kept import make_run

from diotima.cli import main
from diotima.runs.manifest import FILE
from diotima.runs.run import Run

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_run(tmp_path / "run", 1)
    return tmp_path / "run"


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    terminal = io.StringIO(text)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)


def test_a_run_is_removed_with_its_folder(folder: Path) -> None:
    assert main(["runs", "rm", str(folder), "--yes"]) == 0
    assert not folder.exists()
    assert folder.parent.exists()


def test_other_files_stay_and_are_named(folder: Path, capsys: Captured) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "checkpoints").mkdir()
    assert main(["runs", "rm", str(folder), "--yes"]) == 0
    assert "holds other files, which stay: checkpoints, notes.txt" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "notes.txt"]


def test_the_books_of_other_processes_go_with_it(folder: Path, capsys: Captured) -> None:
    make_run(folder / "process-1", 1)
    (folder / "process-2").mkdir()
    assert main(["runs", "rm", str(folder), "--yes"]) == 0
    assert "holds other files, which stay: process-2" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["process-2"]


def test_it_asks_for_the_name(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    answer(monkeypatch, "yes\n")
    assert main(["runs", "rm", str(folder)]) == 2
    assert "that is not its name, run; nothing was removed" in capsys.readouterr().err
    assert (folder / "run.db").exists()
    answer(monkeypatch, "run\n")
    assert main(["runs", "rm", str(folder)]) == 0
    assert not folder.exists()


def test_without_a_terminal_it_needs_yes(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("run\n"))
    assert main(["runs", "rm", str(folder)]) == 2
    assert "say so with --yes" in capsys.readouterr().err
    assert (folder / "run.db").exists()


def test_a_run_that_is_being_written_stays(tmp_path: Path, capsys: Captured) -> None:
    with Run.create(tmp_path / "run", stage="teach", settings={}, seed=0):
        assert main(["runs", "rm", str(tmp_path / "run"), "--yes"]) == 2
        assert "is being written by process" in capsys.readouterr().err
        assert (tmp_path / "run" / "run.db").exists()


def test_a_folder_that_is_no_run_stays(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / FILE).write_text('{"name": "of another program"}')
    (tmp_path / "run.db").write_text("mine")
    assert main(["runs", "rm", str(tmp_path), "--yes"]) == 2
    assert "is not a run of diotima" in capsys.readouterr().err
    (tmp_path / FILE).unlink()
    assert main(["runs", "rm", str(tmp_path), "--yes"]) == 2
    assert "is not a run; name a run's folder" in capsys.readouterr().err.replace(": name", "; name")
    assert (tmp_path / "run.db").exists()


def test_a_removal_that_was_stopped_goes_on(folder: Path) -> None:
    (folder / "run.db").unlink()
    assert main(["runs", "rm", str(folder), "--yes"]) == 0
    assert not folder.exists()
