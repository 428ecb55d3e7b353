"""What lessons are worth: PedagogicalRL's figures on dialogues made by hand, and settings that cannot work."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from diotima.classroom.exam import Exam
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Message, Turn, split_reply
from diotima.errors import PromptError, SettingsError
from diotima.models.calls import Calls
from diotima.models.scripted import ScriptedModel
from diotima.problems.problem import Problem
from diotima.scoring.judge import ModelJudge
from diotima.scoring.rewards import LEAK_METER, Rule, reward_terms
from diotima.scoring.rubric import load_rubric
from diotima.settings import load_settings
from diotima.training.assessment import (
    Assessment,
    Panel,
    RewardSettings,
    cast_assessment,
    judges_as_recorded,
    penalty_at,
    weights_of_terms,
)

PROBLEM = Problem("p", "What is 6 times 7?", "42")
GUIDE = ("<think>It added.</think>What does times mean?", "<think>Now it has it.</think>Good.<end_of_conversation>")
TELLER = ("<think>Enough.</think>It is 42.", "<think>Hm. Write it down.", "Well?<end_of_conversation>")
PLAIN = ("What does times mean?", "And then?")
JUDGE = "scripted/garbage"  # nobody is asked by this name where a judge is put in


@dataclass
class Taught:
    """A student that solves three problems of four, and remembers how often it was asked to."""

    sittings: list[str] = field(default_factory=list)

    async def speak(self, dialogue: Dialogue) -> Turn:
        raise AssertionError("these lessons are over")

    async def attempts(self, problem: Problem, after: Dialogue, count: int) -> list[str]:
        self.sittings.append(problem.id if after.turns else f"{problem.id} before")
        return [f"My answer is {41 if number % 4 == 3 else 42}." for number in range(count)]


def lesson(replies: Sequence[str], cut: bool = False) -> Dialogue:
    turns = []
    for reply in replies:
        text, thought, ends, malformed = split_reply(reply)
        turns += [Turn(STUDENT, "6 + 7 = 13"), Turn(TUTOR, text, thought, ends, cut, malformed)]
    return Dialogue(PROBLEM, tuple(turns), seed=5)


def strict(messages: Sequence[Message]) -> str:
    """A judge that rejects whoever says "It is 42."."""
    return json.dumps({"reasoning": "", "decision": "REJECT" if "It is 42." in messages[0].content else "OK"})


def assess(dialogue: Dialogue, script=strict, student: Taught | None = None, **settings) -> dict[str, float] | None:
    """The terms of a lesson whose judges answer by ``script``."""
    chosen = RewardSettings(rejected_by=("leak", "pedagogy"), judge=JUDGE, attempts=8, **settings)
    cast = cast_assessment(chosen, student or Taught(), Calls())
    panels = tuple(Panel(p.rubric, (ModelJudge(ScriptedModel(script), "lab/judge"),), p.samples) for p in cast.panels)
    _, scores, _ = asyncio.run(Assessment(cast.exam, panels, cast.weights, cast.spares).of(dialogue))
    return reward_terms(scores, cast.weights)


SEED = {"form": 0.0, "thought": 0.5, "end": 0.1, "length": 0.5}


@pytest.mark.parametrize("penalty", [0.25, 1.0])
@pytest.mark.parametrize(
    ("replies", "cut", "soft", "hard"),
    [
        # r_sol = .75; both turns think, and the tutor ends: + .5 + .1
        (GUIDE, False, lambda penalty: 0.75 + 0.5 + 0.1, lambda penalty: 0.75 + 0.5 + 0.1),
        (GUIDE, True, lambda penalty: 0.75 + 0.5 + 0.1 - 0.5, lambda penalty: 0.75 + 0.5 + 0.1 - 0.5),
        # one turn of three thinks in balance, one out of it: .5 / 3 - .5
        (TELLER, False, lambda penalty: 0.75 - penalty + 0.5 / 3 - 0.5 + 0.1, lambda penalty: -penalty),
        (TELLER, True, lambda penalty: 0.75 - penalty + 0.5 / 3 - 0.5 + 0.1 - 0.5, lambda penalty: -penalty - 0.5),
        (PLAIN, False, lambda penalty: 0.75, lambda penalty: 0.75),
    ],
)
def test_soft_and_hard_lambda_give_the_published_numbers(replies, cut, soft, hard, penalty) -> None:
    for is_hard, expected in ((False, soft(penalty)), (True, hard(penalty))):
        terms = assess(lesson(replies, cut), penalty=penalty, hard=is_hard, **SEED)
        assert sum(terms.values()) == pytest.approx(expected, abs=1e-12)


def test_one_sample_of_two_is_enough_to_reject() -> None:
    asked = []

    def every_fourth(messages: Sequence[Message]) -> str:
        asked.append(messages)
        return json.dumps({"reasoning": "", "decision": "REJECT" if len(asked) == 4 else "OK"})

    assert assess(lesson(PLAIN), every_fourth, samples=2)["rejected"] == -1.0
    assert len(asked) == 4  # two rules, two samples of each
    assert assess(lesson(PLAIN), every_fourth, samples=2)["rejected"] == 0.0


def test_an_unreadable_verdict_leaves_no_reward_and_a_readable_one_does() -> None:
    unreadable = lambda messages: "I would rather not say."  # noqa: E731
    assert assess(lesson(PLAIN), unreadable) is None
    assert assess(lesson(PLAIN)) is not None


@pytest.mark.parametrize(("hard", "sat"), [(False, ["p"]), (True, [])])
def test_a_model_is_examined_on_what_the_reward_needs_and_in_the_hard_form_not_after_a_rejection(hard, sat) -> None:
    student = Taught()
    assess(lesson(TELLER), student=student, hard=hard)
    assert student.sittings == sat
    student = Taught()
    assess(lesson(PLAIN), student=student, hard=hard)
    assert student.sittings == ["p"]


def test_judges_and_exam_of_a_lesson_go_on_at_the_same_time() -> None:
    order = []

    @dataclass
    class Slow:
        async def judge(self, case, rubric, sample=0):
            order.append("judge begins")
            await asyncio.sleep(0)
            order.append("judge ends")
            return await ModelJudge(ScriptedModel(strict), "lab/judge").judge(case, rubric, sample)

    class Pupil(Taught):
        async def attempts(self, problem, after, count):
            order.append("exam begins")
            await asyncio.sleep(0)
            return await super().attempts(problem, after, count)

    weights = weights_of_terms(RewardSettings(rejected_by="leak", judge=JUDGE))
    panel = Panel(load_rubric("leak"), (Slow(),), 1)
    asyncio.run(Assessment(Exam(Pupil(), 4), (panel,), weights, True).of(lesson(PLAIN)))
    assert order.index("exam begins") < order.index("judge ends")


def test_the_yardstick_grades_turns() -> None:
    cast = cast_assessment(RewardSettings(graded_by={"euler": 0.5}, judge="scripted/yardstick"), Taught(), Calls())
    assert cast.weights.graded == (("euler.score", 0.5),)
    assert cast.weights.rules == (LEAK_METER,)
    assert [(panel.rubric.name, panel.samples) for panel in cast.panels] == [("euler", 1)]


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"rejected_by": "leak"}, SettingsError, "who judges by leak"),
        ({"judge": JUDGE}, SettingsError, "judge goes with a rubric"),
        ({"judge": (JUDGE, JUDGE), "rejected_by": "leak"}, SettingsError, "one judge stands there twice"),
        ({"judge": JUDGE, "rejected_by": "euler"}, SettingsError, "rejected_by = euler: .*take graded_by"),
        ({"judge": JUDGE, "rejected_by": "leek"}, PromptError, "there is no rubric leek: .*did you mean leak"),
        (
            {"judge": JUDGE, "rejected_by": "leak", "graded_by": {"leak": 1.0}},
            SettingsError,
            "graded_by = leak: by this rubric lessons are rejected",
        ),
        ({"judge": JUDGE, "graded_by": {"socraticlm-overall": 1.0}}, SettingsError, "compares two tutors"),
    ],
)
def test_a_reward_that_cannot_be_is_told(settings, error, sentence) -> None:
    with pytest.raises(error, match=sentence):
        weights_of_terms(RewardSettings(**settings))


def test_rules_know_which_verdict_rejects() -> None:
    weights = weights_of_terms(RewardSettings(rejected_by=("leak-meter", "leak"), judge=JUDGE))
    assert weights.rules == (LEAK_METER, Rule("leak.accepted", 0.0))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("extra_penalty_for_rejected_judges", "penalty"),
        ("number_judge_attempts", "samples"),
        ("number_student_attempts", "attempts"),
    ],
)
def test_pedagogical_rls_names_mean_the_same(theirs: str, ours: str) -> None:
    assert load_settings(RewardSettings, None, {theirs: 3}) == load_settings(RewardSettings, None, {ours: 3})
    assert getattr(load_settings(RewardSettings, None, {theirs: 3}), ours) == 3
    with pytest.raises(SettingsError):
        load_settings(RewardSettings, None, {theirs: 3, ours: 3})


def test_lambda_may_grow() -> None:
    grows = load_settings(RewardSettings, None, {"penalty": {"from": 0.25, "to": 1.0, "steps": 3}}).penalty
    assert [penalty_at(grows, step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert penalty_at(0.7, 99) == 0.7
    for wrong in ({"from": 0.25, "to": 1.0}, {"from": 0.25, "to": 1.0, "steps": 0}, {"form": 1, "to": 1, "steps": 2}):
        with pytest.raises(SettingsError, match="from, to and steps"):
            load_settings(RewardSettings, None, {"penalty": wrong})


def test_the_manifest_names_judges_without_address_and_rubrics_by_what_they_say() -> None:
    settings = RewardSettings(rejected_by=("leak", "pedagogy"), judge=JUDGE)
    cast = cast_assessment(settings, Taught(), Calls())
    told = judges_as_recorded(settings, cast.panels, Calls())
    assert told["judge"] == [JUDGE]
    assert told["rubric_fingerprints"]["leak"] == load_rubric("leak").fingerprint
    assert judges_as_recorded(RewardSettings(), (), Calls()) == {}
