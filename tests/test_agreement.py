import random
from collections import Counter
from fractions import Fraction
from functools import partial
from itertools import combinations, permutations
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_kappa

from diotima.agreement import (
    accuracy,
    cohen_kappa,
    interval,
    krippendorff_alpha,
    macro_f1,
    mean_absolute_error,
    pearson,
    prevalence,
    spearman,
)

NONE = None
# Four observers, twelve units, gaps: example C of Krippendorff's "Computing Krippendorff's Alpha-Reliability" (2011).
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3),
    (NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE),
)
UNITS = list(zip(*OBSERVERS, strict=True))
COEFFICIENTS = (accuracy, macro_f1, cohen_kappa, krippendorff_alpha, pearson, spearman, mean_absolute_error)

labels = st.sampled_from("abc")
numbers = st.integers(1, 5)
numbered = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40)


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_published_example(level, published):
    assert krippendorff_alpha(UNITS, level) == pytest.approx(published, abs=0.0005)


def test_alpha_does_not_mind_the_order_of_raters_and_leaves_out_what_one_alone_rated():
    assert (
        len({round(krippendorff_alpha(list(zip(*order, strict=True))), 12) for order in permutations(OBSERVERS)}) == 1
    )
    assert krippendorff_alpha([*UNITS, (NONE, NONE, 4, NONE)]) == krippendorff_alpha(UNITS)


def brute_alpha(units, distance):
    """By its definition: all pairs within units against all pairs whatever."""
    units = [[rating for rating in unit if rating is not None] for unit in units]
    units = [unit for unit in units if len(unit) > 1]
    pool = [rating for unit in units for rating in unit]
    observed = sum(
        Fraction(distance(a, b, pool)) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2)
    ) / Fraction(len(pool))
    expected = sum(Fraction(distance(a, b, pool)) for a, b in permutations(pool, 2))
    return float(1 - observed / (expected / (len(pool) * (len(pool) - 1))))


DISTANCES = {
    "nominal": lambda a, b, pool: int(a != b),
    "interval": lambda a, b, pool: (a - b) ** 2,
    "ordinal": lambda a, b, pool: (
        (sum(min(a, b) <= rating <= max(a, b) for rating in pool) - Fraction(pool.count(a) + pool.count(b), 2)) ** 2
        * (a != b)
    ),
}


@given(st.lists(st.tuples(*[st.none() | st.integers(1, 4)] * 3), min_size=3, max_size=10))
def test_alpha_is_its_definition(units):
    pool = [r for unit in units if sum(x is not None for x in unit) > 1 for r in unit if r is not None]
    for level, distance in DISTANCES.items():
        alpha = krippendorff_alpha(units, level)
        if len(set(pool)) < 2:
            assert isnan(alpha)
        else:
            assert alpha == pytest.approx(brute_alpha(units, distance))


def test_kappa_of_a_worked_example():
    # Two readers of 50 grant proposals: both yes 20, first alone 5, second alone 10, both no 15; 0.7 against 0.5.
    rows = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert cohen_kappa(rows) == pytest.approx(0.4)
    assert accuracy(rows) == pytest.approx(0.7)


@given(numbered)
def test_kappas_are_those_of_statsmodels(rows):
    # all five ratings have a place there, so that ranks and ratings are equally far apart
    table = np.zeros((5, 5))
    for first, second in rows:
        table[first - 1, second - 1] += 1
    if len({rating for row in rows for rating in row}) > 1:
        assert cohen_kappa(rows) == pytest.approx(statsmodels_kappa(table, return_results=False))
        ours, theirs = (
            cohen_kappa(rows, "quadratic"),
            statsmodels_kappa(table, wt="quadratic", return_results=False),
        )
        assert ours == pytest.approx(theirs)


@given(numbered)
def test_correlations_are_those_of_scipy(rows):
    first, second = zip(*rows, strict=True)
    if len(set(first)) > 1 and len(set(second)) > 1:
        assert pearson(rows) == pytest.approx(stats.pearsonr(first, second).statistic)
        assert spearman(rows) == pytest.approx(stats.spearmanr(first, second).statistic)
    else:
        assert isnan(pearson(rows))
        assert isnan(spearman(rows))
    assert mean_absolute_error(rows) == pytest.approx(sum(abs(a - b) for a, b in rows) / len(rows))


@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=30))
def test_macro_f1_is_the_mean_over_the_labels_that_occur(rows):
    scores = []
    for label in {label for row in rows for label in row}:
        both = sum(row == (label, label) for row in rows)
        scores.append(2 * both / sum(row.count(label) for row in rows))
    assert macro_f1(rows) == pytest.approx(sum(scores) / len(scores))


