"""An adapter put into its base: one folder of whole weights, which every program can read.

peft merges; it knows all kinds of LoRA. In the precision of the base, bfloat16 would round the adapter's share and then
the sum; here both are float32, and the sum is rounded once, each tensor to the type it has in the base. That takes four
bytes of memory for each parameter, so it is not flat as the difference of whole models is.
"""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from diotima.classroom.casting import TUTOR_FILE
from diotima.classroom.judges import remember_judges
from diotima.errors import ModelError, RunError
from diotima.models.adapted import ADAPTER_FILE, base_of, first_line, with_adapter
from diotima.training.weight_difference import TORCH
from diotima.training.weight_folder import WeightFolder, open_folder

_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*")


def adapter_config(folder: Path) -> dict[str, Any]:
    """What peft notes of an adapter. Raises ModelError if it is none."""
    path = folder / ADAPTER_FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {"base_model_name_or_path": None, **told, "peft_type": str(told["peft_type"])}
    except FileNotFoundError:
        raise ModelError(f"{folder} is no adapter: it has no {ADAPTER_FILE}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read ({type(error).__name__}: {error})") from None


def merges(adapter: Path) -> bool:
    """Whether an adapter changes weights and so can be merged: a LoRA of any kind. A prefix adds states instead."""
    return bool(adapter_config(adapter)["peft_type"] == "LORA")


def weights_under(folder: WeightFolder) -> WeightFolder:
    """Where whole weights lie: here, or under an adapter, or under several. Raises ModelError if there are none."""
    while folder.is_adapter:
        folder = open_folder(str(base_of(folder.path, folder.name)))
    return folder


def merge_adapter(adapter: Path, base: WeightFolder, out: Path) -> None:
    """Write the base with the adapter in its weights to the folder ``out``: weights, tokenizer, the tutor's part.

    The base may be an adapter over another model itself. Raises ModelError if the adapter is no LoRA, or does not fit,
    RunError if the disk does not take it.
    """
    import torch
    from safetensors import SafetensorError

    from diotima.models.local import load_tokenizer, load_weights

    if not merges(adapter):
        raise ModelError(
            f"{adapter} is an adapter of the kind {adapter_config(adapter)['peft_type']}; only a LoRA can be merged, "
            "this stays an adapter over its base"
        )
    merged: Any = with_adapter(load_weights(base.path, base.name, dtype=torch.float32), adapter, str(adapter))
    root = weights_under(base)
    kinds = {name: place.dtype for name, (_, place) in root.tensors().items() if place.dtype in TORCH}
    usual = Counter(kinds.values()).most_common(1)[0][0]
    for name, weight in merged.named_parameters():
        weight.data = weight.data.to(getattr(torch, TORCH[kinds.get(name, usual)]))
    try:
        merged.save_pretrained(out)
    except SafetensorError as error:  # it does not say so in the error's type
        raise RunError(
            f"the merged weights cannot be written ({first_line(error)}), and nothing of them is left; make room and "
            "give the same command again"
        ) from None
    tokens = adapter if (adapter / "tokenizer_config.json").is_file() else base.path
    load_tokenizer(tokens, str(tokens)).save_pretrained(out)
    for pattern in _LICENCES:
        for file in root.path.glob(pattern):
            shutil.copyfile(file, out / file.name)
    part = next((folder / TUTOR_FILE for folder in (adapter, base.path) if (folder / TUTOR_FILE).is_file()), None)
    if part is not None:
        shutil.copyfile(part, out / TUTOR_FILE)
    remember_judges(out, [base.path, adapter])
