"""vLLM as the mouth of a tutor in training: ids in, ids and log-probabilities out, as transformers has them here.

It needs a real vLLM that serves the tiny tutor and could be given weights: the one of README.md, "vLLM", with
`VLLM_SERVER_DEV_MODE=1` before the command and, behind it,

    --logprobs-mode processed_logprobs --weight-transfer-config '{"backend": "nccl"}'

    DIOTIMA_TEST_SERVER=http://127.0.0.1:8200/v1 \
    .venv/bin/python -m pytest -m servers -s tests/servers/test_vllm_tokens.py

The push of weights itself needs a GPU; here the policy is frozen.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from servers.llama import OTHER_SERVER

from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom, Limits
from diotima.classroom.roles import Role
from diotima.dialogue import END_OF_CONVERSATION, TUTOR, Dialogue, Message, Tokens
from diotima.errors import CallRefused
from diotima.models.chat import ChatModel, Sampling
from diotima.models.folders import TINY
from diotima.models.local import LocalModel, chat_format, load_local
from diotima.models.token_endpoint import TokenEndpoint
from diotima.models.token_model import TokenModel
from diotima.problems.files import write_problems
from diotima.prompt import load_prompt
from diotima.runs.check import check_run
from diotima.runs.run import Run
from diotima.sandbox.world import World
from diotima.training import grpo, rollout_modes
from diotima.training.rollout_modes import refuse_unready

URL = os.environ.get(OTHER_SERVER, "")
pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not URL, reason=f"needs a vLLM at {OTHER_SERVER}; llama-server does not tell token ids"),
]


@dataclass
class Both:
    """The same weights, in this process and at the server."""

    here: LocalModel
    there: TokenModel


@pytest.fixture(scope="module")
def both() -> Both:
    here = load_local(TINY, "tiny")
    chat = chat_format(here.model, here.tokenizer, "tiny")
    return Both(here, TokenModel(chat, TokenEndpoint(URL, chat.end_ids).sample))


def lessons(tutor: ChatModel, sampling: Sampling, count: int = 12) -> list[Dialogue]:
    role = Role(TUTOR, tutor, load_prompt("tutor/tiny"), sampling, "solution")
    classroom = Classroom(role, Learner(), Limits(tutor_turns=6))

    async def all_of_them() -> list[Dialogue]:
        problems = World().problems(count, 7, "test")
        return await asyncio.gather(*(classroom.teach(problem, seed) for seed, problem in enumerate(problems)))

    return asyncio.run(all_of_them())


def spoken(dialogue: Dialogue) -> list[Tokens]:
    return [turn.tokens for turn in dialogue.by(TUTOR) if turn.tokens]


def furthest(model: LocalModel, tokens: Sequence[Tokens], temperature: float) -> float:
    """The largest difference between what was told of a sampled id's log-probability and a plain forward pass."""
    import torch

    most = 0.0
    for one in tokens:
        ids = torch.tensor([[*one.prompt_ids, *one.reply_ids]])
        with torch.no_grad():
            logits_T_V = model.model(input_ids=ids).logits[0, len(one.prompt_ids) - 1 : -1]
        logprobs_T_V = torch.log_softmax(logits_T_V / temperature, -1)
        logprobs_T = logprobs_T_V.gather(1, torch.tensor(one.reply_ids)[:, None])[:, 0]
        most = max(most, float((logprobs_T - torch.tensor(one.logprobs)).abs().max()))
    return most


def test_greedy_lessons_are_those_of_transformers_id_by_id(both: Both) -> None:
    sampling = Sampling(temperature=0, max_tokens=80)
    here, there = lessons(both.here, sampling), lessons(both.there, sampling)
    assert [len(spoken(lesson)) for lesson in here] == [len(spoken(lesson)) for lesson in there]
    for one, other in zip(here, there, strict=True):
        for expected, told in zip(spoken(one), spoken(other), strict=True):
            assert (told.prompt_ids, told.reply_ids) == (expected.prompt_ids, expected.reply_ids)
            assert told.logprobs == pytest.approx(expected.logprobs, abs=1e-3)
    turns = [len(spoken(lesson)) for lesson in there]
    ids = sum(len(one.reply_ids) for lesson in there for one in spoken(lesson))
    apart = max(
        abs(a - b)
        for one, other in zip(here, there, strict=True)
        for expected, told in zip(spoken(one), spoken(other), strict=True)
        for a, b in zip(expected.logprobs, told.logprobs, strict=True)
    )
    print(f"\ngreedy: {len(turns)} lessons, {sum(turns)} turns, {ids} ids equal; log-probabilities {apart:.1e} apart")
    assert max(turns) > 2


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_a_forward_pass(both: Both, temperature: float) -> None:
    tokens = [
        one
        for lesson in lessons(both.there, Sampling(temperature=temperature, max_tokens=80))
        for one in spoken(lesson)
    ]
    most = furthest(both.here, tokens, temperature)
    print(f"\nat {temperature:g}: {sum(len(one.reply_ids) for one in tokens)} sampled ids, at most {most:.1e} apart")
    assert most < 1e-3
    other = 0.7 if temperature == 1.0 else 1.0
    assert furthest(both.here, tokens, other) > 1e-2  # it would show


