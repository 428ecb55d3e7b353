"""How far raters agree: coefficients over ratings of the same things, each with an interval by whole conversations.

A *row* is one thing that was rated, with one rating of each rater: ``[("yes", "yes"), ("no", "yes"), ...]`` for two.

    cohen_kappa(rows)                                   # a float
    interval(cohen_kappa, rows, conversations)          # the same with its limits

Every coefficient is a function of such rows, and of how often each counts; so one bootstrap serves all: `interval`
draws conversations with replacement and asks the coefficient for all draws at once. Where a coefficient is undefined,
because nobody's ratings vary, it is nan, never 0 or 1 by accident. Agreement that chance would reach as well is no
merit: where one label is frequent read kappa and alpha, not accuracy, and the prevalence beside them.

One departure from the sources, which stand at each coefficient: weighted kappa goes by the distance of the ratings
themselves, not of their ranks among those that happen to occur.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from diotima.statistics import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rating = str | int | float
Level = Literal["nominal", "ordinal", "interval"]
Rows: TypeAlias = "Sequence[Sequence[Rating | None]] | Ratings"
Value: TypeAlias = Any
"""A float; of `Ratings` that were drawn many times, an array with one for each draw."""

MOST_UNDEFINED = 0.05  # of the draws; beyond it an interval would speak of the lucky draws only
_CELLS = 2_000_000  # draws times rows that are held in memory at once


@dataclass(frozen=True, slots=True)
class Ratings:
    """Rows made ready to be counted, see `Ratings.of`.

    ``scale``: the different ratings that occur, ascending. ``codes``: rows by raters, the place of each rating in
    ``scale``, -1 where there is none. ``times``: how often each row counts; draws by rows, or rows alone.
    """

    scale: tuple[Any, ...]
    codes: "NDArray[Any]"
    times: "NDArray[Any]"

    @classmethod
    def of(cls, rows: Rows) -> "Ratings":
        """The rows, each counted once. Raises ValueError unless all have as many raters, and texts or numbers alone."""
        import numpy as np

        if isinstance(rows, Ratings):
            return rows
        if len({len(row) for row in rows}) > 1:
            raise ValueError("every row needs as many ratings as the first; use None where there is none")
        found = {rating for row in rows for rating in row if rating is not None}
        texts = sum(isinstance(rating, str) for rating in found)
        if texts not in (0, len(found)) or not all(isinstance(rating, str) or isfinite(rating) for rating in found):
            raise ValueError("ratings are either all texts or all finite numbers")
        scale = tuple(sorted(found))
        place: dict[Any, int] = {rating: code for code, rating in enumerate(scale)} | {None: -1}
        codes = np.array([[place[rating] for rating in row] for row in rows], dtype=int)
        return cls(scale, codes.reshape(len(rows), len(rows[0]) if rows else 2), np.ones(len(rows)))

    def only(self, *raters: int) -> "Ratings":
        """Some of the raters, by their places in a row."""
        return replace(self, codes=self.codes[:, raters])

    @property
    def pair(self) -> "tuple[NDArray[Any], NDArray[Any]]":
        """The codes of two raters. Raises ValueError if there are others, or if a rating is missing."""
        if self.codes.shape[1] != 2 or (self.codes < 0).any():
            raise ValueError("this compares two raters, row by row; leave out the rows that one of them did not rate")
        return self.codes[:, 0], self.codes[:, 1]

    @property
    def values(self) -> "NDArray[Any]":
        """The scale as numbers. Raises ValueError if it is one of texts."""
        import numpy as np

        if self.scale and isinstance(self.scale[0], str):
            raise ValueError(f"this coefficient needs numbers, not {self.scale[0]!r}")
        return np.array(self.scale, dtype=float)

    def counts(self, codes: "NDArray[Any]") -> Value:
        """How often one rater gave each rating of the scale; draws by scale, or the scale alone."""
        return self.times @ _marks(codes, len(self.scale))


def accuracy(rows: Rows) -> Value:
    """The share of rows on which two raters say the same; nan without rows."""
    ratings = Ratings.of(rows)
    first, second = ratings.pair
    return _share(ratings.times @ (first == second), ratings.times.sum(axis=-1))


def macro_f1(rows: Rows) -> Value:
    """The mean of F1 over all labels that either rater gave, each label counted alike; nan without rows.

    F1 of a label is 2 both / (first + second), the same whoever comes first (van Rijsbergen, "Information Retrieval",
    1979). A label that nobody gave has none and is left out, as scikit-learn does it.
    """
    import numpy as np

    ratings = Ratings.of(rows)
    first, second = ratings.pair
    given = ratings.counts(first) + ratings.counts(second)
    both = (ratings.times * (first == second)) @ _marks(first, len(ratings.scale))
    scores = np.divide(2 * both, given, out=np.zeros_like(given), where=given > 0)
    return _share(scores.sum(axis=-1), (given > 0).sum(axis=-1))


def cohen_kappa(rows: Rows, weights: Literal["quadratic"] | None = None) -> Value:
    """Cohen's kappa of two raters: 1 - observed / expected disagreement; nan where chance alone would agree fully.

    Plain (Cohen, "A Coefficient of Agreement for Nominal Scales", 1960) or, with ``weights="quadratic"`` and for
    numbers only (Cohen, "Weighted Kappa", 1968), by the squared distance: 1 and 3 disagree four times as much as 1 and
    2. A rater who always says the same has kappa 0; if both do, and say the same, it is undefined.
    """
    import numpy as np

    ratings = Ratings.of(rows)
    first, second = ratings.pair
    if weights is None:
        apart = 1 - np.identity(len(ratings.scale))
    else:
        values = ratings.values
        apart = (values[:, None] - values[None, :]) ** 2
    observed = (ratings.times @ apart[first, second]) * ratings.times.sum(axis=-1)
    expected = ((ratings.counts(first) @ apart) * ratings.counts(second)).sum(axis=-1)
    return 1 - _share(observed, expected)


def krippendorff_alpha(rows: Rows, level: Level = "ordinal") -> Value:
    """Krippendorff's alpha of any number of raters, with gaps: 1 - observed / expected disagreement.

    Observed are the pairs of ratings within a row, those of a row of m ratings counting 1 / (m - 1) each; expected, all
    pairs of ratings whatever; a row with fewer than two is left out. ``level`` says how far two ratings are apart.
    nominal: same or not; interval: the squared difference; ordinal: squared, the number of ratings from one to the
    other, counting half of those at both ends. nan where no two ratings stand together, or all are the same.
    Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011; Hayes and Krippendorff, "Answering the Call for a
    Standard Reliability Measure for Coding Data", Communication Methods and Measures 2007.
    """
    import numpy as np

    ratings = Ratings.of(rows)
    given = sum((_marks(codes, len(ratings.scale)) for codes in ratings.codes.T), np.zeros((1, len(ratings.scale))))
    raters = given.sum(axis=1)
    given, raters, times = given[raters > 1], raters[raters > 1], ratings.times[..., raters > 1]
    totals = times @ given
    n = totals.sum(axis=-1)
    if level == "nominal":
        within = raters**2 - (given**2).sum(axis=1)
        overall = n**2 - (totals**2).sum(axis=-1)
    else:  # pairs are (p - q) ** 2 apart, so sums of p and of p ** 2 are all that is needed
        values = ratings.values  # ordered they must be, too
        place = values if level == "interval" else np.cumsum(totals, axis=-1) - totals / 2
        within = 2 * (raters * (place**2 @ given.T) - (place @ given.T) ** 2)
        overall = 2 * (n * (totals * place**2).sum(axis=-1) - (totals * place).sum(axis=-1) ** 2)
    observed = (times * within / (raters - 1)).sum(axis=-1) * (n - 1)
    return 1 - _share(observed, np.where((totals > 0).sum(axis=-1) > 1, overall, 0))


def pearson(rows: Rows) -> Value:
    """Pearson's correlation of two raters' numbers; nan if one of them never varies."""
    ratings = Ratings.of(rows)
    first, second = ratings.pair
    return _correlation(ratings, ratings.values[first], ratings.values[second])


def spearman(rows: Rows) -> Value:
    """Spearman's rank correlation: Pearson's of the ranks, ties sharing the mean of theirs; nan as there.

    Spearman, "The Proof and Measurement of Association between Two Things", 1904. Only the order within each rater
    counts, so the two may use different scales.
    """
    ratings = Ratings.of(rows)
    ratings.values  # noqa: B018  (that there are numbers, in their order)
    first, second = ratings.pair
    return _correlation(ratings, _ranks(ratings, first), _ranks(ratings, second))


def mean_absolute_error(rows: Rows) -> Value:
    """How far two raters' numbers are apart on average, in units of the scale; nan without rows."""
    ratings = Ratings.of(rows)
    first, second = ratings.pair
    return _share(ratings.times @ abs(ratings.values[first] - ratings.values[second]), ratings.times.sum(axis=-1))


