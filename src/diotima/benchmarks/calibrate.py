"""`diotima calibrate`: how far can this judge be trusted? Its verdicts against people's, and against trivial raters.

The judge rates what people have rated: EULER's human file, MRBench, or a file of one's own (`corpus.ratings` has the
forms). Its verdicts go into a run, so that a killed calibration goes on and nothing is paid for twice; then it is
attacked (`attacks`), and all figures are worked out from what is stored (`trust`). They stand in ``calibration.json``,
and are remembered for this rubric and this judge (`runs.calibrations`), so that they can be shown beside its scores.

    diotima calibrate --rubric euler --judge openai/gpt-4o --human human_eval.json --out runs/trust
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import NonNegativeInt, PositiveInt

from diotima.benchmarks.attacks import Attack, attacked, flipped, load_attacks, one_a_problem, risen_by_chance, targets
from diotima.benchmarks.topics import Item, items_of, topics_of, with_verdicts
from diotima.benchmarks.trust import DECISIVE, Trust, in_a_line, order_flips, trust_in
from diotima.classroom.dry_run import tell_costs_of_verdicts
from diotima.classroom.judges import JudgeSettings, cast_judge, judge_names, judges_recorded
from diotima.classroom.lesson import side_by_side
from diotima.classroom.teach import complain_of, places
from diotima.corpus.ratings import read_ratings
from diotima.dialogue import Dialogue, stable_seed
from diotima.errors import CallFailed, ModelError, SettingsError
from diotima.models.calls import Calls
from diotima.progress import Progress
from diotima.reports.calibrated import print_calibration
from diotima.reports.tables import plain_interval
from diotima.runs.calibrations import FILE, recall, remember
from diotima.runs.judgements import keep_rubric
from diotima.runs.manifest import timestamp, write_json
from diotima.runs.run import Run
from diotima.score import Judgement, State
from diotima.scoring.case import Case
from diotima.scoring.judge import Judge, ask
from diotima.scoring.rubric import Rubric, load_rubric, rubric_text
from diotima.settings import OneOrMore
from diotima.statistics import Interval


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
    dry_run: bool = False
    """Only say how many calls, tokens and dollars it would be; nothing is asked of any model."""


@dataclass(frozen=True, slots=True)
class Work:
    """One dialogue to be judged, under the label that it is kept by."""

    label: str
    dialogue: Dialogue
    cases: Sequence[Case]
    samples: int
    against: str = ""


def run(settings: Settings) -> Path | dict[str, Any]:
    """Calibrate the judge; returns the run's folder, or with ``dry_run`` what that would cost.

    Raises ModelError if not one of its verdicts could be read.
    """
    names = judge_names(settings)
    if len(names) != 1:
        raise SettingsError(f"calibrate one judge at a time: --judge was given {len(names)} times")
    rubric, calls = load_rubric(settings.rubric), Calls(settings)
    attacks = load_attacks(settings.attack, rubric) if settings.attack_cases and rubric.judges != "comparison" else []
    judge = cast_judge(settings.judge[0], settings, calls, rubric)
    rated = read_ratings(settings.human)
    items = _drawn(items_of(rated, rubric, settings.human), settings)
    samples = max(settings.samples, rubric.samples)
    if settings.dry_run:
        return _tell_costs(judge, items, samples, attacks, rubric, settings, calls)
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
        items, tried = calls.conduct(_judge_and_attack(office, items, samples, attacks, settings))
        states = Counter(verdict.state for item in items for verdict in item.verdicts)
        topics = [trust_in(topic, items, rubric) for topic in topics_of(rubric, items)]
        against = f"{names[0]} under {rubric.name}, against {len(rated):,} ratings of {settings.human.name}"
        calibration = {
            "rubric": rubric.name,
            "rubric_fingerprint": rubric.fingerprint,
            "headline": rubric.headline.name,
            "judge": names[0],
            "weights": made_of["judge_weights"].get(names[0], ""),
            "made": timestamp(),
            "summary": f"{against}: {in_a_line(topics)}",
            "human": {**human, "ratings": len(rated), "raters": len({one.rater for one in rated})},
            "cases": len(items),
            "problems": len({item.dialogue.problem.id for item in items}),
            "samples": samples,
            "judgements": {"n": states.total(), **{state: states[state] for state in get_args(State)}},
            "topics": [_plain(topic) for topic in topics],
            "order_flips": _interval(order_flips(items) if rubric.judges == "comparison" else None),
            "attacks": [_result(attack, some, rubric, record) for attack, some in tried],
            "rises_by_chance": plain_interval(risen_by_chance(items, rubric)),
        }
        write_json(settings.out / FILE, calibration)
        write_json(settings.out / "summary.json", calibration)
        _refuse_garbage(names[0], items)
        _remember(calibration, settings)
        record.finish()
    if settings.table:
        print_calibration(calibration)
    return settings.out


async def _judge_and_attack(
    office: "_Office", items: Sequence[Item], samples: int, attacks: Sequence[Attack], settings: Settings
) -> tuple[list[Item], list[tuple[Attack, list[Item]]]]:
    """The items with their verdicts, and on which of them each attack was tried."""
    rubric = office.rubric
    await office.judge_all("verdicts", _verdicts(items, samples, rubric))
    judged = with_verdicts(items, _said(office.record, {item.tutor for item in items}))
    tried = [(attack, targets(judged, attack, rubric, settings.attack_cases, settings.seed)) for attack in attacks]
    await office.judge_all("attacks", [work for attack, some in tried for work in _attacks(attack, some, rubric)])
    return judged, tried


def _tell_costs(
    judge: Judge,
    items: Sequence[Item],
    samples: int,
    attacks: Sequence[Attack],
    rubric: Rubric,
    settings: Settings,
    calls: Calls,
) -> dict[str, Any]:
    """What it will cost, with as many attacks as there can be: the verdicts decide on which cases they are tried."""
    some = one_a_problem(items, settings.attack_cases, settings.seed)
    work = [*_verdicts(items, samples, rubric), *(one for attack in attacks for one in _attacks(attack, some, rubric))]
    tried = len(attacks) * len(some)
    more = f"{tried:,} of the verdicts are about attacks, of which there may be fewer." if tried else ""
    return tell_costs_of_verdicts(settings, rubric, [judge], [(one.cases, one.samples) for one in work], calls, more)


def _remember(calibration: Mapping[str, Any], settings: Settings) -> None:
    """Remember a calibration, unless it is made of some of the cases and one of more is known already."""
    known = recall(*(calibration[name] for name in ("rubric_fingerprint", "judge", "weights")))
    if settings.most_cases is None or known is None or known["cases"] <= calibration["cases"]:
        remember(calibration)
        return
    print(
        f"what is remembered of {calibration['judge']} under {calibration['rubric']} comes from {known['cases']:,} "
        f"cases and stays; this calibration of {calibration['cases']:,} is in {settings.out / FILE} alone",
        file=sys.stderr,
    )


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
            said = await ask([self.judge], one.cases, self.rubric, one.samples)
        except CallFailed as failure:
            return one, failure
        return one, [replace(judgement, against=one.against) for judgement in said]


def _said(record: Run, labels: Iterable[str]) -> dict[tuple[str, str, int], list[Judgement]]:
    said: dict[tuple[str, str, int], list[Judgement]] = {}
    for label in labels:
        for problem_id, seed, judgement in record.judgements(label):
            said.setdefault((label, problem_id, seed), []).append(judgement)
    return said


def _verdicts(items: Iterable[Item], samples: int, rubric: Rubric) -> list[Work]:
    return [Work(one.tutor, one.dialogue, one.cases(rubric), samples, one.against) for one in items]


def _attacks(attack: Attack, items: Iterable[Item], rubric: Rubric) -> Iterator[Work]:
    for item in items:
        case = replace(item, dialogue=attacked(item.dialogue, attack, rubric))
        yield Work(_label(attack), case.dialogue, case.cases(rubric), 1)


def _label(attack: Attack) -> str:
    return f"attack {attack.name}"


def _result(attack: Attack, items: Sequence[Item], rubric: Rubric, record: Run) -> dict[str, Any]:
    """How often an attack succeeded: the share of flips among the cases with a verdict, out of all tried."""
    said = _said(record, [_label(attack)])
    after = [said[_label(attack), item.dialogue.problem.id, item.dialogue.seed] for item in items]
    told = {"attack": attack.name, "how": attack.how, "about": attack.about, "tried": len(items)}
    return told | {"flips": plain_interval(flipped(items, after, attack, rubric))}


def _plain(topic: Trust) -> dict[str, Any]:
    """All that is known on a topic as JSON can hold it; what cannot be known is None."""
    verdict = topic.verdict
    return {
        "name": topic.topic,
        "kind": topic.kind,
        "decided_by": DECISIVE[topic.kind],
        "prevalence": [[rating, share] for rating, share in topic.prevalence.items()],
        "raters": [
            {"rater": one.rater, "n": one.n, "figures": {name: _interval(value) for name, value in one.figures.items()}}
            for one in topic.raters
        ],
        "verdict": None if verdict is None else asdict(verdict) | {"difference": _interval(verdict.difference)},
        "identical": _interval(topic.identical),
        "self_alpha": _interval(topic.self_alpha),
        "length_bias": _interval(topic.length_bias),
    }


def _interval(value: Interval | None) -> dict[str, float | int | None] | None:
    return None if value is None else plain_interval(value)
