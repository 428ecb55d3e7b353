"""What the learner's reading of free text is worth: on official sub-questions, and on what human teachers said.

*Sub-questions* (GSM8K's Socratic test set): each belongs to one step of a solution. The reader gets the sentences of
the steps without the sub-questions and must say which step is meant; guessing is right once in as many steps.

*Teachers* (MathDial's test set): every turn of a human teacher carries a hand-given move. Focus and probing guide,
telling gives away; generic turns are left out. P(learn) of a learner that has mastered nothing should be higher for the
former: AUC is the chance that it ranks a guiding turn above a telling one, ties counting half. Beside it the rule "a
question mark". What counts as asking was chosen on the conversations of one half (a stable hash); the other half is
given by itself. Intervals: 95 % percentile bootstrap that resamples problems or conversations.

    python benchmarks/reading.py [--data ../shared/data]

Sources: Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021; Macina et al., "MathDial", EMNLP 2023.
"""

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diotima.classroom.learner import Learner
from diotima.classroom.reading import read_turn
from diotima.classroom.wording import step_meant
from diotima.dialogue import stable_seed
from diotima.problems.arithmetic import holds, read_calculation, write_number
from diotima.problems.files import read_problems
from diotima.problems.numbers import find_numbers
from diotima.problems.problem import Problem, Step
from diotima.statistics import Interval, mean_interval

_MOVE = re.compile(r"\s*Teacher:\s*\((focus|probing|telling|generic)\)(.*)", re.DOTALL)
GUIDING = ("focus", "probing")


@dataclass(frozen=True)
class Said:
    """One turn of a human teacher: its move, the scores of the reader and of the rule, and what was read."""

    conversation: str
    move: str
    learning: float
    asks: float
    mark: float
    step: int | None


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    for path, measure in (
        (data / "gsm8k" / "test_socratic.jsonl", sub_questions),
        (data / "mathdial" / "test.jsonl", teachers),
    ):
        if path.is_file():
            measure(path)
        else:
            print(f"skipped: there is no {path}")


def sub_questions(path: Path) -> None:
    """Which step does an official sub-question belong to?"""
    right: list[float] = []
    unread: list[float] = []
    chance: list[float] = []
    clusters: list[str] = []
    for problem in read_problems(path):
        if len(problem.steps) < 2 or not all(step.question for step in problem.steps):
            continue
        bare = replace(problem, steps=tuple(replace(step, question="") for step in problem.steps))
        for index, step in enumerate(problem.steps):
            meant = step_meant(step.question, bare)
            right.append(float(meant == index))
            unread.append(float(meant is None))
            chance.append(1 / len(problem.steps))
            clusters.append(problem.id)
    print(f"sub-questions: {len(right)} of {len(set(clusters))} problems with two steps or more")
    for name, values in (("right step", right), ("none singled out", unread), ("guessing would be right", chance)):
        print(f"  {name:24} {_percent(mean_interval(values, clusters))}")


def teachers(path: Path) -> None:
    """Does P(learn) rank guiding turns above telling ones?"""
    began = time.perf_counter()
    said = [
        turn for number, line in enumerate(path.open(encoding="utf-8")) for turn in _turns(json.loads(line), number)
    ]
    seconds = time.perf_counter() - began
    conversations = len({turn.conversation for turn in said})
    print(f"teachers: {len(said)} turns with a move in {conversations} conversations, {seconds:.1f} s")
    for move in ("focus", "probing", "telling"):
        of_move = [turn for turn in said if turn.move == move]
        mean = sum(turn.learning for turn in of_move) / len(of_move)
        asks = sum(turn.asks for turn in of_move) / len(of_move)
        placed = sum(turn.step is not None for turn in of_move) / len(of_move)
        print(f"  {move:8} n={len(of_move):5}  mean P(learn) {mean:.2f}  asks {asks:.0%}  a step is read {placed:.0%}")
    held_out = [turn for turn in said if stable_seed("reading", turn.conversation) % 2]
    for half, turns in (("all", said), ("held-out half", held_out)):
        learning, mark = auc(turns, "learning"), auc(turns, "mark")
        for title, values in (("P(learn)", learning), ("a question mark", mark), ("the difference", learning - mark)):
            low, high = np.quantile(values[1:], [0.025, 0.975])
            print(f"  {half}: AUC of {title:16} {values[0]:+.3f} ({low:+.3f} to {high:+.3f}), n={len(turns)}")


def _turns(row: Mapping[str, str], number: int) -> Iterator[Said]:
    problem, learner = _problem(row), Learner()
    known = {found.value for found in find_numbers(row["student_incorrect_solution"])}
    topic: int | None = None
    for turn in row["conversation"].split("|EOM|"):
        move = _MOVE.match(turn)
        if move is None:
            known |= {found.value for found in find_numbers(turn)}
            meant = step_meant(turn, problem)
            topic = topic if meant is None else meant
            continue
        reading = read_turn(move[2], problem, known, topic=topic)
        topic = reading.step
        if move[1] != "generic":
            yield Said(
                str(number),
                move[1],
                learner.effect(reading, problem)[1],
                float(reading.asks),
                float("?" in move[2]),
                reading.step,
            )


def _problem(row: Mapping[str, str]) -> Problem:
    *lines, answer = row["ground_truth"].strip().split("\n")
    steps = []
    for line in lines:
        found = read_calculation(line)
        usable = found is not None and holds(found)
        work, result = (str(found), write_number(found.result)) if found is not None and usable else ("", "")
        steps.append(Step("", work, result, text=line))
    return Problem(f"mathdial-{row['qid']}", row["question"], answer.strip(), steps=tuple(steps))


def auc(said: Sequence[Said], score: str, draws: int = 2000) -> np.ndarray:
    """The area under the curve of guiding against telling, and behind it that of every resample of conversations.

    All scores see the same resamples, so their differences are paired.
    """
    groups: dict[str, list[Said]] = defaultdict(list)
    for turn in said:
        groups[turn.conversation].append(turn)
    levels = sorted({getattr(turn, score) for turn in said})
    counts = np.zeros((len(groups), 2, len(levels)))
    for row, turns in enumerate(groups.values()):
        for turn in turns:
            counts[row, int(turn.move in GUIDING), levels.index(getattr(turn, score))] += 1
    drawn = np.random.default_rng(0).integers(0, len(groups), (draws, len(groups)))
    return np.array([_auc(counts.sum(axis=0)), *(_auc(counts[rows].sum(axis=0)) for rows in drawn)])


def _auc(counts: np.ndarray) -> float:
    telling, guiding = counts
    below = np.concatenate([[0.0], np.cumsum(telling)[:-1]])
    return float((guiding * (below + telling / 2)).sum() / (telling.sum() * guiding.sum()))


def _percent(interval: Interval) -> str:
    return f"{interval.mean:.1%} ({interval.low:.1%}-{interval.high:.1%})"


if __name__ == "__main__":
    main()
