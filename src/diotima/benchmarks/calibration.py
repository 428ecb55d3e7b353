"""A calibration as plain values: what is stored beside the run, remembered, and shown with every score of the judge."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from diotima.benchmarks.attacks import Attack
from diotima.benchmarks.topics import Item
from diotima.benchmarks.trust import CALLED, DECISIVE, Trust, limits
from diotima.reports.tables import plain_interval
from diotima.runs.manifest import timestamp
from diotima.score import State
from diotima.scoring.rubric import Rubric
from diotima.statistics import Interval


@dataclass(frozen=True, slots=True)
class AttackResult:
    """How often an attack succeeded: the share of ``flips`` among the cases with a verdict, out of all ``tried``."""

    attack: Attack
    tried: int
    flips: Interval


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that was found out about a judge under a rubric.

    ``weights``: the fingerprint of the judge's weights, or of what its server says it is; "" where there is none.
    ``human``: the file of ratings, its fingerprint, how many ratings and raters. ``order_flips``: of a comparison only.
    ``rises_by_chance``: how often a case gets more when it is rated once more.
    """

    rubric: Rubric
    judge: str
    weights: str
    human: Mapping[str, Any]
    samples: int
    items: Sequence[Item]
    topics: Sequence[Trust]
    order_flips: Interval | None
    attacks: Sequence[AttackResult]
    rises_by_chance: Interval


def plain(found: Calibration) -> dict[str, Any]:
    """The calibration as JSON can hold it; what cannot be known is None. ``summary`` is the whole of it in a line."""
    states = Counter(verdict.state for item in found.items for verdict in item.verdicts)
    return {
        "rubric": found.rubric.name,
        "rubric_fingerprint": found.rubric.fingerprint,
        "headline": found.rubric.headline.name,
        "judge": found.judge,
        "weights": found.weights,
        "made": timestamp(),
        "summary": _summary(found),
        "human": dict(found.human),
        "cases": len(found.items),
        "problems": len({item.dialogue.problem.id for item in found.items}),
        "samples": found.samples,
        "judgements": {"n": states.total(), **{state: states[state] for state in get_args(State)}},
        "topics": [_topic(topic) for topic in found.topics],
        "order_flips": _interval(found.order_flips),
        "attacks": [
            {
                "attack": one.attack.name,
                "how": one.attack.how,
                "about": one.attack.about,
                "tried": one.tried,
                "flips": plain_interval(one.flips),
            }
            for one in found.attacks
        ],
        "rises_by_chance": plain_interval(found.rises_by_chance),
    }


def _topic(topic: Trust) -> dict[str, Any]:
    verdict = topic.verdict
    return {
        "name": topic.topic,
        "kind": topic.kind,
        "decided_by": DECISIVE[topic.kind],
        "prevalence": [[rating, share] for rating, share in topic.prevalence.items()],
        "raters": [
            {
                "rater": one.rater,
                "n": one.n,
                "figures": {name: plain_interval(figure) for name, figure in one.figures.items()},
            }
            for one in topic.raters
        ],
        "verdict": None
        if verdict is None
        else {
            "better": verdict.better,
            "baseline": verdict.baseline,
            "difference": _interval(verdict.difference),
            "sentence": verdict.sentence,
        },
        "identical": _interval(topic.identical),
        "self_alpha": _interval(topic.self_alpha),
        "length_bias": _interval(topic.length_bias),
    }


def _summary(found: Calibration) -> str:
    """What may stand under a table of this judge's scores."""
    rated = [topic for topic in found.topics if topic.raters]
    better = [topic.topic for topic in rated if topic.verdict is not None and topic.verdict.better]
    others = [topic.topic for topic in rated if topic.topic not in better]
    against = f"against {found.human['ratings']:,} ratings of {found.human['file']}"
    if not rated:
        return f"{found.judge} under {found.rubric.name}, {against}: not compared with people"
    first = rated[0]
    decisive = DECISIVE[first.kind]
    parts = [f"{first.topic} {CALLED[decisive]} {limits(first.raters[0].figures[decisive])}"]
    parts += [f"better than trivial raters on {', '.join(better)}"] if better else []
    parts += [f"not on {', '.join(others)}" if better else "on nothing better than trivial raters"] if others else []
    return f"{found.judge} under {found.rubric.name}, {against}: {'; '.join(parts)}"


def _interval(value: Interval | None) -> dict[str, float | int | None] | None:
    return None if value is None else plain_interval(value)
