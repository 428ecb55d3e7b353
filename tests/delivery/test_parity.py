"""Comparing with a server that is faithful, and with one that goes wrong in each way that servers do."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from diotima.classroom.casting import Part
from diotima.delivery.chats import chats
from diotima.delivery.parity import compare, first_difference, rendered
from diotima.dialogue import Message
from diotima.errors import ModelError
from diotima.models.folders import TINY
from diotima.models.local import load_local

PART = Part("tutor/tiny", "solution")
FIRST = {"first": chats(PART)["a lesson's first turn"]}


class Faithful:
    """A server that is the same model; a subclass goes wrong in one answer."""

    def __init__(self, local) -> None:
        self.local = local

    def __call__(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        return {"/apply-template": self.render, "/tokenize": self.tokenize, "/completion": self.complete}[path](body)

    def render(self, body):
        return {"prompt": rendered(self.local.tokenizer, [Message(m["role"], m["content"]) for m in body["messages"]])}

    def tokenize(self, body):
        return {"tokens": self.local.tokenizer.encode(body["content"], add_special_tokens=False)}

    def complete(self, body):
        ids, count = body["prompt"], body["n_predict"]
        with torch.inference_mode():
            row = self.local.model.generate(
                torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=count, do_sample=False
            )
        said = row[0, len(ids) :].tolist()
        told = [{"logprob": -0.5} for _ in said]
        return {"tokens": said, "completion_probabilities": told, "stop_type": "eos" if said[-1] == 1 else "limit"}


@pytest.fixture(scope="module")
def local():
    torch.set_num_threads(1)
    return load_local(TINY, "tiny")


def test_the_same_model_is_the_same_on_every_chat(local):
    found = compare(chats(PART), local, Faithful(local), 8, 0.0)
    assert len(found) == 9
    assert not any(one.difference or one.refused or one.otherwise_in_lessons for one in found)
    assert all(0 < one.reply <= 8 < one.ids for one in found)


def test_without_replies_nothing_is_generated(local):
    class Silent(Faithful):
        complete = None

    (found,) = compare(FIRST, local, Silent(local), 0, 0.0)
    assert (found.difference, found.reply) == (None, 0)


def test_another_text_is_shown_where_it_begins_to_differ(local):
    class Trims(Faithful):
        def render(self, body):
            return {"prompt": super().render(body)["prompt"].replace("<|end|><|assistant|>", "<|end|>\n<|assistant|>")}

    (found,) = compare(FIRST, local, Trims(local), 8, 0.0)
    assert found.difference.what == "text"
    assert "<|end|><|assistant|>" in found.difference.here
    assert r"<|end|>\n<|assistant|>" in found.difference.there


def test_other_ids_of_the_same_text_are_told_with_what_they_say(local):
    class Splits(Faithful):
        def tokenize(self, body):
            tokens = super().tokenize(body)["tokens"]
            return {"tokens": [*tokens[:5], *local.tokenizer.encode("x"), *tokens[5:]]}

    (found,) = compare(FIRST, local, Splits(local), 8, 0.0)
    assert (found.difference.what, found.difference.place) == ("ids", 5)
    assert "'x" in found.difference.there


def test_another_reply_is_told_with_both_log_probabilities(local):
    class Misspeaks(Faithful):
        def complete(self, body):
            told = super().complete(body)
            told["tokens"][2] = 50
            return told

    (found,) = compare(FIRST, local, Misspeaks(local), 8, 1e-3)
    assert (found.difference.what, found.difference.place, found.reply) == ("reply", 2, 2)
    assert found.difference.there.startswith("[50] ")
    assert found.difference.there.endswith("here, there -0.5000")
    (tied,) = compare(FIRST, local, Misspeaks(local), 3, 100.0)
    assert tied.difference is None
    assert [tie.place for tie in tied.ties] == [2]


def test_what_is_no_number_and_what_says_nothing_is_a_difference(local):
    broken = load_local(TINY, "tiny")
    broken.model.model.norm.weight.data.fill_(float("nan"))
    (found,) = compare(FIRST, broken, Faithful(local), 8, 1e9)
    assert (found.difference.what, found.difference.place) == ("reply", 0)

    class Mute(Faithful):
        def complete(self, body):
            return super().complete(body) | {"tokens": []}

    (found,) = compare(FIRST, local, Mute(local), 8, 1e9)
    assert (found.difference.what, found.difference.there) == ("reply", "none")


def test_a_server_that_does_not_know_the_end_is_found_out(local):
    class GoesOn(Faithful):
        def complete(self, body):
            told = super().complete(body)
            return told | {"tokens": [*told["tokens"], 50], "stop_type": "limit"}

    (whole,) = compare(FIRST, local, Faithful(local), 48, 0.0)
    assert whole.reply < 48
    (found,) = compare(FIRST, local, GoesOn(local), 48, 0.0)
    assert (found.difference.what, found.difference.there) == ("reply", "goes on")

    class Stops(Faithful):
        def complete(self, body):
            told = super().complete(body)
            return told | {"tokens": told["tokens"][:2], "stop_type": "eos"}

    (found,) = compare(FIRST, local, Stops(local), 48, 0.0)
    assert (found.difference.place, found.difference.here) == (2, "goes on")


def test_a_chat_that_only_one_side_takes_is_a_difference_and_one_that_none_takes_is_not(local):
    class Refuses(Faithful):
        def render(self, body):
            return None

    (found,) = compare(FIRST, local, Refuses(local), 8, 0.0)
    assert found.difference.there == "(refuses this chat)"

    other = load_local(TINY, "tiny")
    other.tokenizer.chat_template = "{{ raise_exception('never') }}"
    (neither,) = compare(FIRST, other, Refuses(local), 8, 0.0)
    assert neither.refused
    assert neither.difference is None
    other.format = SimpleNamespace(context=unreadable)
    (found,) = compare(FIRST, other, Faithful(local), 8, 0.0)
    assert found.difference.here == "(refuses this chat)"


def unreadable(messages):
    raise ModelError("the template refuses this conversation")


def test_what_a_template_drops_is_told_as_read_otherwise_in_lessons(local):
    other = load_local(TINY, "tiny")
    other.tokenizer.chat_template = local.tokenizer.chat_template.replace(
        "{{ message['content'] + '<|end|>' }}{% endgeneration %}",
        "{{ message['content'].split('</think>')[-1] + '<|end|>' }}{% endgeneration %}",
    )
    found = {one.chat: one for one in compare(chats(PART), other, Faithful(other), 0, 0.0)}
    assert found["with a thought"].otherwise_in_lessons
    assert not found["a lesson of several turns"].otherwise_in_lessons


def test_the_first_difference_is_where_one_ends_or_both_differ():
    assert first_difference("abc", "abc") is None
    assert first_difference("abc", "axc") == 1
    assert first_difference("abc", "ab") == 2
    assert first_difference([], [1]) == 0
