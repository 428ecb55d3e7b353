"""A vLLM in the process of the training, which speaks for the tutor and sleeps while the tutor is trained.

TRL starts it, wakes its weights and puts the tutor's in their place; here it is given room for its cache, asked for the
replies of many lessons at once, and sent to sleep. See `rollout_modes`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from diotima.errors import CallRefused
from diotima.models.batching import Batcher
from diotima.models.chat import Sampling
from diotima.models.template import ChatFormat
from diotima.models.token_endpoint import vllm_parameters
from diotima.models.token_model import Ids, TokenModel

if TYPE_CHECKING:
    import torch


class Colocated:
    """A vLLM in this process speaks, which TRL has woken and given the weights before it asked for lessons."""

    def __init__(self) -> None:
        self._model: TokenModel | None = None

    @contextmanager
    def speaking(self, trainer: Any) -> Iterator[TokenModel]:
        """See `rollout_modes.Policy`."""
        vllm = trainer.vllm_generation
        if self._model is None:
            chat = policy_format(trainer)
            self._model = TokenModel(chat, _Engine(vllm, chat, trainer.accelerator.device).sample)
        if vllm.enable_sleep_mode:
            if vllm._llm_weights_sleeping:  # TRL gives them once a step, and this is the step's second generation
                vllm.sync_weights()
            vllm.llm.wake_up(tags=["kv_cache"])
        try:
            yield self._model
        finally:
            if vllm.enable_sleep_mode:
                vllm.llm.sleep(level=2)  # which throws the weights away, for the next ones are others
                vllm._llm_weights_sleeping = True


class _Engine:
    """vLLM's engine in this process, which is asked for many replies at once."""

    def __init__(self, vllm: Any, chat: ChatFormat, device: "torch.device") -> None:
        self._llm = vllm.llm
        self._end_ids = chat.end_ids
        self._device = device
        self._batcher: Batcher[tuple[Ids, Sampling], tuple[Ids, tuple[float, ...]]] = Batcher(
            self._work, vllm.max_num_seqs
        )

    async def sample(self, ids: Ids, sampling: Sampling) -> tuple[Ids, tuple[float, ...]]:
        """The ids that follow, and the log-probability of each. Raises CallRefused where there is no room for them."""
        most = self._llm.llm_engine.model_config.max_model_len
        if len(ids) + sampling.max_tokens > most:  # vLLM would refuse the whole batch
            raise CallRefused(
                f"the tutor has read {len(ids)} tokens and may write {sampling.max_tokens}, and its vLLM has room for "
                f"{most}; raise trl.vllm_max_model_length"
            )
        return await self._batcher.ask((ids, sampling))

    def _work(self, asked: Sequence[tuple[Ids, Sampling]]) -> list[tuple[Ids, tuple[float, ...]]]:
        import torch
        from vllm import SamplingParams

        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)  # each thread has its own, and this is not the one that loaded vLLM
        outputs = self._llm.generate(
            [{"prompt_token_ids": list(ids)} for ids, _ in asked],
            sampling_params=[SamplingParams(**vllm_parameters(sampling, self._end_ids)) for _, sampling in asked],
            use_tqdm=False,
        )
        replies = [output.outputs[0] for output in outputs]
        return [
            (
                tuple(reply.token_ids),
                tuple(likely[token].logprob for token, likely in zip(reply.token_ids, reply.logprobs, strict=True)),
            )
            for reply in replies
        ]


def policy_format(trainer: Any) -> ChatFormat:
    """How the tutor in training is talked to."""
    from diotima.models.local import chat_format

    return chat_format(trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class, "the policy")
