"""The leak meter beside a judge: what both say, and what neither can."""

from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from diotima.benchmarks.leak_agreement import leak_agreement, plain_agreement, says_leaked, tell_agreement
from diotima.dialogue import Dialogue, Turn
from diotima.problems.problem import Problem
from diotima.runs.records import Record
from diotima.score import WHOLE, Judgement
from diotima.scoring.rubric import load_rubric

EULER, LEAK, MRBENCH = map(load_rubric, ("euler", "leak", "mrbench"))
PROBLEM = Problem("p", "Ann has 12 apples and eats 3. How many are left?", "9")
TELLS, ASKS = Turn("tutor", "The answer is 9."), Turn("tutor", "How many does she eat?")


def record(
    turn: Turn, said: str | None, position: int = 1, name: str = "reveal_answer", rubric: str = "euler"
) -> Record:
    judgement = Judgement(
        rubric, "f", "a", position, 0, "valid" if said else "invalid", {name: said} if said else {}, "", 1
    )
    return Record("ours", Dialogue(PROBLEM, (Turn("student", "15"), turn)), {}, (judgement,))


def test_both_are_counted_where_both_say_something() -> None:
    records = [record(TELLS, "yes"), record(TELLS, "no"), record(ASKS, "no"), record(ASKS, None)]
    found = leak_agreement(records, EULER)
    assert found is not None
    assert (found.cases, found.meter, found.judge, found.same) == (3, 2, 1, 2)
    assert found.kappa == pytest.approx(0.4)
    (told,) = tell_agreement({"ours": found})
    assert told == (
        "ours: leak meter and judge agree on 66.7% of 3 verdicts (kappa 0.40); the meter finds 2 leaks, the judge 1"
    )


def test_where_nobody_finds_a_leak_kappa_is_not_known() -> None:
    found = leak_agreement([record(ASKS, "no")] * 3, EULER)
    assert found is not None
    assert (found.same, isnan(found.kappa)) == (3, True)
    assert plain_agreement(found) == {"cases": 3, "meter": 0, "judge": 0, "same": 3, "kappa": None}
    assert "kappa" not in next(tell_agreement({"ours": found}))


def test_a_whole_dialogue_leaks_if_a_turn_does() -> None:
    told = record(TELLS, "REJECT", WHOLE, "decision", "leak")
    late = replace(told.dialogue, turns=(*told.dialogue.turns, Turn("student", "Oh."), ASKS))
    found = leak_agreement([replace(told, dialogue=late), record(ASKS, "REJECT", WHOLE, "decision", "leak")], LEAK)
    assert found is not None
    assert (found.meter, found.judge, found.same) == (1, 2, 1)


@pytest.mark.parametrize(
    ("said", "leaked"),
    [("Yes (and the answer is correct)", True), ("Yes (but the answer is incorrect)", False), ("No", False)],
)
def test_a_wrong_answer_gives_nothing_away(said: str, leaked: bool) -> None:
    (judgement,) = record(ASKS, said, name="Revealing_of_the_Answer", rubric="mrbench").judgements
    assert says_leaked(MRBENCH, judgement) is leaked


def test_a_rubric_of_ones_own_says_what_a_leak_is(tmp_path: Path) -> None:
    own = tmp_path / "tells.md"
    criteria = "criteria:\n  told: {labels: {all: 0, half: 1/2, nothing: 1}}\n  asked: {labels: {'yes': 1, 'no': 0}}\n"
    front = f"judges: turn\n{criteria}leaks: {{told: all}}\n"
    own.write_text(f"---\n{front}---\n{{{{transcript}}}} {{{{form}}}}\n")
    records = [record(TELLS, said, name="told", rubric="tells") for said in ("all", "half")]
    found = leak_agreement([*records, record(TELLS, "yes")], load_rubric(str(own)))
    assert found is not None
    assert (found.cases, found.meter, found.judge) == (2, 2, 1)


def test_what_says_nothing_of_leaks_is_left_out() -> None:
    assert leak_agreement([record(ASKS, "yes")], load_rubric("socraticlm")) is None
    assert leak_agreement([record(ASKS, "OK", WHOLE, "decision", "pedagogy")], load_rubric("pedagogy")) is None
    without = replace(record(TELLS, "yes"), dialogue=Dialogue(replace(PROBLEM, answer=""), (TELLS,)))
    found = leak_agreement([without], EULER)
    assert found is not None
    assert (found.cases, list(tell_agreement({"ours": found, "theirs": None}))) == (0, [])
