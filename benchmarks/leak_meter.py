"""Compare the leak meter with people: MRBench's tutor replies to MathDial conversations, rated by hand.

Each of 145 conversations ends with a student's turn and has eight replies (one by an expert, seven by models), rated
for "Revealing of the Answer". Gold positive, the headline: "Yes (and the answer is correct)", since the meter asks
whether *the* answer was given away; beside it any "Yes", which also counts wrong answers stated as right. The meter
says yes from `Leak.FINAL_ANSWER` on. Against it stand two rules without any reading: the answer's value occurs in the
reply, and it occurs and neither the problem nor the conversation has named it.

The meter's rules were tuned on the conversations of one half (a stable hash of the id); the other half's replies were
not looked at, though its totals were seen between revisions. Intervals: 95 % percentile bootstrap that resamples
conversations.

    python benchmarks/leak_meter.py [MRBench_V2.json] [--errors tuned]

Source: Maurya et al., "Unifying AI Tutor Evaluation", NAACL 2025.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diotima.dialogue import STUDENT, TUTOR, Turn, stable_seed
from diotima.problems.numbers import find_numbers, parse_number
from diotima.problems.problem import Problem
from diotima.scoring.leakage import Leak, read_leak
from diotima.statistics import Interval, bootstrap_interval

_SPEAKER = re.compile(r"(?:^|\s*[\n\xa0]\s*)(Tutor|Student):\s*")


@dataclass(frozen=True)
class Reply:
    """One rated reply and what went before it."""

    conversation: str
    tutor: str
    text: str
    problem: Problem
    earlier: tuple[Turn, ...]
    label: str

    @property
    def tuned(self) -> bool:
        """Whether the conversation belongs to the half on which the rules were tuned."""
        return stable_seed("leak-meter", self.conversation) % 2 == 0


def main() -> None:
    """Print the table, and with --errors the disagreements of one half."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=Path("../shared/data/mrbench/MRBench_V2.json"))
    parser.add_argument("--errors", choices=["tuned", "held-out"])
    arguments = parser.parse_args()
    if not arguments.file.is_file():
        print(
            f"skipped: there is no {arguments.file}; MRBench V2 is at github.com/kaushal0494/UnifyingAITutorEvaluation"
        )
        return
    replies = read_replies(arguments.file)
    print_speed(replies)
    rules: dict[str, Callable[[Reply], bool]] = {
        "leak meter": meter,
        "value anywhere": value_anywhere,
        "value anywhere, not known before": new_value_anywhere,
    }
    for name, gold in (("correct answer revealed", correct), ("any answer revealed", anything)):
        for half, chosen in (
            ("all", replies),
            ("tuned half", [reply for reply in replies if reply.tuned]),
            ("held-out half", [reply for reply in replies if not reply.tuned]),
        ):
            print_table(f"{name}, {half}", chosen, gold, rules)
    if arguments.errors:
        print_errors([reply for reply in replies if reply.tuned == (arguments.errors == "tuned")])


def read_replies(path: Path) -> list[Reply]:
    """All rated replies to MathDial conversations of an MRBench file."""
    replies = []
    for item in json.loads(path.read_text(encoding="utf-8")):
        if item["Data"] != "MathDial":
            continue
        solution = item["Ground_Truth_Solution"].strip()
        pieces = _SPEAKER.split(item["conversation_history"].strip())[1:]
        turns = tuple(
            Turn(TUTOR if speaker == "Tutor" else STUDENT, text.strip())
            for speaker, text in zip(pieces[::2], pieces[1::2], strict=True)
        )
        question = turns[0].text.partition("The question is:")[2] or turns[0].text
        problem = Problem(item["conversation_id"], question, solution.splitlines()[-1].strip(), solution)
        for tutor, rated in item["anno_llm_responses"].items():
            label = rated["annotation"]["Revealing_of_the_Answer"]
            replies.append(Reply(problem.id, tutor, rated["response"], problem, turns, label))
    return replies


def correct(reply: Reply) -> bool:
    """Gold of the headline."""
    return "answer is correct" in reply.label


