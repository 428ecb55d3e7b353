"""What judges said comes back as it was said, is shown, exported, checked and removed with its run."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs.kept import ATTACK, lessons, tamper

from diotima.cli import main
from diotima.runs import run as runs
from diotima.runs import store
from diotima.runs.check import check_run
from diotima.runs.judgements import keep_rubric, kept_rubric
from diotima.runs.run import Run
from diotima.score import WHOLE, Judgement

Captured = pytest.CaptureFixture[str]
SAID = Judgement(
    "euler", "a1b2c3d4e5f6", "openai/gpt-4o", 1, 0, "valid", {"questions": "yes", "on_topic": 5}, "½ \x00", 1
)
JUDGEMENTS = (
    SAID,
    replace(SAID, sample=1, state="invalid", labels={}, reason=f"no JSON in it {ATTACK}", asks=3),
    replace(SAID, rubric="leak", position=WHOLE, labels={"decision": "OK"}, reason=""),
    replace(SAID, rubric="overall", position=WHOLE, against="guide", order="first", labels={"better": "A"}),
    replace(SAID, rubric="overall", position=WHOLE, against="guide", order="second", labels={"better": "B"}),
)


def judged_run(folder: Path, count: int = 3, judgements: tuple[Judgement, ...] = JUDGEMENTS) -> Path:
    with Run.create(folder, stage="score", settings={"rubric": "euler"}, seed=7) as run:
        for one in judgements:
            keep_rubric(folder, one.rubric, one.rubric_fingerprint, f"---\njudges: turn\n---\n{one.rubric}\n")
        for label in ("ours", "guide"):
            for dialogue in lessons(count):
                run.add(dialogue, label, judgements=judgements)
        run.finish()
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judged_run(tmp_path_factory.mktemp("judged") / "run")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return judged_run(tmp_path / "run")


def test_judgements_come_back_as_they_were(sound: Path) -> None:
    with Run.open(sound) as run:
        for record in run.records():
            assert record.judgements == JUDGEMENTS
        told = list(run.judgements("ours"))
        assert told == [(f"p{number}", 100 + number, one) for number in range(3) for one in JUDGEMENTS]
        assert list(run.judgements("ours", "leak")) == [row for row in told if row[2].rubric == "leak"]
        assert list(run.judgements("nobody")) == []
        assert run.rubrics() == [(name, SAID.rubric_fingerprint) for name in ("euler", "leak", "overall")]


def test_they_are_read_page_by_page(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run.open(sound) as run:
        whole = list(run.judgements("guide"))
        monkeypatch.setattr(runs, "PAGE", 1)
        assert list(run.judgements("guide")) == whole


@given(
    st.lists(
        st.builds(
            lambda position, sample, labels: replace(
                SAID, position=position, sample=sample, labels=labels, state="valid" if labels else "refused"
            ),
            st.integers(-1, 40),
            st.integers(0, 3),
            st.dictionaries(st.text(), st.text() | st.integers(-(2**70), 2**70), max_size=4),
        ),
        unique_by=lambda one: (one.position, one.sample),
        max_size=6,
    )
)
def test_whatever_is_said_survives(judgements: list[Judgement]) -> None:
    db = apsw.Connection(":memory:")
    for step in store._STEPS:
        db.execute(step)
    from diotima.runs.judgements import COLUMNS, ORDER, insert_judgements, judgement_from_row

    insert_judgements(db, 1, judgements)
    rows = db.execute(f"SELECT {', '.join(COLUMNS)} FROM judgements ORDER BY {ORDER}")
    assert list(map(judgement_from_row, rows)) == sorted(judgements, key=lambda one: (one.position, one.sample))


def test_the_same_judgement_twice_is_refused(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", stage="score", settings={}, seed=0) as run:
        run.add(next(lessons(1)), "ours", judgements=[SAID, SAID])
        with pytest.raises(apsw.ConstraintError):
            run.flush()


def test_a_verdict_is_missing_or_valid_and_never_both() -> None:
    with pytest.raises(ValueError, match="a refused judgement cannot have the labels"):
        replace(SAID, state="refused")
    with pytest.raises(ValueError, match="a valid judgement cannot have the labels"):
        replace(SAID, labels={})


def test_a_run_of_the_second_schema_is_read_and_brought_up_to_date(folder: Path) -> None:
    tamper(folder, "DROP TABLE judgements; PRAGMA user_version = 2")
    with Run.open(folder) as run:
        assert [record.judgements for record in run.records("ours")] == [(), (), ()]
        assert (list(run.judgements("ours")), run.rubrics()) == ([], [])
    assert "judgements" not in [one.what for one in check_run(folder)]
    with Run.create(folder, stage="score", settings={"rubric": "euler"}, seed=7) as run:
        (*_, last) = lessons(4)
        run.add(last, "ours", judgements=[SAID])
        assert [one for _, _, one in run.judgements("ours")] == [SAID]
    db = apsw.Connection(str(folder / store.FILE))
    assert db.pragma("user_version") == store.SCHEMA_VERSION == 3
    db.close()


def test_a_rubric_is_kept_as_it_was_first_used(tmp_path: Path) -> None:
    keep_rubric(tmp_path, "my rubrics/../évil", "f00", "first")
    keep_rubric(tmp_path, "my rubrics/../évil", "f00", "second")
    path = kept_rubric(tmp_path, "my rubrics/../évil", "f00")
    assert path is not None
    assert path.parent == tmp_path / "rubrics"
    assert path.read_text() == "first"
    assert kept_rubric(tmp_path, "my rubrics/../évil", "f01") is None


def shown(capsys: Captured, *words: str) -> str:
    assert main(["runs", "show", *words]) == 0
    return capsys.readouterr().out


def test_a_lesson_is_shown_with_what_was_said_of_it(
    sound: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = " ".join(shown(capsys, str(sound), "--lesson", "1").split())
    for part in (
        "euler openai/gpt-4o 2 questions yes, on_topic 5",
        "euler openai/gpt-4o 2, sample 2 invalid (asked 3 times) no JSON in it",
        "leak openai/gpt-4o all decision OK",
        "overall openai/gpt-4o all, second against guide better B",
    ):
        assert part in text
    assert "\x1b[31m" not in text
    told = json.loads(shown(capsys, str(sound), "--lesson", "1", "--json"))["summary"]["judgements"]
    assert [one["labels"] for one in told] == [dict(one.labels) for one in JUDGEMENTS]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE judgements SET position = 7 WHERE position = 1 AND sample = 0", "judgement of turn 8"),
        ("UPDATE judgements SET rubric_fingerprint = 'x' WHERE rubric = 'leak'", "text of the rubric leak \\(x\\)"),
    ],
)
def test_what_is_wrong_with_judgements_is_told(folder: Path, statement: str, told: str) -> None:
    assert not [one for one in check_run(folder) if one.wrong]
    tamper(folder, statement)
    (wrong,) = [one for one in check_run(folder) if one.wrong]
    assert wrong.what == "judgements"
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(wrong.wrong[0])


def rows(path: Path) -> Iterator[dict[str, object]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def test_judgements_are_exported(sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["runs", "export", str(sound), "--out", str(out), "--formats", "jsonl"]) == 0
    told = list(rows(out / "judgements.jsonl"))
    assert [row["lesson"] for row in told] == [number for number in range(1, 7) for _ in JUDGEMENTS]
    assert json.loads(str(told[0]["labels"])) == SAID.labels
    assert [(row["position"], row["order"], row["state"]) for row in told[:5]] == [
        (one.position, one.order, one.state) for one in JUDGEMENTS
    ]
    assert "6 lessons and 30 judgements" in (out / "README.md").read_text()
    datasets = pytest.importorskip("datasets", reason="what is exported is read back with datasets")
    read = datasets.load_dataset(str(out), "judgements", cache_dir=str(tmp_path / "cache"), split="train")
    assert read.to_list() == told


def test_a_run_goes_with_its_rubrics_and_without_what_is_somebody_elses(folder: Path) -> None:
    (folder / "rubrics" / "notes.txt").write_text("mine")
    assert main(["runs", "rm", str(folder), "--yes"]) == 0
    assert [path.name for path in folder.rglob("*")] == ["rubrics", "notes.txt"]
    assert main(["runs", "rm", str(judged_run(folder.with_name("other"))), "--yes"]) == 0
    assert not folder.with_name("other").exists()