def prevalence(given: Iterable[Rating]) -> Mapping[Rating, float]:
    """How frequent each rating is among those given, the most frequent first; shares that sum to 1."""
    counts = Counter(given)
    order = sorted(counts, key=lambda rating: (-counts[rating], str(rating)))
    return {rating: counts[rating] / counts.total() for rating in order}


def interval(
    coefficient: Callable[[Ratings], Value],
    rows: Sequence[Sequence[Rating | None]],
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """A coefficient of ``rows`` with its percentile bootstrap interval; ``clusters`` names each row's conversation.

    What `statistics.bootstrap_interval` is for sums, this is for coefficients: whole clusters are drawn, and ranks and
    agreement by chance are worked out anew in every draw. The order of the rows does not matter. With one cluster the
    limits are nan, and so they are where the coefficient is undefined in more than one draw of twenty; fewer are left
    out. To be doubted below some 20 clusters, where it is too narrow. Raises ValueError if the clusters are not as many
    as the rows.
    """
    import numpy as np

    if clusters is not None and len(clusters) != len(rows):
        raise ValueError(f"{len(rows)} rows but {len(clusters)} clusters")
    if not rows:
        return Interval(nan, nan, nan, 0)
    different = sorted({tuple(row) for row in rows}, key=str)
    place = {row: index for index, row in enumerate(different)}
    members: dict[Hashable, list[int]] = {}
    for name, row in zip(range(len(rows)) if clusters is None else clusters, rows, strict=True):
        members.setdefault(name, []).append(place[tuple(row)])
    units = sorted(map(sorted, members.values()))  # by what is in them, not by their names or their order
    held = np.concatenate(units)
    by_row = np.argsort(held, kind="stable")
    unit_of = np.repeat(np.arange(len(units)), list(map(len, units)))[by_row]
    begins = np.searchsorted(held[by_row], np.arange(len(different)))
    prepared = Ratings.of(different)

    def when_drawn(units_drawn: "NDArray[Any]") -> Value:
        times = np.add.reduceat(units_drawn[..., unit_of], begins, axis=-1)
        return coefficient(replace(prepared, times=times))

    estimate = float(when_drawn(np.ones(len(units))))
    if len(units) == 1:
        return Interval(estimate, nan, nan, len(rows))
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // len(rows))
    drawn = np.concatenate(
        [when_drawn(_draw(generator, min(block, draws - done), len(units))) for done in range(0, draws, block)]
    )
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < (1 - MOST_UNDEFINED) * draws:
        return Interval(estimate, nan, nan, len(rows))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), len(rows))


