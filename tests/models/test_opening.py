import asyncio
import gc
import os
import shutil
import weakref
from pathlib import Path

import pytest

from diotima.dialogue import Message
from diotima.errors import ModelError
from diotima.models.chat import Sampling
from diotima.models.folders import TINY, model_folder
from diotima.models.local import load_local
from diotima.models.opening import open_model


def test_a_factory_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_tutors.py").write_text(
        "from diotima.models.scripted import queue_of\n\npolite = lambda: queue_of(['Hm?'])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    reply = open_model("my_tutors:polite").reply([Message("user", "5")], Sampling())
    assert asyncio.run(reply).text == "Hm?"  # type: ignore[arg-type]


OWN = """
from diotima.errors import ModelError
from diotima.models.chat import Reply

class Tutor:
    def __init__(self, answer=None):
        self.answer = answer

    async def reply(self, messages, sampling):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

class Hasty:
    def reply(self, messages, sampling):
        return "Hm?"

words = lambda: Tutor("Hm?")
silent = lambda: Tutor(Reply(None))
number = lambda: Tutor(5)
down = lambda: Tutor(ConnectionError("my endpoint\\nis down"))
clear = lambda: Tutor(ModelError("no key in MY_KEY"))
hasty = Hasty
listed = list
needy = lambda key: Tutor()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_tutors.py").write_text(OWN)
    (tmp_path / "torn_tutors.py").write_text("make = {}['key']\n")
    (tmp_path / "needing_tutors.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "own_tutors"


def test_a_reply_of_ones_own_may_be_bare_text(own: str) -> None:
    reply = open_model(f"{own}:words").reply([Message("user", "5")], Sampling())
    assert asyncio.run(reply).text == "Hm?"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "needy",
            r"own_tutors:needy: calling it raised TypeError: .*missing 1 required .*'key'; package\.module:factory",
        ),
        ("listed", r"own_tutors:listed: what it returned \(list\) has no reply; .*without arguments.*async reply"),
        ("number", "own_tutors:number: its reply gave int; .*async reply"),
        ("silent", "own_tutors:silent: its reply gave NoneType; .*async reply"),
        ("hasty", "own_tutors:hasty: its reply is not async and gave str; .*async reply"),
        (
            "down",
            r"own_tutors:down: its reply raised ConnectionError: my endpoint is down \(.*own_tutors\.py, line 11\)$",
        ),
        ("clear", "^no key in MY_KEY$"),
    ],
)
def test_a_mistake_in_a_model_of_ones_own_is_one_sentence(own: str, name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        asyncio.run(open_model(f"{own}:{name}").reply([], Sampling()))  # type: ignore[arg-type]


@pytest.mark.usefixtures("own")
def test_a_module_that_cannot_be_imported() -> None:
    with pytest.raises(
        ModelError, match=r"importing torn_tutors raised KeyError: 'key' \(.*torn_tutors\.py, line 1\)$"
    ):
        open_model("torn_tutors:make")
    with pytest.raises(ModelError, match=r"No module named 'my_tutor'; put its folder on PYTHONPATH$"):
        open_model("my_tutor:make")
    with pytest.raises(ModelError, match=r"needing_tutors:make: No module named 'no_such_module'$"):
        open_model("needing_tutors:make")
    with pytest.raises(ModelError, match=r"json:loads: calling it raised TypeError: .*argument: 's'; package"):
        open_model("json:loads")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gpt", "there is no model 'gpt'; use tiny, a folder, hf/NAME, vllm/NAME, .* or package.module:factory"),
        ("", "there is no model ''"),
        ("vllm/x", "there is no model 'vllm/x'"),
        ("hf//no/such/folder", "hf//no/such/folder: there is no such folder"),
        ("hf/./nowhere", "hf/./nowhere: there is no such folder"),
        ("no_such_module:make", "no_such_module:make: No module named 'no_such_module'"),
        ("diotima.dialogue:make", "module 'diotima.dialogue' has no attribute 'make'"),
        (":make", ":make: Empty module name"),
        ("scripted/guide", "there is no model scripted/guide; scripted models are copier"),
    ],
)
def test_a_name_that_is_none(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        open_model(name)


@pytest.mark.parametrize("name", ["scripted/guide", "gpt", "my.module:factory"])
def test_what_has_no_weights_here(name: str) -> None:
    with pytest.raises(ModelError, match="has no weights on this machine; use tiny, a folder or hf/NAME"):
        model_folder(name)


def test_the_tiny_tutor_has_a_folder_in_the_package() -> None:
    assert model_folder("tiny") == TINY


def test_a_folder_of_that_name_does_not_stand_in_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_folder("tiny") == TINY


def test_a_folder_in_use_is_opened_once_and_a_changed_one_anew(tmp_path: Path) -> None:
    folder = shutil.copytree(TINY, tmp_path / "model")
    first = open_model(str(folder))
    assert open_model(f"hf/{folder}") is first
    assert open_model("tiny") is not first
    os.utime(folder / "model.safetensors", (1, 1))
    assert open_model(str(folder)) is not first


def test_a_copy_to_train_is_nobody_elses(tmp_path: Path) -> None:
    folder = shutil.copytree(TINY, tmp_path / "model")
    training = load_local(folder, "policy")
    shared = open_model(str(folder))
    assert shared is not training
    assert load_local(folder, "policy") is not shared


def test_a_model_that_nobody_uses_is_let_go(tmp_path: Path) -> None:
    folder = shutil.copytree(TINY, tmp_path / "model")
    model = open_model(str(folder))
    watched = weakref.ref(model)
    del model
    gc.collect()
    assert watched() is None
