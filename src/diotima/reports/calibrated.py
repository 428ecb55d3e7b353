"""A calibration for people: tables from what ``calibration.json`` holds, and in plain words what they come to.

Made from the plain values alone, so a calibration that was remembered can be shown anywhere. For each thing that was
asked one table: the judge, the trivial raters it has to beat, and people among themselves where several rated.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from diotima.reports.tables import DASH, ELLIPSIS, MINUS, NONE, Cell, Row, Table, percent, terminal
from diotima.runs.calibrations import calibrations_in

TITLES: Mapping[str, tuple[str, str]] = {
    "accuracy": ("accuracy", "share of the same answers"),
    "lenient": ("lenient", "the same, with the labels merged that the rubric merges"),
    "macro_f1": ("macro-F1", "mean F1 over the labels, each counted alike"),
    "kappa": ("kappa", "Cohen's kappa"),
    "quadratic_kappa": ("kappa, quadratic", "Cohen's kappa with quadratic weights"),
    "alpha": ("alpha", "Krippendorff's alpha over all people and this rater"),
    "pearson": ("r", "Pearson's correlation"),
    "spearman": ("rho", "Spearman's rank correlation"),
    "mae": ("MAE", "mean absolute error"),
}
FEW = 20  # conversations, below which intervals are too narrow


def print_calibration(calibration: Mapping[str, Any]) -> None:
    """Print a calibration on standard output."""
    from rich.console import Console

    console = Console()
    for table in calibration_tables(calibration):
        console.print(terminal(table))
    for line in calibration_words(calibration):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def on_trust(folder: Path, judges: Collection[str] | None = None) -> Iterator[str]:
    """A sentence on each judge in a run's folder, or only on these: what its calibration says, or that it has none."""
    for judge, calibration in calibrations_in(folder).items():
        if judges is not None and judge not in judges:
            continue
        if calibration is None:
            yield f"How far {judge} can be trusted with this rubric is not known; measure it with diotima calibrate"
        else:
            yield str(calibration["summary"])


def calibration_tables(calibration: Mapping[str, Any]) -> list[Table]:
    """One table a topic, one of the judge's agreement with itself and its bias, one of the attacks on it."""
    tables = [_topic(topic) for topic in calibration["topics"] if topic["raters"]]
    if any(topic[name] for topic in calibration["topics"] for name in _HABITS):
        tables.append(_habits(calibration))
    if calibration["attacks"]:
        tables.append(_attacks(calibration))
    return tables


def calibration_words(calibration: Mapping[str, Any]) -> Iterator[str]:
    """What was judged and how much of it could be read, then what it comes to, topic by topic."""
    judged, human = calibration["judgements"], calibration["human"]
    missing = ", ".join(f"{judged[state]} {state}" for state in ("invalid", "refused", "error") if judged[state])
    yield (
        f"{calibration['judge']} under {calibration['rubric']}: {calibration['cases']:,} cases of {human['file']}, "
        f"{judged['n']:,} verdicts, {percent(judged['valid'] / judged['n'])} valid{f' ({missing})' if missing else ''}."
    )
    yield from (topic["verdict"]["sentence"] for topic in calibration["topics"] if topic["verdict"])
    if calibration["order_flips"] is not None:
        flips = calibration["order_flips"]
        yield f"Asked in the other order it says another thing in {_share(flips)} of {flips['n']:,} comparisons."
    if calibration["problems"] < FEW:
        yield f"Only {calibration['problems']} problems: with fewer than {FEW} the intervals are too narrow."


def _topic(topic: Mapping[str, Any]) -> Table:
    shown = [name for name in TITLES if any(name in rater["figures"] for rater in topic["raters"])]
    if topic["kind"] == "measure":
        ratings = [rating for rating, _ in topic["prevalence"]]
        mean = sum(rating * share for rating, share in topic["prevalence"])
        said = f"gave {min(ratings):g} to {max(ratings):g}, {mean:.2f} on average"
    else:
        said = f"said {', '.join(f'{rating} {percent(share, 0)}' for rating, share in topic['prevalence'])}"
    return Table(
        f"{topic['name']}: agreement with people, who {said}",
        (("rater", ""), ("n", "cases that both rated"), *(TITLES[name] for name in shown)),
        tuple(
            Row((Cell(rater["rater"]), Cell(str(rater["n"])), *(_cell(rater["figures"].get(name)) for name in shown)))
            for rater in topic["raters"]
        ),
    )


_HABITS = {
    "identical": ("same again", "share of cases on which all samples say the same"),
    "self_alpha": ("alpha of samples", "Krippendorff's alpha among the samples"),
    "length_bias": ("rises with length", "Spearman's rho of its distance to people's ratings with the turn's words"),
}


def _habits(calibration: Mapping[str, Any]) -> Table:
    known = [name for name in _HABITS if any(topic[name] for topic in calibration["topics"])]
    topics = [topic for topic in calibration["topics"] if any(topic[name] for name in known)]
    verdicts = "one verdict" if calibration["samples"] == 1 else f"{calibration['samples']} verdicts"
    return Table(
        f"The judge by itself, {verdicts} a case",
        (("on", ""), *(_HABITS[name] for name in known)),
        tuple(Row((Cell(topic["name"]), *(_cell(topic[name]) for name in known))) for topic in topics),
    )


def _attacks(calibration: Mapping[str, Any]) -> Table:
    chance = calibration["rises_by_chance"]
    rows = [
        Row((Cell(one["attack"], one["about"]), Cell(one["how"]), Cell(str(one["flips"]["n"])), _flips(one["flips"])))
        for one in calibration["attacks"]
    ]
    if chance["n"]:
        rows.append(Row((Cell("none", "the same case once more"), Cell(NONE), Cell(str(chance["n"])), _flips(chance))))
    return Table(
        f"Attacks: how often {calibration['headline']} rises, or nothing gets as much as a good turn",
        (("attack", ""), ("how", ""), ("n", "cases tried, with a verdict"), ("flips", "share of them")),
        tuple(rows),
    )


def _cell(figure: Mapping[str, Any] | None) -> Cell:
    if figure is None or figure["mean"] is None:
        return Cell(NONE)
    limits = "" if figure["low"] is None else f"{_number(figure['low'])}{ELLIPSIS}{_number(figure['high'])}"
    return Cell(_number(figure["mean"]), limits)


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS)


def _flips(figure: Mapping[str, Any]) -> Cell:
    if figure["mean"] is None:
        return Cell(NONE)
    return Cell(percent(figure["mean"], 0), f"{100 * figure['low']:.0f}{DASH}{100 * figure['high']:.0f}")


def _share(figure: Mapping[str, Any]) -> str:
    return NONE if figure["mean"] is None else f"{percent(figure['mean'])} ({_flips(figure).detail})"
