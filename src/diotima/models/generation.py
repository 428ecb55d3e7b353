"""Sampling replies for a batch of contexts from any plain causal transformer, with the key-value cache kept per row.

A row is one dialogue. What it has read is kept as its own compact cache, so a later turn reads the new tokens only,
in whatever batch it happens to be. Rows that have finished leave the batch. Models whose attention is not plain
(sliding windows, recurrent states) read the whole context at every turn instead.

A learned prefix (P-tuning v2) is nothing but the keys and values with which every row's cache begins. So it takes
part here as such, and the model below it is asked directly: peft would put it before each token anew.

Shapes: B rows, S new tokens (left-padded), C cached tokens (left-padded), V vocabulary.
"""

# ruff: noqa: N815  (shapes are part of a tensor's name)

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from diotima.errors import ModelError
from diotima.models.adapted import is_prefix
from diotima.models.chat import Sampling

Layers = tuple[tuple[torch.Tensor, torch.Tensor], ...]
"""The keys and values of one row, per layer, each of shape (heads, tokens, head width)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a reply continues: all ids, and the cache of the first of them (None: nothing is cached).

    A model's prefix stands at the beginning of every cache.
    """

    ids: tuple[int, ...]
    sampling: Sampling
    layers: Layers | None = None

    @property
    def cached(self) -> int:
        """How many places of the cache are taken."""
        return self.layers[0][0].shape[1] if self.layers else 0


@dataclass(frozen=True, slots=True)
class Sampled:
    """One reply: its ids, their log-probabilities, whether it ended by itself, and the row's cache afterwards.

    The cache covers all ids but the last, which the model has not read yet.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    ended: bool
    layers: Layers | None


_ROOM = 64
"""Places by which a cache grows at a time."""
_DENSE = 0.9
"""Finished rows leave a batch once no more than this share of it is still being written."""


def _with_room(states: torch.Tensor, room: int) -> torch.Tensor:
    return torch.nn.functional.pad(states, (0, 0, 0, room))


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with room to grow in place: appending one token must not copy all others."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._length = keys.shape[2]
        self._keys, self._values = _with_room(keys, room), _with_room(values, room)
        self._show()

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, Any]:
        end = self._length + key_states.shape[2]
        if end > self._keys.shape[2]:
            self._keys, self._values = _with_room(self._keys, _ROOM), _with_room(self._values, _ROOM)
        self._keys[:, :, self._length : end] = key_states
        self._values[:, :, self._length : end] = value_states
        self._length = end
        self._show()
        return self.keys, self.values

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these."""
        self._keys, self._values = self._keys[rows], self._values[rows]
        self._show()

    def _show(self) -> None:
        self.keys, self.values = self._keys[:, :, : self._length], self._values[:, :, : self._length]
        self.dtype, self.device, self.is_initialized = self.keys.dtype, self.keys.device, True


def keeps_plain_cache(model: PreTrainedModel) -> bool:
    """Whether every layer's cache is simply all keys and values so far, so that rows can be taken out and put in."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def check_cache(model: PreTrainedModel, name: str) -> None:
    """Raise ModelError if a model takes no cache, or one under a name of its own: it would forget all that it read."""
    whole: Any = model
    whole = whole.get_base_model() if hasattr(model, "peft_config") else whole
    if "past_key_values" not in signature(type(whole).forward).parameters:
        raise ModelError(
            f"{name}: a model of the kind {model.config.model_type} keeps what it has read in another way than a "
            "key-value cache, which is not understood here; take another model, or let it speak behind an endpoint"
        )


def check_prefix(model: PreTrainedModel, name: str) -> None:
    """Raise ModelError if a prefix cannot stand at the beginning of this model's cache."""
    if not keeps_plain_cache(model):
        raise ModelError(
            f"{name}: a prefix is a part of the key-value cache, and this model does not keep all of its cache (its "
            "attention has a sliding window, or it has a state instead); take adapter: lora"
        )


def prefix_of(model: PreTrainedModel) -> Layers | None:
    """The keys and values that a model with a learned prefix reads before everything else; None for other models."""
    if not is_prefix(model):
        return None
    prefixed: Any = model
    return tuple((layer.keys[0], layer.values[0]) for layer in prefixed.get_prompt(1).layers)


