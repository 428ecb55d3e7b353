import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.scripted import Fault, Script, ScriptedServer

from diotima.cli import main
from diotima.errors import ModelError, SettingsError
from diotima.models.chat import Reply
from diotima.models.check_command import Settings, heard, keeps_to_schema, run

HONEST = Script(kind="vllm", models=("m",), words=60, context=4096)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(HONEST) as server:
        yield server


def check(
    server: ScriptedServer, backend: str = "vllm", *, fresh: bool = True, **script: Any
) -> dict[str, tuple[str, str]]:
    values = {name: getattr(HONEST, name) for name in Script.__slots__} | script
    server.use(Script(**values))
    server.reset()
    told = run(Settings(model=f"{backend}/m@{server.url}", fresh=fresh))
    return {finding["what"]: (finding["honoured"], finding["seen"]) for finding in told["findings"]}


def found(server: ScriptedServer, what: str, **script: Any) -> str:
    return check(server, **script)[what][0]


def test_a_server_that_does_everything(server: ScriptedServer) -> None:
    assert {what: honoured for what, (honoured, _) in check(server).items()} == {
        "usage": "yes",
        "max_tokens": "yes",
        "system role": "yes",
        "seed": "yes",
        "temperature 0": "yes",
        "stop": "yes",
        "logprobs": "yes",
        "json_schema": "yes",
        "streaming": "yes",
        "thoughts": "unclear",
    }


@pytest.mark.parametrize(
    ("what", "field"),
    [
        ("seed", "seed"),
        ("max_tokens", "max_tokens"),
        ("system role", "system"),
        ("stop", "stop"),
        ("logprobs", "logprobs"),
        ("json_schema", "response_format"),
        ("streaming", "stream"),
    ],
)
def test_what_is_silently_ignored_is_found_and_nothing_else(server: ScriptedServer, what: str, field: str) -> None:
    findings = check(server, ignore=(field,))
    assert findings.pop(what)[0] == "ignored"
    assert {honoured for honoured, _ in findings.values()} == {"yes", "unclear"}


@pytest.mark.parametrize(
    ("what", "field"),
    [
        ("seed", "seed"),
        ("system role", "system"),
        ("stop", "stop"),
        ("logprobs", "logprobs"),
        ("json_schema", "response_format"),
        ("streaming", "stream"),
    ],
)
def test_what_is_refused_is_found_with_the_servers_words(server: ScriptedServer, what: str, field: str) -> None:
    findings = check(server, refuse=(field,))
    honoured, seen = findings.pop(what)
    assert honoured == "refused"
    assert "not supported" in seen
    assert {honoured for honoured, _ in findings.values()} == {"yes", "unclear"}


def test_a_field_without_which_nothing_goes_is_one_sentence_with_the_remedy(server: ScriptedServer) -> None:
    with pytest.raises(
        ModelError, match=r"'temperature' is not supported.*--endpoints '\{vllm: \{extra: \{FIELD: null"
    ):
        check(server, refuse=("temperature",))
    server.use(HONEST)
    endpoints: Any = {"vllm": {"extra": {"temperature": None}}}
    assert run(Settings(model=f"vllm/m@{server.url}", fresh=True, endpoints=endpoints))["findings"]


def test_a_server_that_draws_the_same_whatever_the_seed(server: ScriptedServer) -> None:
    assert found(server, "seed", voice="echo") == "unclear"


def test_a_server_that_draws_at_temperature_0(server: ScriptedServer) -> None:
    assert found(server, "temperature 0", ignore=("seed", "temperature")) == "ignored"


def test_a_server_that_does_not_count(server: ScriptedServer) -> None:
    findings = check(server, faults=(Fault("no_usage"),))
    assert {what: findings[what][0] for what in ("usage", "max_tokens", "system role")} == {
        "usage": "ignored",
        "max_tokens": "unclear",
        "system role": "unclear",
    }


def test_replies_too_short_to_tell(server: ScriptedServer) -> None:
    findings = check(server, words=1)
    assert (findings["max_tokens"][0], findings["stop"][0]) == ("unclear", "unclear")


