"""Two processes that train together: both end with the same weights, which are those of one process alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diotima.classroom.teach import Settings as TeachSettings
from diotima.classroom.teach import run as teach
from diotima.classroom.tutors import hint
from diotima.cli import main
from diotima.models.folders import TINY
from diotima.problems.files import read_problems
from diotima.processes import count, own_folder, rank
from diotima.runs.run import Run
from diotima.training import dpo, grpo, sft

STEPS = 3
TIMES = {"step_time", "train_runtime"}

# Trains by all three methods, says what each process ends with, and then goes on from GRPO's last checkpoint but one.
CHILD = """
import hashlib, json, shutil, sys
from pathlib import Path
from diotima.processes import is_first, rank
from diotima.training import setup
from test_processes import trainings

out, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
save = setup.save_model

def save_and_tell(trained, tokenizer, part, folder):
    weights = b"".join(weight.detach().numpy().tobytes() for weight in trained.model.parameters())
    (out / f"{folder.parent.name}-{rank()}.sha").write_text(hashlib.sha256(weights).hexdigest())
    return save(trained, tokenizer, part, folder)

setup.save_model = save_and_tell
every = trainings(out, rows=4, **settings)
for module, chosen in every.values():
    module.run(chosen)

from accelerate import PartialState
if is_first():
    shutil.rmtree(out / "grpo" / "checkpoints" / "checkpoint-3")
PartialState().wait_for_everyone()
out = out / "again"
module, chosen = every["grpo"]
module.run(chosen)
"""

# Weights in parts, as FSDP2 leaves them, are known as such and saved as a whole.
PARTS = """
import sys
from pathlib import Path
import torch
from accelerate import PartialState
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from diotima.classroom.casting import Part
from diotima.models.local import load_local
from diotima.models.folders import TINY
from diotima.training.setup import Trained, in_parts, save_model

def main():
    state = PartialState(cpu=True)
    local = load_local(TINY, "tiny")
    assert not in_parts(local.model)
    fully_shard(local.model, mesh=init_device_mesh("cpu", (state.num_processes,)))
    assert in_parts(local.model)
    weights = get_model_state_dict(local.model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    save_model(Trained(local.model, weights), local.tokenizer, Part("tutor/tiny", "solution"), Path(sys.argv[1]))

main()
"""


def trainings(out: Path, rows: int, lessons: str, pairs: str, problems: str):
    """Each method's module and settings, with so many rows a step in each process."""
    trl = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 1, "max_steps": STEPS, "save_steps": 2}
    trl["learning_rate"] = 1e-3
    groups = trl | {"num_generations": 4}
    return {
        "sft": (sft, sft.Settings(out=out / "sft", lessons=Path(lessons), keep={}, least={}, threads=1, trl=trl)),
        "dpo": (dpo, dpo.Settings(out=out / "dpo", pairs=Path(pairs), threads=1, trl=trl)),
        "grpo": (
            grpo,
            grpo.Settings(out=out / "grpo", problems=Path(problems), tutor_max_tokens=80, threads=1, trl=groups),
        ),
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, request):
    """Lessons, pairs and problems, as paths."""
    folder, problems = tmp_path_factory.mktemp("inputs"), request.getfixturevalue("problems")
    teach(TeachSettings(out=folder / "lessons", problems=problems, tutor="scripted/guide"))
    rows = [
        {
            "prompt": [{"role": "user", "content": problem.question}],
            "chosen": [{"role": "assistant", "content": hint(problem, 0, 0)}],
            "rejected": [{"role": "assistant", "content": f"The answer is {problem.answer}."}],
        }
        for problem in read_problems(problems / "train.jsonl")[:16]
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"lessons": str(folder / "lessons"), "pairs": str(folder / "pairs.jsonl"), "problems": str(problems)}


def together(*words: str) -> None:
    """Run a piece of code in two processes on the processor."""
    code, *arguments = words
    script = Path(arguments[0]).parent / "child.py"
    script.write_text(code)
    where = os.pathsep.join([*filter(None, sys.path), str(Path(__file__).parent)])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run(
        [*torchrun, str(script), *arguments], check=True, timeout=300, env=os.environ | {"PYTHONPATH": where}
    )


@pytest.fixture(scope="module")
def both(inputs, tmp_path_factory):
    """Where two processes trained, and where one did with twice the rows."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    (two / "again").mkdir()
    together(CHILD, str(two), json.dumps(inputs))
    for module, chosen in trainings(one, rows=8, **inputs).values():
        module.run(chosen)
    return one, two


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()}


def farthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_both_end_with_the_same_weights_and_these_are_one_processs(both, method):
    one, two = both
    said = {(two / f"{method}-{place}.sha").read_text() for place in (0, 1)}
    assert len(said) == 1
    alone, shared, before = (weights(folder) for folder in (one / method / "model", two / method / "model", TINY))
    assert farthest(alone, before) > 1e-3  # it learned at all
    assert farthest(alone, shared) < 3e-4  # summed in another order, and Adam divides by small numbers


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_the_first_alone_writes_the_run_and_it_says_what_one_process_says(both, method):
    tables = []
    for place in both:
        with Run.open(place / method) as run:
            assert run.manifest["finished"]
            tables.append({name: values for name, values in run.metrics().items() if name not in TIMES})
    assert tables[0].keys() == tables[1].keys()
    for name, values in tables[0].items():
        assert tables[1][name] == [(step, pytest.approx(value, abs=2e-3, rel=2e-3)) for step, value in values], name
    with Run.open(both[1] / method / "process-1") as books:
        assert not {"loss", "reward", "leaked", "dialogue_tokens"} & set(books.metrics())


def test_together_they_go_on_where_they_were(both):
    two = both[1]
    said = {(two / "again" / f"grpo-{place}.sha").read_text() for place in (0, 1)}
    assert said == {(two / "grpo-0.sha").read_text()}


def test_weights_in_parts_are_saved_as_a_whole(tmp_path):
    together(PARTS, str(tmp_path / "model"))
    saved, whole = weights(tmp_path / "model"), weights(TINY)
    assert saved.keys() == whole.keys()
    assert farthest(saved, whole) == 0.0


def test_a_clusters_own_rank_is_not_a_training_processs(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert (rank(), count(), own_folder(Path("run"))) == (0, 1, Path("run"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (rank(), count(), own_folder(Path("run"))) == (3, 4, Path("run/process-3"))


def test_several_processes_can_only_train(monkeypatch, capsys):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    assert main(["runs", "list", "nowhere"]) == 2
    assert (
        "several processes can only train together; start diotima runs list without torchrun" in capsys.readouterr().err
    )
