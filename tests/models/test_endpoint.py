import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from servers.scripted import Fault, Script, Service, serving

from diotima.dialogue import Message
from diotima.errors import CallFailed, ModelError
from diotima.models.calls import Calls
from diotima.models.chat import Sampling
from diotima.models.endpoint import EndpointModel
from diotima.models.services import EndpointSettings

T = TypeVar("T")

CHAT = (Message("system", "Teach."), Message("user", "What is 2 + 3?"))


def play(script: Script, use: Callable[[EndpointModel, Service], Awaitable[T]], **settings: Any) -> T:
    async def within() -> T:
        async with serving(script) as service:
            calls = Calls(EndpointSettings(**settings), tell=lambda sentence: None)
            line = await asyncio.to_thread(calls.line, f"vllm/scripted@{service.url}")
            return await use(EndpointModel(calls, line), service)

    return asyncio.run(within())


def test_a_chat_in_a_reply_out() -> None:
    async def use(model: EndpointModel, service: Service) -> None:
        one, same, other = [await model.reply(CHAT, Sampling(seed=seed)) for seed in (1, 1, 2)]
        assert one == same != other
        assert (one.finish, one.usage.prompt_tokens) == ("stop", 6)
        assert service.seen.last["messages"] == [{"role": each.role, "content": each.content} for each in CHAT]

    play(Script(kind="vllm"), use)


def test_everything_asked_for_arrives() -> None:
    async def use(model: EndpointModel, service: Service) -> None:
        schema = {"type": "object", "properties": {"number": {"type": "integer"}}}
        sampling = Sampling(0.5, 0.9, 40, 2**40, ("?",), True, schema)
        reply = await model.reply(CHAT, sampling)
        sent = service.seen.last
        assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["stop"]) == (0.5, 0.9, 40, ["?"])
        assert (sent["logprobs"], sent["seed"]) == (True, 0)
        assert reply.text.startswith('{"number"')
        assert "".join(token for token, _ in reply.logprobs) == reply.text

    play(Script(kind="vllm"), use)


@pytest.mark.parametrize("reasoning", ["reasoning", "reasoning_content", "tags"])
def test_thoughts_come_between_tags(reasoning: str) -> None:
    async def use(model: EndpointModel, service: Service) -> None:
        text = (await model.reply(CHAT, Sampling(seed=1))).text
        assert text.startswith("<think>")
        assert text.rpartition("</think>")[2].strip()

    play(Script(kind="vllm", reasoning=reasoning), use)


def test_log_probabilities_that_do_not_come_are_told() -> None:
    async def use(model: EndpointModel, service: Service) -> None:
        with pytest.raises(ModelError, match="vllm/scripted was asked for log-probabilities and sent none"):
            await model.reply(CHAT, Sampling(logprobs=True))
        assert (await model.reply(CHAT, Sampling())).logprobs == ()

    play(Script(kind="vllm", ignore=("logprobs",)), use)


def test_one_reply_that_cannot_be_had_is_one_and_a_wrong_key_is_all() -> None:
    async def use(model: EndpointModel, service: Service) -> None:
        with pytest.raises(CallFailed, match=r"vllm/scripted: 400: .*maximum context length"):
            await model.reply((Message("user", "long"),), Sampling())
        with pytest.raises(ModelError, match="vllm/scripted: 401: Incorrect API key") as told:
            await model.reply((Message("user", "secret"),), Sampling())
        assert not isinstance(told.value, CallFailed)

    play(Script(kind="vllm", faults=(Fault("context_length", when="long"), Fault("401", when="secret"))), use)


def test_a_hundred_replies_at_once_go_by_at_once() -> None:
    async def use(model: EndpointModel, service: Service) -> None:
        replies = await asyncio.gather(*(model.reply(CHAT, Sampling(seed=seed)) for seed in range(100)))
        assert len({reply.text for reply in replies}) == 100
        assert service.seen.most_at_once <= 3

    play(Script(kind="vllm", median=0.001), use, endpoints={"vllm": {"at_once": 3}})
