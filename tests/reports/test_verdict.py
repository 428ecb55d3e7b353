import re
from dataclasses import replace

import pytest

from diotima.reports.collect import Comparison, Curve, Examination, Findings
from diotima.reports.verdict import ANY_TWO, TRAINED, summary, verdict
from diotima.statistics import Interval

INTERVALS = {1: (0.1, 0.2), 0: (-0.1, 0.1), -1: (-0.2, -0.1)}
WORDS = {1: "higher", 0: "not clear", -1: "lower"}


def findings(leaked: int = -1, sibling: int = 1, sweep: int = 1, trained: bool = True) -> Findings:
    """One pair and the sweep; each argument is the sign of a difference (second - first)."""

    def compared(measure: str, first: str, sign: int) -> Comparison:
        low, high = INTERVALS[sign]
        interval = Interval((low + high) / 2, low, high, 60)
        return Comparison(measure, first, "new", 0.5, 0.5 + interval.mean, interval, 0.33, WORDS[sign])

    comparisons = (
        compared("leaked", "old", leaked),
        compared("solved_sibling", "old", sibling),
        compared("solved_sibling", "scripted/sweep", sweep),
    )
    return Findings((), (), (("old", "new"),), "scripted/sweep", comparisons, (), (), {}, trained, ())


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
    for titles in (TRAINED, ANY_TWO):
        assert len(set(titles.values())) == len(titles) == 9


@pytest.mark.parametrize("leaked", [-1, 0, 1])
@pytest.mark.parametrize("sibling", [-1, 0, 1])
def test_of_two_tutors_that_are_not_one_before_and_after_training_nothing_is_said_about_training(
    leaked: int, sibling: int
) -> None:
    found = findings(leaked, sibling, trained=False)
    said = " ".join((verdict(found), *summary(found)))
    assert not re.search("train|before|after", said, re.IGNORECASE)
    assert "50.0% with old and" in said
    assert said.startswith(
        ("new ", "The students of new ", "No clear difference: these lessons cannot tell new from old")
    )


def test_what_is_equal_is_not_called_chance() -> None:
    found = findings()
    equal = replace(found.comparisons[0], verdict="equal", interval=Interval(0.0, 0.0, 0.0, 60), p=1.0)
    said = summary(replace(found, comparisons=(equal, *found.comparisons[1:])))[0]
    assert said.endswith("(equal in every problem, 60 paired lessons).")


def test_the_figures_come_with_their_interval_and_number() -> None:
    leaked = summary(findings())[0]
    assert "from 50.0% before to 35.0% after" in leaked
    assert "\N{MINUS SIGN}20.0 to \N{MINUS SIGN}10.0, adjusted p 0.330, 60 paired lessons" in leaked
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
    assert verdict(Findings((), (), (("old", "new"),), "", (), (), (), {}, False, ())).startswith("No verdict")


def test_an_examination_without_training_names_the_best_teacher() -> None:
    tutors = tuple(
        Examination(name, "exam", "reference", 50, {"solved_sibling": Interval(mean, mean - 0.1, mean + 0.1, 50)}, None)
        for name, mean in (("scripted/guide", 0.7), ("scripted/leaker", 0.1))
    )
    found = Findings((), tutors, (), "", (), (), (), {}, False, ())
    assert verdict(found) == "2 tutors, 100 lessons."
    best, how_to_go_on = summary(found)
    assert best == (
        "The students of scripted/guide solved 70.0% of the sibling problems (95% interval 60.0% to 80.0%), "
        "and those of no other tutor more."
    )
    assert "--before LABEL --after LABEL" in how_to_go_on


def test_a_tutor_alone_is_neither_best_nor_before_nor_after() -> None:
    interval = Interval(0.035, 0.01, 0.06, 50)
    alone = Examination(
        "tiny T=1", "exam", "before", 50, {"solved_sibling": interval, "control_sibling": interval}, None
    )
    solved, rest = summary(Findings((), (alone,), (), "", (), (), (), {}, False, ()))
    assert solved.startswith("The students of tiny T=1 solved 3.5% of the sibling problems (95% interval 1.0% to 6.0%)")
    assert solved.endswith("and 3.5% of them without any lesson.")
    assert not re.search("most|other|before|after", solved + rest)


def test_training_alone_claims_nothing() -> None:
    found = Findings((), (), (), "", (), (Curve("grpo", "reward", ((0, 1.0),)),), (), {}, False, ())
    assert "without an examination" in verdict(found)
    assert summary(found) == []
