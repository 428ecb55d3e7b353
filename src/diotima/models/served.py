"""What a server says about itself: which model it serves under a name, how much it can read, what it costs.

A name is not a model. The same name on the same port may stand for another checkpoint tomorrow, and an answer of the
one must not be taken for the other's. So all that a server tells about the weights goes into a fingerprint: Ollama
tells a digest; llama.cpp the file, its size and its parameters; vLLM the folder. Where that folder or file lies on
this machine too, its content goes in. A service of others (OpenAI, OpenRouter, Gemini) is taken at its word: the name.

A server of one's own that shows nothing but a name is told apart by that name alone: give a new checkpoint a new name
(``--served-model-name`` in vLLM), or lessons of the old one may be taken for its. A server that cannot tell just now,
because it is still loading, is not asked for replies: half of what it tells would be another fingerprint.
"""

import asyncio
import difflib
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diotima.errors import ModelError
from diotima.models.retrying import what_it_said
from diotima.models.services import Address
from diotima.models.transport import Sent, Server
from diotima.models.weights import file_fingerprint, weights_fingerprint

# Where the known kinds of own servers tell more than in their list of models.
_PAGES = {"llamacpp": ("/props",), "ollama": ("/api/tags",), "vllm": ("/version",)}


@dataclass(frozen=True, slots=True)
class Served:
    """``fingerprint``: twelve digits that tell what is served. ``context``: tokens it can read and write, if told.

    ``facts``: what it said, by name. ``pricing``: OpenRouter's own words on what the model costs.
    """

    fingerprint: str
    context: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    pricing: Mapping[str, Any] | None = None


async def ask_what_is_served(address: Address, server: Server) -> Served:
    """Ask one address. Raises ModelError if nobody answers there, or the model is not served."""
    listed = await server.get("/models")
    if listed.status is None:
        remedy = (
            f"start it, or say where it is: {address.name}@http://HOST:PORT/v1" if address.service.own else "try again"
        )
        raise ModelError(f"{address.name}: nobody answers at {server.url} ({listed.reason}); {remedy}")
    if listed.status in (401, 403):
        raise ModelError(
            f"{address.name}: {server.url} answered {listed.status} ({_words(listed)}); "
            f"is {address.service.key or 'the key'} right? `key` in endpoints names the variable that holds it"
        )
    has_no_list = listed.status in (404, 405) and address.kind not in _PAGES
    if listed.status != 200 and not has_no_list:
        raise _cannot_tell(address, f"{server.url}/models", listed)
    models = _list(listed)
    entry = next((models[name] for name in _names(address) if name in models), None)
    loads_any = address.kind == "llamacpp" and len(models) == 1  # it answers to every name
    if entry is None and loads_any:
        entry = next(iter(models.values()))
    tells_all = address.kind in _PAGES or (models and (address.service.own or address.kind == "openrouter"))
    if entry is None and tells_all:
        near = difflib.get_close_matches(address.model, models, 5, 0.4) or sorted(models)[:5] or ["nothing"]
        raise ModelError(f"{address.name} is not served at {server.url}; served there: {', '.join(near)}")
    facts = _facts(entry or {})
    if address.service.own:
        facts |= await _more_facts(address, server)
    context = int(facts["context"]) if "context" in facts else None
    # How much it can read decides nothing about what it says.
    told = {name: value for name, value in facts.items() if name not in ("context", "version")}
    identity = json.dumps([address.backend, address.model, told], sort_keys=True)
    pricing = entry.get("pricing") if entry else None
    return Served(hashlib.sha256(identity.encode()).hexdigest()[:12], context, facts, pricing)


def _names(address: Address) -> tuple[str, ...]:
    """The names under which the model may stand in a list."""
    if address.kind == "ollama":
        return (address.model, f"{address.model}:latest")
    if address.kind == "openrouter":  # a model's variants, such as :nitro, are not listed
        return (address.model, address.model.rpartition(":")[0])
    return (address.model,)


def _cannot_tell(address: Address, page: str, sent: Sent) -> ModelError:
    said = sent.reason if sent.status is None else f"{sent.status}: {_words(sent)}"
    remedy = "has it started, and does its address end with /v1?" if address.kind in _PAGES else "try again"
    return ModelError(f"{address.name}: {page} does not tell what is served ({said}); {remedy}")


def _facts(entry: Mapping[str, Any]) -> dict[str, str]:
    """What the list of models says about one."""
    facts = {name: str(entry[name]) for name in ("root", "parent") if entry.get(name)}
    meta = entry.get("meta")
    if isinstance(meta, dict):  # llama.cpp
        facts |= {name: str(meta[name]) for name in ("n_params", "size", "n_vocab", "n_embd") if name in meta}
    for name in ("max_model_len", "context_length", "context_window"):
        if type(entry.get(name)) is int:
            facts["context"] = str(entry[name])
    return facts | _weights(entry.get("root"))


def _weights(place: object) -> dict[str, str]:
    """The fingerprint of a folder or file that lies on this machine too, and can be read."""
    with suppress(OSError, ModelError):
        path = Path(place) if isinstance(place, str) else Path()
        if path.is_file():
            return {"weights": file_fingerprint(path)}
        if path.name and path.is_dir():
            return {"weights": weights_fingerprint(path)}
    return {}


async def _more_facts(address: Address, server: Server) -> dict[str, str]:
    """What the three kinds of own servers tell elsewhere; a server of another kind has none of these pages."""
    root = server.url.removesuffix("/v1")
    wanted = _PAGES.get(address.kind, ("/props", "/version"))
    facts: dict[str, str] = {}
    for page, sent in zip(wanted, await asyncio.gather(*(server.get(root + page) for page in wanted)), strict=True):
        told = _object(sent)
        fails = sent.status is None or sent.status >= 500 or (sent.status == 200 and not told)
        if fails and address.kind in _PAGES:
            raise _cannot_tell(address, root + page, sent)
        if page == "/props" and isinstance(path := told.get("model_path"), str):
            facts |= {"model_path": Path(path).name, **_weights(path)}
            settings = told.get("default_generation_settings")
            if isinstance(settings, dict) and type(settings.get("n_ctx")) is int:
                facts["context"] = str(settings["n_ctx"])
        elif page == "/api/tags":
            digests = {str(model.get("name")): model.get("digest") for model in _entries(told, "models")}
            if digest := next((digests[name] for name in _names(address) if digests.get(name)), None):
                facts["digest"] = str(digest)
        elif page == "/version" and told.get("version"):
            facts["version"] = str(told["version"])
    return facts


def _list(sent: Sent) -> dict[str, dict[str, Any]]:
    """The entries of a list of models by name; empty where a service has no such list."""
    entries = _entries(_object(sent), "data")
    return {str(entry["id"]).removeprefix("models/"): entry for entry in entries if entry.get("id")}


def _entries(told: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = told.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _object(sent: Sent) -> dict[str, Any]:
    if sent.status != 200:
        return {}
    try:
        told = json.loads(sent.body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _words(sent: Sent) -> str:
    return what_it_said(sent.status, sent.body[:4000].decode(errors="replace"))
