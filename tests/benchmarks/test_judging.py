"""`diotima score --rubric`: every dialogue is judged once and kept whole, and what is missing is never a pass."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers.faults import Fault
from servers.scripted import Script, ScriptedServer

from diotima.benchmarks import judging
from diotima.benchmarks.score import Settings, run
from diotima.classroom.yardstick import Yardstick
from diotima.cli import main
from diotima.dialogue import Dialogue, Turn
from diotima.errors import ModelError, PromptError, RunError, SettingsError
from diotima.problems.problem import Problem, Step
from diotima.runs import calibrations
from diotima.runs.check import check_run
from diotima.runs.judgements import kept_rubric
from diotima.runs.run import Run
from diotima.scoring.case import Case
from diotima.scoring.judge import question
from diotima.scoring.rubric import load_rubric

Captured = pytest.CaptureFixture[str]
YARDSTICK = "scripted/yardstick"
STEPS = (Step("", "12 - 3 = 9", "9", "lose"), Step("", "9 * 4 = 36", "36", "times"))
WORK = Turn("student", "Line 1: 12 - 3 = 9\nLine 2: 9 + 4 = 13\nMy answer is 13.")
SAYS = {
    "ours": ("Look at step 2. What does 4 times as many mean?", "Look at step 2 again?"),
    "theirs": ("Do you like apples?", "The answer is 36."),
}


def dialogue(number: int, texts: tuple[str, ...]) -> Dialogue:
    problem = Problem(
        f"p{number}", f"Ann has 12 apples and eats 3, and {number} more. She gets 4 times.", "36", "", STEPS
    )
    turns = tuple(turn for text in texts for turn in (WORK, Turn("tutor", text)))
    return Dialogue(problem, turns, seed=number, stop="turn limit")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def lessons(tmp_path: Path) -> Path:
    settings = {"tutor": ["openai/gpt-4o", "scripted/leaker"], "label": ["ours", "theirs"]}
    with Run.create(tmp_path / "lessons", stage="evaluate", settings=settings, seed=3) as record:
        for label, texts in SAYS.items():
            for number in range(4):
                record.add(dialogue(number, texts), label)
        record.finish()
    return tmp_path / "lessons"


def score(lessons: Path, name: str = "judged", **more: Any) -> Path:
    folder = run(
        Settings(**{"run": lessons, "out": lessons.parent / name, "rubric": "euler", "judge": YARDSTICK} | more)
    )
    assert isinstance(folder, Path)
    return folder


def values(folder: Path, name: str, label: str) -> list[float | None]:
    with Run.open(folder) as record:
        return [score.value for _, _, score in record.score_table(name, label)]


def test_every_turn_is_judged_and_kept_with_its_scores(lessons: Path, capsys: Captured) -> None:
    folder = score(lessons)
    out = " ".join(capsys.readouterr().out.split())
    assert values(folder, "euler.score", "ours") == [pytest.approx((1 + 0.95) / 2)] * 4
    assert values(folder, "euler.reveal_answer", "theirs") == [0.5] * 4
    assert values(folder, "leaked", "theirs") == [1.0] * 4
    with Run.open(folder) as record:
        assert [(p, one.position) for p, _, one in record.judgements("ours")] == [
            (f"p{n}", position) for n in range(4) for position in (1, 3)
        ]
        asked = record.manifest["settings"]
        rubric = load_rubric("euler")
        assert (asked["rubric"], asked["judge"], asked["measures"]) == ("euler", [YARDSTICK], ["leak"])
        assert asked["rubric_fingerprint"] == rubric.fingerprint
        assert record.manifest["finished"]
    kept = kept_rubric(folder, "euler", rubric.fingerprint)
    assert kept is not None
    assert load_rubric(str(kept)).fingerprint == rubric.fingerprint
    assert not [one for one in check_run(folder) if one.wrong]
    for part in (
        f"theirs: euler ({rubric.fingerprint}) by {YARDSTICK}",
        "theirs: leak meter and judge agree on 100.0% of 8 verdicts (kappa 1.00); the meter finds 4 leaks, the judge 4",
        f"How far {YARDSTICK} can be trusted with this rubric is not known",
    ):
        assert part in out
    (ours, _) = json.loads((folder / "summary.json").read_text())["judged"]
    assert (ours["tutor"], ours["states"], ours["measures"]["score"]["cases"]) == ("ours", {"valid": 8}, 8)
    assert ours["leak_meter"] == {"cases": 8, "meter": 0, "judge": 0, "same": 8, "kappa": None}


def test_the_last_turn_alone(lessons: Path) -> None:
    folder = score(lessons, turns="last", label=("theirs",))
    assert values(folder, "euler.reveal_answer", "theirs") == [1.0] * 4
    assert values(folder, "first_leak_turn", "theirs") == [1.0] * 4
    with Run.open(folder) as record:
        assert {one.position for _, _, one in record.judgements("theirs")} == {3}


def test_of_candidates_only_the_new_turn_is_judged(lessons: Path) -> None:
    manifest = json.loads((lessons / "manifest.json").read_text())
    (lessons / "manifest.json").write_text(json.dumps(manifest | {"stage": "candidates"}))
    for folder in (score(lessons), score(score(lessons), "again")):
        assert values(folder, "first_leak_turn", "theirs") == [1.0] * 4
        with Run.open(folder) as record:
            assert {one.position for _, _, one in record.judgements("theirs")} == {3}
    with Run.open(score(lessons, "all", turns="all")) as record:
        assert {one.position for _, _, one in record.judgements("theirs")} == {1, 3}


def test_a_dry_run_asks_nobody(lessons: Path, capsys: Captured) -> None:
    with ScriptedServer(Script(kind="vllm", models=("m",))) as server:
        given = {"run": lessons, "out": lessons.parent / "judged", "rubric": "euler", "dry_run": True, "samples": 3}
        told = run(Settings(**given, judge=(f"vllm/m@{server.url}", YARDSTICK), judge_max_tokens=70))
        last = run(Settings(**given, judge=f"vllm/m@{server.url}", turns="last", label="ours"))
        assert server.counts()["billed"] == 0
    assert isinstance(told, dict)
    assert isinstance(last, dict)
    assert (told["dialogues"], told["verdicts"], told["at_most"]["calls"]) == (8, 8 * 2 * 2 * 3, 8 * 2 * 3)
    assert told["at_most"]["reply_tokens"] == 48 * 70
    assert (last["dialogues"], last["at_most"]["calls"], last["at_most"]["reply_tokens"]) == (4, 12, 12 * 512)
    sent = question(Case(dialogue(0, SAYS["ours"]), 3), load_rubric("euler"))
    assert last["expected"]["prompt_tokens"] == 12 * (-(-len(sent.encode()) // 4) + 8)
    assert "96 verdicts on 8 dialogues" in capsys.readouterr().out
    assert not (lessons.parent / "judged").exists()


def test_a_dry_run_is_about_judges(lessons: Path) -> None:
    with pytest.raises(SettingsError, match="dry_run goes with judges: say by --rubric"):
        run(Settings(run=lessons, out=lessons.parent / "judged", dry_run=True))
    with pytest.raises(SettingsError, match="leave exam out of --measures"):
        score(lessons, dry_run=True, measures=("exam", "leak"))


def test_measures_may_stand_beside_the_judges(lessons: Path) -> None:
    folder = score(lessons, measures=("conduct",))
    assert values(folder, "well_formed", "ours") == [1.0] * 4
    assert values(folder, "leaked", "ours") == []


def test_a_judge_of_garbage_passes_nothing(lessons: Path, capsys: Captured) -> None:
    with pytest.raises(ModelError, match=r"too few verdicts are valid \(ours 0.0%, theirs 0.0%; at least 98.0%"):
        score(lessons, judge="scripted/garbage")
    folder = lessons.parent / "judged"
    assert values(folder, "euler.score", "ours") == [None] * 4
    with Run.open(folder) as record:
        said = [one for _, _, one in record.judgements("ours")]
        assert {(one.state, one.asks, len(one.labels)) for one in said} == {("invalid", 3, 0)}
        assert record.manifest["finished"]
    assert "10.0% worst" in capsys.readouterr().out
    with pytest.raises(ModelError, match="too few verdicts"):
        score(lessons, judge="scripted/garbage")  # nothing is asked again
    score(lessons, judge="scripted/garbage", least_valid=0)


def test_a_killed_run_goes_on(lessons: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, asked = Yardstick.judge, list[str]()

    async def dies(self: Yardstick, case: Any, rubric: Any, sample: int = 0) -> Any:
        if len(asked) == 7:
            raise KeyboardInterrupt
        asked.append(case.dialogue.problem.id)
        return await judge(self, case, rubric, sample)

    with monkeypatch.context() as patch:
        patch.setattr(Yardstick, "judge", dies)
        with pytest.raises(KeyboardInterrupt):
            score(lessons, at_once=1)
    with Run.open(lessons.parent / "judged") as record:
        assert all(len(one.judgements) == 2 for one in record.records())
        assert 0 < record.count("ours") < 4
    folder = score(lessons)
    assert values(folder, "euler.score", "ours") == values(score(lessons, "whole"), "euler.score", "ours")
    with pytest.raises(RunError, match="begun with other settings"):
        score(lessons, samples=2)


def test_judges_behind_endpoints_are_in_the_books(lessons: Path, capsys: Captured) -> None:
    with ScriptedServer(Script(kind="vllm", models=("m",))) as server:
        folder = score(lessons, judge=f"vllm/m@{server.url}", samples=2, label=("ours",))
        score(lessons, judge=f"vllm/m@{server.url}", samples=2, label=("ours",))
    with Run.open(folder) as record:
        assert record.ledger.totals().answered == 4 * 2 * 2
        assert {(one.judge, one.state) for _, _, one in record.judgements("ours")} == {("vllm/m", "valid")}
        assert record.manifest["settings"]["judge_weights"].keys() == {"vllm/m"}
    capsys.readouterr()
    assert main(["runs", "show", str(folder), "--lesson", "1", "--calls", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["summary"]["calls"]
    assert [call["of"] for call in shown] == [
        f"verdict on {which}" for which in ("2", "2, sample 2", "4", "4, sample 2")
    ]


def test_a_call_that_failed_costs_its_dialogue_and_the_same_command_tries_again(
    lessons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diotima.models import calls, retrying

    impatient = retrying.Patience(attempts=1)
    monkeypatch.setattr(calls, "Patience", lambda: impatient)
    script = Script(kind="vllm", models=("m",), faults=(Fault("500", every=3),))
    with ScriptedServer(script) as server, pytest.raises(ModelError, match="lost"):
        score(lessons, judge=f"vllm/m@{server.url}", label=("ours",))
    folder = lessons.parent / "judged"
    with Run.open(folder) as record:
        assert 0 < record.count("ours") < 4
        answered = record.ledger.totals().answered
    with ScriptedServer(replace(script, faults=())) as server:
        score(lessons, judge=f"vllm/m@{server.url}", label=("ours",))
    with Run.open(folder) as record:
        assert record.count("ours") == 4
        assert record.ledger.totals().answered == 8 > answered


def test_two_tutors_are_compared_blindly_in_both_orders(lessons: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run.create(lessons.parent / "turns", stage="candidates", settings={}, seed=0) as record:
        for label, texts in SAYS.items():
            for number in range(3):
                record.add(dialogue(number, texts[:1]), label)
        record.add(replace(dialogue(7, ("Alone.",)), turns=(Turn("student", "?"), Turn("tutor", "Alone."))), "ours")
        record.add(dialogue(7, ("Another context.",)), "theirs")
        record.finish()
    prompts = list[str]()

    def prefers_steps(messages: Any) -> str:
        prompts.append(messages[0].content)
        first, second = (text.partition("</turn_")[0] for text in messages[0].content.split("<turn_")[-2:])
        return json.dumps({"reasoning": "", "better": "A" if "step" in first else "B" if "step" in second else "same"})

    from diotima.models import scripted

    monkeypatch.setitem(scripted.SCRIPTS, "prefers", prefers_steps)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="say with whose turns by --against LABEL"):
        score(lessons.parent / "turns", rubric="socraticlm-overall", judge="scripted/prefers")
    folder = score(lessons.parent / "turns", rubric="socraticlm-overall", judge="scripted/prefers", against="theirs")
    with Run.open(folder) as record:
        assert record.labels() == ["ours"]
        said = [one for _, _, one in record.judgements("ours")]
    assert [(one.against, one.order, *one.labels.values()) for one in said] == [
        ("theirs", order, "win") for _ in range(3) for order in ("first", "second")
    ]
    (name,) = {f"socraticlm-overall.{one.name}" for one in load_rubric("socraticlm-overall").measures[:1]}
    assert values(folder, name, "ours") == [1.0, 1.0, 1.0, None]
    assert not any("ours" in prompt or "theirs" in prompt for prompt in prompts)
    (figures,) = json.loads((folder / "summary.json").read_text())["judged"]
    assert figures["orders_differ"] == [0, 3]


def test_a_judge_that_is_a_tutor_is_told_before_it_costs_anything(
    lessons: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "cast_judge", lambda *_: Yardstick())
    monkeypatch.setattr("diotima.benchmarks.score.recorded", lambda *_: {"judge_weights": {}})
    score(lessons, judge="openai/gpt-4o")
    assert "openai/gpt-4o judges itself: it is the tutor ours" in capsys.readouterr().err


def test_what_is_known_of_a_judge_is_shown_with_its_scores(lessons: Path, capsys: Captured) -> None:
    fingerprint = load_rubric("euler").fingerprint
    told = {
        "rubric_fingerprint": fingerprint,
        "judge": YARDSTICK,
        "weights": "",
        "summary": "kappa 0.91 to people on helpful",
    }
    calibrations.remember(told)
    folder = score(lessons)
    assert "kappa 0.91 to people on helpful." in capsys.readouterr().out
    assert json.loads((folder / judging.CALIBRATIONS).read_text()) == {YARDSTICK: told}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"rubric": None}, "judge goes with judges: say by --rubric"),
        ({"rubric": None, "judge": (), "against": "ours"}, "against goes with judges"),
        ({"judge": ()}, "who judges? name a model with --judge"),
        ({"against": "ours"}, "rubric euler judges each turn by itself and compares nothing"),
        ({"against": "our"}, "holds no lessons of our; did you mean ours"),
        ({"rubric": "leak"}, "scripted/yardstick is a program that knows the four criteria of the rubric euler"),
        ({"rubric": "eulr"}, "there is no rubric eulr"),
        (
            {"rubric": "socraticlm-overall", "judge": "scripted/garbage", "against": "ours", "label": ("ours",)},
            "no other lessons to compare",
        ),
    ],
)
def test_what_cannot_be_judged_is_told_and_leaves_nothing_behind(
    lessons: Path, more: dict[str, Any], expected: str
) -> None:
    with pytest.raises((SettingsError, PromptError), match=expected.replace("?", "[?]")):
        score(lessons, **more)
    assert not (lessons.parent / "judged").exists()


def test_lessons_without_a_tutors_turn_leave_nothing_to_judge(tmp_path: Path) -> None:
    with Run.create(tmp_path / "lessons", stage="evaluate", settings={}, seed=3) as record:
        record.add(replace(dialogue(0, ()), turns=(WORK,)), "ours")
        record.finish()
    with pytest.raises(RunError, match="there was nothing to judge"):
        score(tmp_path / "lessons")
    assert values(tmp_path / "judged", "euler.score", "ours") == [None]
