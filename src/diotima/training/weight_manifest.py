"""``diff.json``: what a weight difference was made of, and by which digests its base and its result are known.

All digests are SHA-256: of a tensor's bytes for base and difference, of whole files for the result, so that
``sha256sum`` can check it. The file is written last, and may come from a stranger: what does not fit is refused, and so
are paths that lead out of a folder.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import pydantic

from diotima.errors import ModelError
from diotima.training.tensor_files import Place
from diotima.training.weight_difference import Form
from diotima.training.weight_folder import WeightFolder, is_pickled

FILE = "diff.json"
TENSORS = "tensors"
"""Where the differences of tensors lie. Not beside a config.json: nobody may take them for a model and load them."""
OTHERS = "files"
"""Where all that is not weights lies, as it was in the tuned folder."""


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path or not pure.parts:
        raise ValueError("leads out of the folder")
    if is_pickled(path):
        raise ValueError("may hold code")
    return path


Digest = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
Inside = Annotated[str, pydantic.AfterValidator(_inside)]


Precision = Literal["exact", "bf16", "f16", "int8"]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class BaseTensor(_Part):
    """A tensor of the base."""

    dtype: str
    shape: tuple[int, ...]
    sha256: Digest


class StoredTensor(_Part):
    """How a tensor is kept, and the digest of that (of differences and then their scales, for int8)."""

    form: Form
    sha256: Digest


class TunedWeights(_Part):
    """A safetensors file: its header as it stands, its digest when recovered, and how its tensors are kept."""

    header: str
    sha256: Digest
    tensors: dict[str, StoredTensor]


class LargestError(_Part):
    """The largest distance of a recovered number from the tuned one, and the largest change to that tensor."""

    tensor: str
    error: float
    change: float


class Manifest(_Part):
    """A weight difference. ``kind`` adapter: the difference is the adapter, and ``weights`` is empty."""

    format: Literal["diotima weight difference 1"] = "diotima weight difference 1"
    kind: Literal["tensors", "adapter"]
    precision: Precision = "exact"
    base: str
    base_tensors: dict[str, BaseTensor]
    weights: dict[Inside, TunedWeights] = {}
    files: dict[Inside, Digest]
    new: tuple[str, ...] = ()
    """Tensors that the base has not, kept whole."""
    changed: tuple[str, ...] = ()
    """Tensors that have another shape, or a type that cannot be converted; kept whole, too."""
    missing: tuple[str, ...] = ()
    """Tensors that only the base has."""
    left_out: tuple[str, ...] = ()
    largest_error: LargestError | None = None
    """None where every bit is kept."""


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write it into the difference's folder."""
    (folder / FILE).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read it from a difference's folder. Raises ModelError if there is none or it does not fit."""
    path = folder / FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"{folder} is no weight difference: it has no {FILE}") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); fetch it again") from None
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(f"{path}: {where + ': ' if where else ''}{first['msg']}; fetch it again") from None


def refuse_other_base(manifest: Manifest, base: WeightFolder) -> None:
    """Raise ModelError if a tensor lacks in the base or has another type or shape; bits are checked as they pass."""
    held = base.tensors()
    for name, expected in manifest.base_tensors.items():
        if name not in held:
            raise wrong_base(manifest, base, f"it has no {name}")
        place = held[name][1]
        if (place.dtype, place.shape) != (expected.dtype, expected.shape):
            raise wrong_base(manifest, base, f"{name} is {_kind(place)} in it, and {_kind(expected)} was expected")


def refuse_other_bits(manifest: Manifest, base: WeightFolder, name: str, found: str) -> None:
    """Raise ModelError if a tensor of the base has another digest than the difference was made with."""
    expected = manifest.base_tensors[name].sha256
    if found != expected:
        raise wrong_base(
            manifest, base, f"{name} has SHA-256 {found[:12]}... in it, and {expected[:12]}... was expected"
        )


def wrong_base(manifest: Manifest, base: WeightFolder, reason: str) -> ModelError:
    """The refusal of a base, with its reason."""
    return ModelError(f"{base.name} is not the base of this difference, which was made with {manifest.base}: {reason}")


def _kind(tensor: Place | BaseTensor) -> str:
    return f"{tensor.dtype} {'x'.join(map(str, tensor.shape)) or 'scalar'}"
