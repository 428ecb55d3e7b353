"""`diotima weights diff`: what tuning changed in a model's weights, for whoever has the base.

    diotima weights diff hf/Qwen/Qwen2.5-0.5B-Instruct runs/sft/model -o tutor-diff
    diotima weights diff tiny runs/sft/model -o tutor-diff --precision int8

SocraticLM promised to publish its weights as such a difference, for the sake of its base's licence, and never did. Here
the exact bits come back (`weights recover`), and base, difference and result are known by their digests. What is not
weights (configuration, tokenizer, the tutor's part) travels along. Of an adapter, the difference is the adapter.
"""

from pathlib import Path
from typing import Any

from diotima import settings as base
from diotima.errors import ModelError
from diotima.models.adapted import refuse_other_weights
from diotima.training import weight_manifest as manifests
from diotima.training.weight_folder import (
    WeightFolder,
    as_size,
    copy_file,
    open_folder,
    refuse_adapter,
    some,
    whole_folder,
)
from diotima.training.weight_manifest import Manifest, Precision
from diotima.training.weight_rewriting import Megabytes, base_digests, keep_file


class Settings(base.Settings):
    """Between which weights, and how exact."""

    base: str
    """The model that was tuned: tiny, a folder or hf/NAME."""
    tuned: str
    """What became of it: a model or an adapter."""
    out: Path
    """Folder of the difference, a new one."""
    precision: Precision = "exact"
    """exact keeps every bit; the others keep the difference itself, where that takes fewer bytes than the tensor."""


def run(settings: Settings) -> dict[str, Any]:
    """Write the difference; returns its figures.

    Raises ModelError if the folders hold no safetensors that belong together, RunError if it cannot be written.
    """
    under, tuned = open_folder(settings.base), open_folder(settings.tuned)
    refuse_adapter(under)
    with whole_folder(settings.out) as part:
        make = _of_adapter if tuned.is_adapter else _of_tensors
        made = make(under, tuned, settings.precision, part)
        manifests.write_manifest(made, part)
    return _told(made, tuned, settings.out)


def _of_tensors(under: WeightFolder, tuned: WeightFolder, precision: Precision, part: Path) -> Manifest:
    held, mine = under.tensors(), tuned.tensors()
    if not held.keys() & mine.keys():
        raise ModelError(f"{tuned.name} and {under.name} have no tensor in common: one was not made of the other")
    with Megabytes("weights diff", sum(file.size for file in tuned.weights.values())) as bar:
        kept = {
            inside: keep_file(file, held, precision, part / manifests.TENSORS / inside, bar)
            for inside, file in tuned.weights.items()
        }
    files = {inside: copy_file(tuned.path / inside, part / manifests.OTHERS / inside) for inside in tuned.others}
    whole = [name for file in kept.values() for name, stored in file.weights.tensors.items() if stored.form == "whole"]
    errors = [file.largest_error for file in kept.values() if file.largest_error is not None]
    return Manifest(
        kind="tensors",
        precision=precision,
        base=under.name,
        base_tensors={name: tensor for file in kept.values() for name, tensor in file.base.items()},
        weights={inside: file.weights for inside, file in kept.items()},
        files=files,
        new=tuple(name for name in whole if name not in held),
        changed=tuple(name for name in whole if name in held),
        missing=tuple(name for name in held if name not in mine),
        left_out=tuned.left_out,
        largest_error=max(errors, key=lambda largest: largest.error, default=None),
    )


def _of_adapter(under: WeightFolder, adapter: WeightFolder, precision: Precision, part: Path) -> Manifest:
    if precision != "exact":
        raise ModelError(f"{adapter.name} is an adapter, which is its own difference, as it is: leave out --precision")
    refuse_other_weights(adapter.path, under.path, adapter.name)
    with Megabytes("weights diff", sum(place.size for _, place in under.tensors().values())) as bar:
        digests = base_digests(under, bar)
    files = {inside: copy_file(adapter.path / inside, part / inside) for inside in (*adapter.weights, *adapter.others)}
    return Manifest(kind="adapter", base=under.name, base_tensors=digests, files=files, left_out=adapter.left_out)


def _told(made: Manifest, tuned: WeightFolder, out: Path) -> dict[str, Any]:
    """Print what the difference is, in a few lines; returns it as figures."""
    tuned_bytes = sum(file.size for file in tuned.weights.values())
    bytes_ = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    forms = [stored.form for file in made.weights.values() for stored in file.tensors.values()]
    if made.kind == "adapter":
        print(f"{tuned.name} is an adapter, and that is the difference: {as_size(bytes_)}, copied as it is")
    else:
        print(f"{out}: {as_size(bytes_)} for {as_size(tuned_bytes)} of weights ({bytes_ / max(1, tuned_bytes):.0%})")
        exact, less = forms.count("xor"), len(forms) - forms.count("xor") - forms.count("whole")
        if less:
            print(f"{less:,} tensors in {made.precision}, {exact:,} with all their bits")
        elif made.precision != "exact":
            print(f"every tensor has all its bits: in {made.precision} none would take fewer bytes")
    if made.new or made.changed:
        print(
            f"whole, and so readable without the base: {some((*made.new, *made.changed))} "
            f"({len(made.new)} new, {len(made.changed)} of another shape or type)"
        )
    if made.missing:
        print(f"only in the base: {some(made.missing)}")
    if made.left_out:
        print(f"left out: {some(made.left_out)}")
    if made.largest_error is not None:
        largest = made.largest_error
        print(f"largest error: {largest.error:.2g} in {largest.tensor}, which tuning changed by {largest.change:.2g}")
    return {
        "out": str(out),
        "kind": made.kind,
        "precision": made.precision,
        "tensors": len(forms),
        "new": made.new,
        "changed": made.changed,
        "missing": made.missing,
        "left_out": made.left_out,
        "bytes": bytes_,
        "tuned_bytes": tuned_bytes,
        "largest_error": made.largest_error and made.largest_error.model_dump(),
    }
