import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from diotima.scoring.marking import LONGEST_ANSWER, Marker
from diotima.scoring.quantities import NumberRules
from diotima.scoring.verdict import Verdict

GOLDEN = [json.loads(line) for line in Path(__file__).with_name("golden_answers.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def marker() -> Iterator[Marker]:
    marker = Marker()
    yield marker
    marker.workers.close()


def mark(marker: Marker, given: str, expected: str) -> Verdict:
    return asyncio.run(marker.mark(given, expected))


def test_golden_set(marker: Marker) -> None:
    async def mark_all() -> list[Verdict]:
        return await asyncio.gather(*(marker.mark(pair["given"], pair["expected"]) for pair in GOLDEN))

    verdicts = asyncio.run(mark_all())
    missed = [
        (pair["given"], pair["expected"], str(verdict))
        for pair, verdict in zip(GOLDEN, verdicts, strict=True)
        if verdict != pair["verdict"]
    ]
    assert len(missed) <= 3
    assert missed == [(pair["given"], pair["expected"], pair["known_miss"]) for pair in GOLDEN if "known_miss" in pair]
    assert not any(verdict == "correct" for _, _, verdict in missed)


def test_golden_set_is_large_and_without_doubles() -> None:
    pairs = {(pair["given"], pair["expected"]) for pair in GOLDEN}
    assert len(pairs) == len(GOLDEN) >= 300
    assert {pair["verdict"] for pair in GOLDEN} == {"correct", "incorrect", "unparsed"}


@pytest.mark.parametrize(
    ("rules", "given", "expected", "verdict"),
    [
        (NumberRules(absolute=0.01), "3.14", "3.1416", "correct"),
        (NumberRules(absolute=0.01), "3.12", "3.1416", "incorrect"),
        (NumberRules(relative=0.1), "91", "100", "correct"),
        (NumberRules(relative=0.1), "89", "100", "incorrect"),
        (NumberRules(relative=0.1), "-9", "10", "incorrect"),
        (NumberRules(absolute=0.01), "3.14", r"\pi", "correct"),
        (NumberRules(absolute=0.001), "3.14", r"\pi", "incorrect"),
        (NumberRules(absolute=0.5), "x+1.2", "x+1", "incorrect"),
        (NumberRules(percent="hundredths"), "45%", "0.45", "correct"),
        (NumberRules(percent="hundredths"), "45%", "45", "incorrect"),
        (NumberRules(percent="hundredths"), "45%", "45%", "correct"),
    ],
)
def test_declared_rules(marker: Marker, rules: NumberRules, given: str, expected: str, verdict: str) -> None:
    assert mark(Marker(rules, marker.workers), given, expected) == verdict


def test_numbers_words_and_letters_start_no_process() -> None:
    marker = Marker()
    for given, expected in [("57", "57"), ("The answer is 5 km.", "5 m"), ("blue", "red"), ("B", "(B)"), ("hm", "57")]:
        mark(marker, given, expected)
    assert not marker.workers.processes


def test_one_marker_serves_several_event_loops(marker: Marker) -> None:
    assert [mark(marker, r"\sqrt{16}", "4") for _ in range(3)] == ["correct"] * 3


@pytest.mark.parametrize(
    "given",
    [
        "9**9**9",
        "9^{9^9}",
        "10^{10^{10}}",
        "1" * 1_000_000,
        r"\boxed{" + "1+" * 500_000 + "}",
        "The answer is " + "x" * 1_000_000,
        "answer to " + " " * 1_000_000,
        "{" * 100_000 + "}" * 100_000,
        r"\boxed{" + "(" * 100_000 + "1" + ")" * 100_000 + "}",
        r"\boxed{" + "(" * 100 + "1" + ")" * 100 + "}",
        r"\frac{1}{" * 30_000 + "2" + "}" * 30_000,
        "x\0+1",
        "\0",
        "\ud800",
        "x+\udfff",
    ],
    ids=lambda given: f"{given[:16]!a}",
)
@pytest.mark.parametrize("expected", ["57", r"\frac{\pi}{2}"])
def test_hostile_text_is_no_right_answer_and_ends(marker: Marker, given: str, expected: str) -> None:
    assert mark(marker, given, expected) in ("incorrect", "unparsed")


def test_over_long_and_deep_answers_are_refused_without_a_process() -> None:
    marker = Marker()
    assert mark(marker, r"\boxed{" + "x+" * LONGEST_ANSWER + "x}", "x+1") == "unparsed"
    assert mark(marker, r"\boxed{" + "(" * 40 + "x" + ")" * 40 + "}", "x+1") == "unparsed"
    assert not marker.workers.processes
