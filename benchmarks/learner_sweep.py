"""Does what the tutor gained depend on how the simulated learner was set up?

Examines the tutors of a finished demo, before and after, on learners with other parameters: P(learn) from a guiding
question .5 or .75, P(forget) from a contradiction 0 or .2. Prints the paired gain on the sibling with its interval.

    python benchmarks/learner_sweep.py [runs/demo]
"""

import sys
import tempfile
from itertools import product
from pathlib import Path

from diotima.benchmarks import evaluate
from diotima.runs.run import Run
from diotima.statistics import paired_interval


def main(demo: Path) -> None:
    trained = demo / "grpo" / "model"
    if not trained.is_dir():
        print(f"skipped: {demo} is no finished demo; run make demo first")
        return
    print("| P(learn) | P(forget) | before | after | gain, 95 % interval |\n|---|---|---|---|---|")
    for guided, confused in product((0.5, 0.75), (0.0, 0.2)):
        with tempfile.TemporaryDirectory() as name:
            settings = evaluate.Settings(
                out=Path(name) / "run",
                problems=demo / "problems",
                tutor=("tiny", str(trained)),
                label=("before", "after"),
                learner_guided=guided,
                learner_confused=confused,
                tutor_max_tokens=80,
                threads=1,
            )
            with Run.open(evaluate.run(settings)) as run:
                before, after = (run.score_table("solved_sibling", f"{label} T=1") for label in ("before", "after"))
        first, second = [score.value for *_, score in before], [score.value for *_, score in after]
        gain = paired_interval(first, second, clusters=[problem for problem, *_ in before])
        means = f"{sum(first) / len(first):.3f} | {sum(second) / len(second):.3f}"
        print(
            f"| {guided} | {confused} | {means} | {gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) |", flush=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/demo"))
