import json
from pathlib import Path
from typing import Any

import pytest

from diotima.reports.calibrated import calibration_tables, calibration_words, on_trust
from diotima.runs.calibrations import CALIBRATIONS


def figure(mean: float | None, low: float | None = None, high: float | None = None, n: int = 30) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "n": n}


@pytest.fixture
def calibration() -> dict[str, Any]:
    rater = {
        "rater": "judge",
        "n": 30,
        "figures": {"accuracy": figure(0.8, 0.7, 0.9), "kappa": figure(-0.1, -0.3, 0.1)},
    }
    lucky = {"rater": "majority", "n": 30, "figures": {"accuracy": figure(0.5), "kappa": figure(None)}}
    topic = {
        "name": "asks",
        "kind": "labels",
        "prevalence": [["no", 0.7], ["yes", 0.3]],
        "raters": [rater, lucky],
        "verdict": {"sentence": "On asks this judge is no better."},
        "identical": None,
        "self_alpha": None,
        "length_bias": None,
    }
    return {
        "judge": "openai/x",
        "rubric": "small",
        "headline": "score",
        "human": {"file": "ours.csv"},
        "cases": 30,
        "problems": 30,
        "samples": 1,
        "judgements": {"n": 40, "valid": 30, "invalid": 8, "refused": 2, "error": 0},
        "topics": [topic],
        "order_flips": None,
        "attacks": [],
        "rises_by_chance": figure(None, 0.0, 1.0, 0),
    }


def test_a_table_shows_what_is_known_and_a_dash_for_what_is_not(calibration: dict[str, Any]) -> None:
    (table,) = calibration_tables(calibration)
    assert table.caption == "asks: agreement with people, who said no 70%, yes 30%"
    assert [title for title, _ in table.columns] == ["rater", "n", "accuracy", "kappa"]
    judge, majority = table.rows
    assert [(cell.text, cell.detail) for cell in judge.cells[2:]] == [("0.80", "0.70…0.90"), ("−0.10", "−0.30…0.10")]
    assert [(cell.text, cell.detail) for cell in majority.cells[2:]] == [("0.50", ""), ("–", "")]


def test_what_people_gave_of_a_measure_is_told_by_its_range(calibration: dict[str, Any]) -> None:
    calibration["topics"][0] |= {"kind": "measure", "prevalence": [[0.5, 0.75], [1.0, 0.25]]}
    assert calibration_tables(calibration)[0].caption.endswith("who gave 0.5 to 1, 0.62 on average")


def test_habits_and_attacks_have_tables_of_their_own(calibration: dict[str, Any]) -> None:
    calibration["samples"] = 3
    calibration["topics"][0]["identical"] = figure(0.9, 0.8, 1.0)
    flips = figure(0.1, 0.0178, 0.4042, 10)
    calibration["attacks"] = [
        {"attack": "empty", "how": "replace", "about": "says nothing", "tried": 12, "flips": flips}
    ]
    _, habits, attacks = calibration_tables(calibration)
    assert habits.caption == "The judge by itself, 3 verdicts a case"
    assert [title for title, _ in habits.columns] == ["on", "same again"]
    assert [cell.text for cell in attacks.rows[0].cells] == ["empty", "replace", "10", "10%"]
    assert attacks.rows[0].cells[-1].detail == "2–40"
    assert len(attacks.rows) == 1
    calibration["rises_by_chance"] = figure(0.05, 0.01, 0.2)
    assert [row.cells[0].text for row in calibration_tables(calibration)[-1].rows] == ["empty", "none"]


def test_a_run_says_of_each_judge_what_was_known(tmp_path: Path) -> None:
    assert list(on_trust(tmp_path)) == []
    known = {"openai/x": {"summary": "kappa 0.9"}, "vllm/y": None}
    (tmp_path / CALIBRATIONS).write_text(json.dumps(known), encoding="utf-8")
    first, second = on_trust(tmp_path)
    assert first == "kappa 0.9"
    assert second.startswith("How far vllm/y can be trusted")


def test_the_words_say_what_is_missing_and_where_to_doubt(calibration: dict[str, Any]) -> None:
    first, verdict = calibration_words(calibration)
    assert first == "openai/x under small: 30 cases of ours.csv, 40 verdicts, 75.0% valid (8 invalid, 2 refused)."
    assert verdict == "On asks this judge is no better."
    calibration |= {"problems": 6, "order_flips": figure(0.5, 0.2, 0.8, 8)}
    *_, flips, few = calibration_words(calibration)
    assert flips == "Asked in the other order it says another thing in 50.0% (20–80) of 8 comparisons."
    assert few.startswith("Only 6 problems")
