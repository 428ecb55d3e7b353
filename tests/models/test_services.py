from pathlib import Path

import pytest

from diotima.errors import ModelError, SettingsError
from diotima.flags import parse_flags
from diotima.models.services import (
    SERVICES,
    Endpoint,
    EndpointSettings,
    address_of,
    is_elsewhere,
    without_urls,
)
from diotima.settings import load_settings

LAB = {"lab": Endpoint(base_urls=("http://gpu1:8000/v1", "http://gpu2:8000/v1"))}


def from_flags(*words: str) -> EndpointSettings:
    flags = parse_flags("teach", "", EndpointSettings, "", set(), words)
    assert flags
    return load_settings(EndpointSettings, flags.recipe, flags.values)


def from_yaml(text: str) -> EndpointSettings:
    return from_flags("--endpoints", text)


def key_of(name: str, **endpoints: Endpoint) -> str:
    return address_of(name, endpoints).service.key


@pytest.mark.parametrize(
    ("name", "model", "urls"),
    [
        ("vllm/Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", ["http://127.0.0.1:8000/v1"]),
        ("vllm/m@http://gpu1:8000/v1", "m", ["http://gpu1:8000/v1"]),
        ("vllm/m@http://a/v1,https://b/v1", "m", ["http://a/v1", "https://b/v1"]),
        ("vllm/m@http://a/v1/,http://a/v1", "m", ["http://a/v1"]),
        ("vllm/m@http://[::1]:8000/v1", "m", ["http://[::1]:8000/v1"]),
        ("vllm//weights/step@100", "/weights/step@100", ["http://127.0.0.1:8000/v1"]),
        ("vllm/org/model@revision@http://a/v1", "org/model@revision", ["http://a/v1"]),
        ("ollama/qwen2.5:7b", "qwen2.5:7b", ["http://127.0.0.1:11434/v1"]),
        ("ollama/hf.co/org/model:Q4_K_M@http://box:11434/v1", "hf.co/org/model:Q4_K_M", ["http://box:11434/v1"]),
        ("openrouter/meta-llama/llama-3:free", "meta-llama/llama-3:free", ["https://openrouter.ai/api/v1"]),
        ("openai/ft:gpt:org::1", "ft:gpt:org::1", ["https://api.openai.com/v1"]),
        ("lab/m", "m", ["http://gpu1:8000/v1", "http://gpu2:8000/v1"]),
        ("lab/m@http://other/v1", "m", ["http://other/v1"]),
    ],
)
def test_a_name_is_backend_model_and_addresses(name: str, model: str, urls: list[str]) -> None:
    assert is_elsewhere(name, LAB)
    address = address_of(name, LAB)
    assert (address.model, list(address.urls)) == (model, urls)
    backend = name.partition("/")[0]
    assert address.name == without_urls(name, LAB) == f"{backend}/{model}"


@pytest.mark.parametrize(
    "name", ["tiny", "vllm", "lab", "hf/org/model", "scripted/guide", "./vllm/model", "my.tutors:a", ""]
)
def test_what_is_not_elsewhere(name: str) -> None:
    assert not is_elsewhere(name, LAB)
    assert without_urls(f"{name}@http://a/v1", LAB) == f"{name}@http://a/v1"


def test_a_folder_of_that_name_does_not_stand_in_for_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm" / "m").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert is_elsewhere("vllm/m", {})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vllm/", "^vllm/: which model"),
        ("vllm/@http://name:secret@h/v1", "^vllm/: which model"),
        ("vllm/m@http://a/v1,", "vllm/m: '' is not an address such as"),
        ("vllm/m@http://a/v1,gpu2:8000", "'gpu2:8000' is not an address"),
        ("vllm/m@http:///v1", "is not an address"),
        ("vllm/m@http://a:port/v1", "is not an address"),
        ("vllm/m@http://a:99999/v1", "is not an address"),
        ("vllm/m@http://[::1/v1", "is not an address"),
        ("vllm/m@http://name:secret@h/v1", "must not hold a name, a password or a query; a key is named by `key`"),
        ("vllm/m@http://name:sec/ret@h/v1", "must not hold a name, a password"),
        ("vllm/m@http://h/v1?api-key=secret", "must not hold a name, a password or a query"),
        ("vllm/m@http://h/v1#secret", "must not hold a name, a password or a query"),
        ("vlm/m", "endpoints.vlm has no base_urls, and is no known service; did you mean vllm"),
        ("bad/m", r"bad/m: an address must not hold a name"),
    ],
)
def test_names_that_cannot_be_asked(name: str, sentence: str) -> None:
    endpoints = {"vlm": Endpoint(), "bad": Endpoint(base_urls=("http://name:secret@h/v1",))}
    with pytest.raises(ModelError, match=sentence) as told:
        address_of(name, endpoints)
    assert "secret" not in str(told.value)
    assert "ret@" not in str(told.value)


