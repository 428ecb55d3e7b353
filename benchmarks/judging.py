"""How fast are judgements made, and how fast counted anew?

*Judging*: ``diotima score`` asks about 5,000 turns of a scripted server on loopback that takes 200 ms, 64 at once. The
bound is the server's work over its slots. *Whole command*: with all that is loaded before and counted after. *Asked*:
from the first call to the last answer. *Opened*: of the calls after the first thousand, when the gate has opened from 8
calls at once to 64. It takes some 3 ms of processor time a call here and half a millisecond in the server; where cores
are short, *no core* says for how long one of the two wanted one and had none, and every figure is worse for it.

*Counting*: ``diotima tally`` reads 10,000 stored verdicts on two tutors' turns, combines them into the five measures of
EULER, and compares the tutors, with intervals and tests.

    python benchmarks/judging.py [--turns 5000] [--only judging|counting]
"""

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from random import Random

from endpoints import watched

from diotima.benchmarks import score, tally
from diotima.dialogue import Dialogue, Turn
from diotima.models.services import Endpoint
from diotima.problems.problem import Problem
from diotima.runs.judgements import keep_rubric
from diotima.runs.run import Run
from diotima.score import Judgement
from diotima.scoring.rubric import load_rubric, rubric_text

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers.scripted import Script, ScriptedServer

SECONDS, SLOTS = 0.2, 64
OPEN = 1000  # calls after which the gate is open


def main() -> None:
    """Measure both, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5000, help="of the first part; the second counts twice as many")
    parser.add_argument("--only", choices=("judging", "counting"))
    asked = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if asked.only in (None, "judging"):
            judging(Path(folder), asked.turns)
        if asked.only in (None, "counting"):
            counting(Path(folder), 2 * asked.turns)


def judging(folder: Path, turns: int) -> None:
    """Score a run of so many dialogues with one turn each."""
    with Run.create(folder / "turns", stage="candidates", settings={}, seed=0) as run:
        for dialogue in dialogues(turns, 1):
            run.add(dialogue, "ours")
        run.finish()
    with ScriptedServer(Script(kind="vllm", models=("m",), median=SECONDS)) as server:
        settings = score.Settings(
            run=folder / "turns",
            out=folder / "judged",
            rubric="euler",
            judge=(f"vllm/m@{server.url}",),
            endpoints={"vllm": Endpoint(at_once=SLOTS)},
        )
        with watched(server) as spent, redirect_stdout(io.StringIO()):
            score.run(settings)
    with Run.open(folder / "judged") as judged:
        valid = sum(judgement.state == "valid" for _, _, judgement in judged.judgements("ours"))
        sent, answered = (sorted(times) for times in zip(*judged._rows("SELECT sent, ended FROM calls"), strict=True))
    bound = turns * SECONDS / SLOTS
    print(f"\njudging: {turns:,} turns, {valid:,} valid verdicts, {SECONDS:g} s a call, {SLOTS} at once")
    print(f"  whole command: {spent.seconds:.2f} s, bound {bound:.2f} s, ratio {spent.seconds / bound:.3f}")
    asked = answered[-1] - sent[0]
    print(f"  asked: {asked:.2f} s from the first call to the last answer, ratio {asked / bound:.3f} (wanted: 1.2)")
    if turns > OPEN:
        opened = answered[-1] - answered[OPEN - 1]
        least = (turns - OPEN) * SECONDS / SLOTS
        print(
            f"  opened: {opened:.2f} s for the last {turns - OPEN:,}, bound {least:.2f} s, ratio {opened / least:.3f}"
        )
    print(
        f"  CPU here {1e3 * spent.cpu / turns:.2f} ms a turn, in the server {1e3 * spent.servers / turns:.2f}, "
        f"no core {spent.waited:.1f} s"
    )


def counting(folder: Path, verdicts: int) -> None:
    """Count so many stored verdicts of two tutors, five turns a dialogue."""
    rubric, random = load_rubric("euler"), Random(0)
    with Run.create(folder / "stored", stage="score", settings={}, seed=0) as run:
        keep_rubric(run.folder, rubric.name, rubric.fingerprint, rubric_text(rubric))
        for label in ("ours", "theirs"):
            for dialogue in dialogues(verdicts // 10, 5):
                said = (
                    Judgement(rubric.name, rubric.fingerprint, "a judge", 2 * turn + 1, 0, "valid", verdict, "", 1)
                    for turn in range(5)
                    for verdict in [drawn(random, label == "ours")]
                )
                run.add(dialogue, label, judgements=said)
        run.finish()
    start = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        told = tally.run(tally.Settings(runs=(str(folder / "stored"),), weights={"helpful": "1/2", "questions": "1/2"}))
    seconds = time.perf_counter() - start
    counted = sum(one["states"]["valid"] for one in told["judged"])
    print(f"\ncounting: {counted:,} verdicts read, re-weighted and compared in {seconds:.2f} s (wanted: 2)")


def drawn(random: Random, better: bool) -> dict[str, str | int]:
    """Any verdict; the better tutor has the better luck."""
    high = 5 if better else 4
    return {
        "questions": random.choice(("yes", "yes", "no")),
        "on_topic": random.randint(1, high),
        "helpful": random.randint(1, high),
        "reveal_answer": random.choice(("yes", "no", "no")),
    }


def dialogues(number: int, turns: int) -> Iterator[Dialogue]:
    """Dialogues of a usual length; what they say is of no account."""
    for index in range(number):
        problem = Problem(
            f"problem {index:05}", f"Ann has {index} apples and eats 3. How many are left?", str(index - 3)
        )
        said = [
            turn
            for place in range(turns)
            for turn in (
                Turn("student", f"I think it is {index + place}, for {index} and 3 make that. Is it right? {place}"),
                Turn("tutor", f"Look at the word that says what Ann does with them ({place}). Are there more now?"),
            )
        ]
        yield Dialogue(problem, tuple(said), seed=index, stop="candidate")


if __name__ == "__main__":
    main()
