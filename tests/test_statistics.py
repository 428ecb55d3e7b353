import random
from math import isnan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diotima.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    mcnemar_test,
    mean_interval,
    paired_effect,
    paired_interval,
    sign_flip_test,
    smallest_difference,
    wilson_interval,
)


def test_mean_and_limits_in_order() -> None:
    interval = mean_interval([0.0, 1.0, 1.0, 0.0, 1.0])
    assert interval.n == 5
    assert interval.mean == pytest.approx(0.6)
    assert 0 <= interval.low < interval.mean < interval.high <= 1


def test_constant_values_have_a_point_for_an_interval() -> None:
    assert mean_interval([0.25] * 7) == Interval(0.25, 0.25, 0.25, 7)


def test_what_one_cluster_cannot_tell_is_nan() -> None:
    empty, one, cluster = mean_interval([]), mean_interval([3.0]), mean_interval([1.0, 3.0], clusters=["a", "a"])
    assert (empty.n, one.n, cluster.n) == (0, 1, 2)
    assert (one.mean, cluster.mean) == (3.0, 2.0)
    assert all(map(isnan, (empty.mean, empty.low, one.low, one.high, cluster.low, cluster.high)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(-100, 100), st.integers(0, 3)), min_size=2, max_size=20), st.randoms())
def test_order_of_the_rows_does_not_matter(rows: list[tuple[float, int]], random: random.Random) -> None:
    shuffled = random.sample(rows, len(rows))
    first = mean_interval(*map(list, zip(*rows, strict=True)), draws=50)  # type: ignore[arg-type]
    second = mean_interval(*map(list, zip(*shuffled, strict=True)), draws=50)  # type: ignore[arg-type]
    assert (first.mean, first.low, first.high) == pytest.approx((second.mean, second.low, second.high), nan_ok=True)


def test_the_seed_decides() -> None:
    values = [float(value % 7) for value in range(40)]
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_covers_the_true_mean_about_as_often_as_it_says() -> None:
    draw = random.Random(0)
    hits = 0
    for trial in range(200):
        values = [float(draw.random() < 0.4) for _ in range(60)]
        interval = mean_interval(values, draws=300, seed=trial)
        hits += interval.low <= 0.4 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_clusters_widen_the_interval() -> None:
    values = [float(cluster % 2) for cluster in range(10) for _ in range(20)]
    clusters = [cluster for cluster in range(10) for _ in range(20)]
    rows, clustered = mean_interval(values), mean_interval(values, clusters=clusters)
    assert clustered.high - clustered.low > 3 * (rows.high - rows.low)


def test_pairs_cancel_what_they_share() -> None:
    first = [float(value) for value in range(30)]
    second = [value + 0.5 for value in first]
    assert paired_interval(first, second) == Interval(0.5, 0.5, 0.5, 30)
    with pytest.raises(ValueError, match="one length, not 30 and 1"):
        paired_interval(first, [1.0])


def test_any_statistic_of_the_sums() -> None:
    rows = [[1.0, 2.0], [3.0, 2.0], [2.0, 4.0]]
    interval = bootstrap_interval(lambda sums: float(sums[0] / sums[1]), rows)
    assert interval.mean == pytest.approx(6 / 8)
    assert 0.5 <= interval.low < interval.high <= 1.5


@pytest.mark.parametrize(
    ("values", "clusters", "level", "message"),
    [
        ([1.0, float("nan")], None, 0.95, "not finite"),
        ([1.0, 2.0], ["a"], 0.95, "2 values but 1 clusters"),
        ([1.0, 2.0], None, 95, "between 0 and 1"),
    ],
)
def test_bad_input(values: list[float], clusters: list[str] | None, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_interval(values, clusters=clusters, level=level)


def test_wilson_agrees_with_the_published_formula() -> None:
    interval = wilson_interval(15, 50)
    assert (interval.mean, interval.n) == (0.3, 50)
    assert (interval.low, interval.high) == pytest.approx((0.1910, 0.4375), abs=1e-4)


def test_wilson_at_the_edges() -> None:
    none, every, empty = wilson_interval(0, 10), wilson_interval(10, 10), wilson_interval(0, 0)
    assert (none.low, none.high) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert (every.low, every.high) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert (empty.low, empty.high, empty.n) == (0.0, 1.0, 0)
    with pytest.raises(ValueError, match="11 successes in 10"):
        wilson_interval(11, 10)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 5), (0, 6), (3, 9), (9, 3), (7, 7), (40, 61), (900, 1000)])
def test_mcnemar_agrees_with_statsmodels(first: int, second: int) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables", reason="statsmodels is the oracle here")
    expected = tables.mcnemar([[5, first], [second, 5]], exact=True).pvalue if first + second else 1.0
    assert mcnemar_test(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_with_few_discordant_pairs_can_show_nothing() -> None:
    assert mcnemar_test(0, 5) == 0.0625
    assert mcnemar_test(0, 6) < 0.05
    with pytest.raises(ValueError, match="-1 and 3 pairs"):
        mcnemar_test(-1, 3)


def test_sign_flips_agree_with_all_flips_as_scipy_counts_them() -> None:
    import numpy as np
    from scipy.stats import permutation_test

    draw = random.Random(3)
    differences = [draw.gauss(0.4, 1) for _ in range(11)]
    exact = permutation_test((np.array(differences),), np.mean, permutation_type="samples", n_resamples=10_000)
    assert sign_flip_test(differences, draws=20_000) == pytest.approx(exact.pvalue, abs=0.01)


def test_sign_flips_of_yes_and_no_are_mcnemar() -> None:
    differences = [1.0] * 12 + [-1.0] * 4 + [0.0] * 100
    assert sign_flip_test(differences, draws=50_000) == pytest.approx(mcnemar_test(4, 12), abs=0.005)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.randoms())
