"""Judges by name: who there is, what decides their verdicts, and what is told of them beforehand."""

import asyncio
import json
from itertools import pairwise
from pathlib import Path

import pytest
from servers.scripted import Script, ScriptedServer

from diotima.classroom.judges import (
    JudgeSettings,
    cast_judge,
    cautions,
    judge_names,
    judges_recorded,
    remember_judges,
)
from diotima.classroom.yardstick import Yardstick
from diotima.dialogue import Dialogue, Message, Turn
from diotima.errors import ModelError, SettingsError
from diotima.models.calls import Calls
from diotima.models.folders import TINY
from diotima.models.scripted import garbage
from diotima.problems.problem import Problem
from diotima.scoring.case import Case
from diotima.scoring.rubric import load_rubric
from diotima.scoring.verdicts import Said, read_verdict

EULER = load_rubric("euler")
DIALOGUE = Dialogue(Problem("p", "How many are 2 and 3?", "5"), (Turn("student", "6"), Turn("tutor", "Why?")))


def test_a_judge_is_had_by_name() -> None:
    assert isinstance(cast_judge("scripted/yardstick", JudgeSettings(), Calls(), EULER), Yardstick)
    judge = cast_judge("scripted/garbage", JudgeSettings(), Calls(), EULER)
    said = asyncio.run(judge.judge(Case(DIALOGUE, 1), EULER))
    assert (said.judge, said.state, said.asks) == ("scripted/garbage", "invalid", 3)


def test_a_judge_behind_an_endpoint_is_called_without_its_address() -> None:
    with ScriptedServer(Script(kind="vllm", models=("m",))) as server:
        name, calls = f"vllm/m@{server.url}", Calls()
        settings = JudgeSettings(judge=name, samples=2, judge_temperature=0)
        judge = cast_judge(name, settings, calls, EULER)
        said = calls.conduct(judge.judge(Case(DIALOGUE, 1), EULER))
        recorded = judges_recorded(settings, EULER, calls)
    assert (said.judge, said.state) == ("vllm/m", "valid")
    assert judge_names(settings) == ("vllm/m",)
    assert (recorded["judge"], recorded["samples"], recorded["judge_temperature"]) == (["vllm/m"], 2, 0)
    assert (recorded["judge_max_tokens"], recorded["rubric_fingerprint"]) == (EULER.max_tokens, EULER.fingerprint)
    assert set(recorded["judge_weights"]) == {"vllm/m"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scripted/yardstik", "there is no judge scripted/yardstik; did you mean scripted/yardstick"),
        ("nothing", "judge = nothing: there is no model"),
        ("hf//nowhere", "judge = hf//nowhere"),
    ],
)
def test_a_judge_that_is_none_is_told(name: str, expected: str) -> None:
    with pytest.raises((SettingsError, ModelError), match=expected):
        cast_judge(name, JudgeSettings(), Calls(), EULER)


def test_a_verdict_longer_than_the_models_context_is_told_beforehand() -> None:
    with ScriptedServer(Script(kind="vllm", models=("m",), context=400)) as server:
        name = f"vllm/m@{server.url}"
        with pytest.raises(SettingsError, match="400 tokens in all, and a reply may have 512; lower judge_max_tokens"):
            cast_judge(name, JudgeSettings(judge=name), Calls(), EULER)


def test_one_judge_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="one judge stands there twice; ask it for more --samples"):
        judge_names(JudgeSettings(judge=("vllm/m@http://a:1/v1", "vllm/m@http://b:1/v1")))


def test_whoever_judges_itself_or_its_pupil_is_told(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "judges.json").write_text(json.dumps({"judges": ["openai/gpt-4o"]}))
    trained = str(tmp_path / "model")
    tutors = {"ours": f"hf/{trained}", "theirs": "openai/gpt-4o", "small": "tiny"}
    own, pupil = cautions(["openai/gpt-4o"], tutors)
    assert own.startswith("openai/gpt-4o judges itself: it is the tutor theirs")
    assert pupil.startswith("openai/gpt-4o judges its pupil: it chose what ours learned from")
    assert not list(cautions(["openai/gpt-4o-mini", "scripted/yardstick"], tutors))
    for name in (trained, f"hf/{trained}/"):
        assert "it is the tutor ours" in next(cautions([name], tutors))
    assert "it is the tutor small" in next(cautions([str(TINY)], tutors))
    assert "it is the tutor a" in next(cautions(["vllm/m@http://a:1/v1"], {"a": "vllm/m"}))


def test_a_model_made_from_a_pupil_is_a_pupil_too(tmp_path: Path) -> None:
    chose = {"pupil": {"judges": ["a/one"], "pairs": "p"}, "tuned": None, "again": {"judges": ["a/two", "a/one"]}}
    folders = [tmp_path / name for name in ("base", *chose)]
    for folder in folders:
        folder.mkdir()
    for (before, model), judges in zip(pairwise(folders), chose.values(), strict=True):
        remember_judges(model, [before], judges)
    assert not (folders[0] / "judges.json").exists()
    told = [json.loads((folder / "judges.json").read_text()) for folder in folders[1:]]
    assert told[0] == told[1] == chose["pupil"]
    assert told[2] == {"judges": ["a/one", "a/two"], "pairs": "p"}


@pytest.mark.parametrize("name", ["euler", "euler-strict", "leak", "mrbench", "socraticlm", "socraticlm-overall"])
def test_garbage_is_never_a_verdict(name: str) -> None:
    rubric = load_rubric(name)
    for number in range(300):
        text = garbage([Message("user", f"judge {number}")])
        assert text == garbage([Message("user", f"judge {number}")])
        assert not isinstance(read_verdict(text, rubric), Said)