@torch.no_grad()
def sample_replies(
    model: PreTrainedModel, contexts: Sequence[Context], end_ids: frozenset[int], pad_id: int
) -> list[Sampled]:
    """One reply for each context. Every row draws from a generator of its own, seeded by its ``sampling``."""
    if not keeps_plain_cache(model):
        return _write(model, contexts, _read(model, contexts, pad_id, 0), end_ids, plain=False)
    prefix, prefixed = prefix_of(model), 0
    if prefix:
        wrapped: Any = model
        model, prefixed = wrapped.get_base_model(), prefix[0][0].shape[1]
        contexts = [replace(context, layers=context.layers or prefix) for context in contexts]
    return _write(model, contexts, _read_by_kind(model, contexts, pad_id, prefixed), end_ids, plain=True)


@dataclass(slots=True)
class _Batch:
    """Rows that have read their context: cache, which of its places each row uses, and what comes next."""

    cache: DynamicCache
    mask_B_T: torch.Tensor
    logits_B_V: torch.Tensor

    def row(self, place: int) -> Layers:
        """One row's keys and values at the places where its mask is set."""
        mask_T = self.mask_B_T[place].bool()
        layers: list[Any] = self.cache.layers
        return tuple((layer.keys[place][:, mask_T], layer.values[place][:, mask_T]) for layer in layers)


