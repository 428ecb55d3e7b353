"""`diotima export gguf`: a tutor as one file that llama.cpp, Ollama, LM Studio and others serve.

    diotima export gguf runs/grpo/model --out tutor.gguf
    diotima export gguf hf/Qwen/Qwen2.5-7B-Instruct --out tutor.gguf --type q4_k_m --llama-cpp ~/llama.cpp

llama.cpp's own converter writes f32, f16, bf16 and q8_0; fewer bits are made of f16 by its `llama-quantize`. That what
was written still speaks as the tutor did, `diotima export check` shows.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from diotima import settings as base
from diotima.delivery.llama_cpp import LlamaCpp, converted, quantized
from diotima.delivery.whole_model import whole_model
from diotima.errors import ModelError, RunError
from diotima.runs.durable import sync
from diotima.training.merging import weights_under
from diotima.training.weight_folder import open_folder

Type = Literal[
    "f32", "f16", "bf16", "q8_0",
    "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q3_k_l", "q3_k_m", "q3_k_s", "q2_k",
    "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl", "iq4_xs",
]  # fmt: skip
BY_CONVERTER = ("f32", "f16", "bf16", "q8_0")
"""What needs no llama-quantize."""
BLOCK, SUPERBLOCK = 32, 256
"""How many numbers of a row share one scale; a row that does not fill blocks of either size stays in f16."""


class GgufSettings(base.Settings):
    """What GGUF file is made, and by which llama.cpp."""

    model: str
    """The tutor: tiny, a folder or hf/NAME; a LoRA is merged into its base first."""
    type: Type = "f16"
    """How weights are stored: f32, f16, bf16, q8_0; or by llama-quantize q6_k, q5_k_m, q4_k_m, q3_k_m, q2_k ..."""
    llama_cpp: Path | None = None
    """A checkout of llama.cpp; by default one that was built for this project's tests, or programs on PATH."""


class Settings(GgufSettings):
    """What is written, and where to."""

    out: Path
    """The GGUF file."""


def run(settings: Settings) -> dict[str, Any]:
    """Write the file; returns where it is, its size and what there is to know about it.

    Raises ModelError if there is no such model or llama.cpp cannot convert it, RunError if a file is in the way.
    """
    told = write_gguf(settings, settings.out)
    print(f"{told['out']}: {told['type']}, {told['bytes'] / 1e6:,.1f} MB")
    for note in told["notes"]:
        print(f"Note: {note}.")
    print(f"To compare it with the model: diotima export check {settings.model} --gguf {settings.out}")
    return told


def write_gguf(settings: GgufSettings, out: Path) -> dict[str, Any]:
    """Write the file, whole or not at all; returns ``out``, ``type``, ``bytes`` and ``notes``, which are sentences."""
    if out.exists():
        raise RunError(f"{out} is there already; remove it, or choose another place")
    weights = {name: place.shape for name, (_, place) in weights_under(open_folder(settings.model)).tensors().items()}
    notes, count = fitting(weights, settings.type), sum(map(math.prod, weights.values()))
    found = LlamaCpp(settings.llama_cpp)
    found.converter()  # what is missing is told before an adapter is merged
    if settings.type not in BY_CONVERTER:
        found.program("llama-quantize")
    out.parent.mkdir(parents=True, exist_ok=True)
    part, plain = (out.with_name(out.name + end) for end in (".part", ".f16.part"))
    with whole_model(settings.model, out.parent) as folder:
        try:
            if settings.type not in BY_CONVERTER:
                converted(found, folder.resolve(), plain, "f16", 2 * count)
                quantized(found, plain, part, settings.type, count // 2)
            else:
                size = count * {"f32": 4, "q8_0": 1}.get(settings.type, 2)
                converted(found, folder.resolve(), part, settings.type, size)
            sync(part)
            part.rename(out)
        finally:
            part.unlink(missing_ok=True)
            plain.unlink(missing_ok=True)
    return {"out": str(out), "type": settings.type, "bytes": out.stat().st_size, "notes": notes}


def fitting(weights: Mapping[str, tuple[int, ...]], kind: str) -> list[str]:
    """What to know about weights whose rows do not fill the blocks in which this type stores them.

    Raises ModelError where llama-quantize could only pass them by.
    """
    if kind in ("f32", "f16", "bf16"):
        return []
    matrices = {name: shape[-1] for name, shape in weights.items() if len(shape) == 2}
    odd = {name: width for name, width in matrices.items() if width % BLOCK}
    if odd and kind != "q8_0":
        name, width = next(iter(odd.items()))
        raise ModelError(
            f"{kind} stores weights in blocks of {BLOCK} or {SUPERBLOCK}, and {len(odd)} of {len(matrices)} matrices "
            f"do not fill such blocks ({name} has rows of {width}); take f16, or q8_0, which leaves those in f16"
        )
    if odd:
        return [f"{len(odd)} of {len(matrices)} matrices have rows that fill no blocks of {BLOCK} and stay in f16"]
    rough = [name for name, width in matrices.items() if width % SUPERBLOCK]
    if rough and "_k" in kind:
        return [
            f"{len(rough)} of {len(matrices)} matrices have rows that fill no blocks of {SUPERBLOCK}; llama-quantize "
            "stores them in a somewhat larger type"
        ]
    return []
