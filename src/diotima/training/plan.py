"""How much memory a training takes on each GPU, from the model's configuration alone: no weights are read.

Parameters are counted on torch's ``meta`` device, adapters as peft would put them there; both counts are exact. The
rest is arithmetic over what this package does on a GPU: weights that are trained are float32 under autocast to
bfloat16, frozen ones stay as they were saved. Bytes for P parameters, of which t are trained, on N GPUs:

| | weights | working copies | gradients | optimizer |
|---|---|---|---|---|
| one GPU | 4t + frozen | 2 per linear weight | 4t | s t |
| DDP | the same | the same | 8t (its buckets are a second copy) | s t |
| ZeRO-2 | 2t + frozen | - | 2t / N and a bucket of 1e9 | (4 + s) t / N |
| ZeRO-3 | (2t + frozen) / N | two layers and the vocabulary, gathered | 2t / N | (4 + s) t / N |
| FSDP2 | (4t + frozen) / N | the same | 4t / N | s t / N |

A reference model takes as much as weights that are trained. s: 8 for AdamW (two float32 moments; 4 more for each
tensor's step), 2 in 8 bits, where embeddings stay at 8. Frozen weights take 2 bytes, under QLoRA those of linear layers
0.516 (4 bits, and 0.127 more for the constants). ZeRO's sums are those of Rajbhandari et al. 2020 (arXiv 1910.02054),
QLoRA's those of Dettmers et al. 2023 (arXiv 2305.14314).

Activations that are kept for the backward pass are counted as Korthikanti et al. 2022 (arXiv 2205.05198) count them,
for today's layers (RMSNorm in float32, gated feed-forward, fused attention that keeps no scores), per token and layer:

    all weights: 16 h + 2 h d + 4 a d + 4 f d + n d        d bytes of a number: 2 under autocast, 4 without
    an adapter:   8 h +         4 a d + 3 f d + n d + x    h width, a width of all heads, f feed-forward, n tokens a row

x, what low-rank differences read: d for every input of an adapted layer, and one byte for its dropout. Norms of
queries and keys add 8 bytes for each of their numbers. With checkpointing a layer keeps its input alone, and one at a
time is whole. TRL computes the loss in tiles of at most 4,096 tokens by 32,768 words, so there are no logits.

Lessons in this process are held when there are no gradients. Keys and values take 2 numbers per token, layer and key
width, in the precision of the embeddings (autocast does not reach them: 4 bytes where all weights are trained, but 2
under ZeRO, else as saved), twice so in the lessons of a batch: as the turn before has left them, and as they grow.

A vLLM on the same GPU takes the share of it that it is told to, `Engine`; it does not start if that is less than its
weights, as they were saved, and the cache of one row as long as it may read.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from diotima.errors import ModelError, SettingsError
from diotima.training.adapters import AdapterSettings, adapter_config

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

Sharding = Literal["one", "ddp", "zero2", "zero3", "fsdp2"]
CARDS = (24, 40, 80, 141)
"""Memory of usual GPUs, in gigabytes."""
RESERVE, SLACK = 1e9, 1.05
"""What the driver and its libraries take, and what the allocator loses."""

_MOMENTS = {"adamw": 8.0, "adam": 8.0, "lion": 4.0, "rmsprop": 4.0, "adagrad": 4.0, "adafactor": 0.0, "sgd": 0.0}
_QUANTISED = 4 / 8 + 0.127 / 8  # bytes of a weight in NF4 with double quantisation
_TILE = (4096, 32768)  # tokens and words of TRL's fused head
_BUCKET = 1e9  # bytes: DeepSpeed's reduce_bucket_size of 5e8 numbers


@dataclass(frozen=True, slots=True)
class Shape:
    """A model in numbers. All but ``read`` count numbers, not bytes.

    ``vocabulary``: weights of embedding and head. ``linear``: of all other linear layers. ``trained``, in ``tensors``.
    ``normed``: queries and keys that a layer norms. ``read``: bytes for each token and layer that low-rank differences
    keep of what they read, dropout included, under autocast; ``saved``: bytes of a weight on the disk. ``idle``:
    weights of the experts that a token does not go to. ``positions``: how many tokens the model can read.
    """

    parameters: int
    idle: int
    vocabulary: int
    linear: int
    trained: int
    tensors: int
    layers: int
    width: int
    heads: int
    keys: int
    feed_forward: int
    words: int
    normed: int
    read: int
    saved: int
    positions: int


@dataclass(frozen=True, slots=True)
class Engine:
    """A vLLM in the process of the training.

    ``share`` of the GPU is its own while lessons are held, and always unless it ``sleeps``. ``longest``: tokens of the
    longest row that it has to have room for; None: as many as the model can read.
    """

    share: float
    sleeps: bool
    longest: int | None


@dataclass(frozen=True, slots=True)
class Work:
    """One training in numbers.

    ``rows`` of at most ``tokens`` go through the model at once, ``accumulation`` times in a step; ``lessons`` are held
    at once before that by the weights that are trained, or any number of them by an ``engine``. ``reference``: whether
    there is a second model to compare with. ``others``: bytes of further models in the process.
    """

    adapter: str
    optimizer: str
    rows: int
    tokens: int
    accumulation: int
    checkpointing: bool
    reference: bool = False
    lessons: int = 0
    others: float = 0.0
    engine: Engine | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each GPU. At its peak either gradients and activations are there, or the caches of lessons.

    ``engine``: the least that a vLLM for the lessons has to have, ``awake``: what it has of it in training, too.
    """

    weights: float
    copies: float
    optimizer: float
    reference: float
    others: float
    gradients: float
    activations: float
    caches: float
    engine: float
    awake: float

    @property
    def peak(self) -> float:
        """The most at any time."""
        always = self.weights + self.copies + self.optimizer + self.reference + self.others
        return always + max(self.gradients + self.activations + self.awake, self.caches + self.engine)

    def fits(self, gigabytes: float, share: float = 0.0) -> bool:
        """Whether a GPU of so much memory will do, of which a vLLM takes a ``share``, with a little to spare."""
        taken = share * gigabytes * 1e9
        there = replace(self, engine=taken, awake=taken if self.awake else 0.0)
        return taken >= self.engine and there.peak * SLACK + RESERVE <= gigabytes * 1e9


