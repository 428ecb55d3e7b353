"""How fast are lessons, and does memory stay flat? A scripted tutor and the simulated learner, without the exam.

Each number of lessons is held in a process of its own, 256 at a time, so that peak memory is that of this number alone.
Problems are drawn as the lessons begin, and every dialogue is dropped when it is over: memory should not grow.

    python benchmarks/lessons.py [1000 10000 50000]
"""

import argparse
import asyncio
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator

from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom, side_by_side
from diotima.classroom.tutors import scripted_tutor
from diotima.dialogue import Dialogue
from diotima.problems.problem import Problem
from diotima.sandbox.world import World


def main() -> None:
    """Print a line for each number of lessons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", type=int, nargs="*", default=[1_000, 10_000, 50_000])
    print(f"{'lessons':>8} {'turns':>8} {'seconds':>8} {'a second':>9} {'peak MiB':>9}")
    for count in parser.parse_args().lessons:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            turns, seconds, peak = process.apply(measure, (count,))
        print(f"{count:>8} {turns:>8} {seconds:>8.1f} {count / seconds:>9.0f} {peak:>9.1f}", flush=True)


def measure(count: int) -> tuple[int, float, float]:
    """Turns spoken, seconds, and peak memory of this process in MiB."""
    start = time.perf_counter()
    turns = asyncio.run(hold(count))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    return turns, time.perf_counter() - start, peak


async def hold(count: int) -> int:
    """Hold so many lessons; returns the number of turns."""
    tutor = scripted_tutor("guide")
    assert tutor is not None
    classroom, world = Classroom(tutor, Learner()), World()

    async def teach(lesson: tuple[Problem, int]) -> Dialogue:
        return await classroom.teach(*lesson)

    def lessons() -> Iterator[tuple[Problem, int]]:
        return ((world.problem(seed), seed) for seed in range(count))

    return sum([len(dialogue.turns) async for dialogue in side_by_side(teach, lessons())])


if __name__ == "__main__":
    main()