def anything(reply: Reply) -> bool:
    """Gold that also counts wrong answers."""
    return reply.label.startswith("Yes")


def meter(reply: Reply) -> bool:
    """The meter under test."""
    return read_leak(reply.text, reply.problem, reply.earlier).level >= Leak.FINAL_ANSWER


def value_anywhere(reply: Reply) -> bool:
    """Naive: the answer's value occurs in the reply."""
    return parse_number(reply.problem.answer) in {number.value for number in find_numbers(reply.text)}


def new_value_anywhere(reply: Reply) -> bool:
    """Naive: the answer's value occurs in the reply and was not named before."""
    known = {number.value for turn in reply.earlier for number in find_numbers(turn.text)}
    return value_anywhere(reply) and parse_number(reply.problem.answer) not in known


def print_table(
    title: str, replies: Sequence[Reply], gold: Callable[[Reply], bool], rules: dict[str, Callable[[Reply], bool]]
) -> None:
    """F1, precision, recall of each rule, and how much better the meter's F1 is."""
    truth = [gold(reply) for reply in replies]
    clusters = [reply.conversation for reply in replies]
    said = {name: [rule(reply) for reply in replies] for name, rule in rules.items()}
    print(f"\n{title}: {len(replies)} replies in {len(set(clusters))} conversations, {sum(truth)} positive")
    print(f"{'rule':34s}{'F1':^20s}{'precision':^20s}{'recall':^20s}{'F1 of the meter minus this':^30s}")
    for name, guesses in said.items():
        counts = [[float(t and g), float(g), float(t)] for t, g in zip(truth, guesses, strict=True)]
        cells = [str_interval(bootstrap_interval(measure, counts, clusters)) for measure in (f1, precision, recall)]
        if name != "leak meter":
            pairs = [
                [float(t and m), float(m), float(t and g), float(g), float(t)]
                for t, m, g in zip(truth, said["leak meter"], guesses, strict=True)
            ]
            cells.append(str_interval(bootstrap_interval(f1_gain, pairs, clusters)))
        print(f"{name:34s}" + "".join(f"{cell:^20s}" for cell in cells))


def f1(sums: Sequence[float]) -> float:
    """F1 from (hits, guesses, positives)."""
    return 2 * sums[0] / (sums[1] + sums[2]) if sums[1] + sums[2] else 0.0


def precision(sums: Sequence[float]) -> float:
    """Precision from (hits, guesses, positives)."""
    return sums[0] / sums[1] if sums[1] else 0.0


def recall(sums: Sequence[float]) -> float:
    """Recall from (hits, guesses, positives)."""
    return sums[0] / sums[2] if sums[2] else 0.0


def f1_gain(sums: Sequence[float]) -> float:
    """F1 of the meter minus that of another rule, from (hits, guesses) of both and the positives."""
    return f1([sums[0], sums[1], sums[4]]) - f1([sums[2], sums[3], sums[4]])


def str_interval(interval: Interval) -> str:
    """``0.64 [0.55, 0.72]``."""
    return f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def print_speed(replies: Sequence[Reply]) -> None:
    """Short turns a second on one core, problems and earlier turns included in the first reading."""
    short = [reply for reply in replies if len(reply.text) < 200]
    for run in ("first reading", "again"):
        start = time.perf_counter()
        for reply in short:
            meter(reply)
        speed = len(short) / (time.perf_counter() - start)
        print(f"{speed:,.0f} turns a second ({run}, {len(short)} replies under 200 characters)")


def print_errors(replies: Sequence[Reply]) -> None:
    """Every disagreement with the headline label."""
    for reply in replies:
        reading = read_leak(reply.text, reply.problem, reply.earlier)
        if (reading.level >= Leak.FINAL_ANSWER) != correct(reply):
            print(f"\n{reply.conversation} {reply.tutor} answer {reply.problem.answer} label {reply.label!r} {reading}")
            print("  student:", reply.earlier[-1].text)
            print("  tutor:", reply.text)


if __name__ == "__main__":
    main()
