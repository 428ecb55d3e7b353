"""Models in this process: any causal transformer in a folder (``hf/PATH``), answering many lessons at once.

A folder may also hold an adapter, which is put on its base, see `models.adapted`.

Concurrent replies are gathered into batches; each dialogue's key-value cache waits for its next turn; the reply
carries its token ids and log-probabilities, which is what training needs. Attention, weights and precision are
transformers' own; only sampling and the care of the cache are ours.
"""

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diotima.dialogue import Message, Tokens
from diotima.errors import ModelError
from diotima.models.adapted import base_of, first_line, is_adapter, is_prefix, with_adapter
from diotima.models.batching import Batcher
from diotima.models.chat import Reply, Sampling
from diotima.models.generation import Context, Layers, Sampled, check_cache, check_prefix, sample_replies
from diotima.models.template import ChatFormat
from diotima.models.token_model import ids_before, reply_after

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROWS = 64
CACHE_BYTES = 128 * 2**20
"""Memory for the caches of waiting dialogues on a processor; on a GPU it is a quarter of what is free."""


class LocalModel:
    """A chat model on this machine. ``rows``: the largest batch; ``cache_bytes``: memory for waiting dialogues."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        name: str = "the model",
        rows: int = ROWS,
        cache_bytes: int | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.format = chat_format(model, tokenizer, name)
        if is_prefix(model):
            check_prefix(model, name)
        else:
            check_cache(model, name)
        self._caches = _Caches(_cache_bytes(model) if cache_bytes is None else cache_bytes)
        self._batcher: Batcher[Context, Sampled] = Batcher(self._sample, rows)

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """The next message, with its tokens. A dialogue whose tokens are known goes on from them."""
        ids, begun = ids_before(self.format, messages, sampling)
        earlier = next((message.tokens for message in reversed(messages) if message.tokens), None)
        layers = self._caches.take((*earlier.prompt_ids, *earlier.reply_ids)) if earlier else None
        sampled = await self._batcher.ask(Context(ids, sampling, layers))
        if sampled.layers:
            self._caches.put((*ids, *sampled.ids), sampled.layers)
        return reply_after(self.format, begun, Tokens(ids, sampled.ids, sampled.logprobs))

    def forget(self) -> None:
        """Drop all caches; due whenever the weights have changed."""
        self._caches = _Caches(self._caches.limit)

    def _sample(self, contexts: Sequence[Context]) -> list[Sampled]:
        pad_id = self.tokenizer.pad_token_id
        return sample_replies(self.model, contexts, self.format.end_ids, 0 if pad_id is None else pad_id)


class _Caches:
    """The caches of dialogues between two turns, by the ids they cover and one more; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[tuple[int, ...], Layers] = OrderedDict()
        self._bytes = 0

    def take(self, ids: tuple[int, ...]) -> Layers | None:
        layers = self._held.pop(ids, None)
        self._bytes -= _size(layers) if layers else 0
        return layers

    def put(self, ids: tuple[int, ...], layers: Layers) -> None:
        self.take(ids)
        self._held[ids] = layers
        self._bytes += _size(layers)
        while self._bytes > self.limit:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= _size(oldest)


def _cache_bytes(model: "PreTrainedModel") -> int:
    import torch

    return torch.cuda.mem_get_info(model.device)[0] // 4 if model.device.type == "cuda" else CACHE_BYTES


def _size(layers: Layers) -> int:
    return sum(part.nbytes for layer in layers for part in layer)


def chat_format(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", name: str) -> ChatFormat:
    """How this model is talked to, by its tokenizer's template and its own settings."""
    return ChatFormat(tokenizer, name, _ends(model))


def _ends(model: "PreTrainedModel") -> list[int]:
    """The ids that the model's own settings call ends."""
    ends = model.generation_config.eos_token_id if model.generation_config else None
    return [ends] if isinstance(ends, int) else list(ends or ())


def load_local(folder: Path, name: str, **loading: Any) -> LocalModel:
    """Load model and tokenizer from a folder. ``loading``: see `load_weights`.

    Raises ModelError, with what is missing, if the folder holds no weights, no tokenizer or something unreadable.
    """
    model: Any = load_weights(folder, name, **loading)  # transformers' annotations of its methods do not fit each other
    tokenizer = load_tokenizer(folder, name)
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise ModelError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens, the model {known}; they do not belong together"
        )
    model = model.eval() if "quantization_config" in loading else model.eval().to(_first_home())
    local = LocalModel(model, tokenizer, name)
    if local.format.end_ids - {*_ends(model)}:
        # Whoever trains or serves this model next shall know where its turns end.
        model.generation_config.eos_token_id = sorted(local.format.end_ids)
    return local


def load_weights(folder: Path, name: str, **loading: Any) -> "PreTrainedModel":
    """The model in a folder, in the precision it was saved in on an accelerator, in float32 on a processor.

    An adapter's folder gives its base with the adapter on it. ``loading``: transformers' own ``dtype`` and
    ``quantization_config``, for training.
    """
    if is_adapter(folder):
        base = base_of(folder, name)
        return with_adapter(load_weights(base, f"{name}, its base {base}", **loading), folder, name)
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    if not (folder / "config.json").is_file():
        raise ModelError(f"{name}: {folder} is no model folder, it has no config.json")
    if not [*folder.glob("*.safetensors"), *folder.glob("*.bin")]:
        raise ModelError(f"{name}: {folder} has no weights (no *.safetensors); was the download cut off?")
    try:
        how = {"dtype": torch.float32 if _best_device() == "cpu" else "auto", **loading}
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, **how
        )
    except Exception as error:  # transformers, safetensors and json each raise their own
        raise ModelError(f"{name}: the weights in {folder} cannot be loaded ({first_line(error)})") from None
    # Transformers draws missing weights at random and goes on; such a model would talk nonsense without a word.
    model: PreTrainedModel
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{name}: the weights in {folder} are not whole, {missing[0]} and {len(missing) - 1} more lack"
        )
    return model


def load_tokenizer(folder: Path, name: str) -> "PreTrainedTokenizerBase":
    """The tokenizer in a folder."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer.encode("test")
    except Exception as error:
        raise ModelError(f"{name}: the tokenizer in {folder} cannot be loaded ({first_line(error)})") from None
    return tokenizer


def _first_home() -> str:
    # With FSDP a GPU gets its part of the weights later, and may not have room for all of them.
    return "cpu" if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true" else _best_device()


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