def _read(model: PreTrainedModel, contexts: Sequence[Context], pad_id: int, prefixed: int) -> _Batch:
    """Read each context's new tokens in one pass. ``prefixed``: places of each cache that belong to no token."""
    new = [context.ids[max(context.cached - prefixed, 0) :] for context in contexts]
    longest, most_cached = max(map(len, new)), max(context.cached for context in contexts)
    ids_B_S = torch.full((len(new), longest), pad_id)
    mask_B_T = torch.zeros((len(new), most_cached + longest), dtype=torch.long)
    for row, (context, ids) in enumerate(zip(contexts, new, strict=True)):
        ids_B_S[row, longest - len(ids) :] = torch.tensor(ids)
        mask_B_T[row, most_cached - context.cached : most_cached] = 1
        mask_B_T[row, most_cached + longest - len(ids) :] = 1
    cache = DynamicCache(config=model.config)
    if most_cached:
        _fill(cache, [context.layers for context in contexts if context.layers], room=longest)
    mask_B_T = mask_B_T.to(model.device)
    output = model(
        input_ids=ids_B_S.to(model.device),
        attention_mask=mask_B_T,
        position_ids=(mask_B_T.cumsum(1) - 1).clamp(min=0)[:, most_cached:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return _Batch(cache, mask_B_T, output.logits[:, -1].float())


def _read_by_kind(model: PreTrainedModel, contexts: Sequence[Context], pad_id: int, prefixed: int) -> _Batch:
    """Read contexts with a cache and those without one after the other, and join them.

    Rows with a cache read a few tokens, rows without read hundreds: padding one to the other would double the work.
    What was read is copied into the joined batch, and let go before anything is written: caches are what is large.
    """
    rows: dict[int, tuple[Layers, torch.Tensor]] = {}
    for cached in (True, False):
        chosen = [index for index, context in enumerate(contexts) if (context.cached > prefixed) == cached]
        if chosen:
            read = _read(model, [contexts[index] for index in chosen], pad_id, prefixed)
            for place, index in enumerate(chosen):
                rows[index] = read.row(place), read.logits_B_V[place]
    layers, logits = zip(*(rows[index] for index in range(len(contexts))), strict=True)
    return _join(model, layers, torch.stack(logits))


def _join(model: PreTrainedModel, rows: Sequence[Layers], logits_B_V: torch.Tensor) -> _Batch:
    """One batch of rows that were read in different ones."""
    lengths = [row[0][0].shape[1] for row in rows]
    mask_B_T = torch.zeros((len(rows), max(lengths)), dtype=torch.long, device=model.device)
    for index, length in enumerate(lengths):
        mask_B_T[index, max(lengths) - length :] = 1
    cache = DynamicCache(config=model.config)
    _fill(cache, rows, room=_ROOM)
    return _Batch(cache, mask_B_T, logits_B_V)


def _write(
    model: PreTrainedModel, contexts: Sequence[Context], batch: _Batch, end_ids: frozenset[int], plain: bool
) -> list[Sampled]:
    """Sample token by token until every row has ended or met its limit."""
    device = model.device
    limits = [context.sampling.max_tokens for context in contexts]
    draws_B_N = torch.stack([_draws(context.sampling, max(limits)) for context in contexts]).to(device)
    temperature_B = torch.tensor([context.sampling.temperature for context in contexts], device=device)
    top_p_B = torch.tensor([context.sampling.top_p for context in contexts], device=device)
    position_B = batch.mask_B_T.sum(1)
    ids: list[list[int]] = [[] for _ in contexts]
    logprobs: list[list[float]] = [[] for _ in contexts]
    ended = [False] * len(contexts)
    layers: list[Layers | None] = [None] * len(contexts)
    live = list(range(len(contexts)))
    for step in range(max(limits)):
        token_B, logprob_B = _draw(batch.logits_B_V, temperature_B, top_p_B, draws_B_N[:, step])
        staying = []
        for place, (index, token, logprob) in enumerate(zip(live, token_B.tolist(), logprob_B.tolist(), strict=True)):
            if ended[index] or len(ids[index]) >= limits[index]:
                continue  # finished, and not taken out yet
            ids[index].append(token)
            logprobs[index].append(logprob)
            ended[index] = token in end_ids
            if not ended[index] and len(ids[index]) < limits[index]:
                staying.append(place)
            elif plain:
                layers[index] = batch.row(place)
        if not staying:
            break
        # Taking rows out copies all caches, so it has to be worth it.
        if plain and len(staying) <= _DENSE * len(live):
            live, kept = [live[place] for place in staying], torch.tensor(staying, device=device)
            layers_kept: list[Any] = batch.cache.layers
            for layer in layers_kept:
                layer.keep(kept)
            batch.mask_B_T, draws_B_N, position_B = batch.mask_B_T[kept], draws_B_N[kept], position_B[kept]
            temperature_B, top_p_B, token_B = temperature_B[kept], top_p_B[kept], token_B[kept]
        batch.mask_B_T = torch.nn.functional.pad(batch.mask_B_T, (0, 1), value=1)
        output = model(
            input_ids=token_B[:, None],
            attention_mask=batch.mask_B_T,
            position_ids=position_B[:, None],
            past_key_values=batch.cache,
            use_cache=True,
        )
        batch.logits_B_V, position_B = output.logits[:, -1].float(), position_B + 1
    return [Sampled(tuple(i), tuple(p), e, c) for i, p, e, c in zip(ids, logprobs, ended, layers, strict=True)]


def _draw(
    logits_B_V: torch.Tensor, temperatures_B: torch.Tensor, top_p_B: torch.Tensor, uniform_B: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A token for each row by inverting its distribution function at ``uniform_B``, and its log-probability.

    At temperature 0 the token is the most likely one and its log-probability that at temperature 1.
    """
    greedy_B = temperatures_B == 0
    logprobs_B_V = torch.log_softmax(logits_B_V / torch.where(greedy_B, 1.0, temperatures_B)[:, None], dim=-1)
    if bool((top_p_B < 1).any()):
        logprobs_B_V = _nucleus(logprobs_B_V, top_p_B)
    below_B_V = logprobs_B_V.double().exp().cumsum(-1)
    drawn_B = (below_B_V <= uniform_B[:, None] * below_B_V[:, -1:]).sum(-1).clamp(max=logits_B_V.shape[1] - 1)
    token_B = torch.where(greedy_B, logits_B_V.argmax(-1), drawn_B)
    return token_B, logprobs_B_V.gather(1, token_B[:, None])[:, 0]


def _nucleus(logprobs_B_V: torch.Tensor, top_p_B: torch.Tensor) -> torch.Tensor:
    """The distribution over the most likely tokens that together reach ``top_p``."""
    ordered_B_V, order_B_V = logprobs_B_V.sort(-1, descending=True)
    before_B_V = ordered_B_V.exp().cumsum(-1) - ordered_B_V.exp()
    dropped_B_V = torch.zeros_like(order_B_V, dtype=torch.bool).scatter(1, order_B_V, before_B_V >= top_p_B[:, None])
    return torch.log_softmax(logprobs_B_V.masked_fill(dropped_B_V, float("-inf")), dim=-1)


def _draws(sampling: Sampling, count: int) -> torch.Tensor:
    """This row's random numbers in [0, 1), one for each token."""
    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _fill(cache: DynamicCache, rows: Sequence[Layers], room: int) -> None:
    """Put the rows' compact caches into one batch, left-padded, with room for so many tokens more."""
    longest = max(row[0][0].shape[1] for row in rows)

    def padded(layer: int, part: int) -> torch.Tensor:
        example = rows[0][layer][part]
        batch = example.new_zeros((len(rows), example.shape[0], longest, example.shape[2]))
        for index, row in enumerate(rows):
            batch[index, :, longest - row[layer][part].shape[1] :] = row[layer][part]
        return batch

    cache.layers = [_Layer(padded(layer, 0), padded(layer, 1), room) for layer in range(len(rows[0]))]
