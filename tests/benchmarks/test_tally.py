"""`diotima tally`: stored verdicts, weighed anew and compared, with nobody asked."""

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest

from diotima.benchmarks.tally import Settings, run
from diotima.dialogue import Dialogue, Turn
from diotima.errors import PromptError, RunError, SettingsError
from diotima.problems.problem import Problem
from diotima.runs.judgements import RUBRICS, keep_rubric
from diotima.runs.run import Run
from diotima.score import Judgement
from diotima.scoring.rubric import load_rubric, rubric_text

Captured = pytest.CaptureFixture[str]
EULER = load_rubric("euler")
CHANGED = """---
name: euler
judges: turn
criteria:
  questions: {labels: {'yes': 1, 'no': 0}}
  on_topic: {scale: [1, 5]}
  helpful: {scale: [1, 5]}
  reveal_answer: {labels: {'yes': 0, 'no': 1}}
measures:
  asks: {of: questions}
---
{{transcript}} {{form}}
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")


def verdicts(random: Random, better: bool, judges: tuple[str, ...]) -> Iterator[Judgement]:
    for position in (1, 3):
        for judge in judges:
            high = 5 if better else 3
            labels: dict[str, str | int] = {
                "questions": "yes", "on_topic": random.randint(1, high), "helpful": random.randint(1, high),
                "reveal_answer": "no",
            }  # fmt: skip
            yield Judgement("euler", EULER.fingerprint, judge, position, 0, "valid", labels, "", 1)


def judged_run(folder: Path, labels: tuple[str, ...] = ("ours", "theirs"), judges: tuple[str, ...] = ("a",)) -> str:
    random = Random(1)
    with Run.create(folder, stage="score", settings={}, seed=0) as record:
        keep_rubric(folder, "euler", EULER.fingerprint, rubric_text(EULER))
        for label in labels:
            for number in range(40):
                turns = (Turn("student", "6"), Turn("tutor", "Why?")) * 2
                dialogue = Dialogue(Problem(f"p{number}", "How many?", "5"), turns, seed=number)
                record.add(dialogue, label, judgements=verdicts(random, label == "ours", judges))
        record.finish()
    return str(folder)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> str:
    return judged_run(tmp_path_factory.mktemp("tally") / "judged")


def tally(*runs: str, **more: Any) -> dict[str, Any]:
    return run(Settings(runs=runs, **more))


def mean(told: dict[str, Any], measure: str, place: int = 0) -> float:
    found: float = told["judged"][place]["measures"][measure]["mean"]
    return found


def test_stored_verdicts_are_counted_and_compared(judged: str, capsys: Captured) -> None:
    told = tally(judged)
    out = " ".join(capsys.readouterr().out.split())
    assert [one["tutor"] for one in told["judged"]] == ["ours", "theirs"]
    assert [one["states"] for one in told["judged"]] == [{"valid": 80}] * 2
    (compared,) = told["compared"]
    found = {one["measure"]: one for one in compared["measures"]}
    assert (compared["baseline"], compared["new"], compared["problems"]) == ("ours", "theirs", 40)
    assert found["helpful"]["verdict"] == "worse"
    assert found["helpful"]["difference"]["mean"] == pytest.approx(mean(told, "helpful", 1) - mean(told, "helpful"))
    assert found["questions"]["verdict"] == "equal"
    assert found["score"]["test"] == "sign flips"
    assert "theirs against ours (baseline): 40 problems" in out
    assert "theirs against ours: score worse, on topic worse, helpful worse." in out


def test_other_weights_need_no_judge(judged: str) -> None:
    told = tally(judged, weights={"helpful": "1/2", "questions": 0.5})
    assert next(iter(told["judged"][0]["measures"])) == "weighed"
    assert mean(told, "weighed") == pytest.approx((mean(told, "helpful") + mean(told, "questions")) / 2)
    assert mean(told, "score") == mean(tally(judged), "score")
    assert told["compared"][0]["measures"][0]["measure"] == "weighed"


def test_the_first_label_is_the_baseline(judged: str) -> None:
    (compared,) = tally(judged, label=("theirs", "ours"))["compared"]
    assert (compared["baseline"], compared["new"]) == ("theirs", "ours")
    assert compared["measures"][0]["verdict"] == "better"
    assert tally(judged, label="ours")["compared"] == []


def test_the_text_that_was_read_counts_and_not_the_packages(tmp_path: Path) -> None:
    folder = Path(judged_run(tmp_path / "run", ("ours",)))
    (path,) = (folder / RUBRICS).iterdir()
    path.write_text(path.read_text().replace("'yes': 1", "'yes': 1/2").replace("yes: 1\n", "yes: 1/2\n", 1))
    told = tally(str(folder))
    assert mean(told, "questions") == 0.5
    assert "it is counted here by euler" in " ".join(told["notes"])
    path.unlink()
    with pytest.raises(RunError, match="has lost the text of its rubric euler; name a file of it"):
        tally(str(folder))
    assert mean(tally(str(folder), rubric=_file(tmp_path, rubric_text(EULER))), "questions") == 1.0


def _file(folder: Path, text: str) -> str:
    path = folder / "mine.md"
    path.write_text(text)
    return str(path)


def test_a_file_with_other_measures(judged: str, tmp_path: Path) -> None:
    told = tally(judged, rubric=_file(tmp_path, CHANGED))
    assert list(told["judged"][0]["measures"]) == ["asks", "on_topic", "helpful", "reveal_answer"]
    assert mean(told, "asks") == 1.0
    assert told["fingerprint"] != EULER.fingerprint
    with pytest.raises(PromptError, match="does not fit rubric euler: helpful is"):
        tally(judged, rubric=_file(tmp_path, CHANGED.replace("helpful: {scale: [1, 5]}", "helpful: {labels: [a, b]}")))


def test_several_judges_by_majority_or_one_of_them(tmp_path: Path) -> None:
    folder = judged_run(tmp_path / "run", ("ours",), ("a", "b", "c"))
    told = tally(folder)
    assert told["judged"][0]["judges"] == ["a", "b", "c"]
    alone = tally(folder, judge="b")
    assert mean(alone, "score") == told["judged"][0]["by_judge"]["b"]["mean"]
    majority = tally(folder, combine="majority")["judged"][0]["measures"]["helpful"]
    with Run.open(Path(folder)) as record:
        said: dict[tuple[str, int], list[Any]] = {}
        for problem, _, one in record.judgements("ours"):
            said.setdefault((problem, one.position), []).append(one.labels["helpful"])
    agreed = [max(labels, key=labels.count) for labels in said.values() if len(set(labels)) < 3]
    assert (majority["cases"], majority["valid"]) == (80, len(agreed))
    assert majority["mean"] == pytest.approx(float(sum(Fraction(label, 5) for label in agreed) / len(agreed)))


def test_another_way_to_combine_is_told(judged: str) -> None:
    assert tally(judged)["combine"] == "mean"
    told = tally(judged, combine="majority")
    assert told["combine"] == "majority"
    assert "combined by majority, as was asked for" in " ".join(told["notes"])


def test_only_judges_that_are_counted_are_told_of(tmp_path: Path) -> None:
    folder = judged_run(tmp_path / "run", ("ours",), ("a", "b"))
    known = {"a": {"summary": "a can be trusted"}, "b": None}
    (tmp_path / "run" / "calibrations.json").write_text(json.dumps(known))
    both, alone = (" ".join(tally(folder, **more)["notes"]) for more in ({}, {"judge": "b"}))
    assert "a can be trusted" in both
    assert "How far b can be trusted" in both
    assert "a can be trusted" not in alone
    assert "How far b can be trusted" in alone


def test_two_runs_of_one_label_are_told_apart(judged: str, tmp_path: Path) -> None:
    other = judged_run(tmp_path / "other", ("ours",), ("b",))
    told = tally(judged, other, label="ours")
    assert [one["tutor"] for one in told["judged"]] == ["judged", "other"]
    assert told["compared"][0]["problems"] == 40
    assert "Not all were judged by the same (a; b)" in " ".join(told["notes"])


def test_figures_are_kept_where_asked(judged: str, tmp_path: Path) -> None:
    told = tally(judged, out=tmp_path / "new" / "tally.json")
    assert json.loads((tmp_path / "new" / "tally.json").read_text()) == json.loads(json.dumps(told))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"rubric": "leak"}, "holds no verdicts under the rubric leak; known are: euler"),
        ({"label": ("our",)}, "label = our: there is none of this name; did you mean ours"),
        ({"judge": ("gpt",)}, "judge = gpt: gave no verdicts on ours"),
        ({"weights": {"helpfull": 1}}, "there is no helpfull; did you mean helpful"),
    ],
)
def test_what_is_not_there_is_told(judged: str, more: dict[str, Any], expected: str) -> None:
    with pytest.raises((SettingsError, PromptError), match=expected):
        tally(judged, **more)


def test_a_run_without_verdicts_is_told(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", stage="teach", settings={}, seed=0) as record:
        record.add(Dialogue(Problem("p", "How many?", "5")), "ours")
    with pytest.raises(RunError, match="holds no verdicts of judges; make some with: diotima score"):
        tally(str(tmp_path / "run"))
