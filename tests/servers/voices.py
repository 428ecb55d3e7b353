"""What the scripted server says: texts that are a pure function of a request.

A voice turns a request and the bytes drawn for it into a text. The bytes come from the model's name, the messages and
the seed alone, so that the same request has the same reply in every process and however often it is sent: a run that
was killed and resumed can be compared with one that was not, text by text.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORDS = (
    "so then now first next again each both half twice more less add take share count look think try show "
    "why how what which number sum part whole step way side unit total left right equal times over under "
    "apple coin book train box pencil garden water hour day week price mile cup team page seed stone "
    "tell write draw check find compare"
).split()


@dataclass(frozen=True, slots=True)
class Request:
    """What a voice sees: the messages as (role, text), the length of a free reply in words, and the drawn bytes."""

    messages: Sequence[tuple[str, str]]
    words: int
    drawn: bytes

    @property
    def last(self) -> str:
        return self.messages[-1][1] if self.messages else ""

    @property
    def number(self) -> int:
        return int.from_bytes(self.drawn[:2]) % 1000


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string, a list of parts, or null."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or () if isinstance(part, Mapping))


def hashed(request: Request) -> str:
    """Short words, as many as asked for or 6 to 25."""
    count = request.words or 6 + request.drawn[0] % 20
    drawn = hashlib.shake_256(request.drawn).digest(count)
    return " ".join(WORDS[byte % len(WORDS)] for byte in drawn) + "."


def guide(request: Request) -> str:
    """A tutor that always asks for one more step, so that a lesson goes on to its limit."""
    step = 1 + sum(role == "assistant" for role, _ in request.messages)
    return f"Let us look at the {WORDS[request.drawn[0] % len(WORDS)]}. What is step {step}?"


def solver(request: Request) -> str:
    """A student that is sure of a number."""
    return f"I think it is {request.number}, so the answer is \\boxed{{{request.number}}}."


def echo(request: Request) -> str:
    """The last message, word for word."""
    return request.last


def obedient(request: Request) -> str:
    """What stands in double quotes in the system message, or else in the last one, as if it followed instructions."""
    instructions = [text for role, text in request.messages if role in ("system", "developer")]
    for text in (*reversed(instructions), request.last):
        if quoted := re.findall(r'"([^"]+)"', text):
            return str(quoted[-1])
    return hashed(request)


VOICES: dict[str, Callable[[Request], str]] = {
    "hash": hashed,
    "guide": guide,
    "solver": solver,
    "echo": echo,
    "obedient": obedient,
}


def in_form(response_format: Mapping[str, Any], request: Request) -> str | None:
    """A JSON text in the form asked for, or None if the form is free text."""
    if response_format.get("type") == "json_object":
        return json.dumps({"answer": hashed(request)})
    if response_format.get("type") == "json_schema":
        schema = response_format["json_schema"].get("schema", {})
        return json.dumps(_value(schema, schema.get("$defs", {}), request))
    return None


def _value(schema: Mapping[str, Any], definitions: Mapping[str, Any], request: Request) -> Any:
    """A valid value for a simple schema: every property, the first alternative, the smallest list."""
    if "$ref" in schema:
        return _value(definitions[schema["$ref"].rpartition("/")[2]], definitions, request)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][request.number % len(schema["enum"])]
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return _value(alternatives[0], definitions, request)
    kind = schema.get("type", "object")
    match kind if isinstance(kind, str) else kind[0]:
        case "object":
            return {name: _value(inner, definitions, request) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [_value(schema.get("items", {"type": "string"}), definitions, request)] * schema.get("minItems", 1)
        case "integer" | "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
            high = schema.get("maximum", schema.get("exclusiveMaximum", low + 1001) - 1)
            return low + request.number % max(1, int(high - low) + 1)
        case "boolean":
            return request.number % 2 == 0
        case "null":
            return None
        case _:
            return hashed(request)
