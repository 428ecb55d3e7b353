"""A model's folder as files: its safetensors, what travels beside them, and what stays behind.

Pickled files (``.bin``, ``.pt``) may run code when they are read, so none is ever read or passed on. Hidden files and a
training's checkpoints are no part of a model.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diotima.errors import ModelError, RunError
from diotima.models.adapted import ADAPTER_FILE
from diotima.models.folders import model_folder
from diotima.runs.durable import PART, sync, sync_folder, whole_file
from diotima.training.tensor_files import Place, TensorFile, open_tensors

_WEIGHTS = ".safetensors"
_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BLOCK = 2**23


@dataclass(frozen=True, slots=True)
class WeightFolder:
    """``weights`` and ``others`` by their paths inside ``path``; ``left_out`` is what is not passed on."""

    name: str
    path: Path
    weights: Mapping[str, TensorFile]
    others: tuple[str, ...]
    left_out: tuple[str, ...]

    def tensors(self) -> dict[str, tuple[TensorFile, Place]]:
        """Every tensor by its name; of two of one name, the one in the first file."""
        found: dict[str, tuple[TensorFile, Place]] = {}
        for file in self.weights.values():
            for place in file.places:
                found.setdefault(place.name, (file, place))
        return found

    @property
    def is_adapter(self) -> bool:
        """Whether it holds what peft lays over a base, and no whole model."""
        return ADAPTER_FILE in self.others


def open_folder(name: str) -> WeightFolder:
    """The folder of a model by its name (tiny, a folder, hf/NAME). Raises ModelError if its weights are not whole."""
    path = model_folder(name)
    kept: list[str] = []
    left_out: list[str] = []
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path)
        if not file.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        stays = is_pickled(inside.name) or any(part.startswith("checkpoint-") for part in inside.parts)
        (left_out if stays else kept).append(inside.as_posix())
    weights = {inside: open_tensors(path / inside) for inside in kept if inside.endswith(_WEIGHTS)}
    if weights and all("/" in inside for inside in weights):  # a run's folder, with all that was said in it
        inner = path / Path(next(iter(weights))).parent
        raise ModelError(f"{name} is no model's folder, but {inner} is; give that")
    if not weights:
        pickled = [inside for inside in left_out if is_pickled(inside)]
        also = (
            f", only {pickled[0]}, which may hold code and is not read: save the model as safetensors"
            if pickled
            else ""
        )
        raise ModelError(f"{name}: {path} has no *.safetensors{also}")
    others = tuple(inside for inside in kept if inside not in weights)
    folder = WeightFolder(name, path, weights, others, tuple(left_out))
    _refuse_missing(folder)
    return folder


def is_pickled(name: str) -> bool:
    """Whether a file by its name may run code when it is read."""
    return Path(name).suffix.lower() in _PICKLED


def _refuse_missing(folder: WeightFolder) -> None:
    """Raise ModelError if an index names a file or a tensor that is not there."""
    for inside in folder.others:
        if not inside.endswith(".safetensors.index.json"):
            continue
        index = folder.path / inside
        try:
            told = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            places = {tensor: Path(inside).parent / shard for tensor, shard in told.items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(f"{index} cannot be read ({type(error).__name__}: {error})") from None
        held = {name: {place.name for place in file.places} for name, file in folder.weights.items()}
        for tensor, shard in places.items():
            if tensor not in held.get(shard.as_posix(), ()):
                raise ModelError(f"{index} places {tensor} in {shard}, where it is not; was the download cut off?")


def refuse_adapter(base: WeightFolder) -> None:
    """Raise ModelError if what is to be a base is an adapter."""
    if base.is_adapter:
        raise ModelError(
            f"{base.name} is an adapter; the base is the whole model under it (an adapter over an adapter has no other "
            "base: make one model of it first, with diotima weights merge)"
        )


def as_size(count: int) -> str:
    """Bytes as people read them."""
    if count < 10**6:
        return f"{count:,} bytes"
    return f"{count / 10**9:,.2f} GB" if count >= 10**9 else f"{count / 10**6:,.1f} MB"


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:3]) + f" and {len(names) - 3:,} more" * (len(names) > 3)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to write to, which becomes ``out`` at the end, whole or not at all.

    Raises RunError if it is no name, if something stands there already, or if the disk is full.
    """
    if not out.name:
        raise RunError(f"{out} is no new folder; give it a name")
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise RunError(f"{out} exists already; choose a new folder")
    part = out.with_name(out.name + PART)
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        sync_folder(part)
        part.replace(out)
        sync(out.parent)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RunError(
            f"{out} cannot be written ({error.strerror}), and nothing of it is left; "
            "make room and give the same command again"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def copy_file(source: Path, target: Path) -> str:
    """Copy a file of any size, whole or not at all; returns its SHA-256."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as file, whole_file(target) as part, part.open("wb") as copy:
        while block := file.read(_BLOCK):
            digest.update(block)
            copy.write(block)
    return digest.hexdigest()
