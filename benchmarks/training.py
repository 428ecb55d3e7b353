"""How fast the tiny tutor is trained and examined on one processor thread.

Prints dialogue tokens per CPU-second of GRPO, everything included (loading, rollouts, exams, loss, saving), and the
seconds that 300 examined lessons take. Dialogue tokens are all tokens of all lessons: prompt, tutor and student.

    python benchmarks/training.py
"""

import resource
import tempfile
import time
from pathlib import Path

from diotima.benchmarks import evaluate
from diotima.runs.run import Run
from diotima.sandbox import export
from diotima.training import grpo

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
    trl = {"max_steps": steps, "learning_rate": 3e-4}
    grpo.run(grpo.Settings(out=out, problems=problems, tutor_max_tokens=80, threads=1, trl=trl))


if __name__ == "__main__":
    main()
