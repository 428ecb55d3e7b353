"""One lesson as people read it: the problem, what was said and thought, how it was scored and judged, what it cost.

All of it is a stranger's text, a model's most of all: control characters and signs that turn the direction of writing
are found as such, and nothing is taken for markup.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from diotima.errors import RunError, SettingsError
from diotima.problems.list_command import table
from diotima.runs.books import Call, calls_of, exam_sample, judge_sample, turn_sample
from diotima.runs.lessons import Lesson, last_number, lesson, lesson_counts, numbers_about
from diotima.runs.records import Record
from diotima.runs.status import read_manifest, reading, shown, without_credentials
from diotima.score import WHOLE, Judgement, Score
from diotima.settings import did_you_mean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_STYLES = {"tutor": "bold cyan", "student": "bold green"}


def show_lesson(
    folder: Path, number: int | None, problem: str | None, label: str | None, calls: bool, console: "Console"
) -> dict[str, Any]:
    """Print the lesson of that number, or else about that problem; returns its parts.

    Raises SettingsError if there is none, RunError if ``folder`` is no run.
    """
    attempts = int(read_manifest(folder).settings.get("attempts") or 0)
    with reading(folder) as db:
        numbers = [number or 0] if problem is None else _about(db, folder, problem, label)
        found = lesson(db, numbers[0])
        if found is None:
            raise SettingsError(f"lesson = {number}: {folder} has lessons 1 to {last_number(db)}")
        asked = _calls(db, found.record, attempts) if calls else []
    _print(folder, found, console)
    if calls:
        console.print(_calls_table(asked) if asked else "It needed no calls to endpoints that this run knows of.")
    if len(numbers) > 1:
        console.print(f"Other lessons about this problem: {', '.join(map(str, numbers[1:]))}")
    return _plain(found) | ({"calls": [{"of": of, **asdict(call)} for of, call in asked]} if calls else {})


def dollars(millionths: int | None) -> str:
    """Money for people; small sums are not rounded to nothing."""
    if millionths is None:
        return "?"
    return f"${millionths / 1e6:,.2f}" if millionths >= 10_000 or not millionths else f"${millionths / 1e6:.6f}"


def _about(db: apsw.Connection, folder: Path, problem: str, label: str | None) -> list[int]:
    labels = list(lesson_counts(db))
    if not labels:
        raise RunError(f"{folder} holds no lessons yet")
    chosen = labels if label is None else [name for name in labels if name == label]
    if not chosen:
        raise SettingsError(f"label = {label}: {folder} has none of this name; {did_you_mean(str(label), labels)}")
    numbers = numbers_about(db, problem, chosen)
    if not numbers:
        of = f" of {label}" if label else ""
        raise SettingsError(f"problem = {problem}: {folder} has no lesson{of} about it")
    return numbers


def _calls(db: apsw.Connection, record: Record, attempts: int) -> list[tuple[str, Call]]:
    """All calls of a lesson, its exams and its judges, each with what it was for."""
    if not db.table_exists(None, "calls"):
        return []
    dialogue = record.dialogue
    purposes = {
        turn_sample(dialogue.seed, dialogue.problem.id, turn.speaker, index): f"turn {index + 1}, {turn.speaker}"
        for index, turn in enumerate(dialogue.turns)
    }
    for name, problem in (("exam", dialogue.problem), ("sibling", dialogue.problem.sibling)):
        if problem is not None:
            purposes |= {exam_sample(dialogue.seed, problem.id, n): f"{name}, attempt {n + 1}" for n in range(attempts)}
    for one in record.judgements:
        case = (one.rubric, dialogue.problem.id, dialogue.seed, one.position, one.sample)
        purposes |= {judge_sample(*case, ask, one.order): f"verdict on {_judged(one)}" for ask in range(one.asks)}
    return [(purposes[call.sample], call) for call in calls_of(db, list(purposes))]


def _judged(one: Judgement) -> str:
    """Which case it is, by the number under which the turn is printed."""
    of = "all" if one.position == WHOLE else str(one.position + 1)
    of += f", sample {one.sample + 1}" if one.sample else ""
    return of + (f", {one.order} against {one.against}" if one.against else "")


def _print(folder: Path, found: Lesson, console: "Console") -> None:
    from rich.text import Text

    record, dialogue = found.record, found.record.dialogue
    problem = dialogue.problem
    title = f"Lesson {found.number} of {folder}: {record.label} on {problem.id}, seed {dialogue.seed}"
    console.print(Text(shown(title), style="bold"))
    console.print(Text(f"\n{shown(problem.question)}\nAnswer: {shown(problem.answer)}"))
    if problem.sibling is not None:
        sibling = shown(f"{problem.sibling.question} Answer: {problem.sibling.answer}")
        console.print(Text(f"Sibling: {sibling}", style="dim"))
    for number, turn in enumerate(dialogue.turns, 1):
        marks = {"cut off": turn.cut, "malformed": turn.malformed, "ends the lesson": turn.ends}
        told = "".join(f", {mark}" for mark, there in marks.items() if there)
        console.print(Text(f"\n{number} {shown(turn.speaker)}{told}", style=_STYLES.get(turn.speaker, "bold")))
        if turn.thought:
            console.print(Text(f"(private) {shown(turn.thought)}", style="dim italic"))
        if turn.text:
            console.print(Text(shown(turn.text)))
    console.print(Text(f"\nThe lesson ended: {shown(dialogue.stop) or 'it was cut off'}.", style="dim"))
    if record.scores:
        console.print(_scores_table(record.scores))
    if record.judgements:
        console.print(_judgements_table(record.judgements))


def _scores_table(scores: Mapping[str, Score]) -> "Table":
    from rich.text import Text

    rows = table("Score", "Value", "State", "Reason")
    for name, score in scores.items():
        value = "" if score.value is None else f"{score.value:.4g}"
        rows.add_row(*(Text(shown(cell)) for cell in (name, value, score.state, score.reason)))
    return rows


def _judgements_table(judgements: Sequence[Judgement]) -> "Table":
    """What each judge said of each turn, by the numbers under which the turns are printed above."""
    from rich.text import Text

    rows = table("Rubric", "Judge", "Turn", "Says", "Reason")
    for one in judgements:
        said = ", ".join(f"{criterion} {label}" for criterion, label in one.labels.items()) or one.state
        said += f" (asked {one.asks} times)" if one.asks > 1 else ""
        rows.add_row(*(Text(shown(cell)) for cell in (one.rubric, one.judge, _judged(one), said, one.reason)))
    return rows


def _calls_table(asked: list[tuple[str, Call]]) -> "Table":
    from rich.text import Text

    rows = table("Call for", "Model", "Attempt", "State", "Status", "Tokens in", "Out", "Cost", "ms", "Reason")
    for of, call in asked:
        rows.add_row(*(Text(shown(cell)) for cell in (of, *_cells(call))))
    return rows


def _cells(call: Call) -> Iterator[str]:
    counts = (call.status, call.prompt_tokens, call.reply_tokens)
    status, tokens, reply = ("" if count is None else str(count) for count in counts)
    took = "" if call.milliseconds is None else f"{call.milliseconds:,}"
    yield from (call.model, str(call.attempt), call.state, status, tokens, reply, dollars(call.cost), took, call.reason)


def _plain(found: Lesson) -> dict[str, Any]:
    record, dialogue = found.record, found.record.dialogue
    return {
        "lesson": found.number,
        "label": without_credentials(record.label),
        "problem": asdict(dialogue.problem),
        "seed": dialogue.seed,
        "turns": [{k: v for k, v in asdict(turn).items() if k != "tokens"} for turn in dialogue.turns],
        "stop": dialogue.stop,
        "scores": {name: asdict(score) for name, score in record.scores.items()},
        "judgements": [asdict(judgement) for judgement in record.judgements],
    }
