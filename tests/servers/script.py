"""How a scripted server behaves: one frozen value, which a process gets as one line of JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from servers.faults import Fault
from servers.voices import VOICES

# Where each kind of server has its chats.
PREFIXES = {
    "openai": "/v1",
    "vllm": "/v1",
    "llamacpp": "/v1",
    "ollama": "/v1",
    "openrouter": "/api/v1",
    "gemini": "/v1beta/openai",
}


@dataclass(frozen=True, slots=True)
class Script:
    """A server's behaviour."""

    kind: str = "openai"  # whose questions about models it answers: a key of PREFIXES
    voice: str = "hash"  # a key of VOICES
    words: int = 0  # length of a hashed reply in words; 0: 6 to 25
    models: tuple[str, ...] = ()  # served names, others get a 404; none: any name is served
    weights: str = "1"  # what the fingerprints of the served model are made of
    context: int = 4096  # in words; prompt and limit together above it get a 400
    prices: tuple[float, float] = (1e-6, 2e-6)  # dollars per word read and written, of the kind openrouter
    median: float = 0.0  # seconds of latency, lognormal, keyed by the request's seed
    sigma: float = 0.0
    slots: int = 0  # requests at work at once, others queue first come first served; 0: no limit
    reasoning: str = ""  # reasoning_content, reasoning (both a field of the message) or tags
    cached: bool = False  # usage tells that all but the last message came from a cache
    key: str = ""  # if set, another Authorization than this bearer gets a 401
    ignore: tuple[str, ...] = ()  # what it silently ignores: fields of a request, or system
    refuse: tuple[str, ...] = ()  # what it answers with a 400: fields of a request, system, json_schema, ...
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in PREFIXES:
            raise ValueError(f"There is no kind of server {self.kind!r}; there are {', '.join(PREFIXES)}.")
        if self.voice not in VOICES:
            raise ValueError(f"There is no voice {self.voice!r}; there are {', '.join(VOICES)}.")
        if self.reasoning not in ("", "reasoning_content", "reasoning", "tags"):
            raise ValueError(f"reasoning: {self.reasoning!r} is not reasoning_content, reasoning or tags.")

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Script":
        """From JSON's lists and objects. Raises TypeError for an unknown name, ValueError for an unknown value."""
        fields: dict[str, Any] = {key: tuple(it) if isinstance(it, list) else it for key, it in values.items()}
        return cls(**fields | {"faults": tuple(Fault(**fault) for fault in values.get("faults", ()))})
