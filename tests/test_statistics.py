import random
from math import isnan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diotima.statistics import Interval, bootstrap_interval, mean_interval, paired_interval, wilson_interval


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
