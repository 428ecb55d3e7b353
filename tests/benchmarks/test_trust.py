"""The arithmetic of a calibration, on ratings and verdicts that are written down here."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path

import pytest

from diotima.benchmarks.topics import Item, items_of, topics_of, with_verdicts
from diotima.benchmarks.trust import Trust, trust_in
from diotima.corpus.rated import Rated
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import SettingsError
from diotima.problems.problem import Problem
from diotima.score import Judgement
from diotima.scoring.rubric import Rubric, load_rubric

FILE = Path("ratings.csv")


@pytest.fixture
def rubric(tmp_path: Path) -> Rubric:
    file = tmp_path / "small.md"
    file.write_text(
        "---\njudges: turn\nsamples: 1\ncriteria:\n"
        "  asks: {labels: {'yes': 1, 'no': 0}}\n"
        "  helps: {scale: [1, 5]}\n"
        "  guides: {labels: {'Yes': 1, To some extent: 0, 'No': 0}, merge: {To some extent: 'Yes'}}\n"
        "measures:\n  score: {weights: {asks: 1/2, helps: 1/2}}\n---\n{{transcript}} {{form}}\n"
    )
    return load_rubric(str(file))


def rated(number: int, text: str, rater: str = "", **labels: str | int) -> Rated:
    problem = Problem(f"p{number}", f"question {number}", "")
    return Rated(Dialogue(problem, (Turn(STUDENT, "It is 6."), Turn(TUTOR, text)), number), "ours", labels, rater)


def judged(rubric: Rubric, ratings: Sequence[Rated], *samples: Sequence[dict[str, str | int]]) -> list[Item]:
    """The items with verdicts: one list a sample, one verdict an item; an empty one is invalid."""
    items = items_of(ratings, rubric, FILE)
    verdicts = {
        item.key: [
            Judgement(
                rubric.name,
                rubric.fingerprint,
                "j",
                1,
                sample,
                "valid" if said[place] else "invalid",
                said[place],
                "",
                1,
            )
            for sample, said in enumerate(samples)
        ]
        for place, item in enumerate(items)
    }
    return with_verdicts(items, verdicts)


def trusts(rubric: Rubric, items: list[Item]) -> dict[str, Trust]:
    return {topic.name: trust_in(topic, items, rubric) for topic in topics_of(rubric, items)}


def said(asks: str, helps: int = 3, guides: str = "Yes") -> dict[str, str | int]:
    return {"asks": asks, "helps": helps, "guides": guides}


def figures(trust: Trust, rater: str = "judge") -> dict[str, float]:
    (found,) = [one for one in trust.raters if one.rater == rater]
    return {name: figure.mean for name, figure in found.figures.items()}


def mixed(n: int = 40) -> list[Rated]:
    """Turns of which half ask; helpful are those that say "step", which neither length nor question marks betray."""
    texts = ["Look at the step.", "Look at the sky.", "Which step is it?", "Which sky is it?"]
    return [
        rated(k, texts[k % 4], asks="yes" if k % 4 > 1 else "no", helps=1 + 4 * (k % 2 == 0), guides="Yes")
        for k in range(n)
    ]


def test_a_judge_that_sees_what_people_see_is_better(rubric: Rubric) -> None:
    ratings = mixed()
    trust = trusts(rubric, judged(rubric, ratings, [dict(one.labels) for one in ratings]))
    assert figures(trust["helps"])["quadratic_kappa"] == 1
    assert figures(trust["helps"])["mae"] == 0
    assert figures(trust["score"])["pearson"] == pytest.approx(1)
    for topic in ("helps", "score"):
        verdict = trust[topic].verdict
        assert verdict is not None
        assert verdict.better is True
        assert verdict.difference is not None
        assert verdict.difference.low > 0
        assert f"On {topic} this judge agrees with people more than" in verdict.sentence


def test_a_judge_that_counts_question_marks_is_not(rubric: Rubric) -> None:
    ratings = mixed()
    asked = ["?" in one.dialogue.turns[-1].text for one in ratings]
    trust = trusts(rubric, judged(rubric, ratings, [said("yes" if q else "no", 4 if q else 2) for q in asked]))
    assert figures(trust["asks"])["kappa"] == figures(trust["asks"], "question mark")["kappa"] == 1
    assert trust["asks"].verdict is not None
    assert trust["asks"].verdict.better is None
    assert trust["asks"].verdict.baseline == "question mark"
    assert "no better than looking for a question mark" in trust["asks"].verdict.sentence
    assert figures(trust["helps"])["quadratic_kappa"] == pytest.approx(0, abs=0.05)


def test_a_judge_that_says_the_opposite_is_worse(rubric: Rubric) -> None:
    ratings = mixed()
    contrary = [said("yes", 6 - int(one.labels["helps"])) for one in ratings]
    verdict = trusts(rubric, judged(rubric, ratings, contrary))["helps"].verdict
    assert verdict is not None
    assert verdict.better is False
    assert "less than" in verdict.sentence


def test_trivial_raters_make_the_best_of_what_they_see(rubric: Rubric) -> None:
    """Where nearly all get one label, the frequent label alone agrees with nobody beyond chance; sorting turns does."""
    ratings = [
        rated(k, "Why?" if k % 3 == 0 else "Go on and on.", asks="no" if k % 3 == 0 and k % 2 else "yes")
        for k in range(36)
    ]
    trust = trusts(rubric, judged(rubric, ratings, [said("yes")] * 36))
    assert figures(trust["asks"], "majority")["kappa"] == 0
    assert figures(trust["asks"], "question mark")["kappa"] == pytest.approx(0.571, abs=0.001)
    assert figures(trust["asks"], "length")["kappa"] == pytest.approx(0.571, abs=0.001)


def test_labels_in_an_order_and_their_merging(rubric: Rubric) -> None:
    ratings = [rated(k, "Well?", guides=label) for k, label in enumerate(["Yes", "No", "To some extent", "Yes"])]
    verdicts = [said("yes", guides=label) for label in ("To some extent", "No", "Yes", "No")]
    found = figures(trusts(rubric, judged(rubric, ratings, verdicts))["guides"])
    assert found["accuracy"] == 0.25
    assert found["lenient"] == 0.75
    # Places 0, 1, 2: distances 1, 0, 1, 4 of 4; by chance (people 2, 1, 1; judge 1, 1, 2) 26 of 16.
    assert found["quadratic_kappa"] == pytest.approx(1 - (6 / 4) / (26 / 16))


def test_labels_without_an_order_go_by_plain_kappa(rubric: Rubric, tmp_path: Path) -> None:
    file = tmp_path / "small.md"
    file.write_text(file.read_text().replace("merge: {To some extent: 'Yes'}}", "ordered: false}"))
    ratings = [rated(k, "Well?", guides=label) for k, label in enumerate(["Yes", "No", "To some extent", "Yes"] * 3)]
    verdicts = [said("yes", guides=label) for label in ("To some extent", "No", "Yes", "Yes")] * 3
    unordered = trusts(rubric := load_rubric(str(file)), judged(rubric, ratings, verdicts))["guides"]
    found = figures(unordered)
    assert unordered.kind == "labels"
    assert "quadratic_kappa" not in found
    assert found["kappa"] == pytest.approx(1 - (6 / 12) / (10 / 16))
    assert found["alpha"] == pytest.approx(1 - (24 - 1) * 12 / (24**2 - (12**2 + 6**2 + 6**2)))
    assert unordered.verdict is not None
    assert "(kappa " in unordered.verdict.sentence


def test_the_sentence_names_the_coefficient_that_decided(rubric: Rubric) -> None:
    ratings = mixed()
    trust = trusts(rubric, judged(rubric, ratings, [dict(one.labels) for one in ratings]))
    named = {topic: trust[topic].verdict for topic in ("asks", "helps", "guides", "score")}
    sentences = {topic: verdict.sentence for topic, verdict in named.items() if verdict}
    assert "(kappa 1.00 against" in sentences["asks"]
    assert "(quadratic kappa 1.00 against" in sentences["helps"]
    assert "(r 1.00 against" in sentences["score"]


def test_people_who_never_differ_leave_nothing_to_be_said(rubric: Rubric) -> None:
    ratings = [rated(k, "Well?", asks="yes") for k in range(9)]
    trust = trusts(rubric, judged(rubric, ratings, [said("yes")] * 9))["asks"]
    assert isnan(figures(trust)["kappa"])
    assert trust.verdict is not None
    assert trust.verdict.better is None
    assert trust.verdict.sentence == "On asks nothing can be said: people always said yes."


def test_a_judge_that_never_differs_tells_nothing_apart(rubric: Rubric) -> None:
    ratings = mixed()
    trust = trusts(rubric, judged(rubric, ratings, [said("yes")] * 40))
    assert trust["score"].verdict is not None
    assert "the judge always said the same" in trust["score"].verdict.sentence


@pytest.mark.parametrize(("sign", "words"), [(1, "agrees with people"), (-1, "contradicts people")])
def test_where_trivial_raters_see_no_difference_chance_is_the_measure(rubric: Rubric, sign: int, words: str) -> None:
    ratings = [rated(k, "Well?", asks="yes", helps=1 + k % 5) for k in range(30)]
    verdicts = [said("yes", 3 + sign * (k % 5 - 2)) for k in range(30)]
    verdict = trusts(rubric, judged(rubric, ratings, verdicts))["score"].verdict
    assert verdict is not None
    assert verdict.better is (sign > 0)
    assert verdict.sentence.startswith(f"On score this judge {words} (r {sign}.00")


def test_verdicts_that_are_missing_count_for_nothing(rubric: Rubric) -> None:
    ratings = mixed(8)
    verdicts = [dict(one.labels) if k < 5 else {} for k, one in enumerate(ratings)]
    trust = trusts(rubric, judged(rubric, ratings, verdicts))["helps"]
    assert [one.n for one in trust.raters] == [5, 8, 8, 8]
    nothing = trusts(rubric, judged(rubric, ratings, [{}] * 8))["helps"]
    assert nothing.raters[0].n == 0
    assert nothing.verdict is not None
    assert "no verdict that could be read" in nothing.verdict.sentence


def test_people_are_compared_with_each_other(rubric: Rubric) -> None:
    ratings = [one for k in range(10) for one in (
        rated(k, "Well?", "Ana", asks="yes" if k % 2 else "no"),
        rated(k, "Well?", "Bo", asks="yes" if k % 2 or k == 0 else "no"),
    )]  # fmt: skip
    items = judged(rubric, ratings, [said("yes" if k % 2 else "no") for k in range(10)])
    trust = trusts(rubric, items)["asks"]
    assert len(items) == 10
    assert figures(trust, "people")["accuracy"] == 0.9
    assert figures(trust)["accuracy"] == 0.95
    assert trust.prevalence == {"yes": 0.55, "no": 0.45}
    assert figures(trust)["alpha"] > figures(trust, "people")["alpha"]


def test_the_same_person_twice_is_two_ratings(rubric: Rubric) -> None:
    items = items_of([rated(0, "Well?", "Ana", asks="yes"), rated(0, "Well?", "Ana", asks="no")], rubric, FILE)
    assert [labels["asks"] for labels in items[0].people.values()] == ["yes", "no"]


def test_a_judge_by_itself(rubric: Rubric) -> None:
    ratings = mixed(20)
    first = [said("yes", 2 + k % 3) for k in range(20)]
    second = [said("yes", 2 + k % 3 if k < 15 else 1) for k in range(20)]
    trust = trusts(rubric, judged(rubric, ratings, first, second))
    assert trust["helps"].identical is not None
    assert trust["helps"].identical.mean == 0.75
    assert trust["helps"].self_alpha is not None
    assert 0 < trust["helps"].self_alpha.mean < 1
    assert trust["asks"].identical is not None
    assert trust["asks"].identical.mean == 1
    alone = trusts(rubric, judged(rubric, ratings, first))["helps"]
    assert alone.identical is None
    assert alone.self_alpha is None


def test_a_judge_that_pays_by_the_word_is_found_out(rubric: Rubric) -> None:
    ratings = [rated(k, " ".join(["word"] * (1 + k)), helps=1 + k % 5) for k in range(30)]
    wordy = [said("yes", 1 + k // 6) for k in range(30)]
    fair = [said("yes", 1 + k % 5 if k % 2 else min(5, 2 + k % 5)) for k in range(30)]
    bias = trusts(rubric, judged(rubric, ratings, wordy))["helps"].length_bias
    none = trusts(rubric, judged(rubric, ratings, fair))["helps"].length_bias
    assert bias is not None
    assert none is not None
    assert bias.low > 0.3
    assert none.low < 0 < none.high


def test_ratings_that_do_not_fit_the_rubric_are_told(rubric: Rubric) -> None:
    with pytest.raises(
        SettingsError, match=r"ratings\.csv, rating 2: helps = 6 is not on offer in rubric small: 1 to 5"
    ):
        items_of([rated(0, "Well?", helps=5), rated(1, "Well?", helps=6)], rubric, FILE)
    with pytest.raises(SettingsError, match="asks = 'maybe' is not on offer in rubric small: yes, no"):
        items_of([rated(0, "Well?", asks="maybe")], rubric, FILE)
    with pytest.raises(SettingsError, match="rates tone, and rubric small asks for asks, helps, guides"):
        items_of([rated(0, "Well?", tone="kind")], rubric, FILE)


def test_labels_are_read_as_judges_labels_are(rubric: Rubric) -> None:
    (item,) = items_of([rated(0, "Well?", asks=" YES ", guides="to some extent", other=3)], rubric, FILE)
    assert item.people == {"": {"asks": "yes", "guides": "To some extent"}}
