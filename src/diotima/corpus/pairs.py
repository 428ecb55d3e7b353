"""`diotima pairs`: of a tutor's candidates in each context, the best against the worst, for preference learning.

All candidates of a context stand side by side under one rubric; the best becomes ``chosen``, the worst ``rejected``, if
the best is good enough and better than the worst. So does EULER (Bonino et al. 2024), with five candidates and a score
above 4/5. Scores are fractions here: a sum of a quarter and twentieths in floats lies now below 0.8, now above.
Departures from there:

- A candidate without a verdict is none; there it ranked last and was passed over, and nobody heard how many there were.
- A reply that was cut off or is malformed is neither chosen nor rejected: its end was never said.
- The prompt of a pair is the chat that the tutor read, its system message included, and not one long text.
- A prompt is used once, and never if it stands in the test set too (``--holdout``); EULER's sets have both faults.
- Every context without a pair is counted under its reason.

    diotima pairs runs/judged --rubric euler --out runs/pairs
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, ClassVar

import pydantic

import diotima
from diotima.classroom.judges import cautions
from diotima.classroom.roles import Role, Sees
from diotima.corpus.candidates import named, refuse_gaps
from diotima.corpus.held_out import HeldOut, held_out
from diotima.corpus.judged import Verdicts, contexts_in, labels_in, tutor_role, tutors_under, verdicts_in
from diotima.corpus.pair_card import Tally, card, figures_table, why_dropped
from diotima.corpus.pair_set import CARD, COLUMNS, FORMATS, NAME, SUMMARY, room_for_pairs
from diotima.corpus.selection import LEAKED, REASONS, REPEATED, Choice, choose
from diotima.dialogue import Dialogue, Message, raw_reply, stable_seed
from diotima.errors import RunError
from diotima.progress import Progress
from diotima.runs.durable import write_text
from diotima.runs.export import Row, write_table
from diotima.runs.manifest import write_json
from diotima.runs.records import Record
from diotima.runs.run import Run
from diotima.settings import OneOrMore
from diotima.settings import Settings as BaseSettings


def _exact(value: object) -> str:
    try:
        return str(Fraction(str(value)))
    except (ValueError, ZeroDivisionError):
        raise ValueError("must be a number or a fraction, such as 0.8 or 4/5") from None


Exact = Annotated[str, pydantic.BeforeValidator(_exact)]


class Settings(BaseSettings):
    """From which candidates pairs are made, and which are kept."""

    obvious_input: ClassVar[str] = "run"

    run: Path
    """The run with the candidates and what judges said of them: diotima candidates, then diotima score."""
    out: Path
    """Folder of the set: pairs.jsonl, pairs.parquet, README.md, summary.json."""
    rubric: str
    """The rubric under which the candidates were judged: its name, or a file."""
    measure: str = ""
    """The rubric's measure that decides; by default its first."""
    judge: OneOrMore = ()
    """Only what these judges said; by default all, put together as the rubric says."""
    label: OneOrMore = ()
    """Only the candidates of these tutors, by their labels; by default all, side by side in each context."""
    above: Exact = "4/5"
    """A chosen reply must have more than this: a fraction (4/5) or a number (0.8)."""
    least_margin: Exact = "0"
    """A chosen reply must have at least so much more than the rejected one; it has to have more in any case."""
    holdout: OneOrMore = ()
    """Runs or files with test sets; a context with the same text or the same word problem as there gives no pair."""
    tutor_prompt: str | None = None
    """The system prompt of the pairs: a name or a file; by default the one that the candidates were made with."""
    tutor_sees: Sees = "question"
    """How much of the problem such a prompt of one's own may contain: question, answer or solution."""


def run(settings: Settings) -> Path:
    """Make the set; returns its folder. Raises RunError, with the reasons, if there is no pair to be made."""
    with Run.open(settings.run) as run:
        labels = labels_in(run, settings.label)
        tutors = tutors_under(run, labels)
        verdicts = verdicts_in(run, settings.rubric, settings.measure, settings.judge)
        role = tutor_role(run, labels, settings.tutor_prompt, settings.tutor_sees)
        held = held_out(settings.holdout)
        with room_for_pairs(settings.out):
            _write(run, labels, tutors, verdicts, role, held, settings)
    return settings.out


