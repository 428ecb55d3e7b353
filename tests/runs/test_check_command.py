"""`diotima runs check`: what is in order passes, and every way of not being in order is told."""

from pathlib import Path

import pytest
from runs.kept import MODEL, lessons, make_run, tamper

from diotima.cli import main
from diotima.runs import check
from diotima.runs.check import check_run
from diotima.runs.ledger import Totals
from diotima.runs.run import Run

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "run"
    make_run(folder)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    for name in ("run.db", "manifest.json"):
        (tmp_path / "run" / name).write_bytes((sound / name).read_bytes())
    return tmp_path / "run"


def wrong(folder: Path) -> dict[str, tuple[str, ...]]:
    return {one.what: one.wrong for one in check_run(folder) if one.wrong}


def test_a_run_in_order_passes(sound: Path, capsys: Captured) -> None:
    assert wrong(sound) == {}
    assert [one.what for one in check_run(sound)] == [
        "file", "references", "judgements", "messages", "attempts", "answers", "costs", "calls of lessons",
        "without an answer",
    ]  # fmt: skip
    assert main(["runs", "check", str(sound)]) == 0
    assert "calls of lessons ok" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("statement", "what", "told"),
    [
        ("UPDATE messages SET body = 'Be rude.' WHERE id = 1", "messages", "message 1 is not what its hash says"),
        ("UPDATE messages SET before = NULL WHERE id = 2", "messages", "message 2 is not what its hash says"),
        ("UPDATE calls SET attempt = 3 WHERE attempt = 2", "attempts", "2 attempts, numbered 1 to 3: a row is missing"),
        ("UPDATE calls SET attempt = 2 WHERE id = 1", "attempts", "1 attempts, numbered 2 to 2"),
        (
            "UPDATE calls SET state = 'answered', answer = x'78' WHERE state = 'failed'",
            "answers",
            "was answered 2 times",
        ),
        ("UPDATE calls SET answer = NULL WHERE id = 1", "answers", "row 1 is answered and has no answer and a cost"),
        ("UPDATE calls SET cost = NULL WHERE id = 1", "answers", "row 1 is answered and has an answer and no cost"),
        (
            "UPDATE calls SET state = 'unknown' WHERE state = 'failed'",
            "answers",
            "unknown and has no answer and a cost",
        ),
        ("UPDATE calls SET state = 'lost' WHERE state = 'failed'", "answers", "is lost and has"),
        ("UPDATE calls SET cost = -5 WHERE id = 3", "answers", "row 3 costs -5"),
        ("DELETE FROM problems WHERE id = 1", "references", "refers to something in problems that is not there"),
    ],
)
def test_what_is_not_in_order_is_told(folder: Path, statement: str, what: str, told: str) -> None:
    tamper(folder, statement)
    assert told in " ".join(wrong(folder).get(what, ()))


def test_a_turn_without_its_answered_call_is_told(folder: Path) -> None:
    tamper(folder, f"UPDATE calls SET state = 'failed' WHERE model = '{MODEL}' AND id = 2")
    (sentence,) = wrong(folder)["calls of lessons"]
    assert sentence == "lesson 1, turn 2 (tutor) has no answered call in the books"


def test_only_turns_of_models_behind_endpoints_need_calls(tmp_path: Path) -> None:
    for stage, tutor, missing in (("teach", "vllm/m", 2), ("teach", "tiny", 0), ("score", "vllm/m", 0)):
        folder = tmp_path / f"{stage} {missing}"
        with Run.create(folder, stage=stage, settings={"tutor": tutor, "student": "learner"}, seed=0) as run:
            for dialogue in lessons(2):
                run.add(dialogue, f"{tutor} T=1")
        assert len(wrong(folder).get("calls of lessons", ())) == missing


def test_endpoints_of_own_names_need_calls_too(folder: Path) -> None:
    manifest = (folder / "manifest.json").read_text().replace("vllm/tutor", "lab/tutor")
    (folder / "manifest.json").write_text(
        manifest.replace("lab/tutor@http://me:secret-password@gpu1:8000/v1", "lab/tutor")
    )
    tamper(folder, "UPDATE calls SET model = 'lab/tutor' WHERE model = 'vllm/tutor'")
    assert wrong(folder) == {}
    tamper(folder, "UPDATE calls SET state = 'failed' WHERE model = 'lab/tutor' AND id = 2")
    assert wrong(folder)["calls of lessons"] == ("lesson 1, turn 2 (tutor) has no answered call in the books",)


def test_lessons_are_checked_over_many_pages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_PAGE", 2)
    assert wrong(folder) == {}
    tamper(folder, "UPDATE calls SET sample = NULL")
    assert len(wrong(folder)["calls of lessons"]) == 15


def test_long_lists_are_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MOST", 3)
    tamper(folder, "UPDATE calls SET answer = NULL")
    assert wrong(folder)["answers"][3:] == ("and more of the kind",)


def test_totals_that_do_not_add_up_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check.Ledger, "totals", lambda self: Totals(cost=5))
    assert "the totals say 5" in wrong(folder)["costs"][0]


def test_calls_without_an_answer_are_in_order_and_told(folder: Path, capsys: Captured) -> None:
    tamper(folder, "UPDATE calls SET state = 'sent', cost = NULL, answer = NULL, ended = NULL WHERE state = 'failed'")
    assert wrong(folder) == {}
    assert main(["runs", "check", str(folder)]) == 0
    assert "1 of unknown outcome: they may have been billed, at most $" in " ".join(capsys.readouterr().out.split())


def test_a_damaged_file_is_told(folder: Path, capsys: Captured) -> None:
    body = bytearray((folder / "run.db").read_bytes())
    body[4096 * 2 : 4096 * 6] = b"\x07" * 4096 * 4
    (folder / "run.db").write_bytes(body)
    assert "file" in wrong(folder)
    assert main(["runs", "check", str(folder)]) == 2
    assert f"not in order: {folder}; what is wrong stands above" in capsys.readouterr().err


def test_several_runs_and_none(sound: Path, folder: Path, tmp_path: Path, capsys: Captured) -> None:
    tamper(folder, "UPDATE calls SET attempt = 2 WHERE id = 1")
    assert main(["runs", "check", str(sound), str(folder)]) == 2
    captured = capsys.readouterr()
    assert f"not in order: {folder};" in captured.err
    assert str(sound) in captured.out
    assert main(["runs", "check", str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err
