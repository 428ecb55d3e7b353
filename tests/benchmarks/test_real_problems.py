"""What the measures say about the reference tutors on GSM8K, where it is at hand."""

from pathlib import Path
from typing import Any

import pytest

from diotima.benchmarks.evaluate import Settings, run
from diotima.runs.manifest import read_json

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "gsm8k" / "test_socratic.jsonl"
pytestmark = pytest.mark.skipif(not DATA.is_file(), reason=f"GSM8K's Socratic test set is not at {DATA}")


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    tutors = ("guide", "sweep", "leaker", "generic")
    settings = Settings(
        out=tmp_path_factory.mktemp("gsm8k") / "run",
        problems=str(DATA),
        most_problems=120,
        tutor=tuple(f"scripted/{name}" for name in tutors),
        label=tutors,
        attempts=6,
        table=False,
    )
    summary = read_json(run(settings) / "summary.json")
    return {tutor["tutor"]: tutor["measures"] for tutor in summary["tutors"]}


def mean(figures: dict[str, Any], tutor: str, measure: str) -> float:
    return float(figures[tutor][measure]["mean"])


def test_the_guide_teaches_what_transfers_and_gives_nothing_away(figures: dict[str, Any]) -> None:
    assert figures["guide"]["gain"]["low"] > 0.3
    assert mean(figures, "guide", "leaked") < 0.02


def test_the_leaker_is_best_on_the_same_problem_and_teaches_nothing(figures: dict[str, Any]) -> None:
    assert mean(figures, "leaker", "solved_same") > mean(figures, "guide", "solved_same") + 0.1
    assert mean(figures, "leaker", "gain") < 0.02
    assert mean(figures, "leaker", "leaked") > 0.9


def test_who_never_looks_lies_between(figures: dict[str, Any]) -> None:
    siblings = [mean(figures, tutor, "solved_sibling") for tutor in ("generic", "sweep", "guide")]
    assert siblings[0] + 0.1 < siblings[1] < siblings[2] - 0.05
    assert mean(figures, "guide", "addressed") > mean(figures, "sweep", "addressed") + 0.1


def test_every_answer_can_be_read(figures: dict[str, Any]) -> None:
    assert {mean(figures, tutor, "unread") for tutor in figures} == {0.0}
