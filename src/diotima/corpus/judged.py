"""Candidates as judges have seen them: which stand side by side, what they scored, with which prompt they were made.

Scores are worked out again from what the judges said, exactly, under the rubric as it was then, which the run keeps.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from diotima.classroom.casting import PARTS, VoiceSettings
from diotima.classroom.roles import Role, Sees
from diotima.corpus.selection import Candidate
from diotima.dialogue import TUTOR, raw_reply
from diotima.errors import RunError, SettingsError
from diotima.models.chat import Sampling
from diotima.models.scripted import queue_of
from diotima.prompt import Prompt, load_prompt
from diotima.runs.judgements import kept_rubric
from diotima.runs.records import Record
from diotima.runs.run import Run
from diotima.runs.status import tutors_of
from diotima.score import WHOLE, Judgement
from diotima.scoring.panel import combine_exactly
from diotima.scoring.rubric import Rubric, load_rubric
from diotima.settings import did_you_mean


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is listened to: one measure of one rubric, and the judges (empty: all of them)."""

    rubric: Rubric
    measure: str
    judges: Sequence[str] = ()

    def about(self, record: Record) -> list[Judgement]:
        """What the judges said about a dialogue's last turn, or about the whole if the rubric is about that."""
        position = WHOLE if self.rubric.judges == "dialogue" else len(record.dialogue.turns) - 1
        return [
            one
            for one in record.judgements
            if (one.rubric_fingerprint, one.position) == (self.rubric.fingerprint, position)
            and (not self.judges or one.judge in self.judges)
        ]

    def candidate(self, record: Record) -> Candidate:
        """A dialogue's last turn with its exact score."""
        value = combine_exactly(self.rubric, self.about(record)).get(self.measure)
        exact = value if isinstance(value, Fraction) else None
        return Candidate(record.label, record.dialogue.seed, record.dialogue.turns[-1], exact)


def verdicts_in(run: Run, rubric: str, measure: str = "", judges: Sequence[str] = ()) -> Verdicts:
    """The verdicts of a run by which candidates can be ranked; ``measure`` "" is the rubric's first.

    Raises RunError if the run has none under the rubric, SettingsError or PromptError if these rank nothing, or if one
    of ``judges`` said nothing.
    """
    known = judged_rubric(run, rubric)
    heard = run.judges(known.fingerprint)
    for judge in judges:
        if judge not in heard:
            raise SettingsError(f"{run.folder} holds no verdict of {judge}; {did_you_mean(judge, heard)}")
    if known.judges == "comparison":
        raise SettingsError(f"rubric {known.name} compares two turns and scores none; take another")
    chosen = known.measure(measure) if measure else known.headline
    if chosen.better == "lower":
        raise SettingsError(
            f"measure {chosen.name} is better the lower it is; take one that is better the higher it is"
        )
    return Verdicts(known, chosen.name, judges)


def judged_rubric(run: Run, name: str) -> Rubric:
    """The rubric of that name, or in that file, as it was when this run was judged.

    Raises RunError if the run has no judgements under it, or several rubrics of the name.
    """
    known = run.rubrics()
    found = [fingerprint for other, fingerprint in known if other == name]
    if len(found) == 1 and (kept := kept_rubric(run.folder, name, found[0])):
        return load_rubric(str(kept))
    rubric = load_rubric(name)
    if (rubric.name, rubric.fingerprint) in known:
        return rubric
    if found:
        files = ", ".join(str(kept_rubric(run.folder, name, fingerprint)) for fingerprint in found)
        raise RunError(f"{run.folder} was judged under another rubric of the name {name}; name its file: {files}")
    others = ", ".join(sorted({other for other, _ in known}))
    raise RunError(
        f"{run.folder} holds no judgements under the rubric {name}{f', only under {others}' if others else ''}; make "
        f"some with: diotima score {run.folder} --rubric {name} --judge MODEL --out RUN"
    )


def labels_in(run: Run, wanted: Sequence[str]) -> list[str]:
    """The labels that are wanted, by default all. Raises SettingsError for an unknown one, RunError without any."""
    known = run.labels()
    if not known:
        raise RunError(f"{run.folder} holds no candidates")
    for label in wanted:
        if label not in known:
            raise SettingsError(f"{run.folder} holds no candidates of {label}; {did_you_mean(label, known)}")
    return list(wanted) or known


def tutors_under(run: Run, labels: Iterable[str]) -> dict[str, str]:
    """The names of the tutors by their labels; the label itself where the run does not say."""
    settings = run.manifest["settings"]
    known = {label: part["tutor"] for label, part in settings.get(PARTS, {}).items()} or tutors_of(settings)
    return {label: known.get(label, label) for label in labels}


def tutor_role(run: Run, labels: Iterable[str], prompt: str | None = None, sees: Sees = "question") -> Role:
    """What the tutors of these labels read, as a role whose model says nothing; or what one with ``prompt`` would read.

    Raises RunError if the run does not say, or not the same for all of them.
    """
    settings = run.manifest["settings"]
    names = tuple(settings.get("student_names", VoiceSettings().student_names))
    if prompt is not None:
        return Role(TUTOR, queue_of(()), load_prompt(prompt), Sampling(), sees, names)
    parts = [settings.get(PARTS, {}).get(label, {}) for label in labels]
    told = {(part["prompt"], part["text"], part["fingerprint"], part["sees"]) for part in parts if "prompt" in part}
    if len(told) != 1 or not all("prompt" in part for part in parts):
        why = (
            "its candidates were made with different prompts"
            if len(told) > 1
            else "it does not say with which prompt all of its candidates were made (scripted tutors have none)"
        )
        raise RunError(
            f"{run.folder}: {why}; name the one that pairs are to have (--tutor-prompt), or choose a --label"
        )
    name, text, fingerprint, seen = told.pop()
    return Role(TUTOR, queue_of(()), Prompt(name, text, fingerprint), Sampling(), seen, names)


def contexts_in(run: Run, labels: Iterable[str]) -> Iterator[list[Record]]:
    """The candidates of each context, those of all labels side by side; in memory is one problem at a time.

    Raises RunError if a dialogue does not end with a tutor's turn.
    """
    together = heapq.merge(*map(run.records, labels), key=_problem_id)
    for _, records in groupby(together, key=_problem_id):
        contexts: dict[tuple[tuple[str, str], ...], list[Record]] = {}
        for record in records:
            turns = record.dialogue.turns
            if not turns or turns[-1].speaker != TUTOR:
                raise RunError(
                    f"{run.folder}: a dialogue on {record.dialogue.problem.id} does not end with a tutor's turn, so it "
                    "is no candidate; cut lessons with diotima contexts, and have diotima candidates reply"
                )
            contexts.setdefault(tuple((turn.speaker, raw_reply(turn)) for turn in turns[:-1]), []).append(record)
        yield from contexts.values()


def _problem_id(record: Record) -> str:
    return record.dialogue.problem.id
