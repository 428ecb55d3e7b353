"""Models that are a base and what was trained beside it: LoRA, QLoRA and prefixes, in peft's own folders.

Such a folder holds ``adapter_config.json``, the adapter's weights, the tokenizer, and ``base.json``: a fingerprint of
the base, because an adapter on other weights than its own says nonsense without a word. The base is named so that the
folder can be carried elsewhere: ``tiny``, a name on the Hugging Face hub, or else a path. A base may be an adapter
folder itself: a tutor that was fine-tuned with LoRA, and then trained on by GRPO with another.

LoRA is added to the weights when it is loaded, which costs no speed and no memory. A prefix (P-tuning v2) is a learned
beginning of the key-value cache; it stays beside the model, see `models.generation`.
"""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diotima.errors import ModelError
from diotima.models.folders import TINY, model_folder
from diotima.models.weights import weights_fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER_FILE, BASE_FILE = "adapter_config.json", "base.json"
_BASE = "base_model_name_or_path"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model of its own."""
    return (folder / ADAPTER_FILE).is_file()


def is_prefix(model: "PreTrainedModel") -> bool:
    """Whether a model reads a learned prefix before everything else."""
    config = getattr(model, "active_peft_config", None)
    return config is not None and bool(config.is_prompt_learning)


def base_of(folder: Path, name: str) -> Path:
    """The folder of the base of the adapter in ``folder``.

    Raises ModelError if there is no such base, or if it is no longer the one beside which the adapter was trained.
    """
    if not is_adapter(folder):
        raise ModelError(f"{name} is no adapter: {folder} has no {ADAPTER_FILE}")
    base = _read(folder / ADAPTER_FILE, name).get(_BASE)
    if not base or not isinstance(base, str):
        raise ModelError(f"{name}: {folder / ADAPTER_FILE} names no base; write its name there as {_BASE}")
    try:
        found = model_folder(base if base == "tiny" or Path(base).is_absolute() else f"hf/{base}")
    except ModelError as error:
        raise ModelError(
            f"{name}: {folder} holds an adapter, and its base cannot be had ({error}); "
            f"put it back, or write where it is into {ADAPTER_FILE} as {_BASE}"
        ) from None
    refuse_other_weights(folder, found, name, f"put its base back, or write where it is into {ADAPTER_FILE} as {_BASE}")
    return found


def refuse_other_weights(folder: Path, base: Path, name: str, remedy: str = "give the base that it belongs to") -> None:
    """Raise ModelError if the adapter in ``folder`` notes that it was trained beside others than those in ``base``."""
    if not (folder / BASE_FILE).is_file():
        return
    trained_beside = _read(folder / BASE_FILE, name).get("fingerprint")
    if trained_beside != (there := weights_fingerprint(base)):
        raise ModelError(
            f"{name} is an adapter that was trained beside other weights ({trained_beside}) than those in {base} "
            f"({there}); {remedy}"
        )


def with_adapter(base: "PreTrainedModel", folder: Path, name: str) -> "PreTrainedModel":
    """The base with the adapter in ``folder``: with LoRA a model like any other, with a prefix one of peft's.

    The base is used up. Raises ModelError if the adapter is damaged, or of a kind that is not known here.
    """
    from peft import PeftModel, PeftType

    if is_prefix(base):
        raise ModelError(f"{name}: the base of the adapter in {folder} has a prefix, which cannot be added to weights")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
            warnings.filterwarnings("error", message=".*missing adapter keys.*")  # else they are drawn at random
            adapted: Any = PeftModel.from_pretrained(base, folder)
    except Exception as error:  # peft, safetensors, torch and json each raise their own
        raise ModelError(f"{name}: the adapter in {folder} cannot be loaded ({first_line(error)})") from None
    kind = adapted.active_peft_config.peft_type
    if kind not in (PeftType.LORA, PeftType.PREFIX_TUNING):
        raise ModelError(f"{name}: the adapter in {folder} is of the kind {kind.value}; LoRA and prefixes can be used")
    for parameter in adapted.parameters():
        parameter.requires_grad_(False)
    if kind == PeftType.PREFIX_TUNING:
        prefixed: PreTrainedModel = adapted
        return prefixed
    _untie(adapted)
    merged: Any = adapted.merge_and_unload()
    merged.name_or_path = str(folder)  # what an adapter that is trained beside it has for its base
    model: PreTrainedModel = merged.requires_grad_(True)
    return model


def _untie(adapted: Any) -> None:
    """Give the output weights of its own where they are the embedding's and a LoRA changes one of the two.

    It was trained beside the one only; added to weights that both share, it would change the other as well.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    model = adapted.get_base_model()
    embedding, output = model.get_input_embeddings(), model.get_output_embeddings()
    if not any(isinstance(layer, LoraLayer) for layer in (embedding, output)):
        return
    inner, outer = (getattr(layer, "base_layer", layer) for layer in (embedding, output))
    if outer is not None and inner.weight is outer.weight:
        outer.weight = torch.nn.Parameter(outer.weight.detach().clone(), requires_grad=False)
        model.config.tie_word_embeddings = False


def save_adapter(adapted: Any, folder: Path, weights: Any = None) -> None:
    """Save the adapter of one of peft's models, with what tells its base. ``weights``: its state, where gathered."""
    config = adapted.peft_config["default"]
    base = Path(config.base_model_name_or_path)
    adapted.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False, state_dict=weights)
    (folder / "README.md").unlink(missing_ok=True)  # an empty form of peft's
    # Without it, transformers would take the tokenizer for one of another family.
    adapted.get_base_model().config.save_pretrained(folder)
    written = _read(folder / ADAPTER_FILE, str(folder))
    _write(folder / ADAPTER_FILE, {**written, _BASE: _lasting_name(base)})
    _write(folder / BASE_FILE, {"fingerprint": weights_fingerprint(base)})


def first_line(error: Exception) -> str:
    """What an error of somebody else's says, in a part of a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _lasting_name(folder: Path) -> str:
    """What to call a model on this machine such that others find it, too, if that can be."""
    if folder.resolve() == TINY.resolve():
        return "tiny"
    hub = folder.parents[1].name if folder.parent.name == "snapshots" else ""
    if hub.startswith("models--"):  # as huggingface_hub lays out its cache
        return hub.removeprefix("models--").replace("--", "/")
    return str(folder.resolve())


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: {path} cannot be read ({first_line(error)}); was the download cut off?") from None
    return values


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