def test_sign_flips_know_neither_order_nor_which_side_is_first(values: list[float], shuffle: random.Random) -> None:
    p = sign_flip_test(values, draws=200)
    assert 1 / 201 <= p <= 1
    assert sign_flip_test(shuffle.sample(values, len(values)), draws=200) == p
    assert sign_flip_test([-value for value in values], draws=200) == p


def test_ties_count_however_they_are_rounded() -> None:
    assert sign_flip_test([0.1, 0.2, 0.3], draws=4000) == pytest.approx(0.25, abs=0.03)
    assert sign_flip_test([0.0, 0.0]) == sign_flip_test([]) == 1.0
    with pytest.raises(ValueError, match="not finite"):
        sign_flip_test([0.0, float("nan")])


def test_sign_flips_are_decided_by_their_seed() -> None:
    values = [float(value % 7) - 2 for value in range(12)]
    assert sign_flip_test(values, draws=500, seed=1) == sign_flip_test(values, draws=500, seed=1)
    assert len({sign_flip_test(values, draws=500, seed=seed) for seed in range(5)}) > 1


def test_false_alarms_are_as_rare_as_promised() -> None:
    draw = random.Random(1)
    trials, by_flips, by_coins = 400, 0, 0
    for trial in range(trials):
        by_flips += sign_flip_test([draw.gauss(0, 1) ** 3 for _ in range(25)], draws=199, seed=trial) <= 0.05
        discordant = [draw.random() < 0.5 for _ in range(30)]
        by_coins += mcnemar_test(sum(discordant), 30 - sum(discordant)) <= 0.05
    assert 0.02 <= by_flips / trials <= 0.08
    assert by_coins / trials <= 0.07


def test_the_interval_of_paired_problems_covers_the_true_difference() -> None:
    draw = random.Random(2)
    hits = 0
    for trial in range(200):
        hard = [draw.random() for _ in range(60)]
        first = [float(draw.random() < share) for share in hard]
        second = [float(draw.random() < 0.8 * share) for share in hard]
        interval = paired_interval(first, second, draws=300, seed=trial)
        hits += interval.low <= -0.1 <= interval.high
    assert 0.90 <= hits / 200 <= 0.99


def test_holm_agrees_with_statsmodels_and_keeps_the_order() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is the oracle here")
    draw = random.Random(4)
    for count in (1, 2, 5, 9):
        p_values = [draw.random() ** 3 for _ in range(count)]
        assert holm(p_values) == pytest.approx(list(multitest.multipletests(p_values, method="holm")[1]))
    assert holm([]) == []
    assert holm([0.04, 0.01, 0.9]) == pytest.approx([0.08, 0.03, 0.9])


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    draw = random.Random(5)
    alarms = sum(min(holm([draw.random() for _ in range(5)])) <= 0.05 for _ in range(2000))
    assert 0.03 <= alarms / 2000 <= 0.07


def test_the_effect_is_the_mean_in_standard_deviations() -> None:
    assert paired_effect([1.0, 2.0, 3.0]) == 2.0
    assert paired_effect([-1.0, -2.0, -3.0]) == -2.0


@pytest.mark.parametrize("differences", [[], [0.5], [0.0] * 9, [0.1] * 9])
def test_without_spread_there_is_neither_effect_nor_smallest_difference(differences: list[float]) -> None:
    assert isnan(smallest_difference(differences))
    assert isnan(paired_effect(differences))


def test_the_smallest_difference_agrees_with_statsmodels() -> None:
    power = pytest.importorskip("statsmodels.stats.power", reason="statsmodels is the oracle here")
    draw = random.Random(6)
    differences = [draw.gauss(0, 2) for _ in range(200)]
    smallest = smallest_difference(differences)
    in_deviations = power.TTestPower().solve_power(nobs=200, alpha=0.05, power=0.8)
    spread = smallest / 2.8016 * 200**0.5
    assert 1.8 < spread < 2.2
    assert smallest / spread == pytest.approx(in_deviations, rel=0.02)
    assert smallest_difference(differences, level=0.99) > smallest
    assert smallest_difference(differences, power=0.9) > smallest


def test_a_difference_of_that_size_is_found_four_times_in_five() -> None:
    draw = random.Random(7)
    found = 0
    for trial in range(300):
        noise = [draw.gauss(0, 1) for _ in range(50)]
        found += sign_flip_test([value + 2.8016 / 50**0.5 for value in noise], draws=199, seed=trial) <= 0.05
    assert 0.72 <= found / 300 <= 0.87