@pytest.mark.parametrize("reasoning", ["tags", "reasoning", "reasoning_content"])
def test_thoughts_are_not_taken_for_what_was_said(server: ScriptedServer, reasoning: str) -> None:
    findings = check(server, reasoning=reasoning, words=10)
    assert {what: findings[what][0] for what in ("thoughts", "stop", "json_schema", "streaming", "seed")} == {
        "thoughts": "yes",
        "stop": "yes",
        "json_schema": "yes",
        "streaming": "yes",
        "seed": "yes",
    }


def test_a_service_that_would_refuse_a_seed_is_not_sent_one(server: ScriptedServer) -> None:
    findings = check(server, "gemini", kind="gemini", refuse=("seed",))
    assert findings["seed"] == ("refused", "never sent: this service refuses requests with a seed")
    assert findings["stop"][0] == "yes"


def test_what_was_found_is_kept_for_this_served_model(server: ScriptedServer, cache: Path) -> None:
    first = check(server)
    asked = server.counts()["requests"]
    assert 10 <= asked <= 20
    assert len(list((cache / "diotima" / "models").iterdir())) == 1
    assert check(server, fresh=False) == first
    assert server.counts()["requests"] == 0
    check(server)
    assert server.counts()["requests"] == asked
    check(server, fresh=False, weights="2")
    assert server.counts()["requests"] == asked
    assert len(list((cache / "diotima" / "models").iterdir())) == 2


@pytest.mark.parametrize("torn", ["", "{", "[]", "{}", '{"version": 0, "findings": []}'])
def test_what_was_kept_and_cannot_be_read_is_asked_again(server: ScriptedServer, cache: Path, torn: str) -> None:
    check(server)
    (kept,) = (cache / "diotima" / "models").iterdir()
    kept.write_text(torn)
    assert check(server, fresh=False)["usage"][0] == "yes"
    assert server.counts()["requests"] > 0
    assert json.loads(kept.read_text())["findings"]


def test_a_cache_that_cannot_be_written_takes_nothing_away(server: ScriptedServer, cache: Path) -> None:
    cache.write_text("a file")
    assert check(server)["usage"][0] == "yes"


def test_the_command_and_its_figures(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.use(HONEST)
    assert main(["models", "check", f"vllm/m@{server.url}", "--fresh", "--json"]) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)["summary"]
    assert (summary["model"], summary["context"], len(summary["findings"])) == ("vllm/m", 4096, 10)
    assert "json_schema" in printed.err
    assert main(["models", "check", f"vllm/m@{server.url}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"vllm/m, served as {summary['served']}, context: 4,096 tokens"
    assert lines[-1] == f"So it was on {summary['checked'][:10]}; --fresh asks again."
    assert "--fresh" not in printed.err
    assert any(line.split() == ["stop", "yes", "the", "text", "ends", "before", "it"] for line in lines)


@pytest.mark.parametrize("name", ["tiny", "hf/org/model", "scripted/guide"])
def test_a_model_in_this_process_is_not_checked(name: str) -> None:
    with pytest.raises(SettingsError, match=f"model = {name}: only models behind endpoints are checked"):
        run(Settings(model=name))


def test_a_wrong_key_stops_it(server: ScriptedServer, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("LAB_KEY", "sk-canary-0123456789")
    server.use(Script(kind="vllm", models=("m",), key="another"))
    words = ["models", "check", f"vllm/m@{server.url}", "--endpoints", "{vllm: {key: LAB_KEY}}"]
    assert main(words) == 2
    printed = capsys.readouterr()
    assert "401: Incorrect API key provided" in printed.err
    assert "canary" not in printed.err + printed.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>5</think> Hm?", "Hm?"),
        ("<think>5", ""),
        ("5</think>Hm?", "Hm?"),
        ("Hm?", "Hm?"),
        ("<think>a</think>b<think>c", ""),
    ],
)
def test_what_is_heard_of_a_reply(text: str, said: str) -> None:
    assert heard(Reply(text)) == said


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ('{"tide": "ebb"}', True),
        (' {"tide": "flow"}\n', True),
        ('{"tide": true}', False),
        ('{"tide": "high"}', False),
        ('{"tide": "ebb", "more": 1}', False),
        ('```json\n{"tide": "ebb"}\n```', False),
        ("[5]", False),
        ("{}", False),
        ("The sea is 5.", False),
        ("", False),
    ],
)
def test_what_keeps_to_the_schema(text: str, keeps: bool) -> None:
    assert keeps_to_schema(text) is keeps