def shape_of(config: "PretrainedConfig", settings: AdapterSettings) -> Shape:
    """The numbers of a model with this configuration, and with the adapter of these settings.

    Raises ModelError if transformers cannot build such a model.
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    saved = getattr(config.dtype, "itemsize", None) or 2
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                copy.deepcopy(config), dtype=torch.float32
            )
    except Exception as error:  # every model class has its own
        raise ModelError(f"a model cannot be made of this configuration ({' '.join(str(error).split())})") from None
    parameters, vocabulary, linear = _count(model), _vocabulary(model), _linear(model)
    normed, text = _normed(model), config.get_text_config()
    idle = _idle(model, getattr(text, "num_experts_per_tok", None) or 0)
    targets: list[Any] = []
    if settings.adapter != "none":
        try:
            with torch.device("meta"), warnings.catch_warnings():
                # Peft and transformers, about each other's names.
                warnings.filterwarnings("ignore", category=FutureWarning)
                model = get_peft_model(model, adapter_config(settings))
        except Exception as error:  # peft has several
            raise ModelError(
                f"adapter = {settings.adapter} cannot be put on this model ({' '.join(str(error).split())}); change "
                "what it takes exception to, such as lora_targets or lora_dropout"
            ) from None
        targets = [module for module in model.modules() if hasattr(module, "lora_A")]
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    per_input = 3 if settings.lora_dropout else 2
    read = sum(per_input * module.in_features + 2 * settings.lora_rank for module in targets)
    try:
        return Shape(
            parameters=parameters,
            idle=idle,
            vocabulary=vocabulary,
            linear=linear,
            trained=sum(weight.numel() for weight in trained),
            tensors=len(trained),
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            heads=_a_layer(text, lambda layer: layer.num_attention_heads * _per_head(layer)),
            keys=_a_layer(text, lambda layer: _key_heads(layer) * _per_head(layer)),
            feed_forward=_a_layer(text, _feed_forward),
            words=text.vocab_size,
            normed=normed,
            read=round(read / text.num_hidden_layers),
            saved=saved,
            positions=getattr(text, "max_position_embeddings", None) or 0,
        )
    except (AttributeError, ArithmeticError) as error:
        raise ModelError(f"what layers of the kind {config.model_type} keep is not known here ({error})") from None


def memory(shape: Shape, work: Work, sharding: Sharding = "one", gpus: int = 1, autocast: bool = True) -> Memory:
    """What a training takes on each of so many GPUs; without ``autocast``, on a processor in float32."""
    from diotima.models.local import ROWS

    trained, share = shape.trained, 1 / gpus
    frozen = _frozen(shape, work)
    moments = _moments(shape, work.optimizer)
    layer = (shape.parameters - shape.vocabulary) / shape.layers
    gathered = 2 * (2 * layer + shape.vocabulary)
    weights, gradients, copies = 4.0 * trained + frozen, 4.0 * trained, 0.0
    if sharding in ("one", "ddp"):
        copies = 2.0 * min(shape.linear, trained) * autocast
        gradients *= 2 if sharding == "ddp" else 1
    elif sharding == "fsdp2":
        weights, gradients, moments, copies = weights * share, gradients * share, moments * share, gathered
    else:
        weights, moments = 2.0 * trained + frozen, (4.0 * trained + moments) * share
        gradients = 2.0 * trained * share
        if sharding == "zero2":
            gradients += min(_BUCKET, 2.0 * trained)
        else:
            weights, copies = weights * share, gathered
    reference = (2.0 if sharding in ("zero2", "zero3") else 4.0) * shape.parameters * work.reference
    if sharding in ("zero3", "fsdp2"):
        reference *= share
    numbers = 2 if autocast else 4
    cached = 2 * shape.keys * shape.layers
    kept = 4 if not autocast else _kept_as(shape, work, sharding)
    engine = work.engine
    least = shape.saved * (shape.parameters + cached * (engine.longest or shape.positions)) if engine else 0.0
    return Memory(
        weights=weights,
        copies=copies,
        optimizer=moments,
        reference=reference,
        others=work.others,
        gradients=gradients,
        activations=activations(shape, work, numbers) + _head(shape, work),
        caches=float(kept * cached * work.tokens * (work.lessons + min(work.lessons, ROWS))),
        engine=least,
        awake=0.0 if engine is None or engine.sleeps else least,
    )


def activations(shape: Shape, work: Work, numbers: int = 2) -> float:
    """Bytes that the layers keep for the backward pass, ``numbers`` bytes for each number in a matrix product."""
    whole = _kept(shape, work, numbers)
    if not work.checkpointing:
        return work.rows * work.tokens * shape.layers * whole
    stream = 4 if work.adapter == "none" or numbers == 4 else shape.saved
    return work.rows * work.tokens * (shape.layers * shape.width * stream + whole)


def flops(shape: Shape, work: Work) -> float:
    """Operations of one process in one step: 2 for each weight and token forward, as many for each of the gradients.

    Of a mixture, only the experts count that a token goes to. Gradients of frozen weights need none; checkpointing is
    forward once more. Attention's own are left out, and lessons.
    """
    passes = (3 if work.adapter == "none" else 2) + work.checkpointing
    return 2.0 * passes * (shape.parameters - shape.idle) * work.rows * work.tokens * work.accumulation


def _kept(shape: Shape, work: Work, numbers: int) -> float:
    """Bytes that one whole layer keeps of one token."""
    attention = 4 * shape.heads * numbers + 8 * shape.normed + work.tokens * numbers
    if work.adapter == "none":
        return 16 * shape.width + 2 * shape.width * numbers + attention + 4 * shape.feed_forward * numbers
    return 8 * shape.width + attention + 3 * shape.feed_forward * numbers + shape.read * numbers / 2


def _kept_as(shape: Shape, work: Work, sharding: Sharding) -> int:
    """Bytes of a number in the caches of lessons on a GPU."""
    if work.adapter != "none":
        return shape.saved
    return 2 if sharding in ("zero2", "zero3") else 4


def _head(shape: Shape, work: Work) -> float:
    """The tile of logits, and the gradients of the last layer's output and of the head, all in float32."""
    tokens = work.rows * work.tokens
    head = shape.words * shape.width if work.adapter == "none" else 0
    return 4.0 * (min(tokens, _TILE[0]) * min(shape.words, _TILE[1]) + tokens * shape.width + head)


