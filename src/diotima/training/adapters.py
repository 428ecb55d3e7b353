"""What of a model is trained: all of it, or something small beside it (LoRA, QLoRA, a prefix), for SFT, DPO and GRPO.

- LoRA as PedagogicalRL offers it: rank 16 and alpha 32 for reinforcement learning (rank 256 and alpha 512 for its
  supervised baseline), dropout 0.01, all linear layers. The reference model of GRPO and DPO is the model with its
  adapter off, which costs no second copy.
- QLoRA (Dettmers et al. 2023): the same beside a base in 4-bit NormalFloat with double quantisation, which needs a GPU.
- A prefix as SocraticLM trained it, P-tuning v2 (Liu et al. 2022): 128 positions of the key-value cache in every layer,
  without a projection. A model that has a prefix already goes on training it, as that paper's second stage does.

Departures: positions count from the attention mask where a prefix is trained. Transformers counts the padding on the
left of a batch otherwise, which moves the text away from the prefix by another distance in every row; without a prefix
only distances between tokens matter, and the mistake does not show.

All weights are trained in float32, on a GPU under autocast to bfloat16: updates of 1e-6 are lost when they are added to
weights in bfloat16. Where only an adapter is trained, the base stays in the precision in which it was saved, and the
adapter is kept in float32.
"""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

from diotima.dialogue import stable_seed
from diotima.errors import ModelError, SettingsError
from diotima.models.adapted import base_of, is_adapter, is_prefix
from diotima.settings import OneOrMore
from diotima.settings import Settings as BaseSettings

if TYPE_CHECKING:
    from diotima.models.local import LocalModel

ALL_LINEAR = "all-linear"


class AdapterSettings(BaseSettings):
    """Which weights are trained."""

    adapter: Literal["none", "lora", "qlora", "prefix"] = "none"
    """What to train: none for all weights, lora or qlora for low-rank differences, prefix for P-tuning v2."""
    lora_rank: PositiveInt = 16
    """Rank of the low-rank differences."""
    lora_alpha: PositiveInt | None = None
    """Scale of the low-rank differences, which count alpha / rank times; by default twice the rank."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of inputs that a low-rank difference does not see in training."""
    lora_targets: OneOrMore = (ALL_LINEAR,)
    """Layers to put differences beside, by the ends of their names, such as q_proj; all-linear for all but the head."""
    prefix_tokens: PositiveInt = 128
    """Positions of a new prefix; one that is trained on keeps its own."""


def check(settings: AdapterSettings, trl: Mapping[str, Any], where: str) -> dict[str, Any]:
    """TRL's fields that this kind of training asks for.

    Raises SettingsError for what cannot be together, and for QLoRA on a machine without what it needs.
    """
    import torch

    if settings.adapter == "qlora":
        lacking = [] if torch.cuda.is_available() else ["a GPU of NVIDIA's"]
        lacking += [] if find_spec("bitsandbytes") else ["bitsandbytes (pip install bitsandbytes)"]
        if lacking:
            raise SettingsError(f"{where}: adapter = qlora needs {' and '.join(lacking)} here; take adapter: lora")
    if settings.adapter != "prefix":
        return {}
    if trl.get("gradient_checkpointing"):
        raise SettingsError(
            f"{where}: trl.gradient_checkpointing computes layers again without their cache, and a prefix is a part of "
            "the cache; leave it out, or take adapter: lora"
        )
    if trl.get("packing") or trl.get("padding_free"):
        raise SettingsError(
            f"{where}: trl.packing puts several lessons behind one prefix, where each needs its own; leave it out, or "
            "take adapter: lora"
        )
    return {"gradient_checkpointing": False}


def load(folder: Path, name: str, settings: AdapterSettings) -> "LocalModel":
    """The model to train, in the precision that its training asks for.

    Raises ModelError for a model that cannot be trained so.
    """
    import torch

    from diotima.models.generation import check_prefix
    from diotima.models.local import load_local

    if settings.adapter == "qlora":
        from transformers import BitsAndBytesConfig

        if is_adapter(folder):
            raise ModelError(f"{name} is an adapter, and QLoRA needs weights; merge it into its base first")
        four_bits = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        here = {"": torch.cuda.current_device()}
        return load_local(folder, name, quantization_config=four_bits, device_map=here)
    local = load_local(folder, name, **({"dtype": torch.float32} if settings.adapter == "none" else {}))
    if settings.adapter != "prefix":
        if is_prefix(local.model):
            raise ModelError(
                f"{name} has a prefix, which cannot be added to weights; go on training it with adapter: prefix, or "
                f"take its base, {base_of(folder, name)}"
            )
        return local
    check_prefix(local.model, name)
    model: Any = local.model
    if is_prefix(model):
        # TRL calls its copy of the first prefix "ref", and peft finds these letters in "prefix".
        warnings.filterwarnings("ignore", message="Adapter name 'ref' should not be contained", category=UserWarning)
        model.active_peft_config.inference_mode = False
        model.active_peft_config.base_model_name_or_path = str(base_of(folder, name))
        model.prompt_encoder.requires_grad_(True)
        model = model.get_base_model()
    model.register_forward_pre_hook(_count_positions, with_kwargs=True)
    return local


def new_adapter(settings: AdapterSettings, local: "LocalModel", seed: int) -> Any:
    """peft's configuration of the adapter that a trainer is to put beside the model; None if there is none to add.

    Its first weights will be drawn by torch's own generator, which is set for that here, spread from ``seed``.
    """
    import torch

    if settings.adapter == "none" or is_prefix(local.model):
        return None
    torch.manual_seed(stable_seed("adapter", seed))
    return adapter_config(settings)


def adapter_config(settings: AdapterSettings) -> Any:
    """peft's configuration of an adapter; there has to be one."""
    from peft import LoraConfig, PrefixTuningConfig

    if settings.adapter == "prefix":
        return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=settings.prefix_tokens)
    targets = ALL_LINEAR if ALL_LINEAR in settings.lora_targets else list(settings.lora_targets)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha or 2 * settings.lora_rank,
        lora_dropout=settings.lora_dropout,
        target_modules=targets,
    )


def _count_positions(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positions behind a prefix, without the padding on the left, where nobody has said what they are."""
    mask_B_T = named.get("attention_mask")
    if named.get("past_key_values") is not None and named.get("position_ids") is None and mask_B_T is not None:
        position_B_T = (mask_B_T.long().cumsum(1) - 1).clamp(min=0)
        named["position_ids"] = position_B_T[:, -named["input_ids"].shape[1] :]
    return args, named