def _draw(generator: Any, draws: int, units: int) -> "NDArray[Any]":
    """How often each unit comes up when as many are drawn with replacement, draws by units."""
    import numpy as np

    drawn = generator.integers(units, size=(draws, units)) + units * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * units).reshape(draws, units).astype(float)


def _marks(codes: "NDArray[Any]", size: int) -> Value:
    """A row for each code with a 1 at its place and 0 elsewhere; nothing but 0 where the code is missing."""
    import numpy as np

    return (codes[:, None] == np.arange(size)).astype(float)


def _ranks(ratings: Ratings, codes: "NDArray[Any]") -> Value:
    """The rank of each rating among those of its rater, the mean of theirs where several are the same."""
    import numpy as np

    counts = ratings.counts(codes)
    return (np.cumsum(counts, axis=-1) - counts / 2)[..., codes]


def _correlation(ratings: Ratings, first: Value, second: Value) -> Value:
    """Pearson's of two numbers a row, which may differ from draw to draw."""
    import numpy as np

    times = ratings.times
    n = times.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        first = first - (first * times).sum(axis=-1, keepdims=True) / n
        second = second - (second * times).sum(axis=-1, keepdims=True) / n
    spread = (first**2 * times).sum(axis=-1) * (second**2 * times).sum(axis=-1)
    vary = [(ratings.counts(codes) > 0).sum(axis=-1) > 1 for codes in ratings.pair]
    return _share((first * second * times).sum(axis=-1), np.where(vary[0] & vary[1], np.sqrt(spread), 0))


def _share(part: Value, whole: Value) -> Value:
    """A part of a whole, nan of nothing."""
    import numpy as np

    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), np.asarray(whole, dtype=float))
    return np.divide(part, whole, out=np.full(whole.shape, nan), where=whole != 0)[()]
