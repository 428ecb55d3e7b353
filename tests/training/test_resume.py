"""A killed training goes on where it was, and ends with the very same weights as one that was left alone."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from diotima.training.setup import COMPLETE, last_checkpoint

# Trains in a process of its own and kills it: at the end of a step, or when a checkpoint is half written.
CHILD = """
import os, signal, sys
from pathlib import Path
import transformers
from diotima.training import grpo
out, problems, when, step = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Killer(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if when == "step" and state.global_step == step:
            die()

make, save = grpo.make_trainer, transformers.Trainer._save_optimizer_and_scheduler

def make_with_killer(*args):
    trainer = make(*args)
    trainer.add_callback(Killer())
    return trainer

def save_or_die(self, folder):
    if when == "checkpoint" and self.state.global_step == step:
        die()
    save(self, folder)

grpo.make_trainer, transformers.Trainer._save_optimizer_and_scheduler = make_with_killer, save_or_die
# Two steps are an epoch: the second epoch's order of problems must be found again as well.
trl = dict(max_steps=4, save_steps=1, per_device_train_batch_size=4,
           gradient_accumulation_steps=2, num_generations=4, learning_rate=1e-3)
grpo.run(grpo.Settings(out=out, problems=problems, most_problems=4, tutor_max_tokens=80, threads=1, trl=trl))
"""


def train(out: Path, problems: Path, when: str = "never", step: int = 0) -> int:
    """The exit code of one training process."""
    command = [sys.executable, "-c", CHILD, str(out), str(problems), when, str(step)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def weights(out: Path) -> str:
    """The SHA-256 of the final weights."""
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


def test_killed_training_ends_with_the_same_weights(tmp_path, problems):
    assert train(tmp_path / "whole", problems) == 0

    killed = tmp_path / "killed"
    assert train(killed, problems, "step", 2) == -signal.SIGKILL
    assert train(killed, problems, "checkpoint", 3) == -signal.SIGKILL
    half_written = killed / "checkpoints" / "checkpoint-3"
    assert half_written.is_dir()
    assert not (half_written / COMPLETE).exists()
    assert train(killed, problems) == 0
    assert weights(killed) == weights(tmp_path / "whole")


def test_only_complete_checkpoints_count(tmp_path):
    for step, complete in ((9, True), (10, True), (11, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if complete:
            (tmp_path / f"checkpoint-{step}" / COMPLETE).touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-11").exists()


def test_a_copy_that_somebody_made_is_left_alone(tmp_path):
    for name in ("checkpoint-2", "checkpoint-10.old", "checkpoint-copy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / COMPLETE).touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("folder", ["nothing", "empty"])
def test_without_checkpoints_training_starts_anew(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert last_checkpoint(tmp_path / folder) is None
