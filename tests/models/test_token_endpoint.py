"""A model behind an address that is talked to in token ids: it says what the same weights say here."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import pytest
from models.stand_in_vllm import Answer, completing, serving

from diotima.classroom.lesson import Classroom, Limits
from diotima.classroom.roles import Role
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import CallFailed, CallRefused, ModelError
from diotima.models.chat import ChatModel, Sampling
from diotima.models.local import LocalModel
from diotima.models.retrying import Patience
from diotima.models.token_endpoint import TokenEndpoint
from diotima.models.token_model import TokenModel
from diotima.problems.problem import Problem
from diotima.prompt import Prompt

CHOICE = {"prompt_token_ids": [1, 2], "token_ids": [7, 3], "logprobs": {"token_logprobs": [-0.5, -2]}}


class Hasty(Patience):
    def delay(self, attempt: int, asked: float | None, random: Random) -> float:
        return 0.0


class Student:
    async def speak(self, dialogue: Dialogue) -> Turn:
        return Turn(STUDENT, "I get " + "five " * (dialogue.seed % 5) + "<|end|>")


def teach(model: ChatModel, temperature: float, begins: str) -> list[Dialogue]:
    role = Role(TUTOR, model, Prompt("test", "Teach: {{question}}", "0"), Sampling(temperature, 1.0, 8, begins=begins))
    classroom = Classroom(role, Student(), Limits(3))

    async def all_of_them() -> list[Dialogue]:
        return await asyncio.gather(*(classroom.teach(Problem("p", "How many?", "5"), seed) for seed in range(4)))

    return asyncio.run(all_of_them())


def ask(answer: Callable[[Mapping[str, Any]], Answer], attempts: int = 3) -> Any:
    with serving(answer) as url:
        endpoint = TokenEndpoint(f"{url}/v1", {3, 2}, Hasty(attempts))
        return asyncio.run(endpoint.sample((1, 2), Sampling(temperature=0.5, max_tokens=9, seed=11)))


@pytest.mark.parametrize(("temperature", "begins"), [(0.0, ""), (1.0, ""), (1.0, "Well")])
def test_lessons_are_those_of_the_same_weights_here_id_by_id(
    llama: Any, tokenizer: Any, temperature: float, begins: str
) -> None:
    here = LocalModel(llama, tokenizer)
    with serving(completing(llama)) as url:
        there = TokenModel(here.format, TokenEndpoint(f"{url}/v1", here.format.end_ids).sample)
        lessons = teach(there, temperature, begins)
    for one, other in zip(lessons, teach(here, temperature, begins), strict=True):
        assert [turn.text for turn in one.turns] == [turn.text for turn in other.turns]
        assert len(one.by(TUTOR)) == 3
        for turn, same in zip(one.by(TUTOR), other.by(TUTOR), strict=True):
            assert turn.tokens is not None
            assert same.tokens is not None
            assert turn.cut == same.cut
            assert (turn.tokens.prompt_ids, turn.tokens.reply_ids) == (same.tokens.prompt_ids, same.tokens.reply_ids)
            assert turn.tokens.logprobs == pytest.approx(same.tokens.logprobs, abs=1e-4)


def test_the_whole_distribution_is_asked_for_and_nothing_left_to_the_server() -> None:
    bodies: list[Mapping[str, Any]] = []

    def answer(body: Mapping[str, Any]) -> Answer:
        bodies.append(body)
        return 200, {"choices": [CHOICE]}

    assert ask(answer) == ((7, 3), (-0.5, -2.0))
    assert bodies == [
        {
            "prompt": [1, 2],
            "return_token_ids": True,
            "temperature": 0.5,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "max_tokens": 9,
            "seed": 11,
            "ignore_eos": True,
            "stop_token_ids": [2, 3],
            "logprobs": 0,
        }
    ]


@pytest.mark.parametrize(
    ("status", "kind", "asked"),
    [(400, CallRefused, 1), (404, ModelError, 1), (503, CallFailed, 3), (429, CallFailed, 3)],
)
def test_what_does_not_answer_is_asked_again_only_where_that_may_help(status: int, kind: type, asked: int) -> None:
    bodies: list[Mapping[str, Any]] = []

    def answer(body: Mapping[str, Any]) -> Answer:
        bodies.append(body)
        return status, {"error": {"message": "no room"}}

    with pytest.raises(ModelError, match=rf"at http://127\.0\.0\.1:\d+/v1: {status}: no room") as caught:
        ask(answer)
    assert caught.type is kind
    assert len(bodies) == asked


def test_a_server_that_comes_back_has_lost_nothing() -> None:
    answers: list[Answer] = [(200, {"choices": [CHOICE]}), (503, {}), (500, {})]
    assert ask(lambda _: answers.pop()) == ((7, 3), (-0.5, -2.0))


def test_where_nobody_is_the_call_has_failed() -> None:
    endpoint = TokenEndpoint("http://127.0.0.1:9/v1", {3}, Hasty(2))
    with pytest.raises(CallFailed, match=r"127\.0\.0\.1:9/v1: .*\(2 attempts\)"):
        asyncio.run(endpoint.sample((1, 2), Sampling()))


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"text": "Hello"}, "no token ids and log-probabilities"),
        (CHOICE | {"token_ids": None}, "no token ids and log-probabilities"),
        (CHOICE | {"logprobs": {"token_logprobs": [-0.5, None]}}, "no token ids and log-probabilities"),
        (CHOICE | {"logprobs": {"token_logprobs": [-0.5]}}, "2 token ids and 1 log-probabilities"),
        (CHOICE | {"token_ids": [], "logprobs": {"token_logprobs": []}}, "0 token ids"),
        (CHOICE | {"prompt_token_ids": [0, 1, 2]}, "was sent 2 token ids, and says it has read 3 others"),
    ],
)
def test_an_answer_without_ids_or_to_others_is_none(choice: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        ask(lambda _: (200, {"choices": [choice]}))


def test_texts_cannot_be_asked_for_in_ids(llama: Any, tokenizer: Any) -> None:
    chat = LocalModel(llama, tokenizer).format
    model = TokenModel(chat, TokenEndpoint("http://127.0.0.1:9/v1", chat.end_ids).sample)
    with pytest.raises(ModelError, match="talked to in token ids"):
        asyncio.run(model.reply([], Sampling(stop=("5",))))