def _write(
    run: Run,
    labels: Sequence[str],
    tutors: Mapping[str, str],
    verdicts: Verdicts,
    role: Role,
    held: HeldOut,
    settings: Settings,
) -> None:
    """Write the set and tell its figures. Raises RunError if there is no pair."""
    tally = Tally()
    with Progress(f"pairs of {settings.run.name}", sum(map(run.count, labels))) as progress:
        contexts = _shown(contexts_in(run, labels), progress)
        rows = pair_rows(contexts, verdicts, role, held, settings, tally)
        write_table(settings.out, NAME, FORMATS, COLUMNS, rows)
    if not run.manifest["finished"]:
        print(f"{settings.run} is not finished: make the pairs again when it is", file=sys.stderr)
    warnings = list(cautions(sorted(tally.judges), tutors))
    for warning in warnings:
        print(warning, file=sys.stderr)
    summary = {
        "version": diotima.__version__,
        "rubric": verdicts.rubric.name,
        "rubric_fingerprint": verdicts.rubric.fingerprint,
        "measure": verdicts.measure,
        "above": settings.above,
        "least_margin": settings.least_margin,
        "tutors": dict(tutors),
        "prompt": {"name": role.prompt.name, "sees": role.sees, "text": role.prompt.text},
        "holdout": list(settings.holdout),
        "cautions": warnings,
        **tally.figures(),
    }
    from rich.console import Console

    Console(highlight=False).print(figures_table(summary))
    if not tally.pairs:
        raise RunError(
            f"{settings.run}: none of its {tally.contexts:,} contexts gives a pair: {why_dropped(summary)}; "
            f"{REASONS[tally.dropped.most_common(1)[0][0]]}"
        )
    write_json(settings.out / SUMMARY, summary)
    write_text(settings.out / CARD, card(settings.out.resolve().name, summary))


def pair_rows(
    contexts: Iterable[Sequence[Record]],
    verdicts: Verdicts,
    role: Role,
    held: HeldOut,
    settings: Settings,
    tally: Tally,
) -> Iterator[Row]:
    """The pairs, one context after the other, as rows of `pair_set.COLUMNS`; ``tally`` counts all that goes by."""
    above, least_margin = Fraction(settings.above), Fraction(settings.least_margin)
    seen: set[int] = set()
    for records in contexts:
        candidates = [verdicts.candidate(record) for record in records]
        tally.count(candidates, (one.judge for record in records for one in verdicts.about(record)))
        context = replace(records[0].dialogue, turns=records[0].dialogue.turns[:-1])
        refuse_gaps(role.prompt, [context.problem])
        prompt = named(role, context.problem).messages(context)
        key = stable_seed("prompt", *(part for message in prompt for part in (message.role, message.content)))
        choice = LEAKED if context in held else REPEATED if key in seen else choose(candidates, above, least_margin)
        tally.keep(choice, context.problem.source)
        if isinstance(choice, Choice):
            seen.add(key)
            yield pair_row(prompt, choice, context, key)


def pair_row(prompt: Sequence[Message], choice: Choice, context: Dialogue, key: int) -> Row:
    """One pair as it is stored; ``key`` tells its prompt from others."""
    return {
        "prompt": [{"role": message.role, "content": message.content} for message in prompt],
        "chosen": [{"role": "assistant", "content": raw_reply(choice.chosen.turn)}],
        "rejected": [{"role": "assistant", "content": raw_reply(choice.rejected.turn)}],
        "context": f"{key:016x}",
        "problem_id": context.problem.id,
        "source": context.problem.source,
        "chosen_score": str(choice.chosen_score),
        "rejected_score": str(choice.rejected_score),
        "chosen_tutor": choice.chosen.label,
        "rejected_tutor": choice.rejected.label,
        "chosen_seed": choice.chosen.seed,
        "rejected_seed": choice.rejected.seed,
    }


def _shown(contexts: Iterable[list[Record]], progress: Progress) -> Iterator[list[Record]]:
    for records in contexts:
        yield records
        progress.advance(len(records))
