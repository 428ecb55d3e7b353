"""`diotima candidates`: several possible next turns of a tutor in the same context, to choose between.

A context is a dialogue that ends with a student's turn (`diotima contexts` makes them). Every tutor replies to each of
them several times, hot enough that the replies differ. Each reply is kept, with the context before it, as a dialogue of
a run, whatever becomes of it: judges score them (`diotima score`), `diotima pairs` chooses. With one greedy reply it is
how tutors are compared turn by turn, as EULER does (Bonino et al. 2024). Departures from there:

- A reply is what the model said, and is cut nowhere, neither by counting characters nor at the word "Student".
- Each candidate has a seed of its own, spread from its context's and the same for every tutor: so a killed run goes on,
  and tutors are compared pair by pair.
- The tutor reads a chat with roles, by its own template, and not one long text. The prompt stands in the run, so that
  pairs are trained on just what was read.

Tokens of earlier turns are left behind, for they may be another model's; those of the reply are kept.

    diotima candidates --contexts runs/contexts --tutor tiny --out runs/candidates
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from pydantic import NonNegativeFloat, PositiveInt

from diotima.classroom.casting import (
    PARTS,
    as_recorded,
    cast_early,
    cast_tutor,
    labels_of,
    part_of_tutor,
    tutor_fingerprints,
)
from diotima.classroom.dry_run import tell_costs_of_replies
from diotima.classroom.exam import Conduct
from diotima.classroom.lesson import Participant
from diotima.classroom.roles import Role, student_name
from diotima.classroom.teach import RunSettings, Scored, begin, complain_of, keep_all, measured, places
from diotima.corpus.conversations import CONTEXT
from diotima.dialogue import STUDENT, Dialogue, stable_seed
from diotima.errors import CallFailed, CallRefused, PromptError, RunError, SettingsError
from diotima.models.calls import Calls
from diotima.models.services import without_urls
from diotima.problems.files import problem_to_json
from diotima.problems.list_command import table as empty_table
from diotima.problems.list_command import visible
from diotima.problems.problem import Problem
from diotima.progress import Progress
from diotima.prompt import Prompt
from diotima.runs.manifest import write_json
from diotima.runs.run import Run
from diotima.score import Scorer
from diotima.scoring.leakage import LeakMeter
from diotima.settings import OneOrMore, did_you_mean


class Settings(RunSettings):
    """Who replies to what, and how often."""

    obvious_input: ClassVar[str] = "contexts"

    contexts: Path
    """The run that holds the contexts: dialogues that end with a student's turn."""
    sets: OneOrMore = ()
    """Only the contexts of these sets, by their labels; by default all."""
    most_contexts: PositiveInt | None = None
    """Use only the first so many contexts."""
    tutor: OneOrMore
    """Who replies: tiny, a model's folder, hf/NAME, vllm/NAME, scripted/guide; may be given several times."""
    label: OneOrMore = ()
    """The tutor's name in tables, once for each tutor; by default as it is called."""
    candidates: PositiveInt = 5
    """Replies of each tutor to each context."""
    temperature: NonNegativeFloat = 1.2
    """Temperature of a model's replies; 0 is greedy, and goes with one candidate."""
    table: bool = True
    """Print the table at the end."""


def check(settings: Settings) -> None:
    """Raise SettingsError if the labels do not fit the tutors, or all candidates would be alike."""
    labels_of(settings.tutor, settings.label, settings.endpoints)
    if settings.temperature == 0 and settings.candidates > 1:
        raise SettingsError(
            f"at temperature 0 all {settings.candidates} candidates would be the same; ask for one (--candidates 1) or "
            "raise the temperature"
        )


