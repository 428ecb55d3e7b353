"""`diotima models check`: what does this server really do of what it is asked?

    diotima models check vllm/Qwen/Qwen2.5-7B-Instruct
    diotima models check llamacpp/tiny@http://127.0.0.1:8080/v1 --json

A 200 does not prove that a field was honoured: servers take a seed, a schema or log-probabilities without a word and
do nothing about them. So each is tried, about a dozen short calls, and what came back is looked at. What was found is
kept for this served model (see `served`), and asked again only with ``--fresh``.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diotima.dialogue import THINK_CLOSE, THINK_OPEN, Message
from diotima.errors import CallFailed, ModelError, SettingsError
from diotima.models.answer import Answer
from diotima.models.calls import Calls, Line
from diotima.models.chat import Reply, Sampling
from diotima.models.request import request_for
from diotima.models.services import EndpointSettings, is_elsewhere
from diotima.runs.manifest import timestamp, write_json

if TYPE_CHECKING:
    from rich.console import Console

VERSION = 2
_LENGTH = 24
_COUNT = (Message("user", "Count from one to twenty, in words."),)
_SYSTEM = Message("system", "You are a patient tutor of mathematics, who never tells an answer but asks one question.")
_TIDES = ("ebb", "flow")  # few texts fit, or a model that was never taught JSON would write figures without end
_SCHEMA = {
    "type": "object",
    "properties": {"tide": {"type": "string", "enum": list(_TIDES)}},
    "required": ["tide"],
    "additionalProperties": False,
}


class Settings(EndpointSettings):
    """Which model is checked."""

    model: str
    """The model: vllm/NAME, openrouter/NAME, ollama/NAME, llamacpp/NAME@http://127.0.0.1:8080/v1 ..."""
    fresh: bool = False
    """Ask again, even if this served model has been checked before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one thing asked for: yes (honoured), ignored, refused or unclear, and what was seen."""

    what: str
    honoured: str
    seen: str


def run(settings: Settings) -> dict[str, Any]:
    """Print what the server honours; returns the figures."""
    if not is_elsewhere(settings.model, settings.endpoints):
        raise SettingsError(f"model = {settings.model}: only models behind endpoints are checked, such as vllm/NAME")
    calls = Calls(settings)
    line = calls.line(settings.model)
    path = _cache(line)
    kept = told = None if settings.fresh else _kept(path)
    if told is None:
        findings = calls.conduct(probe(calls, line))
        told = {
            "version": VERSION,
            "model": line.address.name,
            "served": line.served.fingerprint,
            "facts": dict(line.served.facts),
            "context": line.served.context,
            "checked": timestamp(),
            "findings": [asdict(finding) for finding in findings],
        }
        with contextlib.suppress(OSError):  # what was found is no less true where it cannot be kept
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, told)
    from rich.console import Console

    console = Console(highlight=False)
    _print(told, console)
    if kept:
        console.print(f"So it was on {kept['checked'][:10]}; --fresh asks again.")
    return told


