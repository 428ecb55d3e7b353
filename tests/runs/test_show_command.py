"""`diotima runs show`: a run at a glance and while it grows, and one lesson as it was."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from runs.kept import MODEL, lessons, make_run, tamper

from diotima.cli import main
from diotima.runs.manifest import FILE, read_json, write_json
from diotima.runs.run import Run
from diotima.runs.show_command import follow, look, page

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    make_run(tmp_path / "run", finish=False)
    return tmp_path / "run"


def shown(capsys: Captured, *words: str) -> str:
    assert main(["runs", "show", *words]) == 0
    return capsys.readouterr().out


def rendered(folder: Path) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(page(look(folder)))
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


def test_a_run_at_a_glance(folder: Path, capsys: Captured) -> None:
    tamper(folder, "UPDATE calls SET state = 'unknown', cost = NULL, answer = NULL, reserved_cost = 25000 WHERE id = 2")
    text = " ".join(shown(capsys, str(folder), "--settings").split())
    for part in (
        f"{folder}: evaluate, stopped",
        f"tutor ours ({MODEL}@http://gpu1:8000/v1), guide (scripted/guide)",
        "student ollama/student problems set.jsonl seed 7 settings attempts 1",
        "ours 3 guide 3 all 6",
        "Answered Failed Unknown Read Written Cost",
        "ollama/student 13 1 0",
        f"{MODEL} 2 0 1",
        "1 call may have been billed without an answer, for $0.03 at most",
        "6 guide p2 3 student ended 5 guide p1",
    ):
        assert part in text
    assert "secret-password" not in text + shown(capsys, str(folder), "--json")


def test_what_a_killed_process_had_sent_is_told_as_unknown(folder: Path, capsys: Captured) -> None:
    tamper(folder, "UPDATE calls SET state = 'sent', cost = NULL, answer = NULL, ended = NULL WHERE state = 'failed'")
    assert main(["runs", "show", str(folder)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "on their way" not in out.lower()
    assert "1 call may have been billed without an answer" in out


def test_progress_and_time_left_where_the_number_of_lessons_is_known(folder: Path) -> None:
    write_json(folder / FILE, {**read_json(folder / FILE), "expected": {"ours": 6, "guide": 3}})
    assert "ours 3 of 6 50% guide 3 of 3 100% all 6 of 9 67%" in rendered(folder)
    view = look(folder, now=lambda: 2e9)
    assert (view.pace, view.seconds_left) == (0.0, None)
    tamper(folder, "UPDATE calls SET sent = 1999999880 + id, ended = 1999999890 + id")  # 17 calls in 119 seconds
    view = look(folder, now=lambda: 2e9)
    assert view.pace == pytest.approx(60 * 17 / 119)
    assert view.seconds_left == pytest.approx(60 * 3 * (16 / 6) / view.pace)


def test_a_live_run_is_shown_with_its_writer(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", stage="teach", settings={"tutor": "tiny"}, seed=0) as run:
        assert "0" in rendered(tmp_path / "run")
        for dialogue in lessons(3):
            run.add(dialogue, "tiny")
        run.flush()
        text = rendered(tmp_path / "run")
        assert "teach, being written by process" in text
        assert "tiny 3" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_follow_ends_when_the_run_is_finished(tmp_path: Path, terminal: bool) -> None:
    out, waited = io.StringIO(), []
    with Run.create(tmp_path / "run", stage="teach", settings={"tutor": "tiny"}, seed=0) as run:
        remaining = lessons(2)

        def wait(seconds: float) -> None:
            waited.append(seconds)
            dialogue = next(remaining, None)
            if dialogue is None:
                run.finish()
                run.close()
            else:
                run.add(dialogue, "tiny")
                run.flush()

        follow(tmp_path / "run", Console(file=out, force_terminal=terminal, width=150), wait)
    assert waited == [2.0] * 3 if terminal else [10.0] * 3
    if terminal:
        assert "teach, finished" in out.getvalue()
    else:
        lines = [line.split("  ")[1:] for line in out.getvalue().splitlines()]
        assert [line[0] for line in lines] == ["0 lessons", "1 lessons", "2 lessons", "2 lessons"]
        assert lines[-1][-1] == "finished"


def test_follow_may_be_interrupted(folder: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    follow(folder, Console(file=io.StringIO()), interrupt)


def test_a_lesson_as_it_was(folder: Path, capsys: Captured) -> None:
    text = shown(capsys, str(folder), "--lesson", "2")
    assert "1 student\nMy answer is 1." in text
    assert "2 tutor, cut off\n(private) He is wrong." in text
    assert "3 student, ends the lesson\n7\n" in text
    assert "The lesson ended: student ended." in text
    assert "refused   no verdict" in text
    assert "Sibling: And now? Answer: 8" in text


def test_nothing_in_a_lesson_reaches_the_terminal_as_a_command(folder: Path, capsys: Captured) -> None:
    for words in (["--lesson", "1", "--calls"], []):
        text = shown(capsys, str(folder), *words)
        assert not set(text) & set("\x1b\r\u202e")
    assert "[bold]not bold[/bold]" in shown(capsys, str(folder), "--lesson", "1")


def test_a_lesson_by_its_problem(folder: Path, capsys: Captured) -> None:
    assert f"Lesson 3 of {folder}: ours on p2" in (text := shown(capsys, str(folder), "--problem", "p2"))
    assert "Other lessons about this problem: 6" in text
    text = shown(capsys, str(folder), "--problem", "p2", "--label", "guide")
    assert f"Lesson 6 of {folder}: guide on p2" in text
    assert "Other" not in text


def test_the_calls_of_a_lesson(folder: Path, capsys: Captured) -> None:
    summary = json.loads(shown(capsys, str(folder), "--lesson", "1", "--calls", "--json"))["summary"]
    # Lessons of both labels draw alike, so the student's calls of both are named.
    told = [(call["of"], call["model"], call["attempt"], call["state"], call["status"]) for call in summary["calls"]]
    student = ("ollama/student", 1, "answered", 200)
    assert told == [
        ("turn 1, student", *student),
        ("turn 1, student", *student),
        ("turn 2, tutor", MODEL, 1, "answered", 200),
        ("turn 3, student", *student),
        ("turn 3, student", *student),
        ("exam, attempt 1", "ollama/student", 1, "failed", 500),
        ("exam, attempt 1", "ollama/student", 2, "answered", 200),
    ]
    assert summary["turns"][1]["thought"].startswith("He is wrong.")
    assert summary["scores"]["judge"]["state"] == "refused"
    text = " ".join(shown(capsys, str(folder), "--lesson", "1", "--calls").split())
    assert f"turn 2, tutor {MODEL} 1 answered 200 10 5 $0.001000" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--lesson", "7"], "has lessons 1 to 6"),
        (["--problem", "p9"], "has no lesson about it"),
        (["--problem", "p1", "--label", "our"], "did you mean ours?"),
        (["--label", "ours"], "name it with --lesson NUMBER or --problem ID"),
        (["--lesson", "1", "--problem", "p1"], "leave problem and label out"),
        (["--lesson", "1", "--follow"], "follow goes with a run"),
    ],
)
def test_mistakes_are_told(folder: Path, words: list[str], expected: str, capsys: Captured) -> None:
    assert main(["runs", "show", str(folder), *words]) == 2
    assert expected in capsys.readouterr().err


def test_a_folder_of_runs_is_told_from_a_run(folder: Path, capsys: Captured) -> None:
    assert main(["runs", "show", str(folder.parent)]) == 2
    assert f"is not a run; in it are the runs {folder}" in capsys.readouterr().err


def test_a_run_of_before_the_ledger_is_shown(folder: Path, capsys: Captured) -> None:
    tamper(folder, "DROP TABLE judgements; DROP TABLE calls; DROP TABLE messages; PRAGMA user_version = 1")
    assert "Calls to" not in shown(capsys, str(folder))
    assert "needed no calls" in shown(capsys, str(folder), "--lesson", "1", "--calls")
