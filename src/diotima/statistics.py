"""Intervals for means, differences and rates, on results that come in clusters.

Dialogues about one problem, or ratings of one conversation, are not independent; the bootstrap therefore resamples
whole clusters where they are given, so that an interval is as wide as the number of problems, not of rows, allows.
Everything is deterministic in its seed and does not depend on the order of the rows.

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval, clusters);
Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from statistics import NormalDist
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
    values. Raises ValueError for a value that is not finite (leave missing scores out first) and for clusters of
    another length.
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


def _mean(sums: Any) -> float:
    return float(sums[0] / sums[1])
