"""Sets of preference pairs in a folder of stages: what `diotima pairs` wrote about them, as a chart and as tables.

Read from ``summary.json`` alone, so the figures are those of the set and nothing is counted a second time.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from diotima.reports.charts import INK, ROLE_COLOURS, Chart, as_chart, canvas, chart_style
from diotima.reports.figures import Figure
from diotima.reports.tables import Cell, Row, Table, percent
from diotima.runs.manifest import read_json


@dataclass(frozen=True, slots=True)
class PairSet:
    """A set of pairs: the name of its stage, what its summary says, and its first pair."""

    name: str
    summary: Mapping[str, Any]
    first: Mapping[str, Any]

    @property
    def candidate(self) -> tuple[str, str, int]:
        """Tutor, problem and seed of a turn that was chosen, by which the run it was chosen from is known."""
        return str(self.first["chosen_tutor"]), str(self.first["problem_id"]), int(self.first["chosen_seed"])


def pair_sets(folder: Path) -> tuple[PairSet, ...]:
    """The sets of pairs among the stages in a folder; what has no summary is not ours."""
    found = []
    for file in sorted(folder.glob("*/pairs.jsonl")):
        summary = file.parent / "summary.json"
        if summary.is_file():
            with file.open(encoding="utf-8") as rows:
                found.append(PairSet(file.parent.name, read_json(summary), json.loads(rows.readline())))
    return tuple(found)


def pair_figure(pairs: PairSet) -> Figure:
    """How good the candidates were, and which of them became pairs."""
    told = pairs.summary
    dropped = "; ".join(f"{count:,} {reason}" for reason, count in told["dropped"].items())
    note = (
        f"{told['candidates']:,} candidates in {told['contexts']:,} contexts, {percent(told['validity'])} of them with "
        f"a verdict, gave {told['pairs']:,} pairs{f' (of the other contexts {dropped})' if dropped else ''}. In each "
        f"context the best candidate is set against the worst, if its {told['measure'].replace('_', ' ')} "
        f"under {told['rubric']} is above {told['above']} and better than the worst one's. A tutor learns whatever "
        "tells the two sides apart, so their lengths stand beside their scores."
    )
    charts = (_scores_chart(pairs),)
    return Figure(f"Preference pairs: {pairs.name}", note, charts, _tables(told), tuple(told["cautions"]))


def _scores_chart(pairs: PairSet) -> Chart:
    told = pairs.summary
    scores = {Fraction(score): count for score, count in told["scores"].items()}
    above, title = Fraction(told["above"]), f"Candidates by {told['measure'].replace('_', ' ')}"
    low, high = min(*scores, above), max(*scores, above)
    with chart_style():
        figure, axes = canvas(4.6, 2.9)
        for score, count in scores.items():
            colour = ROLE_COLOURS["after" if score > above else "reference"]
            axes.bar(float(score), count, width=float(high - low) / 32, color=colour)
        axes.axvline(float(above), color=INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.set_xlabel(f"{told['measure'].replace('_', ' ')}; dashed: what a chosen turn must be above ({above})")
        axes.set_ylabel("candidates")
        axes.grid(axis="y")
        axes.set_title(title)
        enough = sum(count for score, count in scores.items() if score > above)
        alt = f"{title}: {enough:,} of {sum(scores.values()):,} with a verdict are above {above}."
        return as_chart(figure, f"pairs-{pairs.name}", title, alt)


def _tables(told: Mapping[str, Any]) -> tuple[Table, ...]:
    made_of = [
        ("contexts", f"{told['contexts']:,}"),
        *((f"of which {reason}", f"{count:,}") for reason, count in told["dropped"].items()),
        ("candidates", f"{told['candidates']:,}"),
        ("of which with a verdict", f"{told['valid']:,} ({percent(told['validity'])})"),
        ("of these cut off or malformed", f"{told['cut_or_malformed']:,}"),
        ("pairs", f"{told['pairs']:,}"),
        ("chosen by", " and ".join(told["judges"])),
        ("by the tutor", ", ".join(told["tutors"])),
    ]
    sides = [(side, f"{told[f'{side}_score']:.3f}", f"{told[f'{side}_words']:.1f}") for side in ("chosen", "rejected")]
    scores = [(score, f"{float(Fraction(score)):.3g}", f"{count:,}") for score, count in told["scores"].items()]
    longer = f"the chosen turn has more words in {percent(told['chosen_longer'])} of the pairs"
    return (
        _table("What the pairs were made of", ("what", "how many"), made_of),
        _table(f"The two sides, means over pairs; {longer}", ("side", "score", "words"), sides),
        _table("Candidates with a verdict, by score", ("score", "in decimals", "candidates"), scores),
    )


def _table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    return Table(caption, tuple((title, "") for title in columns), tuple(Row(tuple(map(Cell, row))) for row in rows))
