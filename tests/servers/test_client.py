"""Our own client against a real server with the tiny tutor: whole commands, and the same weights in this process.

Like `test_llama.py` run by `make test-servers`, and asked of vLLM where DIOTIMA_TEST_SERVER names it.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.llama import OTHER_SERVER, real_server

from diotima.cli import main
from diotima.problems.files import write_problems
from diotima.runs.run import Run
from diotima.sandbox.world import World

pytestmark = pytest.mark.servers
BACKEND = "vllm" if OTHER_SERVER in os.environ else "llamacpp"
HOLD = [
    "--tutor-prompt", "tutor/tiny", "--tutor-sees", "solution", "--tutor-max-tokens", "80",
    "--student", "learner", "--attempts", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tiny tutor's name at the server."""
    with real_server(tmp_path_factory.mktemp("server") / "server.log") as url:
        yield f"{BACKEND}/tiny@{url}"


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    write_problems(World().problems(60, 0, "test"), path)
    return str(path)


def texts(folder: Path) -> dict[str, list[str]]:
    with Run.open(folder) as run:
        return {
            f"{one.dialogue.problem.id} {one.dialogue.seed}": [turn.text for turn in one.dialogue.turns]
            for one in run.records()
        }


def books(folder: Path) -> Any:
    with Run.open(folder) as run:
        return run.ledger.totals()


def test_what_the_server_honours(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["models", "check", tiny, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["summary"]
    honoured = {finding["what"]: finding["honoured"] for finding in told["findings"]}
    for what in ("usage", "system role", "seed", "temperature 0", "logprobs", "json_schema", "streaming"):
        assert honoured[what] == "yes", told["findings"]
    for what in ("max_tokens", "stop"):
        assert honoured[what] in ("yes", "unclear"), told["findings"]  # a reply may be over before they matter
    assert told["context"] == 1024


def test_greedy_lessons_are_those_of_the_same_weights_in_this_process(tiny: str, problems: str, tmp_path: Path) -> None:
    both = [*HOLD, "--temperature", "0", "--problems", problems]
    assert main(["teach", "--tutor", tiny, "--out", str(tmp_path / "there"), *both]) == 0
    assert main(["teach", "--tutor", "tiny", "--out", str(tmp_path / "here"), *both]) == 0
    there, here = texts(tmp_path / "there"), texts(tmp_path / "here")
    assert there.keys() == here.keys()
    same = sum(there[lesson] == here[lesson] for lesson in here)
    assert same >= 0.95 * len(here)


def test_a_model_as_tutor_and_student_with_every_call_in_the_books(tiny: str, problems: str, tmp_path: Path) -> None:
    words = [
        "evaluate", "--tutor", tiny, "--student", tiny, "--tutor-prompt", "tutor/tiny", "--tutor-sees", "solution",
        "--tutor-max-tokens", "60", "--student-max-tokens", "40", "--solution-max-tokens", "60", "--tutor-turns", "3",
        "--attempts", "2", "--problems", problems, "--most-problems", "30", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    assert main(words) == 0
    first = books(tmp_path / "run")
    assert first.answered > 30 * 6
    assert first.failed == first.unknown == first.sent == 0
    assert first.prompt_tokens > first.reply_tokens > 0
    assert main(["runs", "check", str(tmp_path / "run")]) == 0
    assert main(words) == 0
    assert books(tmp_path / "run") == first


def test_a_run_that_is_killed_goes_on_and_pays_only_for_what_is_unknown(
    tiny: str, problems: str, tmp_path: Path
) -> None:
    folder, chance = tmp_path / "run", random.Random(4)
    words = ["teach", "--tutor", tiny, "--problems", problems, "--lessons", "6", "--out", str(folder), *HOLD]
    kills = 0
    for start in range(40):
        process = subprocess.Popen([sys.executable, "-m", "diotima", *words], stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=(1.5 + 1.5 * chance.random()) * (1 + start / 8))  # to come to an end anywhere
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        break
    assert process.returncode == 0
    totals = books(folder)
    assert len(texts(folder)) == 360
    assert totals.unknown <= 64 * kills
    assert main(["runs", "check", str(folder)]) == 0
    assert kills


def test_a_stop_takes_under_five_seconds(tiny: str, problems: str, tmp_path: Path) -> None:
    words = ["teach", "--tutor", tiny, "--problems", problems, "--lessons", "40", "--out", str(tmp_path / "run"), *HOLD]
    process = subprocess.Popen([sys.executable, "-m", "diotima", *words], stderr=subprocess.PIPE, text=True)
    for _ in range(200):
        time.sleep(0.1)
        if (tmp_path / "run" / "manifest.json").exists() and books(tmp_path / "run").answered > 50:
            break
    before = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 143
    assert time.monotonic() - before < 5
    assert "go on with: diotima teach" in said
    assert books(tmp_path / "run").sent == 0
