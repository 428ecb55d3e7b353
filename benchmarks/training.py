"""How fast the tiny tutor is trained and examined on one processor thread.

Prints dialogue tokens per CPU-second of GRPO, everything included (loading, rollouts, exams, loss, saving), what the
training half of a step costs beside a bare forward and backward pass over the same padded tokens, and the seconds that
300 examined lessons take. Dialogue tokens are all tokens of all lessons: prompt, tutor and student.

    python benchmarks/training.py
"""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from diotima.benchmarks import evaluate
from diotima.runs.run import Run
from diotima.sandbox import export
from diotima.training import grpo
from diotima.training.rollout import Rollouts
from diotima.training.trainer import LessonTrainer

STEPS = 12


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problems = export.run(export.Settings(out=folder / "problems", train=400, test=300))
        train(folder / "warm", problems, 1)  # pays for the imports

        cpu, wall = time.process_time(), time.perf_counter()
        train(folder / "grpo", problems, STEPS)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        with Run.open(folder / "grpo") as run:
            tokens = sum(value for _, value in run.metrics()["dialogue_tokens"])
        print(f"GRPO, {STEPS} steps of 64 lessons: {cpu / STEPS:.2f} CPU-s and {wall / STEPS:.2f} s a step")
        print(f"GRPO, all in: {tokens / cpu:,.0f} dialogue tokens per CPU-second")

        half, bare, padded = training_half(folder / "half", problems)
        print(f"training half of a step: {half / STEPS:.2f} CPU-s; bare passes: {bare / STEPS:.2f} CPU-s", end="")
        print(f" over {padded / STEPS:,.0f} padded tokens; ratio {half / bare:.2f}")

        for temperature in (1.0, 0.0):
            settings = evaluate.Settings(
                out=folder / f"evaluation-{temperature}",
                problems=problems,
                tutor=("tiny",),
                temperature=(temperature,),
                table=False,
                tutor_max_tokens=80,
                threads=1,
            )
            cpu, wall = time.process_time(), time.perf_counter()
            evaluate.run(settings)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            print(f"300 examined lessons at T={temperature:g}: {wall:.1f} s wall, {cpu:.1f} CPU-s")
        print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def train(out: Path, problems: Path, steps: int) -> None:
    """A short GRPO run as in the demo."""
    grpo.run(settings_of(out, problems, steps))


def settings_of(out: Path, problems: Path, steps: int) -> grpo.Settings:
    """GRPO as in the demo."""
    trl = {"max_steps": steps, "learning_rate": 3e-4, "save_strategy": "no"}
    return grpo.Settings(out=out, problems=problems, tutor_max_tokens=80, threads=1, trl=trl)


def training_half(out: Path, problems: Path) -> tuple[float, float, int]:
    """CPU-seconds of all that TRL and we do in a training besides lessons; those of bare passes; how many tokens."""
    settings = settings_of(out, problems, STEPS)
    prepared = grpo.prepare(settings)
    lessons, batches = 0.0, list[dict[str, Any]]()
    teach, compute_loss = Rollouts.__call__, LessonTrainer._compute_loss

    def timed(self: Rollouts, *args: Any) -> dict[str, Any]:
        nonlocal lessons
        start = time.process_time()
        try:
            return teach(self, *args)
        finally:
            lessons += time.process_time() - start

    def noted(self: LessonTrainer, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        batches.append(inputs)
        return compute_loss(self, model, inputs)

    with Run.create(out, stage="train grpo", settings={}, seed=0) as record:
        trainer = grpo.make_trainer(settings, prepared, record)
        with patch.object(Rollouts, "__call__", timed), patch.object(LessonTrainer, "_compute_loss", noted):
            start = time.process_time()
            trainer.train()
            half = time.process_time() - start - lessons
    start = time.process_time()
    padded = sum(bare_pass(trainer.model, batch) for batch in batches)
    return half, time.process_time() - start, padded


def bare_pass(model: torch.nn.Module, batch: dict[str, Any]) -> int:
    """A forward and a backward pass with cross-entropy over the completion; returns how many tokens went through."""
    model.train()
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    targets = batch["completion_ids"]
    logits = model(ids, attention_mask=mask, logits_to_keep=targets.shape[1] + 1, use_cache=False).logits[:, :-1]
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    model.zero_grad()
    return ids.numel()


if __name__ == "__main__":
    main()
