"""`diotima calibrate`: how far can this judge be trusted? Its verdicts against people's, and against trivial raters.

The judge rates what people have rated: EULER's human file, MRBench, or a file of one's own (`corpus.ratings` has the
forms). Its verdicts go into a run, so that a killed calibration goes on and nothing is paid for twice; then it is
attacked (`attacks`), and all figures are worked out from what is stored (`trust`). They stand in ``calibration.json``,
and are remembered for this rubric and this judge (`runs.calibrations`), so that they can be shown beside its scores.

    diotima calibrate --rubric euler --judge openai/gpt-4o --human human_eval.json --out runs/trust
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from diotima.benchmarks.attacks import Attack, attacked, flips, load_attacks, may_flip, rises
from diotima.benchmarks.calibration import AttackResult, Calibration, plain
from diotima.benchmarks.topics import Item, items_of, topics_of, with_verdicts
from diotima.benchmarks.trust import order_flips, trust_in
from diotima.classroom.judges import JudgeSettings, cast_judge, judge_names, judges_recorded
from diotima.classroom.lesson import side_by_side
from diotima.classroom.teach import complain_of, places
from diotima.corpus.ratings import read_ratings
from diotima.dialogue import Dialogue, stable_seed
from diotima.errors import CallFailed, ModelError, SettingsError
from diotima.models.calls import Calls
from diotima.progress import Progress
from diotima.reports.calibrated import print_calibration
from diotima.runs.calibrations import FILE, remember
from diotima.runs.judgements import keep_rubric
from diotima.runs.manifest import write_json
from diotima.runs.run import Run
from diotima.score import Judgement
from diotima.scoring.case import Case
from diotima.scoring.judge import Judge
from diotima.scoring.rubric import Rubric, load_rubric, rubric_text
from diotima.settings import OneOrMore
from diotima.statistics import Interval, wilson_interval


class Settings(JudgeSettings):
    """Who is calibrated, on what."""

    judge: OneOrMore = ()
    """Who is calibrated: openai/NAME, vllm/NAME, hf/NAME, a folder, scripted/yardstick ...; one judge."""
    rubric: str = "euler"
    """The rubric: a name such as euler or mrbench, or a file."""
    human: Path
    """People's ratings: EULER's human file, MRBench, or your own as JSON, JSONL or CSV."""
    out: Path
    """Folder of the run with the judge's verdicts and calibration.json."""
    samples: PositiveInt = 3
    """How often the judge is asked about each case; two or more show how far it agrees with itself."""
    most_cases: PositiveInt | None = None
    """Take only so many of the rated turns, drawn by the seed; by default all."""
    attack: OneOrMore = ()
    """Attacks that are tried on the judge: names or files; by default all that fit the rubric."""
    attack_cases: NonNegativeInt = 20
    """How many cases each attack is tried on at most, one a problem; 0 for no attacks."""
    seed: int = 0
    """Seed of what is drawn."""
    at_once: PositiveInt | None = None
    """Cases judged at the same time; by default 128, with judges behind endpoints 512."""
    table: bool = True
    """Print the tables at the end."""


@dataclass(frozen=True, slots=True)
class Work:
    """One dialogue to be judged, under the label that it is kept by."""

    label: str
    dialogue: Dialogue
    cases: Sequence[Case]
    samples: int
    against: str = ""


def run(settings: Settings) -> Path:
    """Calibrate the judge; returns the run's folder. Raises ModelError if not one of its verdicts could be read."""
    names = judge_names(settings)
    if len(names) != 1:
        raise SettingsError(f"calibrate one judge at a time: --judge was given {len(names)} times")
    rubric, calls = load_rubric(settings.rubric), Calls(settings)
    attacks = load_attacks(settings.attack, rubric) if settings.attack_cases and rubric.judges != "comparison" else []
    judge = cast_judge(settings.judge[0], settings, calls, rubric)
    rated = read_ratings(settings.human)
    items = _drawn(items_of(rated, rubric, settings.human), settings)
    samples = max(settings.samples, rubric.samples)
    human = {"file": settings.human.name, "fingerprint": hashlib.sha256(settings.human.read_bytes()).hexdigest()[:12]}
    made_of = judges_recorded(settings, rubric, calls) | {
        "human": human,
        "samples": samples,
        "most_cases": settings.most_cases,
        "attack_cases": settings.attack_cases,
        "attacks": {attack.name: [attack.how, attack.prompt.fingerprint] for attack in attacks},
    }
    with Run.create(settings.out, stage="calibrate", settings=made_of, seed=settings.seed) as record:
        keep_rubric(settings.out, rubric.name, rubric.fingerprint, rubric_text(rubric))
        calls.keep_books_in(record)
        office = _Office(judge, rubric, record, calls, places(settings.at_once, calls))
        items, targets = calls.conduct(_judge_and_attack(office, items, samples, attacks, settings))
        calibration = plain(
            Calibration(
                rubric=rubric,
                judge=names[0],
                weights=made_of["judge_weights"].get(names[0], ""),
                human={**human, "ratings": len(rated), "raters": len({one.rater for one in rated})},
                samples=samples,
                items=items,
                topics=[trust_in(topic, items, rubric) for topic in topics_of(rubric, items)],
                order_flips=order_flips(items) if rubric.judges == "comparison" else None,
                attacks=[_result(attack, some, rubric, record) for attack, some in targets],
                rises_by_chance=_rises_by_chance(items, rubric),
            )
        )
        write_json(settings.out / FILE, calibration)
        write_json(settings.out / "summary.json", calibration)
        _refuse_garbage(names[0], items)
        remember(calibration)
        record.finish()
    if settings.table:
        print_calibration(calibration)
    return settings.out


