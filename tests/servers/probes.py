"""What the kinds of servers answer about the models they serve."""

import hashlib
from typing import Any

from servers.script import PREFIXES, Script


def fingerprint(script: Script) -> str:
    """Hexadecimal; changes with the weights that are served."""
    return hashlib.sha256(f"weights {script.weights}".encode()).hexdigest()


def probe_answers(script: Script) -> dict[str, dict[str, Any]]:
    """The answer to each GET that this kind of server knows, by path."""
    names = script.models or ("scripted",)
    prefix = PREFIXES[script.kind]
    cards = [_card(script, name) for name in names]
    answers = {f"{prefix}/models": {"object": "list", "data": cards}}
    answers |= {f"{prefix}/models/{name}": card for name, card in zip(names, cards, strict=True)}
    match script.kind:
        case "vllm":
            return answers | {"/health": {}, "/version": {"version": f"0.32.{script.weights}"}}
        case "llamacpp":
            model = f"/models/weights-{script.weights}.gguf"
            settings = {"n_ctx": script.context}
            props = {"model_path": model, "total_slots": script.slots or 4, "default_generation_settings": settings}
            return answers | {"/health": {"status": "ok"}, "/props": props | {"build_info": "b1-scripted"}}
        case "ollama":
            tags = [{"name": name, "model": name, "digest": fingerprint(script), "size": 1} for name in names]
            return answers | {"/api/tags": {"models": tags}, "/api/version": {"version": "0.20.0"}}
        case _:
            return answers


def _card(script: Script, name: str) -> dict[str, Any]:
    card: dict[str, Any] = {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": script.kind}
    match script.kind:
        case "vllm":
            return card | {"root": f"/models/weights-{script.weights}", "parent": None, "max_model_len": script.context}
        case "llamacpp":
            return card | {"meta": {"n_ctx_train": script.context, "n_params": 1000, "size": 4000}}
        case "gemini":
            return card | {"id": f"models/{name}"}
        case "openrouter":
            reading, writing = (f"{price:.12f}".rstrip("0") for price in script.prices)
            fields = {"seed", "stop", "logprobs", "response_format", "max_tokens"} - {*script.ignore, *script.refuse}
            return card | {
                "context_length": script.context,
                "pricing": {"prompt": reading, "completion": writing, "request": "0", "input_cache_read": reading},
                "supported_parameters": sorted(fields),
                "top_provider": {"context_length": script.context, "max_completion_tokens": script.context},
            }
        case _:
            return card
