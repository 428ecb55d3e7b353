"""Intervals for means, differences and rates, and tests of paired differences, on results that come in clusters.

Dialogues about one problem, or ratings of one conversation, are not independent; the bootstrap therefore resamples
whole clusters where they are given, so that an interval is as wide as the number of problems, not of rows, allows.
The tests take one difference a problem. Neither knows of problems that were never drawn: an interval says how far
other problems *of this kind* would move the figure, not other students, prompts or kinds of problems.
Everything is deterministic in its seed and does not depend on the order of the rows.

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval, clusters);
Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927; those of the tests stand
at the tests.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from statistics import NormalDist, fmean, stdev
from typing import Any

_CELLS = 500_000  # row numbers drawn at once: what fits a processor's cache is fastest


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, its confidence limits, and the number of values behind it. What cannot be known is nan."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of ``values`` with its percentile bootstrap interval; ``clusters`` names each value's cluster.

    One value, or one cluster, has no spread to resample: its limits are unknown (nan). So is everything without
    values. To be doubted below some 20 clusters, where it is too narrow: on simulated pairs of yes and no a 95 %
    interval covered the truth in 74 % of cases with 6 problems, 90 % with 12, 94 % with 30 and 96 % with 300. Raises
    ValueError for a value that is not finite (leave missing scores out first) and for clusters of another length.
    """
    return bootstrap_interval(_mean, [[value, 1.0] for value in values], clusters, level, draws, seed)


def paired_interval(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of ``second - first``, pair by pair, with its interval as in `mean_interval`."""
    if len(first) != len(second):
        raise ValueError(f"pairs need two lists of one length, not {len(first)} and {len(second)}")
    return mean_interval([b - a for a, b in zip(first, second, strict=True)], clusters, level, draws, seed)


def bootstrap_interval(
    statistic: Callable[[Any], float],
    rows: Sequence[Sequence[float]],
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Any ``statistic`` of the column sums of ``rows``, with its percentile bootstrap interval.

    A mean is a ratio of two sums, F1 is one of three: ``statistic`` gets the sums over all drawn rows, one per column.
    ``level`` is the coverage, ``draws`` the number of resamples, ``n`` of the result the number of rows.
    """
    import numpy as np

    if clusters is not None and len(clusters) != len(rows):
        raise ValueError(f"{len(rows)} values but {len(clusters)} clusters")
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, such as 0.95, not {level}")
    if not all(isfinite(cell) for row in rows for cell in row):
        raise ValueError("a value is not finite; leave missing scores out before asking for an interval")
    if not rows:
        return Interval(nan, nan, nan, 0)
    table = np.asarray(rows, dtype=float)
    if clusters is not None:
        names = {name: index for index, name in enumerate(dict.fromkeys(clusters))}
        sums = np.zeros((len(names), table.shape[1]))
        np.add.at(sums, [names[name] for name in clusters], table)
        table = sums
    table = table[np.lexsort(table.T)]  # equal rows in any order give the same draws
    estimate = float(statistic(table.sum(axis=0)))
    if len(table) == 1:
        return Interval(estimate, nan, nan, len(rows))
    generator = np.random.default_rng(seed)
    units = len(table)
    block = max(1, _CELLS // units)
    drawn: list[float] = []
    while len(drawn) < draws:
        rows_drawn = generator.integers(units, size=(min(block, draws - len(drawn)), units))
        sums_drawn = np.stack([column[rows_drawn].sum(axis=1) for column in table.T], axis=1)
        drawn.extend(map(statistic, sums_drawn))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), len(rows))


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """A share of ``successes`` in ``n`` trials with Wilson's score interval, good also near 0 and 1 and for small n."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials cannot be")
    if n == 0:
        return Interval(nan, 0.0, 1.0, 0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(share, low, high, n)


def mcnemar_test(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value that two paired shares are equal, from the pairs in which only one side has it.

    McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 1947, in its
    exact form: under the null each discordant pair falls on either side like a coin, so p is binomial. It never
    rejects more often than it says, but with few discordant pairs much less often: five of five give 0.0625, so below
    six no outcome at all reaches 0.05. Pairs must be independent: one a problem.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"{only_first} and {only_second} pairs cannot be")
    discordant = only_first + only_second
    tail = ways = 1
    for count in range(min(only_first, only_second)):
        ways = ways * (discordant - count) // (count + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << discordant))


def sign_flip_test(differences: Sequence[float], draws: int = 10_000, seed: int = 0) -> float:
    """The two-sided p-value that paired ``differences``, one a problem, lie symmetrically around zero.

    The permutation test for pairs (Fisher, "The Design of Experiments", 1935): under the null first and second might
    have been exchanged in any pair, so ``draws`` times the signs are drawn anew, and p = (1 + times that the mean is at
    least as far from zero) / (1 + draws) (Phipson and Smyth 2010: never 0, and valid for any number of draws).
    To be doubted: with fewer than six differences other than zero nothing can come below 0.05; and the null is
    symmetry, so where a few problems change much and many change little the other way, read the interval beside it.
    """
    import numpy as np

    if not all(map(isfinite, differences)):
        raise ValueError("a difference is not finite; leave missing pairs out before asking for a test")
    sizes = np.sort(np.abs([difference for difference in differences if difference]))
    if not len(sizes):
        return 1.0
    observed = abs(fmean(differences)) * len(differences) * (1 - 1e-9)  # a tie must count, however it is rounded
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // len(sizes))
    as_far = 0
    for start in range(0, draws, block):
        flips = generator.integers(2, size=(min(block, draws - start), len(sizes)), dtype=np.int8)
        as_far += int(np.count_nonzero(np.abs(2 * (flips @ sizes) - sizes.sum()) >= observed))
    return (1 + as_far) / (1 + draws)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, in their order, adjusted so that the chance of *any* false alarm among them keeps to the level.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979; valid
    whatever the tests have to do with each other. Right only if the family was chosen before looking.
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = floor
    return adjusted


def paired_effect(differences: Sequence[float]) -> float:
    """Cohen's d_z: the mean of paired differences in units of their standard deviation; nan without any spread.

    Lakens, "Calculating and reporting effect sizes", Frontiers in Psychology 2013. It says how reliably one side wins
    from pair to pair, not how much it matters: averaging more lessons a problem raises it. Below some 20 pairs it
    is too large on average.
    """
    spread = _spread(differences)
    return fmean(differences) / spread if spread else nan


def smallest_difference(differences: Sequence[float], level: float = 0.95, power: float = 0.8) -> float:
    """The smallest true mean difference that a two-sided test on so many such pairs finds with probability ``power``.

    (z of 1 - alpha/2 + z of ``power``) times the standard error of the mean difference (Bloom, "Minimum Detectable
    Effects", Evaluation Review 1995); nan without any spread, which tells nothing about other problems. The normal
    approximation is too hopeful below some 20 pairs, and it is for one test alone: after Holm it takes somewhat more.
    """
    spread = _spread(differences)
    if not spread:
        return nan
    normal = NormalDist()
    return (normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)) * spread / sqrt(len(differences))


def _spread(differences: Sequence[float]) -> float:
    return stdev(differences) if len(differences) > 1 else 0.0


def _mean(sums: Any) -> float:
    return float(sums[0] / sums[1])
