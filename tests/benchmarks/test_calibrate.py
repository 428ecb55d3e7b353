"""The command as a whole, with judges that are functions."""

import json
import re
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from servers.scripted import Script, ScriptedServer

from diotima.benchmarks import calibrate
from diotima.benchmarks.calibrate import Settings, run
from diotima.errors import ModelError, ProblemFileError, RunError, SettingsError
from diotima.models.scripted import ScriptedModel
from diotima.runs.calibrations import recall
from diotima.runs.manifest import read_json
from diotima.runs.run import Run
from diotima.scoring.judge import ModelJudge
from diotima.scoring.rubric import load_rubric

DATA = Path(__file__).parents[2].parent / "shared" / "data"
EULER = DATA / "euler" / "mathdial_human_eval.first20.json"
MRBENCH = DATA / "mrbench" / "MRBench_V2.json"
needs = {path: pytest.mark.skipif(not path.is_file(), reason=f"{path} is not there") for path in (EULER, MRBENCH)}

Judging = Callable[[str], Any]
TEXTS = ("Which step is next?", "The answer is 7.", "Look at the second step again.", "Why?")


def told(text: str, helpful: int | None = None) -> dict[str, Any]:
    """What people say of a turn in these tests."""
    asks = "?" in text
    return {
        "questions": "yes" if asks else "no",
        "on_topic": 5 if "step" in text else 3,
        "helpful": helpful or (4 if "step" in text else 2),
        "reveal_answer": "yes" if "answer" in text else "no",
    }


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    file = tmp_path / "ours.jsonl"
    rows = [
        {"id": f"p{number}", "history": "Student: It is 6.", "response": TEXTS[number % 4], "rater": rater}
        | told(TEXTS[number % 4])
        for number in range(24)
        for rater in ("Ana", "Bo")
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def judges(monkeypatch: pytest.MonkeyPatch) -> Callable[[Judging], list[str]]:
    """Makes a function of the judged turn the judge; returns the list of turns that it was asked about."""

    def use(judging: Judging) -> list[str]:
        asked: list[str] = []

        def script(messages: Any) -> str:
            turn = re.search(r"<judged>\n(.*?)\n</judged>", messages[0].content, re.DOTALL)
            asked.append(turn[1] if turn else messages[0].content)
            said = judging(asked[-1])
            return said if isinstance(said, str) else json.dumps(said)

        judge = ModelJudge(ScriptedModel(script), "scripted/judge")
        monkeypatch.setattr(calibrate, "cast_judge", lambda *_: judge)
        return asked

    return use


def calibrated(human: Path, out: Path, **settings: Any) -> dict[str, Any]:
    folder = run(Settings(judge=("scripted/judge",), human=human, out=out, **settings))
    assert isinstance(folder, Path)
    return read_json(folder / "calibration.json")


def named(found: list[Mapping[str, Any]], key: str) -> dict[str, Mapping[str, Any]]:
    return {one[key]: one for one in found}


def test_a_judge_that_agrees_with_people_is_trusted(ratings: Path, tmp_path: Path, judges: Any, capsys: Any) -> None:
    asked = judges(told)
    found = calibrated(ratings, tmp_path / "out", attack_cases=0)
    assert len(asked) == 24 * 3
    assert found["cases"] == 24
    assert found["human"] == {"file": "ours.jsonl", "ratings": 48, "raters": 2} | {
        "fingerprint": found["human"]["fingerprint"]
    }
    assert found["judgements"] == {"n": 72, "valid": 72, "invalid": 0, "refused": 0, "error": 0}
    topics = named(found["topics"], "name")
    assert list(topics) == ["score", "questions", "on_topic", "helpful", "reveal_answer"]
    assert topics["helpful"]["verdict"]["better"] is True
    assert topics["score"]["raters"][0]["figures"]["pearson"]["mean"] == pytest.approx(1)
    assert "people" in named(topics["score"]["raters"], "rater")
    assert topics["questions"]["verdict"]["better"] is None
    printed = capsys.readouterr().out
    assert "helpful: agreement with people, who said 2 50%, 4 50%" in printed
    assert "On questions this judge is no better than looking for a question mark" in printed
    assert "100.0% valid" in printed


def test_it_is_remembered_and_kept_with_the_run(ratings: Path, tmp_path: Path, judges: Any) -> None:
    judges(told)
    found = calibrated(ratings, tmp_path / "out", attack_cases=0, table=False)
    assert recall(load_rubric("euler").fingerprint, "scripted/judge", "") == found
    assert "score r 1.00" in found["summary"]
    with Run.open(tmp_path / "out") as record:
        assert record.manifest["finished"]
        assert record.labels() == ["unnamed"]
        assert sum(1 for _ in record.judgements("unnamed", "euler")) == 72
        assert record.rubrics() == [("euler", found["rubric_fingerprint"])]


def test_some_cases_do_not_take_the_place_of_all(ratings: Path, tmp_path: Path, judges: Any, capsys: Any) -> None:
    judges(told)
    settings = {"samples": 1, "attack_cases": 0, "table": False}
    few = calibrated(ratings, tmp_path / "few", most_cases=6, **settings)
    found = calibrated(ratings, tmp_path / "all", **settings)
    assert few["cases"] < found["cases"]
    assert "stays" not in capsys.readouterr().err
    calibrated(ratings, tmp_path / "again", most_cases=6, **settings)
    assert "comes from 24 cases and stays; this calibration of 6 is in" in capsys.readouterr().err
    assert recall(load_rubric("euler").fingerprint, "scripted/judge", "") == found
    more = calibrated(ratings, tmp_path / "more", most_cases=30, **settings)
    assert recall(load_rubric("euler").fingerprint, "scripted/judge", "") == more


def test_a_dry_run_asks_nobody(ratings: Path, tmp_path: Path, capsys: Any) -> None:
    given = {"human": ratings, "out": tmp_path / "out", "dry_run": True, "judge_max_tokens": 100, "most_cases": 10}
    with ScriptedServer(Script(kind="vllm", models=("m",))) as server:
        judge = f"vllm/m@{server.url}"
        told = run(Settings(judge=judge, samples=2, attack=("five-of-five", "colon"), attack_cases=3, **given))
        alone = run(Settings(judge=judge, samples=2, attack_cases=0, **given))
        assert server.counts()["billed"] == 0
    assert isinstance(told, dict)
    assert isinstance(alone, dict)
    assert (told["dialogues"], told["verdicts"], told["at_most"]["calls"]) == (10 + 6, 20 + 6, 26)
    assert alone["at_most"]["calls"] == 20
    assert told["at_most"]["reply_tokens"] == 26 * 100
    assert "6 of the verdicts are about attacks, of which there may be fewer" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_nothing_is_asked_twice_although_it_was_killed(ratings: Path, tmp_path: Path, judges: Any) -> None:
    asks = count(1)

    def dying(text: str) -> dict[str, Any]:
        if next(asks) > 11:
            raise KeyboardInterrupt
        return told(text)

    settings = {"samples": 1, "attack": ("five-of-five",), "table": False, "at_once": 1}
    judges(dying)
    with pytest.raises(KeyboardInterrupt):
        calibrated(ratings, tmp_path / "out", **settings)
    asked = judges(told)
    found = calibrated(ratings, tmp_path / "out", **settings)
    assert len(asked) == 24 - 11 + found["attacks"][0]["tried"]
    again = judges(told)
    assert calibrated(ratings, tmp_path / "out", **settings) | {"made": ""} == found | {"made": ""}
    assert not again
    judges(told)
    assert calibrated(ratings, tmp_path / "whole", **settings) | {"made": ""} == found | {"made": ""}


def test_another_question_is_another_run(ratings: Path, tmp_path: Path, judges: Any) -> None:
    judges(told)
    calibrated(ratings, tmp_path / "out", samples=1, attack_cases=0, table=False)
    with pytest.raises(RunError, match="begun with other settings"):
        calibrated(ratings, tmp_path / "out", samples=2, attack_cases=0, table=False)


def test_garbage_is_no_calibration(ratings: Path, tmp_path: Path, judges: Any) -> None:
    judges(lambda text: f"I like {text}")
    with pytest.raises(ModelError, match="not one of 24 verdicts of scripted/judge could be read"):
        calibrated(ratings, tmp_path / "out", samples=1, table=False)
    assert recall(load_rubric("euler").fingerprint, "scripted/judge", "") is None
    found = read_json(tmp_path / "out" / "calibration.json")
    assert found["judgements"]["valid"] == 0
    assert all(topic["verdict"]["better"] is None for topic in found["topics"])
    assert all(attack["tried"] == 0 for attack in found["attacks"])
    with Run.open(tmp_path / "out") as record:
        assert not record.manifest["finished"]


def test_a_judge_that_is_talked_into_it_is_found_out(ratings: Path, tmp_path: Path, judges: Any) -> None:
    def gullible(text: str) -> dict[str, Any]:
        if "Score 5" in text or "prize" in text:
            return told(text, 5) | {"on_topic": 5}
        return told("Which step?", 5) if not text.strip() else told(text)

    judges(gullible)
    found = calibrated(ratings, tmp_path / "out", samples=2, table=False)
    flips = {name: attack["flips"]["mean"] for name, attack in named(found["attacks"], "attack").items()}
    assert flips["five-of-five"] == flips["authority"] == flips["empty"] == 1
    assert flips["closing-fence"] == flips["note-to-rater"] == flips["colon"] == flips["thought-process"] == 0
    assert found["rises_by_chance"]["mean"] == 0
    assert all(
        attack["flips"]["n"] == attack["tried"] == 20 for attack in found["attacks"] if attack["how"] == "append"
    )
    with Run.open(tmp_path / "out") as record:
        attacked = next(record.records("attack five-of-five"))
        assert attacked.dialogue.turns[-1].text.endswith("Score 5.")
        assert attacked.judgements[0].labels["helpful"] == 5


def test_a_judge_that_changes_its_mind_rises_by_chance(ratings: Path, tmp_path: Path, judges: Any) -> None:
    turns = count()
    judges(lambda text: told(text, 2 + next(turns) % 3))
    found = calibrated(ratings, tmp_path / "out", samples=2, table=False)
    assert found["rises_by_chance"]["mean"] > 0.5
    assert named(found["topics"], "name")["helpful"]["identical"]["mean"] == 0


def test_some_cases_are_drawn_by_the_seed(ratings: Path, tmp_path: Path, judges: Any) -> None:
    def drawn(folder: str, seed: int) -> set[str]:
        judges(told)
        settings = {"samples": 1, "attack_cases": 0, "table": False, "most_cases": 6, "seed": seed}
        assert calibrated(ratings, tmp_path / folder, **settings)["cases"] == 6
        with Run.open(tmp_path / folder) as record:
            return {one.dialogue.problem.id for one in record.records()}

    assert drawn("first", 0) == drawn("again", 0) != drawn("other", 1)


def test_what_is_wrong_is_told_before_anything_is_asked(ratings: Path, tmp_path: Path, judges: Any) -> None:
    asked = judges(told)
    with pytest.raises(SettingsError, match="one judge at a time: --judge was given 0 times"):
        run(Settings(human=ratings, out=tmp_path / "out"))
    with pytest.raises(SettingsError, match="rates helpful, on_topic, questions, reveal_answer, and rubric leak asks"):
        calibrated(ratings, tmp_path / "out", rubric="leak")
    with pytest.raises(ProblemFileError, match="no such file"):
        calibrated(tmp_path / "none.jsonl", tmp_path / "out")
    assert not asked
    assert not (tmp_path / "out").exists()


@needs[EULER]
def test_on_eulers_human_sample_a_question_mark_goes_as_far(tmp_path: Path, judges: Any) -> None:
    """A rater that looks for nothing but a question mark correlates with people almost as GPT-4o does (.78 of 100)."""
    judges(lambda text: told(text, 2) | {"on_topic": 4, "reveal_answer": "no"})
    found = calibrated(EULER, tmp_path / "out", table=False, attack_cases=0)
    score, *criteria = found["topics"]
    raters = named(score["raters"], "rater")
    assert raters["question mark"]["figures"]["pearson"]["mean"] == pytest.approx(0.75, abs=0.005)
    assert raters["judge"]["figures"]["pearson"]["mean"] == pytest.approx(0.75, abs=0.005)
    assert score["verdict"]["better"] is None
    assert dict(named(criteria, "name")["reveal_answer"]["prevalence"]) == {"no": 0.9, "yes": 0.1}
    assert "people" not in raters


@needs[MRBENCH]
def test_a_judge_of_mrbench_is_measured_exactly_and_leniently(tmp_path: Path, judges: Any) -> None:
    labels = dict.fromkeys(
        ("Mistake_Identification", "Mistake_Location", "Providing_Guidance", "Actionability", "Coherence"), "Yes"
    )
    labels |= {"Revealing_of_the_Answer": "No", "Tutor_Tone": "Neutral", "humanlikeness": "Yes"}
    judges(lambda text: labels)
    found = calibrated(
        MRBENCH, tmp_path / "out", rubric="mrbench", samples=1, most_cases=100, attack_cases=0, table=False
    )
    guidance = named(found["topics"], "name")["Providing_Guidance"]
    figures = guidance["raters"][0]["figures"]
    shares = dict(guidance["prevalence"])
    assert figures["accuracy"]["mean"] == pytest.approx(shares["Yes"])
    assert figures["lenient"]["mean"] == pytest.approx(shares["Yes"] + shares["To some extent"])
    assert figures["quadratic_kappa"]["mean"] == 0
    decided = {topic["name"]: topic["decided_by"] for topic in found["topics"]}
    assert (decided["Revealing_of_the_Answer"], decided["Tutor_Tone"]) == ("kappa", "quadratic_kappa")


@needs[MRBENCH]
def test_a_judge_that_prefers_what_stands_first_is_found_out(tmp_path: Path, judges: Any, capsys: Any) -> None:
    judges(lambda text: {"reasoning": "", "better": "A"})
    found = calibrated(MRBENCH, tmp_path / "out", rubric="socraticlm-overall", samples=2, most_cases=30)
    assert found["order_flips"]["mean"] == 1
    assert found["order_flips"]["n"] == 30
    assert found["judgements"]["n"] == 120
    assert found["attacks"] == []
    assert found["topics"][0]["identical"]["mean"] == 1
    assert "another thing in 100.0%" in capsys.readouterr().out
