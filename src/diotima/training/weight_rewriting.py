"""One safetensors file through the pieces of its tensors: to its difference, and from there back to the last bit.

What passes is hashed on the way, so nothing is read twice: the base and the difference tensor by tensor, the tuned file
as a whole. Pieces come in order, whoever worked them out.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from diotima.errors import ModelError
from diotima.progress import Progress
from diotima.runs.durable import whole_file
from diotima.training.tensor_files import Place, TensorFile, TensorWriter, file_head, read_header
from diotima.training.weight_difference import (
    LENGTH,
    SHARING,
    STORED,
    WIDTH,
    Pair,
    Piece,
    Span,
    difference,
    form_of,
    in_order,
    recovery,
    spans,
)
from diotima.training.weight_folder import WeightFolder
from diotima.training.weight_manifest import (
    BaseTensor,
    LargestError,
    Manifest,
    StoredTensor,
    TunedWeights,
    refuse_other_bits,
)


class Megabytes:
    """Progress in millions of bytes; a context manager."""

    def __init__(self, title: str, total: int) -> None:
        self._progress = Progress(f"{title}, MB", total // 10**6)
        self._bytes = 0

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, traceback)

    def add(self, size: int) -> None:
        """Count bytes as done."""
        self._bytes += size
        self._progress.advance(self._bytes // 10**6 - self._progress.done)


@dataclass(frozen=True, slots=True)
class Kept:
    """The difference of one file: what the manifest says of it, of its tensors' bases, and how far it is off."""

    weights: TunedWeights
    base: Mapping[str, BaseTensor]
    largest_error: LargestError | None


