import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers.scripted import Fault, Script, Service, serving

from diotima.errors import ModelError
from diotima.models.calls import Calls
from diotima.models.folders import TINY
from diotima.models.served import Served, ask_what_is_served
from diotima.models.services import Endpoint, EndpointSettings, address_of
from diotima.models.transport import Server

Change = Callable[[Service], None]


def served(name: str, script: Script, key: str = "", change: Change = lambda service: None, **endpoint: Any) -> Served:
    async def play() -> Served:
        async with serving(script) as service:
            change(service)
            address = address_of(f"{name}@{service.url}", {name.partition("/")[0]: Endpoint(key=key, **endpoint)})
            return await ask_what_is_served(address, Server(service.url, key, 5))

    return asyncio.run(play())


def of_kind(kind: str, **script: Any) -> Script:
    return Script(kind=kind, **{"models": ("m",), **script})


def tells(path: str, **fields: Any) -> Change:
    """A server that says something else on one of its pages."""

    def change(service: Service) -> None:
        service._probes[path] = fields

    return change


def lists(**fields: Any) -> Change:
    return tells("/v1/models", data=[{"id": "m", **fields}])


KINDS = ("vllm", "llamacpp", "ollama")


@pytest.mark.parametrize("kind", KINDS)
def test_other_weights_are_another_model(kind: str) -> None:
    one, same, other = (served(f"{kind}/m", of_kind(kind, weights=weights)) for weights in "112")
    assert one == same  # from another port
    assert len(one.fingerprint) == 12
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("kind", ["vllm", "llamacpp", "openrouter"])
def test_how_much_it_can_read_is_told_and_decides_nothing(kind: str) -> None:
    small, large = (served(f"{kind}/m", of_kind(kind, context=context)) for context in (2048, 8192))
    assert (small.context, large.context) == (2048, 8192)
    assert small.fingerprint == large.fingerprint


@pytest.mark.parametrize("kind", ["openai", "gemini"])
def test_a_service_of_others_is_taken_at_its_word(kind: str) -> None:
    one, other = (served(f"{kind}/m", of_kind(kind, weights=weights)) for weights in "12")
    assert one.fingerprint == other.fingerprint != served(f"{kind}/n", of_kind(kind, models=("n",))).fingerprint
    assert one.context is None


def test_when_it_was_started_and_its_version_decide_nothing() -> None:
    script = of_kind("vllm")
    root = "/models/weights-1"
    prints = {served("vllm/m", script, change=lists(root=root, created=created)).fingerprint for created in (1, 2)} | {
        served("vllm/m", script, change=tells("/version", version="9")).fingerprint
    }
    assert prints == {served("vllm/m", script).fingerprint}


def test_an_adapter_is_another_model() -> None:
    script = of_kind("vllm")
    adapted = served("vllm/m", script, change=lists(root="/models/weights-1", parent="base"))
    assert adapted.fingerprint != served("vllm/m", script).fingerprint


def test_weights_on_this_machine_are_looked_at(tmp_path: Path) -> None:
    folder, file = shutil.copytree(TINY, tmp_path / "model"), tmp_path / "model.gguf"
    file.write_bytes(b"GGUF one")

    def prints() -> list[str]:
        props = tells("/props", model_path=str(file), default_generation_settings={"n_ctx": 9})
        return [
            served("vllm/m", of_kind("vllm"), change=lists(root=str(folder))).fingerprint,
            served("llamacpp/m", of_kind("llamacpp"), change=props).fingerprint,
        ]

    before = prints()
    assert prints() == before
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    file.write_bytes(b"GGUF two")
    after = prints()
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_folder_that_only_happens_to_be_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "model").mkdir(parents=True)
    there = served("vllm/m", of_kind("vllm"), change=lists(root="org/model"))
    monkeypatch.chdir(tmp_path)
    assert served("vllm/m", of_kind("vllm"), change=lists(root="org/model")) == there


def test_a_file_that_may_not_be_read_is_told_apart_by_what_the_server_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr("diotima.models.served.file_fingerprint", refuse)
    told = served("llamacpp/m", of_kind("llamacpp"), change=tells("/props", model_path=str(file)))
    assert told.facts["model_path"] == "m.gguf"
    assert "weights" not in told.facts


@pytest.mark.parametrize(
    ("name", "kind", "models"),
    [
        ("ollama/qwen2.5:7b", "ollama", ("qwen2.5:7b", "other")),
        ("ollama/llama3", "ollama", ("llama3:latest", "other")),
        ("gemini/gemini-flash", "gemini", ("gemini-flash", "other")),
        ("openrouter/org/m:free", "openrouter", ("org/m:free", "org/m")),
        ("openrouter/org/m:nitro", "openrouter", ("org/m",)),
        ("llamacpp/any", "llamacpp", ("file.gguf",)),
    ],
)
def test_the_names_by_which_a_model_goes(name: str, kind: str, models: tuple[str, ...]) -> None:
    told = served(name, of_kind(kind, models=models))
    assert ("digest" in told.facts) is (kind == "ollama")
    assert bool(told.pricing) is (kind == "openrouter")


