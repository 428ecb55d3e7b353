"""What a judge answered: read strictly, and never guessed.

A verdict is one JSON object with the rubric's keys. It may stand alone, in a code fence, or with prose before and after
it; a comma too many is forgiven. Nothing else is: no missing brace is put in, no first number taken for the rating,
nothing clamped, no default filled in. What cannot be read comes back as a sentence, which the judge is shown.

A judge quotes what it judges, and that may hold a verdict that somebody forged. Hence the rules for texts with several
objects: everything in braces that holds a quotation mark has to be JSON; the last object has to fit the rubric; and so
has every other one with a key of the rubric's, and they have to agree. So a forged verdict beside the judge's own leads
to a question and never to success, also where the judge's own is none, one inside a string is a piece of a string, and
where braces do not balance nothing is believed.

The published reader of EULER took numbers in quotes and texts without their last brace; ours takes neither, and asks
again instead, which the published one never did.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diotima.dialogue import split_reply
from diotima.scoring.criteria import Criterion, Labels
from diotima.scoring.rubric import Rubric

_MOST_SHOWN = 60  # characters of a value in a sentence
_MOST_LABEL = 200  # characters of a label that a lenient rubric keeps
_MOST_NUMBER = 2**53  # what a float holds exactly
_SIGN = re.compile(r'\\.|["{}]', re.DOTALL)
_COMMA = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z))|,(?=\s*[}\]])', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict that was read. ``labels``: what is said on each criterion; ``reason``: the judge's reasoning, or ""."""

    labels: Labels
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """Why an answer is no verdict: the end of a sentence, for the judge and for people."""

    problem: str


def read_verdict(text: str, rubric: Rubric) -> Said | Unread:
    """The verdict in a judge's answer. Never raises."""
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        text = split_reply(text)[0]  # without its thoughts
    if not text:
        return Unread("it is empty")
    groups = _in_braces(text)
    if isinstance(groups, Unread):
        return groups
    objects = [_parsed(group) for group in groups if '"' in group]
    if broken := next((told for told in objects if isinstance(told, Unread)), None):
        return broken
    if not objects:
        return Unread("there is no JSON object in it")
    *others, last = (told for told in objects if isinstance(told, dict))
    claims = [told for told in others if told.keys() & rubric.by_name.keys()]
    readings = [_read(told, rubric) for told in (*claims, last)]
    said = [reading for reading in readings if isinstance(reading, Said)]
    if misfit := next((reading for reading in readings if isinstance(reading, Unread)), None):
        return misfit
    if any(one.labels != said[-1].labels for one in said):
        return Unread("it holds several verdicts, which differ; give one")
    return said[-1]


def schema_of(rubric: Rubric) -> dict[str, Any]:
    """The JSON schema of a verdict: the keys in their order, all of them, and no others."""
    return {
        "type": "object",
        "properties": {criterion.name: _type_of(criterion) for criterion in rubric.criteria},
        "required": [criterion.name for criterion in rubric.criteria],
        "additionalProperties": False,
    }


def _type_of(criterion: Criterion) -> dict[str, Any]:
    if criterion.scale is not None:
        return {"type": "integer", "minimum": criterion.scale[0], "maximum": criterion.scale[1]}
    return {"type": "string"} if criterion.text else {"type": "string", "enum": list(criterion.offers)}


def _in_braces(text: str) -> list[str] | Unread:
    """Every outermost pair of braces with what is in it; within one, braces in a string are no braces."""
    groups: list[str] = []
    depth = start = 0
    quoted = False
    for sign in _SIGN.finditer(text):
        match sign[0]:
            case '"':
                quoted = depth > 0 and not quoted
            case "{" if not quoted:
                start = start if depth else sign.start()
                depth += 1
            case "}" if not quoted:
                depth -= 1
                if depth < 0:
                    return Unread("it holds a closing brace without an opening one")
                if depth == 0:
                    groups.append(text[start : sign.end()])
    return Unread("its JSON object has no end") if depth else groups


def _parsed(group: str) -> dict[str, Any] | Unread:
    try:
        told = json.loads(
            _COMMA.sub(lambda match: match[1] or "", group),
            object_pairs_hook=_without_repetition,
            parse_constant=_no_number,
        )
    except json.JSONDecodeError as error:
        return Unread(f"it is not valid JSON ({error.msg} at character {error.pos + 1} of the object)")
    except (ValueError, RecursionError) as error:
        return Unread(f"it is not valid JSON ({_shown(str(error))})")
    return dict(told)


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        raise ValueError("a key stands in it twice")
    return told


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _read(told: dict[str, Any], rubric: Rubric) -> Said | Unread:
    names = [criterion.name for criterion in rubric.criteria]
    if missing := [name for name in names if name not in told]:
        return Unread(f"the key {_shown(missing[0])} is missing")
    if beyond := [name for name in told if name not in names]:
        return Unread(f"the key {_shown(beyond[0])} is none of {', '.join(names)}")
    labels: dict[str, str | int] = {}
    reason = ""
    for criterion in rubric.criteria:
        value = _answer(told[criterion.name], criterion, rubric.lenient)
        if isinstance(value, Unread):
            return value
        if criterion.text:
            reason = str(value)
        else:
            labels[criterion.name] = value
    return Said(labels, reason)


def _answer(value: object, criterion: Criterion, lenient: bool) -> str | int | Unread:
    """What was said on one criterion, if it may be said."""
    if criterion.scale is not None:
        low, high = (-_MOST_NUMBER, _MOST_NUMBER) if lenient else criterion.scale
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # a rating that went through a table of floats: 4.0
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        ends = f"{criterion.scale[0]} to {criterion.scale[1]}"
        return Unread(f"{criterion.name} is {_shown(value)}, and must be a whole number from {ends}")
    if isinstance(value, str):
        # Half a surrogate pair, which JSON can hold and no file, becomes a replacement character.
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if criterion.text:
            return value
        if label := criterion.spelt(value):
            return label
        if lenient and len(value) <= _MOST_LABEL:
            return value
    offers = "a text" if criterion.text else " or ".join(f'"{offer}"' for offer in criterion.offers)
    return Unread(f"{criterion.name} is {_shown(value)}, and must be {offers}")


def _shown(value: object) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    text = text.encode(errors="replace").decode()
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"