def keep_file(
    file: TensorFile, held: Mapping[str, tuple[TensorFile, Place]], precision: str, target: Path, bar: Megabytes
) -> Kept:
    """Write the difference of a tuned file from the tensors ``held`` by its base."""
    whole, kept, bases = hashlib.sha256(file_head(file.header)), {}, {}
    largest: LargestError | None = None
    room = {name: place.shape for place in file.places for name in (place.name, _scales(place.name))}
    with _new_file(target) as written:
        writer = TensorWriter(written, room)
        for pair, pieces in groupby(in_order(difference, _planned(file, held, precision)), key=_pair):
            name, base, stored, scales = pair.place.name, hashlib.sha256(), hashlib.sha256(), bytearray()
            error = change = 0.0
            for piece in pieces:
                base.update(piece.base)
                whole.update(piece.result)
                stored.update(piece.stored)
                scales += piece.scales
                writer.write(piece.stored)
                error, change = max(error, piece.error), max(change, piece.change)
                bar.add(piece.span.size)
            stored.update(scales)
            kept[name] = StoredTensor(form=pair.form, sha256=stored.hexdigest())
            if pair.form in STORED:
                if largest is None or error > largest.error:
                    largest = LargestError(tensor=name, error=error, change=change)
                writer.name(name, STORED[pair.form], pair.place.shape)
            else:
                writer.name(name, "U8")
            if scales:
                writer.write(scales)
                writer.name(_scales(name), "F32", (len(scales) // 4,))
            if pair.base is not None:
                under = pair.base[1]
                bases[name] = BaseTensor(dtype=under.dtype, shape=under.shape, sha256=base.hexdigest())
        writer.close()
    return Kept(TunedWeights(header=file.header.decode(), sha256=whole.hexdigest(), tensors=kept), bases, largest)


def recovered_size(weights: TunedWeights) -> int:
    """The bytes of a tuned file's tensors."""
    return sum(place.size for place in read_header(weights.header.encode(), "the manifest"))


def recover_file(
    inside: str, manifest: Manifest, base: WeightFolder, stored: TensorFile, target: Path, bar: Megabytes
) -> None:
    """Write a tuned file again.

    Raises ModelError for the first tensor whose base is another, and if the difference or the result is not as noted.
    """
    weights = manifest.weights[inside]
    head = file_head(weights.header.encode())
    whole = hashlib.sha256(head)
    with _new_file(target) as written:
        written.write(head)
        for pair, pieces in groupby(in_order(recovery, _stored(inside, manifest, base, stored)), key=_pair):
            name, under, kept, scales = pair.place.name, hashlib.sha256(), hashlib.sha256(), bytearray()
            for piece in pieces:
                under.update(piece.base)
                kept.update(piece.stored)
                scales += piece.scales
                whole.update(piece.result)
                written.write(piece.result)
                bar.add(piece.span.size)
            kept.update(scales)
            if kept.hexdigest() != weights.tensors[name].sha256:
                raise damaged(stored.path, name)
            if pair.base is not None:
                refuse_other_bits(manifest, base, name, under.hexdigest())
    if whole.hexdigest() != weights.sha256:
        raise ModelError(
            f"{target.name} came out with SHA-256 {whole.hexdigest()[:12]}..., and {weights.sha256[:12]}... was "
            f"expected, although base and difference are right; was {stored.path.parent.parent} edited?"
        )


def base_digests(folder: WeightFolder, bar: Megabytes) -> dict[str, BaseTensor]:
    """What a difference has to know of every tensor of its base."""
    found = {}
    places = folder.tensors().values()
    pieces = (span for place in places for span in spans(Pair("whole", place[1], None, place)))
    for pair, read in groupby(in_order(_only_base, pieces), key=_pair):
        digest = hashlib.sha256()
        for piece in read:
            digest.update(piece.base)
            bar.add(piece.span.size)
        place = pair.place
        found[place.name] = BaseTensor(dtype=place.dtype, shape=place.shape, sha256=digest.hexdigest())
    return found


def _only_base(span: Span) -> Piece:
    return Piece(span, span.read_base(), b"", b"", b"")


def _pair(piece: Piece) -> Pair:
    return piece.span.pair


def _planned(file: TensorFile, held: Mapping[str, tuple[TensorFile, Place]], precision: str) -> Iterator[Span]:
    for place in file.places:
        base = held.get(place.name)
        form = form_of(place, base[1] if base else None, precision)
        yield from spans(Pair(form, place, file, None if form == "whole" else base))


def _stored(
    inside: str, manifest: Manifest, base: WeightFolder, stored: TensorFile
) -> Iterator[tuple[Span, bytes, bytes]]:
    """The pieces of a tuned file with what is stored of them. Raises ModelError if manifest and files do not fit."""
    weights, held = manifest.weights[inside], base.tensors()
    kept = {place.name: place for place in stored.places}
    for place in read_header(weights.header.encode(), stored.path):
        name = place.name
        if name not in weights.tensors or name not in kept:
            raise damaged(stored.path, name)
        form = weights.tensors[name].form
        under = held[name] if form != "whole" and name in manifest.base_tensors else None
        if form != form_of(place, under[1] if under else None, manifest.precision):
            raise damaged(stored.path, name)
        begin = 0
        for span in spans(Pair(form, place, None, under)):
            if form in STORED:
                size, scales = len(span.numbers) * WIDTH[form], b""
                if form == "int8":
                    shares = -(-len(span.numbers) // SHARING)
                    if _scales(name) not in kept:
                        raise damaged(stored.path, name)
                    scales = stored.read(kept[_scales(name)], span.numbers.start // SHARING * 4, shares * 4)
            elif span.size:
                size, scales = LENGTH + int.from_bytes(stored.read(kept[name], begin, LENGTH), "little"), b""
            else:
                size, scales = 0, b""
            yield span, stored.read(kept[name], begin, size), scales
            begin += size


def damaged(path: Path, tensor: str) -> ModelError:
    """The refusal of a difference that is not as its manifest says."""
    return ModelError(f"{path}: the difference of {tensor} is damaged; fetch it again")


@contextmanager
def _new_file(target: Path) -> Iterator[IO[bytes]]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as unfinished, unfinished.open("wb") as file:
        yield file


def _scales(name: str) -> str:
    return f"{name}:scale"