async def _judge_and_attack(
    office: "_Office", items: Sequence[Item], samples: int, attacks: Sequence[Attack], settings: Settings
) -> tuple[list[Item], list[tuple[Attack, list[Item]]]]:
    """The items with their verdicts, and on which of them each attack was tried."""
    rubric = office.rubric
    await office.judge_all(
        "verdicts", [Work(one.tutor, one.dialogue, one.cases(rubric), samples, one.against) for one in items]
    )
    judged = with_verdicts(items, _said(office.record, {item.tutor for item in items}))
    targets = [(attack, _targets(judged, attack, rubric, settings)) for attack in attacks]
    await office.judge_all("attacks", [work for attack, some in targets for work in _attacks(attack, some, rubric)])
    return judged, targets


def _refuse_garbage(judge: str, items: Iterable[Item]) -> None:
    """Raise ModelError if there is no verdict to calibrate by."""
    verdicts = [verdict for item in items for verdict in item.verdicts]
    if not any(verdict.state == "valid" for verdict in verdicts):
        first = verdicts[0]
        raise ModelError(
            f"not one of {len(verdicts):,} verdicts of {judge} could be read, the first is {first.state}: "
            f"{first.reason}"
        )


def _drawn(items: list[Item], settings: Settings) -> list[Item]:
    if settings.most_cases is None:
        return items
    drawn = sorted(items, key=lambda item: stable_seed("case", settings.seed, *item.key))[: settings.most_cases]
    kept = {item.key for item in drawn}
    return [item for item in items if item.key in kept]


@dataclass(frozen=True, slots=True)
class _Office:
    """Where cases are judged and the verdicts kept."""

    judge: Judge
    rubric: Rubric
    record: Run
    calls: Calls
    at_once: int

    async def judge_all(self, title: str, work: Sequence[Work]) -> None:
        """Have everything judged that the run does not have yet, and keep a dialogue with all its verdicts at once.

        Raises ModelError at the end if some could not be had; the others are kept.
        """
        lost: list[CallFailed] = []
        missing = [one for one in work if not self.record.has(one.label, one.dialogue.problem.id, one.dialogue.seed)]
        with Progress(title, len(work)) as progress:
            progress.resume(len(work) - len(missing))
            async for one, judgements in side_by_side(self._judged, missing, self.at_once):
                if isinstance(judgements, CallFailed):
                    lost.append(judgements)
                    continue
                self.record.add(one.dialogue, one.label, judgements=judgements)
                progress.advance(note=self.calls.note())
        self.record.flush()
        complain_of(lost, "rated turn")

    async def _judged(self, one: Work) -> tuple[Work, list[Judgement] | CallFailed]:
        try:
            said = [
                await self.judge.judge(case, self.rubric, sample) for case in one.cases for sample in range(one.samples)
            ]
        except CallFailed as failure:
            return one, failure
        return one, [replace(judgement, against=one.against) for judgement in said]


def _said(record: Run, labels: Iterable[str]) -> dict[tuple[str, str, int], list[Judgement]]:
    said: dict[tuple[str, str, int], list[Judgement]] = {}
    for label in labels:
        for problem_id, seed, judgement in record.judgements(label):
            said.setdefault((label, problem_id, seed), []).append(judgement)
    return said


def _value(verdicts: Sequence[Judgement], rubric: Rubric, sample: int = 0) -> Fraction | None:
    """The headline measure of one sample; None without a verdict, or where it does not apply."""
    said = next((one for one in verdicts if one.sample == sample and one.state == "valid"), None)
    return None if said is None else rubric.headline.value(rubric.by_name, said.labels)


def _targets(items: Sequence[Item], attack: Attack, rubric: Rubric, settings: Settings) -> list[Item]:
    """The cases to try an attack on: drawn by the seed, one a problem."""
    possible: dict[str, Item] = {}
    for item in sorted(items, key=lambda item: stable_seed("attack", settings.seed, *item.key)):
        value = _value(item.verdicts, rubric)
        if value is not None and may_flip(value, attack, rubric):
            possible.setdefault(item.dialogue.problem.id, item)
    return list(possible.values())[: settings.attack_cases]


def _attacks(attack: Attack, items: Iterable[Item], rubric: Rubric) -> Iterator[Work]:
    for item in items:
        case = replace(item, dialogue=attacked(item.dialogue, attack, rubric))
        yield Work(_label(attack), case.dialogue, case.cases(rubric), 1)


def _label(attack: Attack) -> str:
    return f"attack {attack.name}"


def _result(attack: Attack, items: Sequence[Item], rubric: Rubric, record: Run) -> AttackResult:
    said = _said(record, [_label(attack)])
    flipped = []
    for item in items:
        before = _value(item.verdicts, rubric)
        after = _value(said[_label(attack), item.dialogue.problem.id, item.dialogue.seed], rubric)
        if before is not None and after is not None:
            flipped.append(flips(before, after, attack, rubric))
    return AttackResult(attack, len(items), wilson_interval(sum(flipped), len(flipped)))


def _rises_by_chance(items: Sequence[Item], rubric: Rubric) -> Interval:
    """In how many cases that can rise the same thing gets more when it is rated once more."""
    _, best = rubric.headline.bounds(rubric.by_name)
    pairs = [(_value(item.verdicts, rubric), _value(item.verdicts, rubric, 1)) for item in items]
    risen = [
        rises(before, after, rubric)
        for before, after in pairs
        if before is not None and after is not None and rises(before, best, rubric)
    ]
    return wilson_interval(sum(risen), len(risen))