def test_a_services_key_is_shown_to_nobody_else_unless_the_user_says_so() -> None:
    assert key_of("openai/m") == "OPENAI_API_KEY"
    assert key_of("openai/m@https://api.openai.com/v1/") == "OPENAI_API_KEY"
    for stranger in ("https://api.openai.com.evil/v1", "http://api.openai.com/v1", "https://api.openai.com/v2"):
        assert key_of(f"openai/m@{stranger}") == ""
        assert key_of(f"openai/m@https://api.openai.com/v1,{stranger}") == ""
        assert key_of("openai/m", openai=Endpoint(base_urls=(stranger,))) == ""
        assert key_of("openai/m", openai=Endpoint(base_urls=(stranger,), key="OPENAI_API_KEY")) == "OPENAI_API_KEY"
    assert key_of("lab/m", **LAB) == ""
    assert key_of("vllm/m", vllm=Endpoint(key="VLLM_KEY")) == "VLLM_KEY"
    assert key_of("openai/m", openai=Endpoint(key="")) == ""


def test_a_service_keeps_its_ways_at_another_address() -> None:
    service = address_of("openai/m@http://proxy/v1", {}).service
    assert (service.length, service.seeds, service.own) == ("max_completion_tokens", True, False)
    assert not address_of("gemini/m@http://proxy/v1", {}).service.seeds


@pytest.mark.parametrize(
    ("urls", "own"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.2/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://127.evil.com/v1", False),
        ("http://gpu1:8000/v1", False),
        ("http://127.0.0.1/v1,https://paid.example/v1", False),
    ],
)
def test_only_a_server_on_this_machine_is_taken_for_ones_own(urls: str, own: bool) -> None:
    assert address_of(f"lab/m@{urls}", LAB).service.own is own
    assert address_of(f"vllm/m@{urls}", {}).service.own


def test_endpoints_as_flags_and_in_a_recipe(tmp_path: Path) -> None:
    lab = "{lab: {base_urls: [http://a/v1, http://b/v1], at_once: 8, key: LAB_KEY, extra: {top_k: 20, seed: null}}}"
    settings = from_flags("--endpoints", lab, "--max-cost", "2.5", "--max-calls", "0")
    endpoint = settings.endpoints["lab"]
    assert (endpoint.base_urls, endpoint.at_once, endpoint.key) == (("http://a/v1", "http://b/v1"), 8, "LAB_KEY")
    assert (endpoint.extra, settings.max_cost, settings.max_calls) == ({"top_k": 20, "seed": None}, 2.5, 0)
    recipe = tmp_path / "teach.yaml"
    recipe.write_text(f"endpoints: {lab}\nmax_cost: 2.5\nmax_calls: 0\n")
    assert from_flags("--recipe", str(recipe)) == settings


def test_one_address_needs_no_list() -> None:
    assert from_yaml("{lab: {base_urls: http://a/v1}}").endpoints["lab"].base_urls == ("http://a/v1",)


def test_what_is_laid_over_requests_is_json_from_the_beginning() -> None:
    assert from_yaml("{lab: {extra: {logit_bias: {50256: -100}}}}").endpoints["lab"].extra == {
        "logit_bias": {"50256": -100}
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{lab: {extra: {messages: []}}}", "messages cannot be laid over requests"),
        ("{lab: {extra: {stream: true}}}", "stream cannot be laid over requests"),
        ("{lab: {extra: {top_k: .nan}}}", "has to be JSON"),
        ("{lab: {extra: {since: 2026-11-21}}}", "has to be JSON"),
        ("{lab: {extra: {max_tokens: null}}}", "a request has to limit its reply"),
        ("{lab: {extra: {max_tokens: true}}}", "a request has to limit its reply"),
        ("{lab: {timeout: .inf}}", "endpoints.lab.timeout = inf"),
        ("{lab: {at_once: 0}}", "endpoints.lab.at_once = 0"),
        ("{lab: {url: http://a/v1}}", "endpoints.lab.url is not a setting"),
        ("{hf: {base_urls: http://a/v1}}", r"endpoints.hf.*no endpoint can be called so"),
        ("{my/lab: {base_urls: http://a/v1}}", "no endpoint can be called so"),
        ("{'': {base_urls: http://a/v1}}", "no endpoint can be called so"),
    ],
)
def test_endpoints_that_cannot_be(text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        from_yaml(text)


def test_a_name_for_the_length_of_a_reply_can_be_exchanged() -> None:
    extra = "{lab: {extra: {max_tokens: null, max_completion_tokens: 900}}}"
    assert from_yaml(extra).endpoints["lab"].extra["max_completion_tokens"] == 900


@pytest.mark.parametrize("limit", ["0", "-1", "inf", "nan", "much"])
def test_a_limit_of_cost_is_a_number_of_dollars(limit: str) -> None:
    with pytest.raises(SettingsError, match=r"max.cost"):
        from_flags("--max-cost", limit)


@pytest.mark.parametrize(
    "text",
    [
        "{lab: {base_urls: http://a/v1, api_key: sk-canary}}",
        "{hf: {key: sk-canary}}",
        "{lab: {key: sk-canary, at_once: 0}}",
        "{lab: {key: sk-canary, extra: {n: 2}}}",
    ],
)
def test_a_key_that_was_put_where_its_name_belongs_is_not_told(text: str) -> None:
    with pytest.raises(SettingsError) as told:
        from_yaml(text)
    assert "canary" not in str(told.value)


def test_every_known_service_has_an_address_of_its_own() -> None:
    addresses = {name: address_of(f"{name}/m", {}) for name in SERVICES}
    assert len({address.urls for address in addresses.values()}) == len(SERVICES)
    assert all(address.service.own or address.service.key for address in addresses.values())
