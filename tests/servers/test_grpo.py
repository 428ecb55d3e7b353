"""GRPO with a real server behind the student and the judge: the tiny tutor learns in this process, and its frozen twin
at the server is taught, examined, and asked for verdicts. Run by `make test-servers`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.llama import OTHER_SERVER, llama_server

from diotima.problems.files import write_problems
from diotima.runs.check import check_run
from diotima.runs.run import Run
from diotima.sandbox.world import World
from diotima.training import grpo

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(OTHER_SERVER in os.environ, reason="another server's context may be too short for a rubric"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tiny tutor's name at the server."""
    with llama_server(tmp_path_factory.mktemp("server") / "server.log", slots=8, context=4096) as server:
        yield f"llamacpp/tiny@{server.url}"


def test_a_step_with_student_and_judge_at_a_server(tiny: str, tmp_path: Path) -> None:
    write_problems(World().problems(4, 0), tmp_path / "problems.jsonl")
    trl = {"max_steps": 2, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_generations": 4}
    settings = grpo.Settings(
        out=tmp_path / "grpo",
        problems=str(tmp_path / "problems.jsonl"),
        student=tiny,
        student_max_tokens=40,
        solution_max_tokens=40,
        judge=tiny,
        graded_by={"euler": 0.5},
        attempts=2,
        opens="both",
        tutor_turns=2,
        tutor_max_tokens=40,
        threads=1,
        keep_every=1,
        trl=trl | {"learning_rate": 1e-4},
    )
    model = grpo.run(settings)
    assert (model / "model.safetensors").is_file()
    with Run.open(settings.out) as record:
        metrics, kept = record.metrics(), list(record.records())
        calls = record.ledger.totals().calls
    assert len(metrics["euler.score"]) == 2  # a schema without free texts leaves no room for nonsense
    assert [value for _, value in metrics["reward/missing"]] == [0.0, 0.0]
    assert all(value < 1e-4 for _, value in metrics["drift/max"])
    assert len(kept) == 8
    assert {judgement.state for record in kept for judgement in record.judgements} == {"valid"}
    turns = sum(len(record.dialogue.turns) for record in kept)
    assert calls > turns
    assert [checked.wrong for checked in check_run(settings.out) if checked.wrong] == []