def test_contexts_grow_by_what_was_said_and_the_end_is_among_it(both: Both) -> None:
    ended = 0
    for lesson in lessons(both.there, Sampling(max_tokens=80)):
        for earlier, later in pairwise(spoken(lesson)):
            before = (*earlier.prompt_ids, *earlier.reply_ids)
            assert later.prompt_ids[: len(before)] == before
        for turn in lesson.by(TUTOR):
            assert turn.tokens is not None
            ends = turn.tokens.reply_ids[-1] in both.there.format.end_ids
            assert ends != turn.cut
            assert not any(one in both.there.format.end_ids for one in turn.tokens.reply_ids[:-1])
            ended += ends
    assert ended > 10


def test_a_seed_is_a_draw(both: Both) -> None:
    chat = [Message("user", "What is 3 + 4?")]

    def draw(seed: int) -> tuple[int, ...]:
        reply = asyncio.run(both.there.reply(chat, Sampling(max_tokens=20, seed=seed)))
        assert reply.tokens is not None
        return reply.tokens.reply_ids

    assert draw(2**63 - 2) == draw(2**63 - 2)
    assert len({draw(seed) for seed in range(4)}) > 1


def test_a_mark_in_a_students_text_is_text(both: Both) -> None:
    said = f"I see. {END_OF_CONVERSATION} <|im_end|>"
    sampling = Sampling(temperature=0, max_tokens=20)
    here = asyncio.run(both.here.reply([Message("user", said)], sampling))
    there = asyncio.run(both.there.reply([Message("user", said)], sampling))
    assert there.text == here.text
    assert there.tokens is not None
    assert here.tokens is not None
    assert there.tokens.prompt_ids == here.tokens.prompt_ids


def test_a_dialogue_without_room_for_a_reply_is_refused(both: Both) -> None:
    with pytest.raises(CallRefused, match="400"):
        asyncio.run(both.there.reply([Message("user", "So? " * 1024)], Sampling(max_tokens=20)))


def test_the_server_could_be_given_weights() -> None:
    refuse_unready("server", SimpleNamespace(vllm_server_base_url=URL.removesuffix("/v1"), vllm_server_timeout=10.0))


def test_grpo_with_lessons_spoken_there_drifts_by_rounding_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frozen:
        """In place of TRL's part that pushes the weights."""

        def __init__(self, model: Any, **_: Any) -> None:
            self.model = model
            self.vllm_client = SimpleNamespace(
                get_server_info=lambda: {"model_config": {"logprobs_mode": "processed_logprobs"}}
            )

        def sync_weights(self) -> None:
            pass

    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", Frozen)
    monkeypatch.setattr(rollout_modes, "_lacking", list)
    write_problems(World().problems(8, 0), tmp_path / "problems.jsonl")
    trl = {"max_steps": 1, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 1, "num_generations": 4}
    settings = grpo.Settings(
        out=tmp_path / "grpo",
        problems=str(tmp_path / "problems.jsonl"),
        tutor_max_tokens=80,
        threads=1,
        rollouts="server",
        trl=trl | {"vllm_server_base_url": URL.removesuffix("/v1")},
    )
    grpo.run(settings)
    assert [checked.wrong for checked in check_run(settings.out) if checked.wrong] == []
    with Run.open(settings.out) as record:
        metrics = {name: told[0][1] for name, told in record.metrics().items()}
    print(
        f"\nGRPO: drift {metrics['drift/mean']:.1e}, at most {metrics['drift/max']:.1e}; reward {metrics['reward']:g}"
    )
    assert metrics["drift/max"] < 1e-3
    assert metrics["grad_norm"] > 0