@pytest.mark.parametrize(
    ("name", "kind", "models", "sentence"),
    [
        ("vllm/m", "vllm", ("n", "o"), "vllm/m is not served at http://127.*/v1; served there: n, o$"),
        ("ollama/qwen2.5:7b", "ollama", ("a", "b", "c", "d", "e", "f", "qwen2.5:14b"), "served there: qwen2.5:14b$"),
        ("openrouter/org/m", "openrouter", ("other/n",), "served there: other/n$"),
        ("llamacpp/m", "llamacpp", ("a", "b"), "served there: a, b$"),
    ],
)
def test_a_model_that_is_not_served(name: str, kind: str, models: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        served(name, of_kind(kind, models=models))


def test_a_server_that_serves_nothing_yet() -> None:
    with pytest.raises(ModelError, match=r"served there: nothing$"):
        served("ollama/m", of_kind("ollama"), change=tells("/v1/models", object="list", data=None))


# What a server tells by half would be another fingerprint, and all that was paid for would be paid for again.
@pytest.mark.parametrize("kind", ["503", "500", "reset", "truncated", "html", "empty"])
@pytest.mark.parametrize("backend", KINDS)
@pytest.mark.parametrize("page", [1, 2])
def test_a_server_that_cannot_tell_is_not_guessed_at(backend: str, kind: str, page: int) -> None:
    fault = Fault(kind, probes=True, after=page - 1)
    with pytest.raises(ModelError, match=r"does not tell what is served|nobody answers|is not served at"):
        served(f"{backend}/m", of_kind(backend, faults=(fault,)))


@pytest.mark.parametrize("backend", KINDS)
def test_a_gateway_that_only_passes_chats_on_hides_the_rest(backend: str) -> None:
    hidden = served(f"{backend}/m", of_kind(backend, faults=(Fault("404", probes=True, after=1),)))
    assert hidden == served(f"{backend}/m", of_kind(backend, faults=(Fault("403", probes=True, after=1),)))


def test_an_address_without_its_path() -> None:
    async def play() -> Served:
        async with serving(of_kind("vllm")) as service:
            url = service.url.replace("/v1", "/v2")
            return await ask_what_is_served(address_of(f"vllm/m@{url}", {}), Server(url, "", 5))

    with pytest.raises(ModelError, match=r"/v2/models does not tell .*404: .*does its address end with /v1\?$"):
        asyncio.run(play())


def test_a_server_of_ones_own_that_shows_nothing_goes_by_its_name() -> None:
    silent = Script(kind="openai", faults=(Fault("404", probes=True),))
    one, other = served("lab/m", silent), served("lab/n", silent)
    assert one.facts == {}
    assert one.fingerprint != other.fingerprint


def test_nobody_there() -> None:
    with pytest.raises(
        ModelError,
        match=r"^vllm/m: nobody answers at http://127.0.0.1:9/v1 \(Connection refused\); start it, or say where it is: "
        r"vllm/m@http://HOST:PORT/v1$",
    ):
        asyncio.run(
            ask_what_is_served(address_of("vllm/m@http://127.0.0.1:9/v1", {}), Server("http://127.0.0.1:9/v1", "", 5))
        )


def test_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", "sk-canary-0123456789")
    script = Script(kind="vllm", models=("m",), faults=(Fault("401", probes=True),))
    with pytest.raises(ModelError, match=r"answered 401 .*; is LAB_KEY right") as told:
        served("vllm/m", script, key="LAB_KEY")
    assert "canary" not in str(told.value)


@pytest.mark.parametrize(
    "odd",
    [
        {"data": 5},
        {"data": [5, None, {"id": None}, {"id": "m", "root": 5, "parent": [], "max_model_len": True, "meta": []}]},
        {"data": [{"id": "m", "root": "\0" * 10, "max_model_len": "much", "context_length": 10**30}]},
        {"data": [{"id": "m", "root": "x" * 10_000, "meta": {"n_params": None}}]},
    ],
)
def test_odd_lists_are_read_as_far_as_they_can_be(odd: dict[str, Any]) -> None:
    assert len(served("lab/m", of_kind("openai"), change=tells("/v1/models", **odd)).fingerprint) == 12


@pytest.mark.parametrize(
    "odd", [{"models": 5}, {"models": [5, {"name": []}, {"name": "m", "digest": None}]}, {"models": None}]
)
def test_odd_tags_too(odd: dict[str, Any]) -> None:
    assert "digest" not in served("ollama/m", of_kind("ollama"), change=tells("/api/tags", **odd)).facts


def open_both(*scripts: Script) -> Any:
    async def play() -> Any:
        async with serving(scripts[0]) as one, serving(scripts[1]) as other:
            calls = Calls(EndpointSettings(), tell=lambda sentence: None)
            return await asyncio.to_thread(calls.line, f"vllm/m@{one.url},{other.url}")

    return asyncio.run(play())


def test_several_addresses_have_to_serve_the_same() -> None:
    line = open_both(of_kind("vllm", context=100), of_kind("vllm", context=200))
    assert len(line.servers) == 2
    with pytest.raises(ModelError, match=r"do not serve the same \(.*weights-1.*weights-2.*\); name them as two"):
        open_both(of_kind("vllm"), of_kind("vllm", weights="2"))
