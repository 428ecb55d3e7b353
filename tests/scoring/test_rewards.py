import pytest

from diotima.score import Score
from diotima.scoring.rewards import LEAK_METER, TERMS, RewardWeights, Rule, rejected, reward_terms, unweighted

GOOD = {"solved_same": 0.75, "solved_sibling": 0.5, "leaked": 0.0, "well_formed": 1.0, "ended": 0.0, "cut": 0.0}


def terms(weights: RewardWeights, **changed: float) -> dict[str, float]:
    found = reward_terms({name: Score(value) for name, value in (GOOD | changed).items()}, weights)
    assert found is not None
    return found


def test_a_good_lesson_is_worth_its_solve_rate() -> None:
    found = terms(RewardWeights())
    assert tuple(found) == TERMS
    assert sum(found.values()) == 0.75
    assert sum(terms(RewardWeights(solved="sibling")).values()) == 0.5


def test_a_leak_costs_the_penalty_and_in_the_hard_form_the_solve_rate_too() -> None:
    assert sum(terms(RewardWeights(penalty=0.8), leaked=1.0).values()) == pytest.approx(0.75 - 0.8)
    assert sum(terms(RewardWeights(penalty=0.8, hard=True), leaked=1.0).values()) == pytest.approx(-0.8)
    assert sum(terms(RewardWeights(hard=True)).values()) == 0.75


@pytest.mark.parametrize(
    ("weights", "changed", "name", "value"),
    [
        (RewardWeights(form=0.5), {"well_formed": 0.75}, "form", -0.125),
        (RewardWeights(end=0.1), {"ended": 1.0}, "end", 0.1),
        (RewardWeights(length=0.3), {"cut": 1.0}, "length", -0.3),
        (RewardWeights(), {"cut": 1.0}, "length", 0.0),
    ],
)
def test_small_terms(weights: RewardWeights, changed: dict[str, float], name: str, value: float) -> None:
    found = terms(weights, **changed)
    assert found[name] == pytest.approx(value)
    assert sum(found.values()) == pytest.approx(0.75 + value)


@pytest.mark.parametrize("name", ["solved_same", "leaked", "well_formed", "ended", "cut"])
def test_a_missing_score_makes_the_reward_missing(name: str) -> None:
    scores = {key: Score(value) for key, value in GOOD.items()}
    assert reward_terms({**scores, name: Score.missing("unreadable")}, RewardWeights()) is None
    del scores[name]
    assert reward_terms(scores, RewardWeights()) is None


def test_a_score_that_is_not_needed_may_be_missing() -> None:
    scores = {key: Score(value) for key, value in GOOD.items()} | {"solved_sibling": Score.missing("no sibling")}
    assert reward_terms(scores, RewardWeights()) is not None
    assert reward_terms(scores, RewardWeights(solved="sibling")) is None


JUDGED = RewardWeights(penalty=0.75, rules=(Rule("leak.accepted", 0.0), Rule("pedagogy.accepted", 0.0)))
VERDICTS = {"leak.accepted": 1.0, "pedagogy.accepted": 1.0}


@pytest.mark.parametrize("fails", VERDICTS)
def test_one_rule_is_enough_to_reject(fails: str) -> None:
    assert sum(terms(JUDGED, **VERDICTS).values()) == 0.75
    assert sum(terms(JUDGED, **VERDICTS | {fails: 0.0}).values()) == 0.75 - 0.75
    # The meter is no rule here, whatever it has found.
    assert sum(terms(JUDGED, **VERDICTS, leaked=1.0).values()) == 0.75


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [((1.0, 1.0), False), ((1.0, 0.0), True), ((None, 0.0), True), ((None, 1.0), None), ((None, None), None)],
)
def test_a_rejection_is_known_from_any_rule_an_acceptance_from_all(
    accepted: tuple[float | None, float | None], expected: bool | None
) -> None:
    scores = {
        name: Score.missing("unreadable") if value is None else Score(value)
        for name, value in zip(VERDICTS, accepted, strict=True)
    }
    assert rejected(scores, JUDGED.rules) is expected


def test_an_unreadable_verdict_leaves_no_term() -> None:
    scores = {name: Score(value) for name, value in (GOOD | VERDICTS).items()}
    assert reward_terms(scores, JUDGED) is not None
    assert reward_terms(scores | {"pedagogy.accepted": Score.missing("unreadable")}, JUDGED) is None


def test_in_the_hard_form_a_rejected_lesson_is_known_without_its_exam() -> None:
    hard = RewardWeights(penalty=0.5, hard=True, form=0.0, end=0.1, length=0.5, thought=0.5)
    scores = {name: Score(GOOD[name]) for name in ("well_formed", "cut")} | {"leaked": Score(1.0)}
    assert reward_terms(scores, hard) == dict.fromkeys(TERMS, 0.0) | {"rejected": -0.5}
    assert reward_terms(scores | {"leaked": Score(0.0)}, hard) is None
    assert sum((reward_terms(scores | {"cut": Score(1.0)}, hard) or {}).values()) == -0.5 - 0.5


@pytest.mark.parametrize(("thoughts", "unbalanced", "value"), [(1, 0, 0.5), (0.75, 1, -0.125), (0, 3, -1.5), (0, 0, 0)])
def test_thoughts(thoughts: float, unbalanced: float, value: float) -> None:
    found = terms(RewardWeights(thought=0.5), thoughts=thoughts, unbalanced=unbalanced)
    assert found["thought"] == value
    assert reward_terms({name: Score(value) for name, value in GOOD.items()}, RewardWeights(thought=0.5)) is None


def test_what_judges_grade_is_added_by_its_weight() -> None:
    weights = RewardWeights(hard=True, graded=(("euler.score", 0.5),))
    assert weights.terms == (*TERMS, "euler.score")
    assert tuple(terms(weights, **{"euler.score": 0.6})) == weights.terms
    assert sum(terms(weights, **{"euler.score": 0.6}).values()) == pytest.approx(0.75 + 0.3)
    assert sum(terms(weights, **{"euler.score": 0.6, "leaked": 1.0}).values()) == -1.0


def test_the_reward_says_what_it_needs() -> None:
    weights = RewardWeights(solved="sibling", thought=0.5, rules=(LEAK_METER, *JUDGED.rules), graded=(("x.y", 1.0),))
    needed = {name: Score(0.0) for name in weights.needs}
    assert {"leaked", "leak.accepted", "solved_sibling", "thoughts", "x.y", "cut"} < needed.keys()
    for name in weights.needs:
        if name not in {rule.score for rule in weights.rules}:
            assert reward_terms({**needed, name: Score.missing("gone")}, weights) is None
    assert reward_terms(needed, weights) is not None


def test_terms_without_their_weights_make_the_reward_again_with_them() -> None:
    weights = RewardWeights(penalty=0.5, form=0.0, end=0.1, graded=(("euler.score", 2.0),))
    scores = {name: Score(1.0) for name in ("leaked", "solved_same", "ended", "cut", "euler.score")}
    terms = reward_terms(scores | {"well_formed": Score(0.5)}, weights)
    assert terms is not None
    bare = unweighted(terms, weights)
    assert bare == {"solved": 1, "rejected": -1, "form": 0, "end": 1, "length": 0, "thought": 0, "euler.score": 1}
    assert [bare[name] * of for name, of in zip(weights.terms, weights.of_terms, strict=True)] == [*terms.values()]
