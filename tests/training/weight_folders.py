"""Small model folders of any tensors, for the tests of weight differences."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from diotima.training import weights_diff_command as diff
from diotima.training import weights_recover_command as recover

Tensors = Mapping[str, torch.Tensor]


def write(folder: Path, *shards: Tensors, metadata: Mapping[str, str] | None = None, **files: str) -> Path:
    """A folder with one file or several, an index beside several, a config.json and other ``files``."""
    folder.mkdir(parents=True)
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    names = ["model.safetensors"] if len(shards) == 1 else names
    for name, shard in zip(names, shards, strict=True):
        save_file(dict(shard), folder / name, dict(metadata or {"format": "pt"}))
    if len(shards) > 1:
        places = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "config.json").write_text("{}")
    for name, text in files.items():
        (folder / name.replace("_dot_", ".")).write_text(text)
    return folder


def moved(tensors: Tensors, by: float = 1e-3, seed: int = 1) -> dict[str, torch.Tensor]:
    """The same tensors after a little tuning."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (tensor.double() + by * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
        for name, tensor in tensors.items()
    }


def weights(dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> dict[str, torch.Tensor]:
    """Three tensors, one of them too large for a small piece and of odd shape."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"embed.weight": (37, 53), "layer.weight": (8, 8), "norm.weight": (9,)}
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def made(base: Path, tuned: Path, out: Path, **chosen: object) -> Path:
    """The difference of two folders."""
    diff.run(diff.Settings.model_validate({"base": str(base), "tuned": str(tuned), "out": out, **chosen}))
    return out


def recovered(base: Path, difference: Path, out: Path) -> Path:
    """The tuned folder again."""
    recover.run(recover.Settings(base=str(base), diff=difference, out=out))
    return out


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
