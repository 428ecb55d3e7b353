"""What judges said, counted: means on what is valid, what the missing could do, and where judges differ."""

from fractions import Fraction
from math import isnan

import pytest

from diotima.reports.judged import (
    Judged,
    Said,
    dialogue_scores,
    judged,
    judged_tables,
    measure_of,
    notes_on,
    plain_judged,
)
from diotima.score import WHOLE, Judgement, State
from diotima.scoring.rubric import load_rubric, reweighted

EULER, LEAK = load_rubric("euler"), load_rubric("leak")
COMPARISON, SOCRATIC = load_rubric("socraticlm-overall"), load_rubric("socraticlm")
GOOD: dict[str, str | int] = {"questions": "yes", "on_topic": 5, "helpful": 5, "reveal_answer": "no"}
POOR: dict[str, str | int] = {"questions": "no", "on_topic": 1, "helpful": 1, "reveal_answer": "yes"}


def one(labels: dict[str, str | int] | None, position: int = 1, judge: str = "a", **more: object) -> Judgement:
    state: State = "valid" if labels else "invalid"
    values: dict[str, object] = {
        "rubric": "euler", "rubric_fingerprint": "f", "judge": judge, "position": position, "sample": 0,
        "state": state, "labels": labels or {}, "reason": "" if labels else "no JSON in it", "asks": 1,
    }  # fmt: skip
    return Judgement(**(values | more))  # type: ignore[arg-type]


def of_problems(*dialogues: list[Judgement]) -> list[Said]:
    return [(f"p{number}", number, said) for number, judgements in enumerate(dialogues) for said in judgements]


def figures(found: Judged, name: str) -> tuple[int, int, float, float, float]:
    measured = next(measured for measured in found.measured if measured.measure.name == name)
    return measured.cases, measured.valid, measured.interval.mean, measured.worst, measured.best


def test_a_dialogue_has_the_mean_over_its_turns_if_all_have_one() -> None:
    whole = dialogue_scores(EULER, [one(GOOD, 1), one(POOR, 3), one(POOR, 5)])
    assert whole["euler.score"].value == float(Fraction(1 + 2 * Fraction(1, 10)) / 3)
    assert whole["euler.reveal_answer"].value == pytest.approx(2 / 3)
    torn = dialogue_scores(EULER, [one(GOOD, 1), one(None, 3), one(POOR, 5)])
    assert {score.value for score in torn.values()} == {None}
    assert torn["euler.score"].reason == "1 of 3 turns have no verdict: no JSON in it"
    refused = dialogue_scores(EULER, [one(None, 1, state="refused", reason="it would not")])
    assert (refused["euler.score"].state, refused["euler.score"].reason) == ("refused", "it would not")


def test_a_veto_is_one_or_nothing() -> None:
    def decided(*decisions: str | None) -> float | None:
        said = [
            one({"decision": said} if said else None, WHOLE, sample=number) for number, said in enumerate(decisions)
        ]
        return dialogue_scores(LEAK, said)["leak.accepted"].value

    assert decided("OK", "OK") == 1
    assert decided("OK", "REJECT") == decided(None, "REJECT") == 0
    assert decided("OK", None) is None


def test_a_measure_counts_only_where_it_applies() -> None:
    said = [
        one({"student": student, "handled": handled}, position)
        for position, (student, handled) in enumerate([("wrong", "yes"), ("wrong", "no"), ("correct", "yes")])
    ]
    scores = dialogue_scores(SOCRATIC, said)
    assert scores["socraticlm.IARA"].value == 0.5
    assert scores["socraticlm.CARA"].value == 1.0
    assert scores["socraticlm.SER"].reason == "there is nothing in the dialogue that it applies to"
    found = judged("ours", SOCRATIC, of_problems(said, [one(None)]))
    assert figures(found, "IARA") == (3, 2, 0.5, 1 / 3, 2 / 3)  # who has no verdict may be one of these
    assert figures(found, "SRR")[:2] == (1, 0)


def test_what_is_missing_is_told_by_what_it_could_do() -> None:
    found = judged("ours", EULER, of_problems([one(GOOD, 1), one(None, 3)], [one(POOR)], [one(GOOD)]))
    assert figures(found, "score") == (4, 3, pytest.approx(0.7), pytest.approx(2.2 / 4), pytest.approx(3.1 / 4))
    assert figures(found, "reveal_answer")[3:] == (0.5, 0.25)  # the worst is that the answer is given away
    assert found.validity == 0.75
    assert found.values["score"] == {("p1", 1): pytest.approx(0.1), ("p2", 2): 1.0}


