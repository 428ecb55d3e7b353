"""Where models that run elsewhere are had: the known services, and what a user says about them or about others.

A name is ``backend/MODEL`` or ``backend/MODEL@URL,URL``: the same model behind several addresses takes its requests to
the least busy one. Whatever speaks the same protocol under another address can be given a name of its own::

    endpoints:
      lab: {base_urls: [http://gpu1:8000/v1, http://gpu2:8000/v1], at_once: 128}
    tutor: lab/Qwen/Qwen2.5-7B-Instruct

A key is never a setting: a setting holds the name of the environment variable with the key.
"""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import Field, NonNegativeInt, PositiveInt

from diotima.errors import ModelError
from diotima.settings import Settings, did_you_mean


@dataclass(frozen=True, slots=True)
class Service:
    """What is known about a kind of endpoint.

    ``key``: the environment variable with the key, "" if none is needed. ``length``: how the field is called that
    limits a reply. ``seeds``: whether a request may carry a seed (Gemini refuses it). ``own``: a server of the user's,
    which costs nothing and queues instead of refusing. ``uncut``: fields that switch off what the server would cut from
    the model's distribution of its own accord (llama.cpp: top_k 40, min_p 0.05; vLLM: what the model's
    generation_config says), so that what is asked for is what is drawn, as in this process.
    """

    base_url: str
    key: str = ""
    length: str = "max_tokens"
    seeds: bool = True
    own: bool = False
    uncut: Mapping[str, float] = field(default_factory=dict)


