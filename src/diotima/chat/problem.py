"""What a chat is about: a problem of a file, one that is given in words, or the one of a conversation that goes on."""

from collections.abc import Callable, Iterator
from pathlib import Path

from diotima.classroom.roles import Role
from diotima.errors import SettingsError
from diotima.problems.formats import PLAIN, content_id, form_of
from diotima.problems.problem import Problem
from diotima.problems.source import Source, SourceSettings
from diotima.runs.run import Run
from diotima.runs.status import is_run
from diotima.settings import Settings

_TYPED = "typed"
_NEEDED = "a chat is about a problem: give it with --problem TEXT, or with --problems FILE --problem ID"


class AboutSettings(Settings):
    """What is talked about."""

    problem: str | None = None
    """The problem in words; with problems, the id of one of them or its number from 1."""
    answer: str = ""
    """The answer of a problem given in words: /leak and tutors that see it need it."""
    solution: str = ""
    """The solution of a problem given in words, a step a line: tutors that see it or go by steps need it."""
    problems: Source | None = None
    """Take the problem from this file (.jsonl, .json, .csv, .tsv, .parquet), folder, or hf:NAME:CONFIG@SPLIT."""
    split: str = "train"
    """Which split to take, if problems is a folder, or an hf:NAME without @SPLIT."""
    columns: dict[str, str] = {}
    """Which column is what, where its name does not say so: --columns.question NAME --columns.answer NAME."""
    out: Path | None = None
    """Folder of a run in which the conversation is kept as it goes; one that lies there goes on."""


def problem_of(settings: AboutSettings, ask: Callable[[str], str]) -> Problem:
    """The problem of the settings, else of the conversation that is kept in their folder, else what is typed."""
    if settings.problems is not None:
        if settings.answer or settings.solution:
            raise SettingsError("answer and solution go with a problem in words; those of a file have their own")
        given = settings.model_dump(include={"problems", "split", "columns"} & settings.model_fields_set)
        return SourceSettings(**given).one(settings.problem or "1")
    kept = _kept(settings.out) if settings.problem is None and settings.out is not None else None
    return kept or in_words(_typed(settings, ask), settings.answer, settings.solution)


def in_words(question: str, answer: str = "", solution: str = "") -> Problem:
    """A problem as a person states it; read like a row of a file where there is an answer, else without steps."""
    if answer.strip():
        fields = {"question": question, "answer": answer, **({"solution": solution} if solution.strip() else {})}
        return form_of(fields, {}, _TYPED).problem(fields)
    return Problem(content_id(PLAIN, question), question.strip(), "", solution.strip(), source=_TYPED)


def lacking(tutor: object, problem: Problem) -> Iterator[str]:
    """A sentence about what a tutor's prompt uses and the problem has not, if there is such a thing."""
    if not isinstance(tutor, Role):
        return
    known = {"answer": problem.answer, "solution": problem.solution}
    if missing := [name for name, text in known.items() if name in tutor.prompt.placeholders and not text]:
        yield (
            f"the prompt {tutor.prompt.name} uses the {' and the '.join(missing)}, which this problem has not; the "
            f"tutor goes without: {' '.join(f'--{name} TEXT' for name in missing)}"
        )


def _kept(folder: Path) -> Problem | None:
    if not is_run(folder):
        return None
    with Run.open(folder) as run:
        return next((record.dialogue.problem for record in run.records()), None)


def _typed(settings: AboutSettings, ask: Callable[[str], str]) -> str:
    question = settings.problem or ""
    try:
        while settings.problem is None and not question.strip():
            question = ask("The problem: ")
    except EOFError:
        raise SettingsError(_NEEDED) from None
    if not question.strip():
        raise SettingsError(_NEEDED)
    return question.strip()
