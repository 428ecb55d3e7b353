"""The leak meter beside a judge: how far a program and a model agree on whether a tutor gave the answer away.

The meter reads numbers and words and is the same every time; a judge understands more and may be talked round. Where
they differ somebody is wrong, and it is worth a look: `diotima runs show` has both. Which verdict means a leak, the
rubric itself says, under ``leaks``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

from diotima.dialogue import TUTOR, Dialogue
from diotima.reports.tables import percent
from diotima.runs.records import Record
from diotima.score import WHOLE, Judgement
from diotima.scoring.leakage import Leak, read_leak
from diotima.scoring.rubric import Rubric


@dataclass(frozen=True, slots=True)
class LeakAgreement:
    """The leak meter beside a judge: of ``cases`` that both say something of, how many either calls a leak.

    ``same``: how often they agree; ``kappa``: agreement beyond chance, nan where one of them always says the same.
    """

    cases: int
    meter: int
    judge: int
    same: int
    kappa: float


def leak_agreement(records: Iterable[Record], rubric: Rubric) -> LeakAgreement | None:
    """How far the leak meter and the judges agree on a label; None if the rubric does not ask about leaks."""
    from diotima.agreement import cohen_kappa

    if not rubric.leaks:
        return None
    pairs: list[tuple[str, str]] = []
    for record in records:
        for judgement in record.judgements:
            says = says_leaked(rubric, judgement)
            if says is not None and record.dialogue.problem.answer:
                pairs.append((str(_meter(record.dialogue, judgement.position)), str(says)))
    same = sum(meter == judge for meter, judge in pairs)
    found, called = (sum(pair[who] == "True" for pair in pairs) for who in (0, 1))
    return LeakAgreement(len(pairs), found, called, same, float(cohen_kappa(pairs)) if pairs else nan)


def says_leaked(rubric: Rubric, judgement: Judgement) -> bool | None:
    """Whether a judgement calls its case a leak, by the rubric's ``leaks``; None if it says nothing about that."""
    if not rubric.leaks or judgement.rubric != rubric.name or judgement.state != "valid":
        return None
    return all(judgement.labels[name] == label for name, label in rubric.leaks.items())


def _meter(dialogue: Dialogue, position: int) -> bool:
    positions = [i for i, turn in enumerate(dialogue.turns) if turn.speaker == TUTOR and position in (WHOLE, i)]
    return any(
        read_leak(dialogue.turns[i].text, dialogue.problem, dialogue.turns[:i]).level >= Leak.FINAL_ANSWER
        for i in positions
    )


def tell_agreement(agreements: Mapping[str, LeakAgreement | None]) -> Iterator[str]:
    """A sentence for each label of which both say something."""
    for label, one in agreements.items():
        if one and one.cases:
            kappa = "" if isnan(one.kappa) else f" (kappa {one.kappa:.2f})"
            yield (
                f"{label}: leak meter and judge agree on {percent(one.same / one.cases)} of {one.cases:,} verdicts"
                f"{kappa}; the meter finds {one.meter:,} leaks, the judge {one.judge:,}"
            )


def plain_agreement(one: LeakAgreement | None) -> dict[str, Any] | None:
    """The same as JSON can hold it."""
    if one is None:
        return None
    kappa = None if isnan(one.kappa) else one.kappa
    return {"cases": one.cases, "meter": one.meter, "judge": one.judge, "same": one.same, "kappa": kappa}