def test_without_a_verdict_there_is_no_figure() -> None:
    found = judged("ours", EULER, of_problems([one(None)], [one(None)]))
    cases, valid, mean, worst, best = figures(found, "score")
    assert (cases, valid, worst, best) == (2, 0, pytest.approx(0.1), 1.0)
    assert isnan(mean)
    assert (found.validity, found.values["score"]) == (0.0, {})
    assert isnan(judged("ours", EULER, []).validity)
    assert plain_judged(found)["measures"]["score"]["mean"] is None


def test_intervals_are_over_problems() -> None:
    rows = [(f"p{number // 10}", number, one(GOOD if number // 10 % 2 else POOR)) for number in range(100)]
    few = judged("ours", EULER, rows)
    many = judged("ours", EULER, [(f"p{number}", number, said) for number, (_, _, said) in enumerate(rows)])
    width = [found.measured[0].interval.high - found.measured[0].interval.low for found in (few, many)]
    assert width[0] > 2 * width[1]


def test_several_judges_are_combined_and_shown_alone() -> None:
    said = of_problems(
        [one(GOOD), one(POOR, judge="b")], [one(GOOD), one(GOOD, judge="b")], [one(GOOD), one(None, judge="b")]
    )
    found = judged("ours", EULER, said)
    assert figures(found, "score")[:3] == (3, 2, pytest.approx((0.55 + 1) / 2))
    assert {judge: alone.interval.mean for judge, alone in found.alone.items()} == {
        "a": 1.0, "b": pytest.approx(0.55),
    }  # fmt: skip
    assert (found.differ["helpful"].judge_pairs, found.differ["helpful"].judges_differ) == (2, 1)
    tables = judged_tables(EULER, [found])
    assert [table.caption for table in tables] == [
        f"ours: euler ({EULER.fingerprint}) by a and b",
        f"ours: euler ({EULER.fingerprint}): score by each judge alone",
    ]
    assert "two judges differ on questions in 50.0%" in " ".join(notes_on([found]))
    assert "of 6 verdicts 1 invalid (83.3% are valid)" in notes_on([found])[0]


def test_verdicts_that_change_with_the_order_are_counted() -> None:
    (criterion,) = [criterion.name for criterion in COMPARISON.criteria if not criterion.text]
    said = [
        [one({criterion: said}, order=order, against="theirs") for order, said in pair]
        for pair in (
            (("first", "win"), ("second", "win")),
            (("first", "win"), ("second", "lost")),
            (("first", "tie"), ("second", "tie")),
        )
    ] + [[one({criterion: "win"}, order="first", against="theirs"), one(None, order="second", against="theirs")]]
    found = judged("ours", COMPARISON, of_problems(*said))
    assert found.orders == (3, 1)
    assert not found.differ  # two orders are no two samples
    # win 4, tie 2, lost 1 of 7: (1 + (4 - 1) / 7) / 2
    assert figures(found, found.measured[0].measure.name)[:3] == (8, 7, pytest.approx((1 + 3 / 7) / 2))
    assert "in 1 of 3 comparisons (33.3%) the verdict was another" in " ".join(notes_on([found]))
    assert found.values[found.measured[0].measure.name].keys() == {("p0", 0), ("p1", 1), ("p2", 2)}


def test_a_measure_that_can_leave_0_to_1_is_no_share() -> None:
    assert measure_of(EULER, "score").kind == "share"
    assert measure_of(EULER, "reveal_answer").better == "lower"
    doubled = reweighted(EULER, {"helpful": 2})
    assert measure_of(doubled, doubled.headline.name).kind == "number"


def test_tables_show_what_is_missing_and_hide_nothing() -> None:
    found = judged("ours", EULER, of_problems([one(GOOD)], [one(None)]))
    (table,) = judged_tables(EULER, [found])
    row = table.rows[0]
    assert [cell.text for cell in row.cells] == ["score", "2", "1", "100.0%", "55.0% worst"]
    assert row.cells[2].detail == "50.0%"
    assert row.cells[4].detail == "100.0% best"
