"""`diotima runs export`: what ``datasets`` reads back is what the run holds; a killed export does not look whole."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from runs.kept import ATTACK, MODEL, make_run

import diotima
from diotima.cli import main
from diotima.runs import export, lessons
from diotima.runs.card import TERMS, licence
from diotima.runs.run import Run

pytest.importorskip("pyarrow", reason="exports need pip install 'diotima[data]'")
pytest.importorskip("datasets", reason="what is exported is read back with datasets")

ROOT = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "run"
    make_run(folder)
    return folder


def load(cache: Path, *words: str, **options: Any) -> list[dict[str, Any]]:
    import datasets

    datasets.disable_progress_bars()
    rows: list[dict[str, Any]] = datasets.load_dataset(*words, cache_dir=str(cache), split="train", **options).to_list()
    return rows


def test_datasets_reads_back_what_the_run_holds(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["runs", "export", str(run_folder), "--out", str(out), "--answers"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "calls.jsonl", "calls.parquet", "dialogues.jsonl", "dialogues.parquet",
    ]  # fmt: skip
    for name, count in (("dialogues", 6), ("calls", 17)):
        by_card = load(tmp_path / "cache", str(out), name)
        parquet = load(tmp_path / "cache", "parquet", data_files=str(out / f"{name}.parquet"))
        jsonl = load(tmp_path / "cache", "json", data_files=str(out / f"{name}.jsonl"))
        assert len(by_card) == count
        assert by_card == parquet == jsonl
    first, second = load(tmp_path / "cache", str(out))[:2]
    assert (first["label"], first["problem_id"], first["seed"], first["stop"]) == ("ours", "p0", 100, "student ended")
    assert (first["question"], first["answer"], first["source"]) == (f"How many? {ATTACK}", "7", "gsm8k")
    assert first["messages"] == [
        {"role": "user", "content": f"My answer is 0. {ATTACK}"},
        {"role": "assistant", "content": "Look again."},
        {"role": "user", "content": "7"},
    ]
    assert first["thoughts"] == ["", f"He is wrong. {ATTACK}", ""]
    judge = json.loads(first["scores"])["judge"]
    assert judge == {"value": None, "state": "refused", "reason": f"no verdict {ATTACK}"}
    assert (first["sibling_question"], second["sibling_question"], second["sibling_answer"]) == ("", "And now?", "8")
    call = load(tmp_path / "cache", str(out), "calls")[1]
    assert (call["model"], call["state"], call["status"], call["cost"]) == (MODEL, "answered", 200, 1000)
    assert (call["prompt_tokens"], call["reasoning_tokens"], call["answer"]) == (10, None, '{"said": "½"}')


def test_answers_are_exported_only_if_asked_for(run_folder: Path, tmp_path: Path) -> None:
    assert main(["runs", "export", str(run_folder), "--out", str(tmp_path / "out"), "--formats", "jsonl"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "calls.jsonl", "dialogues.jsonl"]
    row = json.loads((tmp_path / "out" / "calls.jsonl").read_text().splitlines()[0])
    assert list(row) == list(export.CALL_COLUMNS)
    assert len(load(tmp_path / "cache", str(tmp_path / "out"), "calls")) == 17


def test_columns_keep_their_type_when_the_first_thousands_are_empty(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_run(tmp_path / "run", 1)
    assert main(["runs", "export", str(tmp_path / "run"), "--out", str(out), "--formats", "jsonl"]) == 0
    row = json.loads((out / "calls.jsonl").read_text().splitlines()[0])
    with (out / "calls.jsonl").open("w") as file:  # more than the first block, from which types would be guessed
        for number in range(30_000):
            file.write(
                json.dumps(row | {"reasoning_tokens": None if number < 29_000 else 7, "reason": "x" * 300}) + "\n"
            )
    rows = load(tmp_path / "cache", str(out), "calls")
    assert (rows[0]["reasoning_tokens"], rows[-1]["reasoning_tokens"]) == (None, 7)


def test_the_card(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0451")
    assert main(["runs", "export", str(run_folder), "--out", str(tmp_path / "out"), "--answers"]) == 0
    text = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert (front["license"], front["language"], front["size_categories"]) == ("mit", ["en"], ["n<1K"])
    assert [config["data_files"] for config in front["configs"]] == ["dialogues.parquet", "calls.parquet"]
    for part in (
        "It holds 6 lessons and 17 calls to endpoints; by tutor: ours 3, guide 3.",
        "| GSM8K | 6 | MIT | train: yes; test: keep it for tests |",
        f"- tutors: ours ({MODEL}@http://gpu1:8000/v1), guide (scripted/guide)",
        "- student: ollama/student",
        "14 calls to ollama/student: 130 tokens in, 65 out",
        '"attempts": 1',
        "| judge | 0 | 0 | 6 | 0 |",
    ):
        assert part in text
    for path in (tmp_path / "out").iterdir():
        assert not any(secret in path.read_bytes() for secret in (b"canary-0451", b"secret-password"))


def test_licences_are_those_of_the_page_about_data() -> None:
    page = (ROOT / "DATA.md").read_text()
    for terms in TERMS.values():
        lines = [line for line in page.splitlines() if line.startswith("|") and terms.name in line]
        assert any(terms.told in line for line in lines), terms.name
    assert (licence(["gsm8k", "math"]), licence(["gsm8k", "sandbox"])) == ("mit", "other")
    assert (licence(["gsm8k", "mine"]), licence([])) == ("unknown", "unknown")


def test_a_run_that_is_being_written_is_exported_as_it_is_now(tmp_path: Path, capsys: Captured) -> None:
    make_run(tmp_path / "run", 2, finish=False)
    settings = Run.open(tmp_path / "run").manifest["settings"]
    with Run.create(tmp_path / "run", stage="evaluate", settings=settings, seed=7):
        assert main(["runs", "export", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["snapshot"] is True
    assert "this is a snapshot" in (tmp_path / "out" / "README.md").read_text()
    assert main(["runs", "export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    assert "The run was not finished" in (tmp_path / "out" / "README.md").read_text()


def test_pages_make_one_table(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "PAGE", 4)
    monkeypatch.setattr(export, "PAGE", 4)
    assert main(["runs", "export", str(run_folder), "--out", str(tmp_path / "out")]) == 0
    for name, count in (("dialogues", 6), ("calls", 17)):
        rows = load(tmp_path / "cache", "parquet", data_files=str(tmp_path / "out" / f"{name}.parquet"))
        assert [row["lesson" if name == "dialogues" else "call"] for row in rows] == list(range(1, count + 1))


def test_an_earlier_export_is_replaced_and_nothing_else(run_folder: Path, tmp_path: Path, capsys: Captured) -> None:
    out, words = tmp_path / "out", ["runs", "export", str(run_folder), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert main([*words, "--formats", "jsonl"]) == 0
    assert not list(out.glob("*.parquet"))
    (out / "notes.txt").write_text("mine")
    assert main(words) == 2
    assert "holds other files (notes.txt)" in capsys.readouterr().err
    (out / "notes.txt").unlink()
    (out / "README.md").write_text("mine")
    assert main(words) == 2
    assert "holds other files (README.md)" in capsys.readouterr().err
    assert (out / "README.md").read_text() == "mine"
    assert main(["runs", "export", str(run_folder), "--out", str(run_folder)]) == 2


_KILLED = """
import sys, time
from diotima.cli import main
from diotima.runs import export
write = export._JsonLines.write
def slow(self, rows):
    write(self, rows)
    self._file.flush()
    print("written", flush=True)
    time.sleep(60)
export._JsonLines.write = slow
main(sys.argv[1:])
"""


def test_a_killed_export_leaves_nothing_that_looks_whole(run_folder: Path, tmp_path: Path) -> None:
    words = ["runs", "export", str(run_folder), "--out", str(tmp_path / "out")]
    source = {**os.environ, "PYTHONPATH": str(Path(diotima.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", _KILLED, *words], stdout=subprocess.PIPE, env=source) as process:
        assert process.stdout
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["dialogues.jsonl.part", "dialogues.parquet.part"]
    assert main(words) == 0
    assert not list((tmp_path / "out").glob("*.part"))
    assert len(load(tmp_path / "cache", str(tmp_path / "out"))) == 6


def test_a_failed_export_leaves_no_file(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, rows: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr(export._JsonLines, "write", full)
    assert main(["runs", "export", str(run_folder), "--out", str(tmp_path / "out")]) == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_without_pyarrow_the_remedy_is_told(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    words = ["runs", "export", str(run_folder), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "pip install 'diotima[data]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--formats", "jsonl"]) == 0