def test_what_cannot_be_known_is_nan():
    constant = [("yes", "yes")] * 9
    assert isnan(cohen_kappa(constant))
    assert isnan(krippendorff_alpha(constant, "nominal"))
    assert isnan(cohen_kappa([(3, 3)] * 9, "quadratic"))
    assert isnan(pearson([(0.1 + 0.2, 1), (0.1 + 0.2, 2), (0.1 + 0.2, 4)]))
    assert isnan(krippendorff_alpha([(1, None), (None, 2)]))
    assert all(isnan(coefficient([])) for coefficient in COEFFICIENTS)


def test_what_can_be_known_of_a_rater_who_always_says_the_same():
    rows = [("yes", "no"), ("no", "no"), ("no", "no"), ("no", "no")]
    assert cohen_kappa(rows) == 0
    assert accuracy(rows) == 0.75
    assert accuracy([("yes", "yes")] * 9) == macro_f1([("yes", "yes")] * 9) == 1


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([(1, 2), (1,)], "as many ratings"),
        ([(1, "yes")], "all texts or all finite numbers"),
        ([(1.0, float("nan"))], "all texts or all finite numbers"),
        ([(1, None)], "leave out the rows"),
        ([(1, 2, 3)], "two raters"),
        ([("a", "b")], "needs numbers"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        pearson(rows)


def test_ordered_alpha_needs_numbers():
    with pytest.raises(ValueError, match="needs numbers"):
        krippendorff_alpha([("low", "high"), ("high", "high")], "ordinal")


def test_prevalence_names_the_most_frequent_first():
    assert list(prevalence(["no", "yes", "no", "no"]).items()) == [("no", 0.75), ("yes", 0.25)]
    assert prevalence([]) == {}


def related(n, seed=0):
    generator = random.Random(seed)
    first = [generator.randint(1, 5) for _ in range(n)]
    return [(one, min(5, max(1, one + generator.choice((-1, 0, 0, 1))))) for one in first]


@pytest.mark.parametrize("coefficient", [*COEFFICIENTS, partial(cohen_kappa, weights="quadratic")])
def test_an_interval_holds_its_coefficient_and_does_not_depend_on_order(coefficient):
    rows = related(60)
    clusters = [row // 3 for row in range(60)]
    found = interval(coefficient, rows, clusters, draws=300)
    assert found.mean == pytest.approx(coefficient(rows))
    assert found.low < found.mean < found.high
    assert found.n == 60
    shuffled = random.Random(1).sample(range(60), 60)
    again = interval(coefficient, [rows[i] for i in shuffled], [clusters[i] for i in shuffled], draws=300)
    assert (again.low, again.high) == (found.low, found.high)
    assert interval(coefficient, rows, clusters, draws=300, seed=1) != found


def test_rows_that_only_repeat_a_conversation_do_not_narrow_an_interval():
    rows = related(30)
    once = interval(spearman, rows, range(30), draws=400)
    copied = interval(spearman, rows * 5, [*range(30)] * 5, draws=400)
    believed = interval(spearman, rows * 5, draws=400)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert believed.high - believed.low < 0.6 * (once.high - once.low)


def test_an_interval_is_wide_enough():
    """Of 95 % intervals for the kappa of 60 pairs, about 95 % hold the true one (here at least 44 of 50)."""
    cells = {("a", "a"): 0.4, ("a", "b"): 0.1, ("b", "a"): 0.15, ("b", "b"): 0.35}
    truth, generator = (0.75 - (0.5 * 0.55 + 0.5 * 0.45)) / 0.5, random.Random(5)
    held = 0
    for _ in range(50):
        rows = generator.choices(list(cells), list(cells.values()), k=60)
        found = interval(cohen_kappa, rows, draws=200)
        held += found.low <= truth <= found.high
    assert 44 <= held <= 50


def test_limits_are_unknown_where_most_draws_say_nothing():
    rare = [("no", "no")] * 30 + [("yes", "yes")]
    found = interval(cohen_kappa, rare, draws=200)
    assert found.mean == 1
    assert isnan(found.low)
    assert isnan(found.high)
    assert isnan(interval(accuracy, rare, ["one"] * 31).low)
    assert isnan(interval(accuracy, []).mean)


def test_clusters_must_fit():
    with pytest.raises(ValueError, match="2 rows but 1 clusters"):
        interval(accuracy, [(1, 1), (1, 2)], ["a"])


def test_missing_ratings_are_kept_by_the_bootstrap():
    found = interval(partial(krippendorff_alpha, level="ordinal"), UNITS, draws=200)
    assert found.mean == pytest.approx(0.815, abs=0.0005)
    assert Counter(len(unit) for unit in UNITS) == {4: 12}
    assert all(first <= second for first, second in combinations((found.low, found.mean, found.high), 2))