SERVICES: Mapping[str, Service] = {
    "openai": Service("https://api.openai.com/v1", "OPENAI_API_KEY", length="max_completion_tokens"),
    "openrouter": Service("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "gemini": Service("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", seeds=False),
    "vllm": Service(
        "http://127.0.0.1:8000/v1",
        own=True,
        uncut={"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    ),
    "ollama": Service("http://127.0.0.1:11434/v1", own=True, uncut={"top_p": 1.0}),
    "llamacpp": Service("http://127.0.0.1:8080/v1", own=True, uncut={"top_p": 1.0, "top_k": 0, "min_p": 0.0}),
}


LENGTHS = ("max_tokens", "max_completion_tokens")
_OTHERS = ("hf", "scripted", "tiny")  # models in this process
PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _own_name(name: str) -> str:
    if not name or "/" in name or name in _OTHERS:
        raise ValueError(f"no endpoint can be called so; it is a word before a slash, and not {', '.join(_OTHERS)}")
    return name


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class Endpoint(Settings):
    """What a user says about a service, known or own; what is left out is as the table above has it."""

    base_urls: Annotated[tuple[str, ...], pydantic.BeforeValidator(_as_tuple)] = ()
    """Addresses that serve the same models, up to and with /v1."""
    kind: Literal["openai", "openrouter", "gemini", "vllm", "ollama", "llamacpp"] | None = None
    """The known service that one of your own is like, vllm for one; decides which fields are sent and what is asked."""
    key: str | None = None
    """The name of the environment variable that holds the key, never the key."""
    at_once: PositiveInt = 64
    """The most requests on their way to one address."""
    timeout: PositiveNumber = 600.0
    """Seconds for one request, the time in the server's own queue included."""
    extra: dict[str, Any] = {}
    """Fields laid over every request, such as top_k or reasoning; null takes a field away."""
    price: dict[str, str | float] | None = None
    """Dollars per million tokens: prompt, reply and, where they cost less, cached; for services of unknown price."""

    @pydantic.field_validator("extra")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for name in ("messages", "model", "stream", "n"):
            if name in extra:
                raise ValueError(f"{name} cannot be laid over requests")
        lengths = [extra[name] for name in LENGTHS if name in extra]
        if lengths and not any(type(length) is int and length > 0 for length in lengths):
            raise ValueError(f"a request has to limit its reply: one of {' and '.join(LENGTHS)} must be a number")
        try:
            told: dict[str, Any] = json.loads(json.dumps(extra, allow_nan=False))
        except (TypeError, ValueError):
            raise ValueError("what is laid over requests has to be JSON: text, numbers, lists, mappings") from None
        return told


class EndpointSettings(Settings):
    """What every stage has to know about models elsewhere. Only ``extra`` and ``kind`` decide what comes out."""

    endpoints: dict[Annotated[str, pydantic.AfterValidator(_own_name)], Endpoint] = {}
    """More about services (openai, openrouter, gemini, vllm, ollama, llamacpp) or own ones: base_urls, key, at_once."""
    max_cost: PositiveNumber | None = None
    """The most that calls to endpoints may cost, in dollars; reserved before a call is sent."""
    max_tokens: PositiveInt | None = None
    """The most tokens, read and written, that calls to endpoints may take."""
    max_calls: NonNegativeInt | None = None
    """The most calls to endpoints."""
    prices: Path | None = None
    """A file of own prices that go over the package's table."""


BESIDE = frozenset(EndpointSettings.model_fields)
"""Settings that say how calls are made, not what comes out: they are no part of what a run is."""


@dataclass(frozen=True, slots=True)
class Address:
    """A model elsewhere: ``backend/model`` at these addresses, and all that is known about how to ask there."""

    backend: str
    model: str
    urls: tuple[str, ...]
    service: Service
    endpoint: Endpoint

    @property
    def name(self) -> str:
        """What it is called, wherever it is served."""
        return f"{self.backend}/{self.model}"

    @property
    def kind(self) -> str:
        """The known service that this is, or is like."""
        return self.endpoint.kind or self.backend


def is_elsewhere(name: str, endpoints: Mapping[str, Endpoint]) -> bool:
    """Whether a model of that name is asked over the network."""
    backend, slash, _ = name.partition("/")
    return bool(slash) and (backend in SERVICES or backend in endpoints)


def without_urls(name: str, endpoints: Mapping[str, Endpoint]) -> str:
    """What a model is called wherever it is served; another name is left as it is."""
    return name.partition("@http")[0] if is_elsewhere(name, endpoints) else name


def address_of(name: str, endpoints: Mapping[str, Endpoint]) -> Address:
    """The address behind a name for which `is_elsewhere` holds. Raises ModelError if nobody can be asked there."""
    backend, _, rest = name.partition("/")
    model, at, after = rest.partition("@http")
    endpoint = endpoints.get(backend, Endpoint())
    service = SERVICES.get(backend)
    if not model:
        raise ModelError(f"{backend}/: which model? A name is {backend}/MODEL, or {backend}/MODEL@URL")
    urls = tuple(f"http{after}".split(",")) if at else endpoint.base_urls
    try:
        given = tuple(dict.fromkeys(map(clean_url, urls)))
    except ValueError as error:
        raise ModelError(f"{backend}/{model}: {error}") from None
    if service is None:
        if not given:
            raise ModelError(
                f"endpoints.{backend} has no base_urls, and is no known service; {did_you_mean(backend, SERVICES)}"
            )
        own = all(map(_at_home, given))
        like = SERVICES.get(endpoint.kind or "", Service(""))
        service = replace(like, base_url=given[0], key="", own=own or like.own)
    elif given and service.key and given != (service.base_url,):
        # The key of a service is not shown to another address unless the user says so.
        service = replace(service, base_url=given[0], key="", own=all(map(_at_home, given)))
    if endpoint.key is not None:
        service = replace(service, key=endpoint.key)
    return Address(backend, model, given or (service.base_url,), service, endpoint)


def clean_url(url: str) -> str:
    """An address without its last slash. Raises ValueError if it is none, or holds a password."""
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets, or a port that is none
        parts, complete = urlsplit(""), None
    if "@" in url or parts.query or parts.fragment:
        raise ValueError("an address must not hold a name, a password or a query; a key is named by `key`")
    if not complete:
        raise ValueError(f"{url!r} is not an address such as http://127.0.0.1:8000/v1")
    return url.rstrip("/")


def _at_home(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
