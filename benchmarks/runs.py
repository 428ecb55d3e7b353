"""How long does it take to look into a run of a million turns, and how much memory to export it?

200,000 lessons of five turns with ten scores each are written to disk; then one lesson in the middle is opened, a page
of lessons listed, as ``diotima runs show`` does it, and the whole exported in a process of its own.

    python benchmarks/runs.py [--lessons 200000]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.problems.problem import Problem
from diotima.runs.lessons import lesson, lessons_between
from diotima.runs.run import Run
from diotima.runs.store import open_for_reading
from diotima.score import Score

TURNS, SCORES, PAGE = 5, 10, 20
EXPORT = """
import resource, sys
from diotima.cli import main
main(["runs", "export", sys.argv[1], "--out", sys.argv[2]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


def write(folder: Path, count: int) -> float:
    """Write so many lessons; returns the seconds."""
    problems = [Problem(f"p{number}", "Anna has 3 apples. " * 8, "57", "x" * 300) for number in range(300)]
    scores = {f"score{number}": Score(0.5) for number in range(SCORES)}
    turns = tuple(Turn(TUTOR if i % 2 else STUDENT, "Look at step 2. What is 12 + 19? " * 2) for i in range(TURNS))
    began = time.perf_counter()
    with Run.create(folder, stage="teach", settings={}, seed=0) as run:
        for number in range(count):
            run.add(Dialogue(problems[number % 300], turns, number, "tutor ended"), "tutor", scores)
        run.finish()
    return time.perf_counter() - began


def slowest(work: Callable[[], object], times: int = 20) -> float:
    """The longest of so many goes, in milliseconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return 1000 * max(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lessons", type=int, default=200_000)
    count = parser.parse_args().lessons
    with tempfile.TemporaryDirectory() as folder:
        run, out = Path(folder) / "run", Path(folder) / "export"
        took = write(run, count)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        size = (run / "run.db").stat().st_size / 1e6
        print(f"{count * TURNS:,} turns: {count / took:,.0f} lessons/s written, {memory} MB, {size:,.0f} MB on disk")
        db = open_for_reading(run)
        middle = count // 2
        print(f"open a lesson: {slowest(lambda: lesson(db, middle)):.1f} ms at most of 20")
        page = slowest(lambda: list(lessons_between(db, middle, middle + PAGE)))
        print(f"list a page of {PAGE}: {page:.1f} ms at most of 20")
        db.close()
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", EXPORT, run, out], capture_output=True, text=True, check=True)
        print(f"export: {time.perf_counter() - began:.0f} s, {done.stderr.split()[-1]} MB")


if __name__ == "__main__":
    main()