async def probe(calls: Calls, line: Line) -> list[Finding]:
    """Try everything, one after the other."""

    async def ask(messages: tuple[Message, ...], sampling: Sampling) -> Answer:
        return await calls.answer(line, request_for(line.address, line.served.fingerprint, messages, sampling))

    async def tried(what: str, look: Callable[[], Awaitable[tuple[str, str]]]) -> Finding:
        try:
            return Finding(what, *await look())
        except CallFailed as failure:
            return Finding(what, "refused", str(failure).removeprefix(f"{line.address.name}: "))

    def seeded(seed: int) -> Sampling:
        return Sampling(temperature=1.0, max_tokens=_LENGTH, seed=seed)

    warm = Sampling(temperature=1.0, max_tokens=_LENGTH)
    try:
        first = await ask(_COUNT, warm)
    except CallFailed as failure:
        raise ModelError(
            f"{failure}; if it refuses a field, take that away: "
            f"--endpoints '{{{line.address.backend}: {{extra: {{FIELD: null}}}}}}'"
        ) from None

    async def seed() -> tuple[str, str]:
        if not line.address.service.seeds:
            return "refused", "never sent: this service refuses requests with a seed"
        one, again, *others = [(await ask(_COUNT, seeded(seed))).reply.text for seed in (11, 11, 12, 13)]
        if again != one:
            return "ignored", "the same seed gave another reply"
        if others == [one, one]:
            return "unclear", "every seed gave the same reply"
        return "yes", "the same seed gave the same reply, another seed another"

    async def greedy() -> tuple[str, str]:
        one, other = [await ask(_COUNT, Sampling(temperature=0.0, max_tokens=_LENGTH)) for _ in range(2)]
        same = one.reply.text == other.reply.text
        return ("yes", "twice the same reply") if same else ("ignored", "two greedy replies differ")

    async def system() -> tuple[str, str]:
        led = await ask((_SYSTEM, *_COUNT), warm)
        if led.usage is None or first.usage is None:
            return "unclear", "the server does not count tokens"
        more = led.usage.prompt_tokens - first.usage.prompt_tokens
        return ("yes" if more >= 10 else "ignored"), f"the prompt grew by {more} tokens"

    async def logprobs() -> tuple[str, str]:
        likely = (await ask(_COUNT, Sampling(max_tokens=_LENGTH, logprobs=True))).reply.logprobs
        return ("yes", f"{len(likely)} tokens with theirs") if likely else ("ignored", "none came")

    async def stop() -> tuple[str, str]:
        text = heard((await ask(_COUNT, Sampling(max_tokens=_LENGTH, stop=(" ",)))).reply)
        if " " in text:
            return "ignored", "the text goes on behind it"
        if " " not in heard(first.reply):
            return "unclear", "there was nothing that it could have ended"
        return "yes", "the text ends before it"

    async def schema() -> tuple[str, str]:
        wish = (Message("user", "Tell me about the sea."),)
        reply = (await ask(wish, Sampling(max_tokens=256, schema=_SCHEMA))).reply
        if keeps_to_schema(heard(reply)):
            return "yes", f"an unasked question was answered in its form: {heard(reply)[:40]}"
        return (
            ("unclear", "the reply was cut off") if reply.finish == "length" else ("ignored", "the reply is free text")
        )

    async def length() -> tuple[str, str]:
        if first.usage is None:
            return "unclear", "the server does not count tokens"
        written = first.usage.reply_tokens
        if written <= _LENGTH and first.reply.finish != "length":
            return "unclear", f"the reply ended by itself, after {written} tokens of {_LENGTH}"
        return ("yes" if written <= _LENGTH else "ignored"), f"{written} tokens of {_LENGTH}"

    async def streaming() -> tuple[str, str]:
        request = request_for(line.address, line.served.fingerprint, _COUNT, warm)
        *pieces, whole = [piece async for piece in calls.stream(line, request)]
        if len(pieces) < 2:
            return "ignored", "the reply came as a whole"
        counted = "with" if isinstance(whole, Answer) and whole.usage else "without"
        return "yes", f"{len(pieces)} pieces, {counted} a count of tokens at the end"

    async def counting() -> tuple[str, str]:
        usage = first.usage
        if usage is None:
            return "ignored", "no usage comes: a call counts for all that was reserved"
        return "yes", f"{usage.prompt_tokens} read, {usage.reply_tokens} written"

    async def thinking() -> tuple[str, str]:
        thinks = THINK_OPEN in first.reply.text
        return ("yes", "its thoughts become a turn's private thought") if thinks else ("unclear", "none were seen")

    looks = {
        "usage": counting, "max_tokens": length, "system role": system, "seed": seed, "temperature 0": greedy,
        "stop": stop, "logprobs": logprobs, "json_schema": schema, "streaming": streaming, "thoughts": thinking,
    }  # fmt: skip
    return [await tried(what, look) for what, look in looks.items()]


def heard(reply: Reply) -> str:
    """A reply without its thoughts; of one that was cut off while it thought nothing."""
    spoken = reply.text.rpartition(THINK_CLOSE)[2]
    return "" if THINK_OPEN in spoken else spoken.strip()


def keeps_to_schema(text: str) -> bool:
    """Whether a reply is what the schema of the probe allows, and nothing else."""
    try:
        told = json.loads(text)
    except ValueError:
        return False
    return isinstance(told, dict) and list(told) == ["tide"] and told["tide"] in _TIDES


def _cache(line: Line) -> Path:
    where = json.dumps([line.address.urls, line.served.fingerprint])
    name = hashlib.sha256(where.encode()).hexdigest()[:16]
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diotima" / "models" / f"{name}.json"


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and told.get("version") == VERSION else None


def _print(told: dict[str, Any], console: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("Asked for", "Honoured", "What was seen"):
        table.add_column(heading)
    colours = {"yes": "green", "ignored": "red", "refused": "yellow"}
    for finding in told["findings"]:
        honoured = Text(finding["honoured"], style=colours.get(finding["honoured"], ""))
        table.add_row(finding["what"], honoured, Text(finding["seen"]))
    context = f"{told['context']:,} tokens" if told["context"] else "not told"
    console.print(Text(f"{told['model']}, served as {told['served']}, context: {context}"))
    console.print(table)