def run(settings: Settings) -> Path | dict[str, Any]:
    """Have every tutor reply to every context; returns the run's folder, or with ``dry_run`` what that would cost.

    Raises RunError if the contexts are none, and PromptError if they lack what a tutor's prompt needs. A context that
    is too long for a model gets no candidate of it, which is told and no failure.
    """
    check(settings)
    calls = Calls(settings)
    contexts = read_contexts(settings)
    parts = parts_of(settings, contexts)
    problems = list({context.problem.id: context.problem for context in contexts}.values())
    early = [cast_early(name, settings, settings.temperature, problems, calls) for name in settings.tutor]
    if settings.dry_run:
        return tell_costs_of_replies(settings, contexts, settings.candidates, early, calls)
    asked = settings.model_dump(mode="json", exclude={"out", "at_once", "table", "fork", "dry_run"})
    made_of = {
        **as_recorded(settings, asked),
        "contexts_fingerprint": fingerprint_of(contexts),
        PARTS: parts,
        **tutor_fingerprints(settings, *settings.tutor, calls=calls),
    }
    with begin("candidates", settings, made_of, calls) as record:

        async def ask_all() -> list[CallFailed]:
            lost: list[CallFailed] = []
            expected: dict[str, int] = {}
            for name, label, ready in zip(settings.tutor, parts, early, strict=True):
                tutor = ready or cast_tutor(name, settings, settings.temperature, calls)
                expected[label] = len(contexts) * settings.candidates
                record.expect(expected)
                lost += await ask(label, tutor, contexts, settings, record, calls)
            return lost

        complain_of(calls.conduct(ask_all()), "candidate")
    show(settings.out, settings.table)
    return settings.out


def read_contexts(settings: Settings) -> list[Dialogue]:
    """The different contexts of the settings, without tokens. Raises RunError or SettingsError if there are none."""
    found: dict[tuple[str, int], Dialogue] = {}
    count = 0
    with Run.open(settings.contexts) as run:
        known = run.labels()
        for name in settings.sets:
            if name not in known:
                raise SettingsError(f"{settings.contexts} holds no set {name}; {did_you_mean(name, known)}")
        for name in settings.sets or known:
            for record in run.records(name):
                context = _bare(record.dialogue, settings.contexts)
                earlier = found.setdefault((context.problem.id, context.seed), context)
                if earlier.turns != context.turns:
                    raise RunError(
                        f"{settings.contexts}: two sets hold different contexts on {context.problem.id} under the seed "
                        f"{context.seed}; choose one set (--sets {name})"
                    )
                count += 1
    if not found:
        raise RunError(f"{settings.contexts} holds no contexts; make some with: diotima contexts")
    if len(found) < count:
        print(f"{settings.contexts}: {count:,} contexts are {len(found):,} different ones", file=sys.stderr)
    return list(found.values())[: settings.most_contexts]


def _bare(dialogue: Dialogue, place: Path) -> Dialogue:
    if not dialogue.turns or dialogue.turns[-1].speaker != STUDENT or dialogue.stop not in ("", CONTEXT):
        raise RunError(
            f"{place}: the dialogue on {dialogue.problem.id} with seed {dialogue.seed} does not wait for a tutor; "
            f"cut lessons where it does, with: diotima contexts {place} --out RUN"
        )
    return replace(dialogue, turns=tuple(replace(turn, tokens=None) for turn in dialogue.turns))


def parts_of(settings: Settings, contexts: Sequence[Dialogue]) -> dict[str, dict[str, str]]:
    """Who replies under each label: ``tutor``; of a model also its ``prompt``, whole, and what it ``sees``.

    Raises PromptError if a prompt is to contain what a context has not, rather than leave a gap in it.
    """
    parts = {}
    labels = labels_of(settings.tutor, settings.label, settings.endpoints)
    for name, label in zip(settings.tutor, labels, strict=True):
        parts[label] = {"tutor": without_urls(name, settings.endpoints)}
        if part := part_of_tutor(name, settings):
            prompt = part.load()
            refuse_gaps(prompt, [context.problem for context in contexts])
            parts[label] |= {"prompt": part.prompt, "text": prompt.text, "fingerprint": prompt.fingerprint}
            parts[label] |= {"sees": part.sees}
    return parts


def refuse_gaps(prompt: Prompt, problems: Sequence[Problem]) -> None:
    """Raise PromptError if a prompt would have a gap because a context's problem lacks what is to stand there."""
    for field in sorted(prompt.placeholders & {"question", "answer", "solution"}):
        without = [problem.id for problem in problems if not getattr(problem, field)]
        if without:
            raise PromptError(
                f"prompt {prompt.name} uses the {field}, which {len(without):,} of {len(problems):,} contexts do not "
                f"have, the first is {without[0]}; take another prompt (--tutor-prompt tutor/context needs nothing) or "
                "other contexts"
            )


