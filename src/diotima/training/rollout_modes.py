"""Where the tutor speaks while it is trained: by the weights in this process, or by a vLLM that is given them.

- ``process``: the weights that are trained are those that speak. Needs nothing; on a processor and for small models.
- ``colocate``: a vLLM in the same process, on the same GPU. It sleeps, without weights and cache, while the tutor is
  trained, and is given the weights anew before each generation of lessons.
- ``server``: a ``vllm serve`` on GPUs of its own, asked over HTTP by every lesson for itself. TRL pushes the weights
  there over NCCL. No process needs all of the weights, so FSDP2 and ZeRO-3 will do.

vLLM is TRL's own, started, woken and given the weights (an adapter merged into them) by TRL; only the talking is ours.
TRL's ``vllm_generation.generate`` is a collective call: processes whose lessons take different numbers of turns would
wait for each other for ever. In place of it each dialogue goes on from its own ids, with seeds of its own lesson.

What vLLM says of log-probabilities differs a little from what the trained weights say (other kernels, often another
precision), for which TRL corrects the loss. Departure from its default: each token's ratio is cut off by itself
(``token_truncate``). That of a whole dialogue, a product over hundreds of tokens, leaves its bounds by rounding alone.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

from diotima.errors import CallRefused, SettingsError
from diotima.models.batching import Batcher
from diotima.models.chat import ChatModel, Sampling
from diotima.models.template import ChatFormat
from diotima.models.token_endpoint import TokenEndpoint, vllm_parameters
from diotima.models.token_model import Ids, TokenModel
from diotima.models.transport import Sent, Server
from diotima.training.setup import in_parts

if TYPE_CHECKING:
    import torch

    from diotima.models.local import LocalModel

Mode = Literal["process", "colocate", "server"]
SERVE = (
    'VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config \'{"backend": "nccl"}\' '
    "--logprobs-mode processed_logprobs"
)
"""How a server is started that can be given weights."""
_PAUSE = 2.0  # seconds between two looks whether a server has started


class Speaker(ChatModel, Protocol):
    """A tutor in training, and how its ids are laid out."""

    @property
    def format(self) -> ChatFormat:
        """Its chat template and ends."""
        ...


class Policy(Protocol):
    """The tutor in training."""

    def speaking(self, trainer: Any) -> AbstractContextManager[Speaker]:
        """The tutor with the weights that the trainer has now, ready to speak until the end of the block."""
        ...


def check(mode: Mode, adapter: str, trl: Mapping[str, Any]) -> dict[str, Any]:
    """TRL's fields that this mode asks for.

    Raises SettingsError for what cannot be together, and on a machine without what the mode needs.
    """
    given = sorted(key for key in trl if key == "use_vllm" or key.startswith("vllm_"))
    if ours := [key for key in given if key in ("use_vllm", "vllm_mode")]:
        raise SettingsError(
            f"train grpo: trl.{ours[0]} follows from rollouts; leave it out, and say rollouts: colocate or server"
        )
    if mode == "process":
        if given:
            raise SettingsError(
                f"train grpo: trl.{given[0]} is for a vLLM, and with rollouts = process there is none; leave it out, "
                "or say rollouts: colocate or server"
            )
        return {}
    if adapter in ("prefix", "qlora"):
        raise SettingsError(
            f"train grpo: with rollouts = {mode} vLLM is given whole merged weights, which adapter = {adapter} does "
            "not have; take adapter: lora, or rollouts: process"
        )
    if trl.get("vllm_tensor_parallel_size", 1) != 1:
        raise SettingsError(
            "train grpo: with trl.vllm_tensor_parallel_size several processes would have to speak in step, and lessons "
            "do not; leave it out, or say rollouts: server, with --tensor-parallel-size for vllm serve"
        )
    if lacking := _lacking():
        raise SettingsError(
            f"train grpo: rollouts = {mode} needs {' and '.join(lacking)} here; without, say rollouts: process"
        )
    return {
        "use_vllm": True,
        "vllm_mode": mode,
        "vllm_enable_sleep_mode": mode == "colocate",
        "vllm_importance_sampling_mode": "token_truncate",
    }


def _lacking() -> list[str]:
    import torch

    lacking = [] if torch.cuda.is_available() else ["a GPU"]
    # TRL reads its part of vLLM's code for the push of weights to a server, too.
    return lacking + ([] if find_spec("vllm") else ["vLLM (pip install 'trl[vllm]==1.16.*')"])


def refuse_unready(mode: Mode, args: Any) -> None:
    """Raise SettingsError if there is no server that can be given weights and tells what it sampled from.

    One that does not answer yet is waited for as long as TRL would wait, ``trl.vllm_server_timeout`` seconds.
    """
    if mode != "server":
        return
    url = _address(args)
    sent = asyncio.run(_waited_for(f"{url}/server_info?config_format=json", args.vllm_server_timeout))
    if sent.status is None:
        raise SettingsError(
            f"train grpo: nobody answers at {url} ({sent.reason}); start the tutor's server with {SERVE}, and say "
            "where it is: trl.vllm_server_base_url"
        )
    told: Any = json.loads(sent.body)["vllm_config"] if sent.status == 200 else {}
    logprobs = told.get("model_config", {}).get("logprobs_mode")
    if told.get("weight_transfer_config") is None or logprobs != "processed_logprobs":
        raise SettingsError(
            f"train grpo: the server at {url} was not started such that a tutor in training can speak there; start it "
            f"with {SERVE}"
        )


async def _waited_for(page: str, seconds: float) -> Sent:
    server, until = Server(page, "", seconds), time.monotonic() + seconds
    sent = await server.get(page)
    if sent.status is None and seconds:
        print(f"waiting {seconds:g} seconds at most for the tutor's server at {page}", file=sys.stderr, flush=True)
    while sent.status is None and time.monotonic() < until:
        await asyncio.sleep(_PAUSE)
        sent = await server.get(page)
    return sent


def policy_of(mode: Mode) -> Policy:
    """The tutor in training, in this mode."""
    policies: dict[Mode, type[Policy]] = {"process": InProcess, "colocate": Colocated, "server": Served}
    return policies[mode]()


class InProcess:
    """The weights that are trained speak themselves."""

    def __init__(self) -> None:
        self._local: LocalModel | None = None

    @contextmanager
    def speaking(self, trainer: Any) -> "Iterator[LocalModel]":
        """See `Policy`. Raises SettingsError where no process has all of the weights."""
        from diotima.models.local import LocalModel

        if self._local is None:
            policy = trainer.accelerator.unwrap_model(trainer.model)
            if in_parts(policy):
                raise SettingsError(
                    "train grpo: with FSDP or ZeRO-3 no process has all of the tutor's weights, and it cannot teach; "
                    "train it with DDP or ZeRO-2 (recipes/launch), and an adapter if that takes too much, or let it "
                    "speak elsewhere (rollouts: server)"
                )
            self._local = LocalModel(policy, trainer.processing_class, "the policy")
        model, training = self._local.model, self._local.model.training
        self._local.forget()
        model.train(False)
        try:
            yield self._local
        finally:
            model.train(training)


class Served:
    """A ``vllm serve`` speaks, to which TRL has pushed the weights before it asked for lessons."""

    def __init__(self) -> None:
        self._model: TokenModel | None = None

    @contextmanager
    def speaking(self, trainer: Any) -> Iterator[TokenModel]:
        """See `Policy`."""
        # The first process pushes the weights, and nobody else knows when it is done.
        trainer.accelerator.wait_for_everyone()
        if self._model is None:
            chat = _chat_format(trainer)
            self._model = TokenModel(chat, TokenEndpoint(f"{_address(trainer.args)}/v1", chat.end_ids).sample)
        yield self._model


class Colocated:
    """A vLLM in this process speaks, which TRL has woken and given the weights before it asked for lessons."""

    def __init__(self) -> None:
        self._model: TokenModel | None = None

    @contextmanager
    def speaking(self, trainer: Any) -> Iterator[TokenModel]:
        """See `Policy`."""
        vllm = trainer.vllm_generation
        if self._model is None:
            chat = _chat_format(trainer)
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


def _chat_format(trainer: Any) -> ChatFormat:
    from diotima.models.local import chat_format

    return chat_format(trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class, "the policy")


def _address(args: Any) -> str:
    """Where the tutor's server is, by TRL's settings."""
    return str(args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}").rstrip("/")
