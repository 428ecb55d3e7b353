import asyncio

import pytest

from diotima.dialogue import Message
from diotima.errors import ModelError
from diotima.models.chat import Reply, Sampling
from diotima.models.opening import open_model
from diotima.models.scripted import ScriptedModel, queue_of


def test_a_script_sees_the_chat() -> None:
    model = ScriptedModel(lambda messages: messages[-1].content.upper())
    assert asyncio.run(model.reply([Message("user", "hello")], Sampling())) == Reply("HELLO")


def test_a_queue_runs_dry() -> None:
    model = queue_of(["one", "two"])
    assert [asyncio.run(model.reply([], Sampling())).text for _ in range(2)] == ["one", "two"]
    with pytest.raises(ModelError, match="no more replies"):
        asyncio.run(model.reply([], Sampling()))


@pytest.mark.parametrize(
    ("chat", "reply"),
    [
        (["solve 12 + 7 = 19"], "My answer is 0."),
        (["12?", "What is 7 and 5?", "My answer is 3.", "It is 19, as step 2 says."], "My answer is 19."),
    ],
)
def test_the_copier_believes_the_last_number_it_was_told(chat: list[str], reply: str) -> None:
    roles = ("system", "user", "assistant", "user")
    messages = [Message(role, text) for role, text in zip(roles, chat, strict=False)]  # type: ignore[arg-type]
    assert asyncio.run(open_model("scripted/copier").reply(messages, Sampling())) == Reply(reply)  # type: ignore[arg-type]
