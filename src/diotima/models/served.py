"""What a server says about itself: which model it serves under a name, how much it can read, what it costs.

A name is not a model. The same name on the same port may stand for another checkpoint tomorrow, and an answer of the
one must not be taken for the other's. So all that a server tells about the weights goes into a fingerprint: Ollama
tells a digest; llama.cpp the file, its size and its parameters; vLLM the folder. Where that folder or file lies on
this machine too, its content goes in. A service of others (OpenAI, OpenRouter, Gemini) is taken at its word: the name.

A server of one's own that shows nothing but a name is told apart by that name alone: give a new checkpoint a new name
(``--served-model-name`` in vLLM), or lessons of the old one may be taken for its.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diotima.errors import ModelError
from diotima.models.retrying import what_it_said
from diotima.models.services import Address
from diotima.models.transport import Sent, Server
from diotima.models.weights import file_fingerprint, weights_fingerprint


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
        start = ", or start it" if address.service.own else ""
        raise ModelError(
            f"{address.name}: nobody answers at {server.url} ({listed.reason}); check the address{start}: "
            f"--tutor {address.name}@http://HOST:PORT/v1"
        )
    if listed.status in (401, 403):
        raise ModelError(
            f"{address.name}: {server.url} answered {listed.status} ({_words(listed)}); "
            f"is {address.service.key or 'the key'} right? `key` in endpoints names the variable that holds it"
        )
    models = _list(listed)
    entry = models.get(address.model)
    loads_any = address.backend == "llamacpp" and len(models) == 1  # it answers to every name
    if entry is None and loads_any:
        entry = next(iter(models.values()))
    if entry is None and models and (address.service.own or address.backend == "openrouter"):
        near = ", ".join(sorted(models)[:5])
        raise ModelError(f"{address.name} is not served at {server.url}; served there: {near}")
    facts = _facts(entry or {})
    if address.service.own or address.backend in ("vllm", "ollama", "llamacpp"):
        facts |= await _more_facts(address, server)
    context = next((int(facts[name]) for name in ("context", "max_model_len") if facts.get(name, "").isdigit()), None)
    # How much it can read decides nothing about what it says.
    told = {name: value for name, value in facts.items() if name not in ("context", "max_model_len", "version")}
    identity = json.dumps([address.backend, address.model, told], sort_keys=True)
    pricing = entry.get("pricing") if entry else None
    return Served(hashlib.sha256(identity.encode()).hexdigest()[:12], context, facts, pricing)


def _facts(entry: Mapping[str, Any]) -> dict[str, str]:
    """What the list of models says about one."""
    facts = {name: str(entry[name]) for name in ("root", "parent", "max_model_len") if entry.get(name)}
    meta = entry.get("meta")
    if isinstance(meta, dict):  # llama.cpp
        facts |= {name: str(meta[name]) for name in ("n_params", "size", "n_vocab", "n_embd") if name in meta}
    for name in ("context_length", "context_window"):
        if isinstance(entry.get(name), int):
            facts["context"] = str(entry[name])
    root = entry.get("root")
    if isinstance(root, str) and Path(root).is_dir():
        facts["weights"] = weights_fingerprint(Path(root))
    return facts


async def _more_facts(address: Address, server: Server) -> dict[str, str]:
    """What the three kinds of own servers tell elsewhere; a server of another kind has none of these pages."""
    root = server.url.removesuffix("/v1")
    pages = {"llamacpp": ("/props",), "ollama": ("/api/tags",), "vllm": ("/version",)}
    wanted = pages.get(address.backend, ("/props", "/version"))
    facts: dict[str, str] = {}
    for page, sent in zip(wanted, await asyncio.gather(*(server.get(root + page) for page in wanted)), strict=True):
        told = _object(sent)
        if page == "/props" and isinstance(path := told.get("model_path"), str):
            facts["model_path"] = Path(path).name
            if Path(path).is_file():
                facts["weights"] = file_fingerprint(Path(path))
            settings = told.get("default_generation_settings")
            if isinstance(settings, dict) and isinstance(settings.get("n_ctx"), int):
                facts["context"] = str(settings["n_ctx"])
        elif page == "/api/tags":
            wanted_names = (address.model, f"{address.model}:latest")
            for model in told.get("models") or ():
                if isinstance(model, dict) and model.get("name") in wanted_names and model.get("digest"):
                    facts["digest"] = str(model["digest"])
        elif page == "/version" and told.get("version"):
            facts["version"] = str(told["version"])
    return facts


def _list(sent: Sent) -> dict[str, dict[str, Any]]:
    """The entries of a list of models by name; empty where a service has no such list."""
    entries = _object(sent).get("data")
    named = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {str(entry.get("id", "")).removeprefix("models/"): entry for entry in named}


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
