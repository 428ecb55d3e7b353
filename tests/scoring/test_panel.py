from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest

from diotima.score import Judgement, Score, State
from diotima.scoring.panel import Disagreement, combine, combine_exactly, disagreement, majority_labels
from diotima.scoring.rubric import Rubric, load_rubric

EULER, LEAK, SOCRATIC = (load_rubric(name) for name in ("euler-strict", "leak", "socraticlm"))
VOTE = replace(SOCRATIC, combine="majority")


def said(rubric: Rubric, labels: Mapping[str, str | int], judge: str = "a", sample: int = 0) -> Judgement:
    return Judgement(rubric.name, rubric.fingerprint, judge, 1, sample, "valid", labels, "", 1)


def missing(judge: str = "a", sample: int = 0, state: State = "invalid", reason: str = "it is empty") -> Judgement:
    return Judgement("r", "f", judge, 1, sample, state, {}, reason, 3)


def rated(helpful: int, judge: str = "a", sample: int = 0) -> Judgement:
    labels = {"questions": "yes", "on_topic": 5, "helpful": helpful, "reveal_answer": "no"}
    return said(EULER, labels, judge, sample)


def decided(decision: str, sample: int = 0) -> Judgement:
    return missing(sample=sample) if decision == "none" else said(LEAK, {"decision": decision}, sample=sample)


def message(student: str, handled: str, judge: str) -> Judgement:
    return said(SOCRATIC, {"student": student, "handled": handled}, judge)


def test_one_verdict_is_itself() -> None:
    scores = combine(EULER, [rated(1)])
    assert scores["score"] == Score(0.8)
    assert scores["helpful"] == Score(0.2)
    assert combine_exactly(EULER, [rated(1)])["score"] == Fraction(4, 5)


def test_a_mean_weighs_judges_alike_however_often_they_were_asked() -> None:
    judgements = [rated(1), rated(2, sample=1), rated(3, sample=2), rated(5, "b")]
    assert combine_exactly(EULER, judgements)["helpful"] == (Fraction(2, 5) + 1) / 2


def test_a_mean_is_of_what_was_valid_but_needs_every_judge() -> None:
    assert combine_exactly(EULER, [rated(1), missing(sample=1), rated(3, sample=2)])["helpful"] == Fraction(2, 5)
    score = combine(EULER, [rated(1), missing("b", state="refused", reason="the judge would not answer")])["helpful"]
    assert score == Score.missing("1 of 2 verdicts are missing: the judge would not answer", "refused")


def test_what_is_missing_says_why_and_is_never_a_number() -> None:
    assert set(combine(EULER, [missing()]).values()) == {Score.missing("it is empty")}
    assert all(score.value is None for score in combine(LEAK, [missing(), missing(sample=1)]).values())
    assert set(combine(EULER, []).values()) == {Score.missing("no judge was asked")}


@pytest.mark.parametrize(("one", "other"), list(product(["OK", "REJECT", "none"], repeat=2)))
def test_any_reject_rejects_else_any_missing_is_missing_else_it_is_accepted(one: str, other: str) -> None:
    score = combine(LEAK, [decided(one), decided(other, 1)])["accepted"]
    if "REJECT" in (one, other):
        assert score == Score(0.0)
    elif "none" in (one, other):
        assert score.value is None
        assert score.state == "invalid"
    else:
        assert score == Score(1.0)


def test_a_measure_that_does_not_apply_is_not_there() -> None:
    assert set(combine(SOCRATIC, [message("wrong", "yes", "a")])) == {"handled", "IARA"}
    scores = combine(SOCRATIC, [message("wrong", "yes", "a"), message("question", "no", "b")])
    assert {name: score.value for name, score in scores.items()} == {"handled": 0.5, "IARA": 1.0, "SER": 0.0}
    assert set(combine(SOCRATIC, [missing()])) == {"handled", "IARA", "CARA", "SER", "SRR"}


def test_a_majority_is_more_than_half_of_all_missing_verdicts_included() -> None:
    three = [message("wrong", "yes", "a"), message("wrong", "no", "b"), message("correct", "no", "c")]
    assert majority_labels(three) == {"student": "wrong", "handled": "no"}
    assert combine_exactly(VOTE, three) == {"handled": 0, "IARA": 0}
    scores = combine(VOTE, [three[0], three[2], missing("c")])
    assert all(score.value is None for score in scores.values())
    assert len(scores) == 5
    scores = combine(VOTE, [message("wrong", "yes", "a"), message("wrong", "no", "b")])
    assert set(scores) == {"handled", "IARA"}
    assert scores["IARA"] == Score.missing("no majority of the 2 verdicts on handled")


def test_no_missing_verdict_could_have_changed_a_majority() -> None:
    for known in product(["yes", "no", "none"], repeat=3):
        judgements = [
            missing(judge) if label == "none" else message("wrong", label, judge)
            for judge, label in zip("abc", known, strict=True)
        ]
        value = combine_exactly(VOTE, judgements)["IARA"]
        whole = [[label] if label != "none" else ["yes", "no"] for label in known]
        outcomes = {sum(label == "yes" for label in one) >= 2 for one in product(*whole)}
        assert (outcomes == {bool(value)}) if isinstance(value, Fraction) else len(outcomes) == 2


def test_disagreement_counts_pairs_of_judges_and_pairs_of_samples() -> None:
    cases = [
        [rated(1), rated(1, sample=1), rated(5, "b")],
        [rated(2), missing(sample=1), rated(2, "b")],
    ]
    assert disagreement(EULER, cases)["helpful"] == Disagreement(3, 2, 1, 0)
    assert disagreement(EULER, cases)["questions"] == Disagreement(3, 0, 1, 0)
    flipped = [replace(rated(1), order="first"), replace(rated(2), order="second")]
    assert disagreement(EULER, [flipped])["helpful"] == Disagreement()
