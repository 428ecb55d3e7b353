from pathlib import Path

import pytest
from reports.lessons import DEMO, lesson, write_evaluation

from diotima.runs.run import Run
from diotima.score import Score


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A folder of stages as the demo's recipe leaves it."""
    folder = tmp_path / "demo"
    write_evaluation(folder / "exam", DEMO)
    with Run.create(folder / "grpo", stage="train grpo", settings={"learning_rate": 1e-4}, seed=3) as run:
        run.add(lesson(0, 1, leaks=True), "step 1", {"leaked": Score(1.0)})
        for step in range(30):
            for name in ("reward", "leaked", "solved_sibling", "solved", "well_formed", "loss"):
                run.metric(step, name, step / 30)
        run.metric(30, "reward", float("nan"))
    return folder
