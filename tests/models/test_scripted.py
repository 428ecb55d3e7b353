import asyncio

import pytest

from diotima.dialogue import Message
from diotima.errors import ModelError
from diotima.models.chat import Reply, Sampling
from diotima.models.scripted import ScriptedModel, queue_of


def test_a_script_sees_the_chat() -> None:
    model = ScriptedModel(lambda messages: messages[-1].content.upper())
    assert asyncio.run(model.reply([Message("user", "hello")], Sampling())) == Reply("HELLO")


def test_a_queue_runs_dry() -> None:
    model = queue_of(["one", "two"])
    assert [asyncio.run(model.reply([], Sampling())).text for _ in range(2)] == ["one", "two"]
    with pytest.raises(ModelError, match="no more replies"):
        asyncio.run(model.reply([], Sampling()))