def _frozen(shape: Shape, work: Work) -> float:
    if work.adapter == "none":
        return 0.0
    quantised = shape.linear if work.adapter == "qlora" else 0
    return quantised * _QUANTISED + (shape.parameters - quantised) * shape.saved


def _moments(shape: Shape, optimizer: str) -> float:
    name = optimizer.removeprefix("paged_")
    kind = name.partition("_")[0]
    if kind not in _MOMENTS:
        raise SettingsError(
            f"trl.optim = {optimizer}: what it keeps is not known here; known are {', '.join(_MOMENTS)}"
        )
    per_weight = _MOMENTS[kind]
    if "8bit" in name:
        in_full = min(shape.vocabulary, shape.trained)
        return per_weight / 4 * (shape.trained - in_full) + per_weight * in_full
    return per_weight * shape.trained + 4 * shape.tensors * (kind in ("adamw", "adam"))


def _count(model: "torch.nn.Module") -> int:
    return sum(weight.numel() for weight in model.parameters())


def _vocabulary(model: Any) -> int:
    ends = {id(end.weight): end.weight for end in (model.get_input_embeddings(), model.get_output_embeddings()) if end}
    return sum(weight.numel() for weight in ends.values())


def _linear(model: Any) -> int:
    import torch

    head = model.get_output_embeddings()
    layers = (module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head)
    return sum(module.weight.numel() for module in layers)


