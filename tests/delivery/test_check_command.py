"""The check as a command: what it needs, and how it says that two models differ."""

import pytest

from diotima.delivery import check_command, llama_cpp
from diotima.delivery.check_command import Settings, run
from diotima.delivery.llama_cpp import LlamaCpp, served
from diotima.delivery.parity import Compared, Difference, LlamaServer
from diotima.errors import ModelError, SettingsError

NOBODY = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "either a file, --gguf FILE, or a server"),
        ({"gguf": "a.gguf", "server": f"llamacpp/a@{NOBODY}"}, "either a file"),
        ({"server": "tiny"}, "give the name of a llama-server"),
        ({"server": f"vllm/a@{NOBODY}"}, "only llama-server shows how it reads a chat"),
    ],
)
def test_it_says_what_it_needs(given, told):
    with pytest.raises(SettingsError, match=told):
        run(Settings(model="tiny", **given))


def test_a_server_that_does_not_answer_is_one_sentence():
    with pytest.raises(ModelError, match=r"http://127\.0\.0\.1:9 does not answer"):
        run(Settings(model="tiny", server=f"llamacpp/a@{NOBODY}"))


def test_a_file_that_is_no_gguf_is_refused_before_anything_is_started(tmp_path):
    (tmp_path / "a.gguf").write_text("no")
    with pytest.raises(ModelError, match="is no GGUF file"), served(LlamaCpp(), tmp_path / "a.gguf", 512):
        pass


def test_a_server_that_does_not_start_tells_its_first_error(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho 0.1 I loading\necho 0.2 E the file is odd\necho 0.3 E exiting\nexit 1\n")
    program.chmod(0o755)
    with (
        pytest.raises(ModelError, match=r"a\.gguf: the file is odd$"),
        served(LlamaCpp(tmp_path), tmp_path / "a.gguf", 512),
    ):
        pass


def test_a_large_file_has_more_time_to_be_read(tmp_path, monkeypatch):
    with (tmp_path / "a.gguf").open("wb") as file:
        file.write(b"GGUF")
        file.truncate(10**9)
    (tmp_path / "llama-server").write_text("#!/bin/sh\n")
    (tmp_path / "llama-server").chmod(0o755)
    waited = []
    monkeypatch.setattr(llama_cpp, "_answers", lambda process, page, seconds: waited.append(seconds) or True)
    with served(LlamaCpp(tmp_path), tmp_path / "a.gguf", 512):
        assert waited == [llama_cpp.START_SECONDS + 20]


def test_the_first_difference_is_the_error_and_all_are_in_the_table(monkeypatch, capsys):
    reply = Difference("reply", 7, "[5] 'so' at -0.1000", "[6] 'no' at -2.3000 here, there -0.2000")
    found = [Compared("one", ids=9, reply=4), Compared("two", reply, ids=8), Compared("three", refused=True)]
    monkeypatch.setattr(check_command, "compare", lambda *_: found)
    with pytest.raises(ModelError) as error:
        run(Settings(model="tiny", server=f"llamacpp/a@{NOBODY}"))
    assert str(error.value) == (
        "llamacpp/a is not tiny: 1 of 3 chats differ; first in the reply of the chat 'two' at token 7: "
        "here [5] 'so' at -0.1000, there [6] 'no' at -2.3000 here, there -0.2000; if that is rounding "
        "(fewer bits, a merged adapter), say how much is allowed with --tolerance"
    )
    shown = capsys.readouterr().out
    assert "the reply differs at 7" in shown
    assert "refused by both" in shown
    monkeypatch.setattr(check_command, "compare", lambda *_: found[:1])
    told = run(Settings(model="tiny", server=f"llamacpp/a@{NOBODY}"))
    assert told["chats"][0]["reply"] == 4


def test_pages_are_asked_of_the_address_without_v1(monkeypatch):
    asked = []
    monkeypatch.setattr(check_command, "compare", lambda *given: asked.append(given[2]) or [])
    run(Settings(model="tiny", server=f"llamacpp/a@{NOBODY}"))
    assert asked == [LlamaServer("http://127.0.0.1:9")]
