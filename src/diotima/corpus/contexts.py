"""`diotima contexts`: places where a tutor has to say something, gathered from data sets and lessons into one run.

    diotima contexts mathdial_train.json mathdial_test.json --out runs/contexts
    diotima contexts runs/lessons --turns one --out runs/contexts

A conversation of a file that ends with a student's turn is a context as it is; any other, and every lesson of a run, is
cut before the tutor's turns. Each set has a label, and each different context stands in it once. Published sets repeat
themselves and share contexts between training and test, so both is counted and told; nothing shared is left out here.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import ClassVar, Literal

from diotima import settings as base
from diotima.corpus.conversations import CONTEXT, context_of, merged
from diotima.corpus.repeats import Overlap, Sets
from diotima.corpus.sources import open_sources
from diotima.dialogue import TUTOR, Dialogue, stable_seed
from diotima.errors import RunError
from diotima.problems.list_command import table, visible
from diotima.runs.manifest import write_json
from diotima.runs.run import Run
from diotima.settings import OneOrMore

Turns = Literal["all", "last", "one"]

NONE = "–"
LEGEND = (
    "as written: different texts in the file; contexts: different ones as they are kept; problems: different "
    f"questions; turns: the median. Below: how many rows of one set stand in another. {NONE}: no questions are known"
)


class Settings(base.Settings):
    """Where the contexts are, and where they go."""

    obvious_input: ClassVar[str] = "sources"

    sources: OneOrMore
    """Files of contexts or conversations (EULER's, MRBench's, MathDial's, one's own), or folders of runs."""
    out: Path
    """Folder of the new run."""
    label: OneOrMore = ()
    """The name of each set, once for each source; by default a file's name without its ending, and a run's labels."""
    turns: Turns = "all"
    """Where a lesson is cut: before all of the tutor's turns, the last, or one that is drawn."""
    seed: int = 0
    """Seed of what is drawn."""


@dataclass(frozen=True, slots=True)
class SetFigures:
    """What one set holds.

    ``rows``: contexts found. ``as_written``: different texts among them. ``contexts``: different ones, which were kept.
    ``problems``: different word problems, None where there are no questions. ``median_turns``: of the rows.
    ``without_place``: conversations in which no student's turn waits for the tutor.
    """

    rows: int
    as_written: int
    contexts: int
    problems: int | None
    median_turns: float
    without_place: int


def run(settings: Settings) -> Path:
    """Gather, print what there is and what is repeated, and keep it; returns the run's folder.

    Raises ProblemFileError with file, line and field, before anything is written.
    """
    sources = open_sources(settings.sources, settings.label)
    if not any(cut(row.dialogue, settings.turns, settings.seed) for source in sources for row in source.rows()):
        raise RunError(f"{', '.join(settings.sources)}: no student's turn waits for the tutor, so there is no context")
    made_of = settings.model_dump(mode="json", exclude={"out"}) | {"made_of": [one.fingerprint for one in sources]}
    sets, lengths, without_place = Sets(), defaultdict[str, list[int]](list), Counter[str]()
    with Run.create(settings.out, stage="contexts", settings=made_of, seed=settings.seed) as record:
        for row in (row for source in sources for row in source.rows()):
            found = cut(row.dialogue, settings.turns, settings.seed)
            without_place[row.label] += not found
            for context in found:
                sets.add(row.label, row.written if context is row.dialogue else context.seed, context)
                lengths[row.label].append(len(context.turns))
                if not record.has(row.label, context.problem.id, context.seed):
                    record.add(context, row.label)
        figures = {
            label: SetFigures(
                rows=len(lengths[label]),
                as_written=sets.as_written.different(label),
                contexts=record.count(label),
                problems=sets.problems.different(label) or None,
                median_turns=float(median(lengths[label] or [0])),
                without_place=without_place[label],
            )
            for source in sources
            for label, _ in source.labels
        }
        unfinished = [source.name for source in sources if not source.finished]
        if unfinished:
            print(f"{', '.join(unfinished)}: not finished, so neither is {settings.out}; run it again", file=sys.stderr)
        else:
            record.finish()
    overlaps = list(sets.overlaps())
    summary = {
        "sets": {label: asdict(one) for label, one in figures.items()},
        "overlaps": [asdict(overlap) for overlap in overlaps],
    }
    write_json(settings.out / "summary.json", summary)
    _print(figures, overlaps)
    return settings.out


def cut(dialogue: Dialogue, turns: Turns, seed: int) -> list[Dialogue]:
    """The contexts of a dialogue: itself if it is one, else what was said before its tutor's turns.

    ``turns``: before all of them, the last, or one that is drawn by ``seed``, problem and lesson.
    """
    if dialogue.stop == CONTEXT:
        return [dialogue]
    heard = merged(dialogue.turns)
    places = [place for place, turn in enumerate(heard) if turn.speaker == TUTOR and place > 0]
    if turns == "last":
        places = places[-1:]
    elif turns == "one" and places:
        places = [places[stable_seed("place", seed, dialogue.problem.id, dialogue.seed) % len(places)]]
    return [context_of(dialogue.problem, heard[:place]) for place in places]


def _print(figures: Mapping[str, SetFigures], overlaps: Sequence[Overlap]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    sets = table("Set", "Rows", "As written", "Contexts", "Problems", "Turns")
    for label, one in figures.items():
        held = (one.rows, one.as_written, one.contexts, one.problems)
        sets.add_row(visible(label), *map(_count, held), f"{one.median_turns:g}")
    console.print(sets)
    for label, one in figures.items():
        if one.without_place:
            console.print(f"{visible(label)}: {one.without_place:,} conversations without a student's turn to reply to")
    shared = table("Rows of", "", "also in", "As written", "Contexts", "Problems")
    for overlap in overlaps:
        counts = (overlap.as_written, overlap.contexts, overlap.problems)
        shared.add_row(visible(overlap.of), _count(overlap.rows), visible(overlap.also_in), *map(_count, counts))
    if overlaps:
        console.print(shared)
    elif len(figures) > 1:
        console.print("no two sets share a context or a problem")
    console.print(LEGEND, style="dim")


def _count(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"
