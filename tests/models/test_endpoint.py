import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from servers.scripted import Fault, Script, Service, serving

from diotima.dialogue import Message
from diotima.errors import CallFailed, CallRefused, ModelError
from diotima.models.calls import Calls
from diotima.models.chat import Reply, Sampling
from diotima.models.endpoint import EndpointModel
from diotima.models.services import EndpointSettings
from diotima.runs.run import Run

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


def streaming(script: Script, folder: Path, use: Callable[[EndpointModel, Service, Run], Awaitable[T]]) -> T:
    async def within() -> T:
        async with serving(script) as service:
            calls = Calls(tell=lambda sentence: None)
            line = await asyncio.to_thread(calls.line, f"vllm/scripted@{service.url}")
            with Run.create(folder, stage="chat", settings={}, seed=0) as record:
                calls.keep_books_in(record)
                return await use(EndpointModel(calls, line), service, record)

    return asyncio.run(within())


async def heard(model: EndpointModel, seed: int | None = 1) -> list[str | Reply]:
    return [piece async for piece in model.stream(CHAT, Sampling(seed=seed))]


def test_a_reply_in_pieces_is_the_same_and_is_paid_for_once(tmp_path: Path) -> None:
    async def use(model: EndpointModel, service: Service, record: Run) -> None:
        *pieces, reply = await heard(model)
        assert len(pieces) > 2
        assert isinstance(reply, Reply)
        assert "".join(map(str, pieces)) == reply.text
        assert await model.reply(CHAT, Sampling(seed=1)) == reply
        assert await heard(model) == [reply.text, reply]
        assert (record.ledger.totals().answered, len(service.seen.order)) == (1, 1)
        assert record.ledger.totals().reply_tokens == reply.usage.reply_tokens

    streaming(Script(kind="vllm"), tmp_path / "run", use)


def test_a_draw_without_a_name_is_asked_for_every_time(tmp_path: Path) -> None:
    async def use(model: EndpointModel, service: Service, record: Run) -> None:
        await heard(model, None)
        await heard(model, None)
        await model.reply(CHAT, Sampling())
        assert (record.ledger.totals().answered, len(service.seen.order)) == (3, 3)

    streaming(Script(kind="vllm"), tmp_path / "run", use)


@pytest.mark.parametrize(
    ("kind", "error", "state"),
    [
        ("500", CallFailed, "failed"),
        ("400", CallRefused, "failed"),
        ("401", ModelError, "failed"),
        ("cut", CallFailed, "unknown"),
    ],
)
def test_a_stream_that_fails_is_booked_and_not_begun_again(
    kind: str, error: type[ModelError], state: str, tmp_path: Path
) -> None:
    async def use(model: EndpointModel, service: Service, record: Run) -> None:
        with pytest.raises(error) as caught:
            await heard(model)
        assert caught.type is error
        assert len(service.seen.order) == 1
        assert getattr(record.ledger.totals(), state) == 1

    streaming(Script(kind="vllm", faults=(Fault(kind, first=1),)), tmp_path / "run", use)


def test_whoever_stops_listening_has_paid_and_keeps_the_answer(tmp_path: Path) -> None:
    async def use(model: EndpointModel, service: Service, record: Run) -> None:
        pieces = model.stream(CHAT, Sampling(seed=1))
        assert isinstance(await anext(pieces), str)
        await pieces.aclose()  # type: ignore[attr-defined]
        reply = await model.reply(CHAT, Sampling(seed=1))
        assert reply.text
        assert (record.ledger.totals().answered, len(service.seen.order)) == (1, 1)

    streaming(Script(kind="vllm"), tmp_path / "run", use)
