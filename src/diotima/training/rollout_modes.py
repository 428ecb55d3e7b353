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
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

from diotima.errors import SettingsError
from diotima.models.chat import ChatModel
from diotima.models.template import ChatFormat
from diotima.models.token_endpoint import TokenEndpoint
from diotima.models.token_model import TokenModel
from diotima.models.transport import Sent, Server
from diotima.training.colocated import Colocated, policy_format
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
    if str(trl.get("vllm_server_base_url") or "").rstrip("/").endswith("/v1"):
        raise SettingsError(
            "train grpo: trl.vllm_server_base_url is where the server is, and not its pages for chats; leave /v1 out"
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
    transfer, logprobs = _told(sent)
    if transfer is None or logprobs != "processed_logprobs":
        raise SettingsError(
            f"train grpo: the server at {url} was not started such that a tutor in training can speak there; start it "
            f"with {SERVE}"
        )


def _told(sent: Sent) -> tuple[Any, Any]:
    """What a server says of the transfer of weights and of its log-probabilities; None where it is no vLLM."""
    try:
        told = json.loads(sent.body)["vllm_config"]
        return told["weight_transfer_config"], told["model_config"]["logprobs_mode"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None, None


async def _waited_for(page: str, seconds: float) -> Sent:
    server, until = Server(page, "", seconds), time.monotonic() + seconds
    sent = await server.get(page)
    if sent.status is None and seconds:
        print(f"waiting {seconds:g} seconds at most for the tutor's server at {page}", file=sys.stderr, flush=True)
    while sent.status is None and time.monotonic() < until:
        await asyncio.sleep(_PAUSE)
        sent = await server.get(page)
    return sent


def keep_base(vllm: Any) -> None:
    """Let a model with an adapter be as it was, bit by bit, after TRL has given its weights to vLLM.

    TRL adds the adapter to the base, reads the sum, and takes the adapter off again. In bfloat16 that leaves other
    weights, every time, and an adapter that was trained beside them belongs to a base that nobody has. So they are kept
    in main memory, once, and put back.
    """
    give = vllm.sync_weights
    kept: dict[str, torch.Tensor] = {}

    def sync_weights() -> None:
        base = {name: _own(weight) for name, weight in vllm.model.named_parameters() if ".base_layer." in name}
        if not kept:
            kept.update({name: weight.to("cpu", copy=True) for name, weight in base.items()})
        give()
        for name, weight in base.items():
            weight.copy_(kept[name])

    vllm.sync_weights = sync_weights


def _own(weight: "torch.Tensor") -> "torch.Tensor":
    """What this process holds of a weight, without its gradient."""
    shard: torch.Tensor = weight.to_local() if hasattr(weight, "to_local") else weight
    return shard.detach()


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
            chat = policy_format(trainer)
            self._model = TokenModel(chat, TokenEndpoint(f"{_address(trainer.args)}/v1", chat.end_ids).sample)
        yield self._model


def _address(args: Any) -> str:
    """Where the tutor's server is, by TRL's settings."""
    return str(args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}").rstrip("/")
