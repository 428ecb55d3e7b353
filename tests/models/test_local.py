import asyncio
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from diotima.classroom.casting import LessonSettings, cast_tutor
from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom, Limits
from diotima.classroom.roles import Role
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Message, Turn
from diotima.errors import ModelError
from diotima.models.chat import Sampling
from diotima.models.folders import model_folder
from diotima.models.local import LocalModel, load_local
from diotima.models.opening import open_model
from diotima.problems.problem import Problem
from diotima.prompt import Prompt
from diotima.sandbox.world import World

from .conftest import new_model, new_tokenizer

PROBLEM = Problem("p", "How many?", "5")


class Student:
    async def speak(self, dialogue: Dialogue) -> Turn:
        return Turn(STUDENT, "I get " + "five " * (dialogue.seed % 5))


def teach(model: LocalModel, seeds: range, turns: int = 3, tokens: int = 10) -> list[Dialogue]:
    role = Role(TUTOR, model, Prompt("test", "Teach: {{question}}", "0"), Sampling(max_tokens=tokens))
    classroom = Classroom(role, Student(), Limits(turns))

    async def all_of_them() -> list[Dialogue]:
        return await asyncio.gather(*(classroom.teach(PROBLEM, seed) for seed in seeds))

    return asyncio.run(all_of_them())


def test_lessons_side_by_side_are_the_lessons_one_by_one(llama: Any, tokenizer: Any) -> None:
    together = teach(LocalModel(llama, tokenizer), range(6))
    alone = [teach(LocalModel(llama, tokenizer), range(seed, seed + 1))[0] for seed in range(6)]
    without_caches = teach(LocalModel(llama, tokenizer, cache_bytes=0), range(6))
    for one, other, third in zip(together, alone, without_caches, strict=True):
        assert [t.text for t in one.turns] == [t.text for t in other.turns] == [t.text for t in third.turns]
        for turn, same in zip(one.by(TUTOR), other.by(TUTOR), strict=True):
            assert turn.tokens is not None
            assert same.tokens is not None
            assert turn.tokens.reply_ids == same.tokens.reply_ids
            assert turn.tokens.logprobs == pytest.approx(same.tokens.logprobs, abs=1e-4)


def test_contexts_grow_by_what_was_said(llama: Any, tokenizer: Any) -> None:
    for dialogue in teach(LocalModel(llama, tokenizer), range(3)):
        turns = dialogue.by(TUTOR)
        for earlier, later in pairwise(turns):
            assert earlier.tokens is not None
            assert later.tokens is not None
            spoken = earlier.tokens.prompt_ids + earlier.tokens.reply_ids
            assert later.tokens.prompt_ids[: len(spoken)] == spoken


