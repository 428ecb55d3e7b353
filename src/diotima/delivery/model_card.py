"""A tutor's model card: what it is for, how it was made and of what, how good it is, and what nobody knows yet.

Everything stands in the run already; a card that is written by hand is out of date with the next training. Its front
matter is what the Hugging Face hub reads.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diotima.classroom.casting import Part
from diotima.delivery.provenance import Data, Provenance
from diotima.reports.measures import MEASURES
from diotima.reports.tables import value_text
from diotima.runs.manifest import timestamp, versions
from diotima.runs.status import without_credentials

MARK = "Made by `diotima export hub`"
SHOWN = ("leaked", "solved_same", "solved_sibling", "control_sibling", "gain", "addressed", "well_formed")
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card is about. ``name``: ORG/NAME; ``licence``: an id of the hub, "" if it is not known.

    ``more_data``: what the user says beside what the runs tell. ``tutors``: figures as report.json has them, and
    ``measured``: the names of the runs they come from.
    """

    name: str
    origin: Provenance
    part: Part
    licence: str = ""
    more_data: tuple[Data, ...] = ()
    tutors: Sequence[Mapping[str, Any]] = ()
    measured: tuple[str, ...] = ()
    is_adapter: bool = False


def card(facts: Facts) -> str:
    """The text of README.md."""
    parts = [
        f"---\n{_front_matter(facts)}---",
        f"# {facts.name.rpartition('/')[2]}\n\n{_what(facts)}",
        f"## What it is for, and what not\n\n{_USE}",
        f"## How it is used\n\n{_usage(facts)}",
        f"## How it was made\n\n{_making(facts.origin)}",
        f"## Training data\n\n{_data(facts)}",
        f"## Scores\n\n{_scores(facts)}",
    ]
    return without_credentials("\n\n".join(parts)) + "\n"


_USE = """\
It is made to tutor: to lead a student to the solution of a problem by questions, without giving the answer away. It is
for research, and for courses in which a teacher has tried it and keeps an eye on it.

It is not made to solve problems, to grade, or to talk about anything else. It can be wrong about mathematics, it can
give answers away, above all to a student who insists, and it may take wrong work for right. The scores below are of
simulated students unless they say otherwise: they tell nothing about children."""


def _front_matter(facts: Facts) -> str:
    import yaml

    base = facts.origin.base
    values: dict[str, Any] = {"license": facts.licence or UNKNOWN, "pipeline_tag": "text-generation"}
    values["library_name"] = "peft" if facts.is_adapter else "transformers"
    if facts.origin.steps and base.startswith("hf/") and facts.origin.base_is_public:
        values["base_model"] = base.removeprefix("hf/")
    methods = [str(step.manifest["stage"]).removeprefix("train ") for step in facts.origin.steps]
    values["tags"] = ["tutoring", "education", "diotima", *dict.fromkeys(methods)]
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def _what(facts: Facts) -> str:
    kind = "An adapter of a language model" if facts.is_adapter else "A language model"
    stages = [str(step.manifest["stage"]) for step in facts.origin.steps]
    base = _base(facts.origin) or "a model that is not named"
    how = f", made of {base} by {', then '.join(f'`{stage}`' for stage in stages)}" if stages else ""
    return f"{kind} that tutors{how}. {MARK} {versions().get('diotima', '')} on {timestamp()}."


def _usage(facts: Facts) -> str:
    quoted = "\n".join(f"> {line}".rstrip() for line in facts.part.load().text.splitlines())
    return (
        f"    diotima chat --tutor hf/{facts.name} --problems problems.jsonl --problem 1\n\n"
        "Every chat begins with this system message, in which `{{...}}` is filled for the problem at hand "
        f"(`{_placeless(facts.part.prompt)}`; the tutor sees the {facts.part.sees}). The tutor is the assistant, the "
        f"student the user.\n\n{quoted}"
    )


def _making(origin: Provenance) -> str:
    if not origin.steps:
        return "No run tells how this model was trained."
    texts = []
    for number, step in enumerate(origin.steps, 1):
        told = step.manifest
        made_with = ", ".join(f"{name} {version}" for name, version in (told.get("versions") or {}).items())
        settings = json.dumps(_placeless(told["settings"]), indent=2, ensure_ascii=False).replace("```", "'''")
        texts.append(
            f"{number}. `{told['stage']}`, seed {told.get('seed')}, finished {told.get('finished') or 'not yet'}, with "
            f"{made_with}, commit {told.get('commit') or 'not known'}:\n\n```json\n{settings}\n```"
        )
    return "\n\n".join(texts)


def _placeless(value: Any) -> Any:
    """Settings without where files lie on the machine of whoever trained; that is nobody's business."""
    if isinstance(value, dict):
        return {name: _placeless(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_placeless(inner) for inner in value]
    if isinstance(value, str) and value.removeprefix("hf/").startswith(("/", "~")):
        return f".../{Path(value).name}"
    return value


def _base(origin: Provenance) -> str:
    """The base's name, without where it lies here."""
    return origin.base if origin.base_is_public or not origin.base else f".../{Path(origin.base).name}"


def _data(facts: Facts) -> str:
    lines = ["| set | how much | licence | training for a model that is passed on? |", "|---|---|---|---|"]
    for one in (*facts.origin.data, *facts.more_data):
        count = f"{one.count:,} {one.unit}" if one.count is not None else UNKNOWN
        lines.append(f"| {_cell(one.source) or 'not told'} | {count} | {one.licence} | {one.training} |")
    if len(lines) == 2:
        lines = ["Not known."]
    words = sorted({_placeless(model) for one in facts.origin.data for model in one.words_of})
    if words:
        lines += ["", f"Words in it were written by {', '.join(words)}, whose terms may say more."]
    if facts.origin.steps:
        says = "its own card says" if facts.origin.base_is_public else "is not known here"
        lines += ["", f"What {_base(facts.origin) or 'its base'} was trained on, {says}."]
    return "\n".join(lines)


def _scores(facts: Facts) -> str:
    if not facts.tutors:
        return "It has not been examined, or its scores were not given here."
    names = [name for name in SHOWN if any(name in tutor.get("measures", {}) for tutor in facts.tutors)]
    lines = [
        f"Means with 95% intervals over problems, from {', '.join(facts.measured)}; n: lessons with a valid score.",
        "",
        "| tutor | lessons | " + " | ".join(MEASURES[name].title for name in names) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    for tutor in facts.tutors:
        cells = [_interval(name, tutor.get("measures", {}).get(name)) for name in names]
        lines.append(f"| {_cell(_placeless(tutor['tutor']))} | {tutor['lessons']:,} | {' | '.join(cells)} |")
    lines += ["", *(f"- {MEASURES[name].title}: {MEASURES[name].meaning}" for name in names)]
    return "\n".join(lines)


def _interval(name: str, told: Mapping[str, Any] | None) -> str:
    if told is None or told.get("mean") is None:
        return "\N{EN DASH}"
    measure, low, high = MEASURES[name], told.get("low"), told.get("high")
    text = value_text(measure, told["mean"])
    if low is not None and high is not None:
        text += f" ({value_text(measure, low)} to {value_text(measure, high)})"
    return f"{text}, n={told['n']:,}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
