"""`diotima weights recover`: a tuned model again, from its base and the difference.

    diotima weights recover hf/Qwen/Qwen2.5-0.5B-Instruct tutor-diff -o tutor

Another base is refused at the first tensor that differs, and so is a difference that is damaged or cut off. Of an exact
difference every file comes out as it was, bit by bit. An adapter is merged into the base where it changes weights (a
LoRA); a prefix stays one, over the base as it is named here.
"""

import hashlib
from pathlib import Path
from typing import Any

from diotima import settings as base
from diotima.errors import ModelError
from diotima.models.adapted import ADAPTER_FILE, BASE_FILE
from diotima.models.weights import weights_fingerprint
from diotima.runs.manifest import write_json
from diotima.training import weight_manifest as manifests
from diotima.training.merging import adapter_config, merge_adapter, merges
from diotima.training.tensor_files import TensorFile, open_tensors
from diotima.training.weight_folder import (
    WeightFolder,
    as_size,
    copy_file,
    open_folder,
    refuse_adapter,
    whole_folder,
)
from diotima.training.weight_manifest import Manifest, read_manifest, refuse_other_base, refuse_other_bits
from diotima.training.weight_rewriting import Megabytes, base_digests, recover_file, recovered_size


class Settings(base.Settings):
    """From what to recover."""

    base: str
    """The model that was tuned: tiny, a folder or hf/NAME."""
    diff: Path
    """Folder of the difference."""
    out: Path
    """Folder of the tuned model, a new one."""


def run(settings: Settings) -> dict[str, Any]:
    """Write the tuned model; returns its figures.

    Raises ModelError if the base is another or the difference is not whole, RunError if it cannot be written.
    """
    manifest = read_manifest(settings.diff)
    under = open_folder(settings.base)
    refuse_adapter(under)
    refuse_other_base(manifest, under)
    make = _from_adapter if manifest.kind == "adapter" else _from_tensors
    with whole_folder(settings.out) as part:
        sentence = make(manifest, under, settings.diff, part)
    size = sum(path.stat().st_size for path in settings.out.rglob("*") if path.is_file())
    print(f"{settings.out}: {as_size(size)}, {sentence}")
    largest = manifest.largest_error
    return {
        "out": str(settings.out),
        "kind": manifest.kind,
        "exact": manifest.kind == "tensors" and largest is None,
        "bytes": size,
        "largest_error": largest and largest.model_dump(),
    }


def _from_tensors(manifest: Manifest, under: WeightFolder, diff: Path, part: Path) -> str:
    # All heads are read before anything is written: what was cut off is told at once.
    kept = {inside: _stored(diff / manifests.TENSORS / inside) for inside in manifest.weights}
    _refuse_lacking(manifest, diff / manifests.OTHERS)
    with Megabytes("weights recover", sum(map(recovered_size, manifest.weights.values()))) as bar:
        for inside, stored in kept.items():
            recover_file(inside, manifest, under, stored, part / inside, bar)
    for inside, digest in manifest.files.items():
        source = diff / manifests.OTHERS / inside
        _refuse_damaged(source, copy_file(source, part / inside), digest)
    if manifest.largest_error is None:
        return f"every file as it was tuned, to the last bit ({len(manifest.weights) + len(manifest.files)} checked)"
    largest = manifest.largest_error
    return f"within {largest.error:.2g} of the tuned weights (most in {largest.tensor})"


def _from_adapter(manifest: Manifest, under: WeightFolder, diff: Path, part: Path) -> str:
    _refuse_lacking(manifest, diff)
    for inside, digest in manifest.files.items():
        with (diff / inside).open("rb") as file:
            _refuse_damaged(diff / inside, hashlib.file_digest(file, "sha256").hexdigest(), digest)
    with Megabytes("weights recover", sum(place.size for _, place in under.tensors().values())) as bar:
        for name, found in base_digests(under, bar).items():
            if name in manifest.base_tensors:
                refuse_other_bits(manifest, under, name, found.sha256)
    if merges(diff):
        merge_adapter(diff, under, part)
        return f"the adapter merged into {under.name}"
    for inside in manifest.files:
        copy_file(diff / inside, part / inside)
    base = {"base_model_name_or_path": under.name if under.name == "tiny" else str(under.path.resolve())}
    write_json(part / ADAPTER_FILE, {**adapter_config(diff), **base})
    # The same weights may lie in other files here than where the adapter was trained.
    write_json(part / BASE_FILE, {"fingerprint": weights_fingerprint(under.path)})
    return f"an adapter over {under.path}, which is no LoRA and so is not merged"


def _stored(path: Path) -> TensorFile:
    if not path.is_file():
        raise _lacking(path)
    return open_tensors(path)


def _refuse_lacking(manifest: Manifest, folder: Path) -> None:
    for inside in manifest.files:
        if not (folder / inside).is_file():
            raise _lacking(folder / inside)


def _lacking(path: Path) -> ModelError:
    return ModelError(f"{path} lacks: the difference is not whole; fetch it again")


def _refuse_damaged(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise ModelError(
            f"{path} is damaged: its SHA-256 is {found[:12]}..., and {expected[:12]}... was expected; fetch it again"
        )
