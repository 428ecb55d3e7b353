"""The judging that `diotima score --rubric` does: whom it asks about what, and what is told of it at the end.

A dialogue is kept with all that its judges said at once, and only then counts as judged; a killed run goes on with the
others, and answers that were paid for lie in the ledger. A verdict that could not be had because a call failed costs
the dialogue, as a lesson's does; what a judge refuses, or nobody can read, is data.

In a comparison the last turns of two labels are set side by side, where both follow the same words. The judge sees A
and B and never a label, and each pair twice, in both orders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from diotima.benchmarks.leak_agreement import leak_agreement, plain_agreement, tell_agreement
from diotima.classroom.judges import JudgeSettings, cast_judge, judge_names, judges_recorded
from diotima.dialogue import TUTOR, Dialogue, Turn
from diotima.errors import ModelError, RunError, SettingsError
from diotima.models.calls import Calls
from diotima.reports.calibrated import on_trust
from diotima.reports.judged import Judged, dialogue_scores, judged, judged_tables, notes_on, plain_judged
from diotima.reports.measures import Lesson
from diotima.reports.tables import percent, terminal
from diotima.runs.calibrations import CALIBRATIONS, recall
from diotima.runs.judgements import keep_rubric
from diotima.runs.manifest import read_json, write_json
from diotima.runs.run import Run
from diotima.runs.store import explained
from diotima.score import Judgement, Score
from diotima.scoring.case import Case, cases_of
from diotima.scoring.judge import Judge, ask
from diotima.scoring.rubric import Rubric, rubric_text

Words = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Judges of one rubric, by their names. ``others``: in a comparison ``against``'s turns, and after which words."""

    rubric: Rubric
    judges: Mapping[str, Judge]
    samples: int
    turns: Literal["all", "last"] = "all"
    against: str = ""
    others: Mapping[Lesson, tuple[Words, Turn]] = field(default_factory=dict)

    async def judge(self, dialogue: Dialogue) -> tuple[tuple[Judgement, ...], dict[str, Score]]:
        """What all judges say of all cases of a dialogue, and what that comes to. Raises CallFailed, see above."""
        said = await ask(self.judges.values(), self.cases(dialogue), self.rubric, self.samples)
        judgements = tuple(replace(one, against=self.against) for one in said)
        if judgements:
            return judgements, dialogue_scores(self.rubric, judgements)
        why = f"{self.against} has no turn after the same words" if self.against else "the tutor never spoke"
        return (), {f"{self.rubric.name}.{one.name}": Score.missing(why) for one in self.rubric.measures}

    def cases(self, dialogue: Dialogue) -> list[Case]:
        """What is put before the judges of a dialogue; in a comparison nothing if there is no turn to compare with."""
        if self.rubric.judges != "comparison":
            return cases_of(dialogue, self.rubric, self.turns)
        last = last_turn(dialogue)
        words, other = self.others.get((dialogue.problem.id, dialogue.seed), ((), None))
        if last is None or other is None or last[0] != words:
            return []
        return cases_of(dialogue, self.rubric, other=other)


def last_turn(dialogue: Dialogue) -> tuple[Words, Turn] | None:
    """The tutor's last turn and the words before it; None if it never spoke."""
    for position in reversed(range(len(dialogue.turns))):
        if dialogue.turns[position].speaker == TUTOR:
            return tuple((turn.speaker, turn.text) for turn in dialogue.turns[:position]), dialogue.turns[position]
    return None


def seat(
    rubric: Rubric,
    settings: JudgeSettings,
    calls: Calls,
    lessons: Run,
    turns: Literal["all", "last"],
    against: str,
) -> Panel:
    """The panel for a run's dialogues. Raises SettingsError, ModelError, or RunError if there is nothing to compare."""
    if not settings.judge:
        raise SettingsError(f"rubric = {rubric.name}: who judges? name a model with --judge")
    if (rubric.judges == "comparison") != bool(against):
        raise SettingsError(
            f"rubric {rubric.name} compares two tutors; say with whose turns by --against LABEL"
            if rubric.judges == "comparison"
            else f"against = {against}: rubric {rubric.name} judges each {rubric.judges} by itself and compares "
            "nothing; leave it out, or take a rubric such as socraticlm-overall"
        )
    others = {
        (record.dialogue.problem.id, record.dialogue.seed): found
        for record in (lessons.records(against) if against else ())
        if (found := last_turn(record.dialogue))
    }
    judges = {
        called: cast_judge(name, settings, calls, rubric)
        for name, called in zip(settings.judge, judge_names(settings), strict=True)
    }
    return Panel(rubric, judges, settings.samples or rubric.samples, turns, against, others)


def recorded(panel: Panel, settings: JudgeSettings, calls: Calls) -> dict[str, Any]:
    """What decides the verdicts, as the run's manifest holds it."""
    how = {"turns": panel.turns, "against": panel.against}
    return judges_recorded(settings, panel.rubric, calls) | {name: value for name, value in how.items() if value}


def keep_beside(panel: Panel, record: Run) -> None:
    """Put into a run's folder what its judgements are read with: the rubric's text and what is known of the judges."""
    weights = record.manifest["settings"]["judge_weights"]
    with explained(record.folder):
        keep_rubric(record.folder, panel.rubric.name, panel.rubric.fingerprint, rubric_text(panel.rubric))
        write_json(
            record.folder / CALIBRATIONS,
            {judge: recall(panel.rubric.fingerprint, judge, weights.get(judge, "")) for judge in panel.judges},
        )


def tell(record: Run, labels: Sequence[str], rubric: Rubric, least_valid: float) -> None:
    """Print what the judges said, and keep the figures in ``summary.json``.

    Raises ModelError, after all of that, if too few verdicts are valid.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    found = [judged(label, rubric, record.judgements(label, rubric.name)) for label in labels]
    agreements = {label: leak_agreement(record.records(label), rubric) for label in labels}
    with explained(record.folder):
        known = record.folder / "summary.json"
        figures = [plain_judged(one) | {"leak_meter": plain_agreement(agreements[one.label])} for one in found]
        write_json(known, (read_json(known) if known.is_file() else {}) | {"rubric": rubric.name, "judged": figures})
    for table in judged_tables(rubric, found):
        console.print(terminal(table))
    for note in [*notes_on(found), *tell_agreement(agreements), *on_trust(record.folder)]:
        console.print(f"{note}.", style="dim")
    refuse_too_few(found, least_valid, record.folder)


def refuse_too_few(found: Sequence[Judged], least_valid: float, folder: Path) -> None:
    """Raise ModelError if a label has fewer valid verdicts than that, or none were asked for."""
    poor = [f"{one.label} {percent(one.validity)}" for one in found if one.states and one.validity < least_valid]
    if poor:
        raise ModelError(
            f"too few verdicts are valid ({', '.join(poor)}; at least {percent(least_valid)} are wanted), so these "
            f"scores say little. All is kept in {folder}: see with diotima runs show why there are no verdicts, then "
            "take another judge, or accept it with --least-valid"
        )
    if not any(one.states for one in found):
        raise RunError(f"{folder}: there was nothing to judge, not one turn of a tutor that the rubric is about")
