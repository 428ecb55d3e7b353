import pytest

from diotima.score import Score
from diotima.scoring.rewards import TERMS, RewardWeights, reward_terms

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