def _normed(model: Any) -> int:
    """How many numbers of queries and keys one layer norms; none in most families."""
    norms: Mapping[str, Any] = dict(model.named_modules())
    first = next((name.removesuffix("q_norm") for name in norms if name.endswith("q_norm")), None)
    return 0 if first is None else sum(norms[f"{first}{part}_proj"].out_features for part in "qk")


def _idle(model: "torch.nn.Module", chosen: int) -> int:
    """How many weights of experts, each of them stacks of all experts' matrices, a token does not go to."""
    stacks = [weight for name, weight in model.named_parameters() if ".experts." in name and weight.dim() == 3]
    return sum(round(weight.numel() * (1 - chosen / weight.shape[0])) for weight in stacks)


def _a_layer(text: Any, number: Callable[[Any], float]) -> int:
    """The mean of what the layers say, which in some families differ from each other."""
    views = getattr(text, "per_layer_config", None)
    layers = [text] if views is None else [views[index] for index in range(text.num_hidden_layers)]
    return round(sum(map(number, layers)) / len(layers))


def _per_head(layer: Any) -> int:
    return int(getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads)


def _key_heads(layer: Any) -> int:
    named = (getattr(layer, name, None) for name in ("num_key_value_heads", "num_kv_heads"))
    return int(next(filter(None, named), layer.num_attention_heads))


def _feed_forward(layer: Any) -> float:
    """The width of the feed-forward layer; of a mixture, of all the experts that a token goes to."""
    names = ("intermediate_size", "ffn_hidden_size", "ffn_dim", "n_inner")
    width = next(filter(None, (getattr(layer, name, None) for name in names)), 4 * layer.hidden_size)
    width = sum(width) / len(width) if isinstance(width, list) else width
    chosen = getattr(layer, "num_experts_per_tok", None)
    if not chosen:
        return float(width)
    single = getattr(layer, "moe_intermediate_size", None) or width
    return float(chosen * single + (getattr(layer, "shared_expert_intermediate_size", None) or 0))