def test_a_waiting_dialogue_is_not_read_again(llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    forward = llama.forward
    monkeypatch.setattr(
        llama, "forward", lambda *args, **named: read.append(named["input_ids"].shape[1]) or forward(*args, **named)
    )
    model = LocalModel(llama, tokenizer)
    dialogue = teach(model, range(1), turns=2, tokens=4)[0]
    turns = dialogue.by(TUTOR)
    assert turns[0].tokens is not None
    assert turns[1].tokens is not None
    prefills = [length for length in read if length > 1]
    assert prefills[0] == len(turns[0].tokens.prompt_ids)
    assert prefills[1] < 30
    read.clear()
    model.forget()
    messages = [Message("user", "Hello"), Message("assistant", "", turns[0].tokens), Message("user", "5")]
    reply = asyncio.run(model.reply(messages, Sampling(max_tokens=2, seed=1)))
    assert reply.tokens is not None
    assert read[0] == len(reply.tokens.prompt_ids)  # the cache is gone, so everything is read


def test_a_reply_says_how_it_ended(tokenizer: Any) -> None:
    import torch

    model = new_model()
    chat = LocalModel(model, tokenizer)
    cut = asyncio.run(chat.reply([Message("user", "Hi")], Sampling(max_tokens=3, seed=1)))
    assert cut.tokens is not None
    assert (cut.finish, len(cut.tokens.reply_ids), cut.usage.reply_tokens) == ("length", 3, 3)
    assert cut.usage.prompt_tokens == len(cut.tokens.prompt_ids)

    end = tokenizer.convert_tokens_to_ids("<|end|>")
    bias = torch.nn.Linear(32, 272)  # a head that has only one thing to say
    with torch.no_grad():
        bias.weight.zero_()
        bias.bias.zero_()
        bias.bias[end] = 50.0
    model.lm_head = bias
    ended = asyncio.run(chat.reply([Message("user", "Hi")], Sampling(max_tokens=3, seed=1)))
    assert ended.tokens is not None
    assert (ended.text, ended.finish, ended.tokens.reply_ids) == ("", "stop", (end,))


def test_the_oldest_caches_go_first(llama: Any, tokenizer: Any) -> None:
    one = LocalModel(llama, tokenizer)
    teach(one, range(1), turns=1, tokens=4)
    size = one._caches._bytes
    assert size > 0
    small = LocalModel(llama, tokenizer, cache_bytes=2 * size + size // 2)
    teach(small, range(0, 25, 5), turns=1, tokens=4)
    assert len(small._caches._held) == 2
    assert 0 < small._caches._bytes <= 2 * size + size // 2


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    new_model().save_pretrained(folder)
    new_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def hello(name: str) -> str:
    return asyncio.run(open_model(name).reply([Message("user", "Hi")], Sampling(max_tokens=5, seed=1))).text


def test_a_folder_is_a_model_by_either_name(folder: Path, llama: Any, tokenizer: Any) -> None:
    made = LocalModel(llama, tokenizer).reply([Message("user", "Hi")], Sampling(max_tokens=5, seed=1))
    assert hello(str(folder)) == hello(f"hf/{folder}") == asyncio.run(made).text
    assert model_folder(str(folder)) == model_folder(f"hf/{folder}") == folder


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _drop_a_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if ".layers.1." not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def _drop_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "config.json").unlink(), "is no model folder, it has no config.json"),
        (
            lambda f: (f / "model.safetensors").unlink(),
            r"has no weights \(no \*.safetensors\); was the download cut off",
        ),
        (lambda f: _cut(f / "model.safetensors"), "the weights in .* cannot be loaded"),
        (lambda f: _cut(f / "config.json"), "the weights in .* cannot be loaded"),
        (lambda f: _cut(f / "tokenizer.json"), "the tokenizer in .* cannot be loaded"),
        (_drop_a_layer, "the weights in .* are not whole, model.layers.1.* and 8 more lack"),
        (_drop_template, "has no chat template; add a chat_template.jinja to its folder"),
        (
            lambda f: new_model(vocabulary=200).save_pretrained(f),
            "the tokenizer has 26. tokens, the model 200; they do not belong together",
        ),
    ],
)
def test_a_damaged_folder_is_told_in_one_sentence(folder: Path, damage: Any, sentence: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=f"hf/m: .*{sentence}|hf/m {sentence}") as told:
        load_local(folder, "hf/m")
    assert "\n" not in str(told.value)


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError):
        load_local(folder, "hf/m")


def test_the_tiny_tutor_of_the_package_can_teach() -> None:
    classroom = Classroom(cast_tutor("tiny", LessonSettings(), 1.0), Learner())
    dialogue = asyncio.run(classroom.teach(World().problem(0, "test"), 3))
    tokens = [turn.tokens for turn in dialogue.by(TUTOR)]
    assert tokens
    for earlier, later in pairwise(tokens):
        assert earlier is not None
        assert later is not None
        spoken = earlier.prompt_ids + earlier.reply_ids
        assert later.prompt_ids[: len(spoken)] == spoken
