import pytest

from diotima.reports.collect import Comparison, Curve, Examination, Findings
from diotima.reports.verdict import TITLES, summary, verdict
from diotima.statistics import Interval

INTERVALS = {1: (0.1, 0.2), 0: (-0.1, 0.1), -1: (-0.2, -0.1)}


def findings(leaked: int = -1, sibling: int = 1, sweep: int = 1) -> Findings:
    """One pair and the sweep; each argument is the sign of a difference (second - first)."""

    def compared(measure: str, first: str, sign: int) -> Comparison:
        low, high = INTERVALS[sign]
        return Comparison(measure, first, "new", 0.5, 0.5 + (low + high) / 2, Interval((low + high) / 2, low, high, 60))

    comparisons = (
        compared("leaked", "old", leaked),
        compared("solved_sibling", "old", sibling),
        compared("solved_sibling", "scripted/sweep", sweep),
    )
    return Findings((), (), (("old", "new"),), "scripted/sweep", comparisons, (), ())


@pytest.mark.parametrize(
    ("leaked", "sibling", "says"),
    [
        (-1, 1, "gives less away, and its students learn more"),
        (-1, -1, "but its students learn less"),
        (0, 0, "No clear change"),
        (1, 1, "it gives more away"),
        (1, -1, "made the tutor worse"),
        (0, -1, "made the tutor worse"),
    ],
)
def test_the_verdict_follows_the_signs(leaked: int, sibling: int, says: str) -> None:
    assert says in verdict(findings(leaked, sibling))


def test_there_is_a_title_for_every_outcome() -> None:
    assert len(set(TITLES.values())) == len(TITLES) == 9


def test_the_figures_come_with_their_interval_and_number() -> None:
    leaked = summary(findings())[0]
    assert "from 50.0% before to 35.0% after" in leaked
    assert "\N{MINUS SIGN}20.0 to \N{MINUS SIGN}10.0, 60 paired lessons" in leaked
    assert "chance" not in leaked
    assert "which may be chance" in summary(findings(leaked=0))[0]


@pytest.mark.parametrize(
    ("sign", "says"), [(1, "It beats scripted/sweep"), (0, "does not clearly beat"), (-1, "does worse than")]
)
def test_a_tutor_that_does_not_beat_the_sweep_is_told_so(sign: int, says: str) -> None:
    last = summary(findings(sweep=sign))[-1]
    assert says in last
    assert ("diagnosed" in last) == (sign == 1)
    assert ("But" in verdict(findings(sweep=sign))) == (sign < 1)


def test_a_pair_without_shared_scores_gets_no_verdict() -> None:
    assert verdict(Findings((), (), (("old", "new"),), "", (), (), ())).startswith("No verdict")


def test_an_examination_without_training_names_the_best_teacher() -> None:
    tutors = tuple(
        Examination(name, "exam", "reference", 50, {"solved_sibling": Interval(mean, mean - 0.1, mean + 0.1, 50)}, None)
        for name, mean in (("scripted/guide", 0.7), ("scripted/leaker", 0.1))
    )
    found = Findings((), tutors, (), "", (), (), ())
    assert verdict(found) == "2 tutors, 100 lessons."
    assert summary(found)[0].startswith("The students of scripted/guide solved most of the sibling problems: 70.0%")


def test_training_alone_claims_nothing() -> None:
    found = Findings((), (), (), "", (), (Curve("grpo", "reward", ((0, 1.0),)),), ())
    assert "without an examination" in verdict(found)
    assert summary(found) == []