def fingerprint_of(contexts: Sequence[Dialogue]) -> str:
    """Twelve digits that tell these contexts from others."""
    digest = hashlib.sha256()
    for context in contexts:
        said = [(turn.speaker, turn.text, turn.thought) for turn in context.turns]
        digest.update(f"{problem_to_json(context.problem)}{context.seed}{said}".encode())
    return digest.hexdigest()[:12]


async def ask(
    label: str, tutor: Participant, contexts: Sequence[Dialogue], settings: Settings, record: Run, calls: Calls
) -> list[CallFailed]:
    """Have one tutor reply as often as the run does not have yet; returns why replies were lost."""
    scorers: tuple[Scorer, ...] = (LeakMeter(latest=True), Conduct(latest=True))
    wanted = len(contexts) * settings.candidates

    async def one(context: Dialogue) -> Scored:
        speaker = named(tutor, context.problem) if isinstance(tutor, Role) else tutor
        turn = await speaker.speak(context)
        return await measured(context.then(turn).stopped("candidate"), scorers)

    def missing() -> Iterator[Dialogue]:
        for context in contexts:
            for number in range(settings.candidates):
                seed = stable_seed("candidate", settings.seed, context.seed, number)
                if not record.has(label, context.problem.id, seed):
                    yield replace(context, seed=seed, stop="")

    with Progress(f"candidates of {label}", wanted) as progress:
        progress.resume(record.count(label))
        at_once = places(settings.at_once, calls)
        lost = await keep_all(one, missing(), label, at_once, record, progress, calls.note)
    refused = [failure for failure in lost if isinstance(failure, CallRefused)]
    if not refused or not record.count(label):
        return lost
    print(f"{label} cannot give {len(refused):,} of {wanted:,} candidates: {refused[0]}", file=sys.stderr)
    return [failure for failure in lost if failure not in refused]


def named(role: Role, problem: Problem) -> Role:
    """The role with one name for the student of a problem, whatever the seed: all candidates answer the same prompt."""
    return replace(role, names=(student_name(role.names, Dialogue(problem)),))


MEASURED = {"well_formed": "formed", "cut": "cut", "leaked": "leaked", "tutor_words": "words"}


def count_replies(run: Run, label: str) -> dict[str, float | int | None]:
    """The candidates of a label: ``contexts``, ``candidates``, how many are ``different``, means of what was measured.

    A mean is None where no candidate has a valid score. Goes by problem, so memory stays flat.
    """
    contexts = candidates = different = 0
    values: dict[str, list[float]] = {name: [] for name in MEASURED}
    for _, records in groupby(run.records(label), key=lambda record: record.dialogue.problem.id):
        seen: set[tuple[str, ...]] = set()
        for record in records:
            candidates += 1
            seen.add(tuple(turn.text for turn in record.dialogue.turns))
            for name, found in values.items():
                score = record.scores.get(name)
                if score is not None and score.value is not None:
                    found.append(score.value)
        contexts += len({texts[:-1] for texts in seen})
        different += len(seen)
    means = {name: sum(found) / len(found) if found else None for name, found in values.items()}
    return {"contexts": contexts, "candidates": candidates, "different": different, **means}


def show(folder: Path, table: bool = True) -> None:
    """Write ``summary.json``, the figures for machines, and with ``table`` print them for people."""
    with Run.open(folder) as run:
        figures = {label: count_replies(run, label) for label in run.labels()}
    write_json(folder / "summary.json", {"tutors": figures})
    if table:
        from rich.console import Console

        drawn = empty_table("tutor", "contexts", "replies", "differ", *MEASURED.values())
        for label, counted in figures.items():
            drawn.add_row(visible(label), *(_shown(name, figure) for name, figure in counted.items()))
        for column in drawn.columns[1:]:
            column.justify = "right"
        Console().print(drawn)


def _shown(name: str, figure: float | int | None) -> str:
    if figure is None:
        return "\N{EN DASH}"
    if isinstance(figure, int):
        return f"{figure:,}"
    return f"{figure:.1f}" if name == "tutor_words" else f"{100 * figure:.1f}%"
