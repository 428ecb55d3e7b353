"""What tuning changed in a tensor, piece by piece, and the tensor again from its base and that.

*xor* keeps the exact bits: the bit pattern of the tuned number, XOR that of the base. XOR loses nothing, whatever the
type, and undoes itself; a subtraction rounds, and base + (tuned - base) is then not always tuned. Where tuning moved a
number little, its sign, exponent and first digits cancel to zeros: so the bytes of like place are laid side by side
(all first bytes, all second bytes ...), where zstandard finds them. A base of another floating type is converted first,
which is a function of its bits alone. *whole* is the same without a base: tensors that are new, or have another shape.

*bf16*, *f16* and *int8* are the numerical difference in fewer bits, plain tensors that anyone may read: tuned is then
about base + difference. For int8, every 128 numbers in a row share a scale, the largest of them being 127.

A tensor goes in pieces of 1 MB, several at a time, so memory is flat however large it is. zstandard's level 1 keeps
about 500 MB/s on one processor, where zlib's fastest keeps 100.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from diotima.errors import ModelError
from diotima.training.tensor_files import Place, TensorFile

if TYPE_CHECKING:
    import torch

Form = Literal["xor", "whole", "bf16", "f16", "int8"]
Data = bytes | memoryview
PIECE = 2**20
"""Bytes of the tuned tensor in a piece; part of the format, as are the 128 numbers that share a scale."""
SHARING = 128
LENGTH = 4
"""Bytes before each compressed piece that say how long it is."""
STORED = {"bf16": "BF16", "f16": "F16", "int8": "I8"}
WIDTH = {"bf16": 2, "f16": 2, "int8": 1}
TORCH = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_WORKERS = min(4, os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Pair:
    """A tuned tensor, in what form it is kept, and its base, if it has one. ``file`` is None where it is recovered."""

    form: Form
    place: Place
    file: TensorFile | None
    base: tuple[TensorFile, Place] | None


@dataclass(frozen=True, slots=True)
class Span:
    """So many bytes of a tuned tensor from ``start``."""

    pair: Pair
    start: int
    size: int

    @property
    def numbers(self) -> range:
        """Which numbers of the tensor these are."""
        width = self.pair.place.width
        return range(self.start // width, (self.start + self.size) // width)

    def read_base(self) -> bytes:
        """The same numbers of the base, b"" if there is none."""
        if self.pair.base is None:
            return b""
        file, place = self.pair.base
        return file.read(place, self.numbers.start * place.width, len(self.numbers) * place.width)


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece, done: the base's bytes, what is stored, and the bytes that recovering gives.

    ``error`` and ``change``: the largest distances of the recovered and of the base's numbers from the tuned.
    """

    span: Span
    base: Data
    stored: Data
    scales: Data
    result: Data
    error: float = 0.0
    change: float = 0.0


def spans(pair: Pair) -> Iterator[Span]:
    """The pieces of a tensor; an empty tensor has one, too."""
    size = pair.place.size
    return (Span(pair, start, min(PIECE, size - start)) for start in range(0, max(size, 1), PIECE))


def form_of(tuned: Place, base: Place | None, precision: str) -> Form:
    """How a tensor is kept: in ``precision`` (``exact``, ``bf16`` ...) only where that takes fewer bytes."""
    if base is None or base.shape != tuned.shape:
        return "whole"
    floating = {tuned.dtype, base.dtype} <= TORCH.keys()
    if not floating and (base.dtype, base.size) != (tuned.dtype, tuned.size):
        return "whole"
    if precision == "exact" or not floating or WIDTH[precision] >= tuned.width or not tuned.size:
        return "xor"
    return precision  # type: ignore[return-value]


def difference(span: Span) -> Piece:
    """Read one piece of the tuned tensor and of its base, and work out what is stored.

    Raises ModelError if a low precision cannot hold the difference.
    """
    pair, base = span.pair, span.read_base()
    assert pair.file is not None
    tuned = pair.file.read(pair.place, span.start, span.size)
    if pair.form not in STORED:
        mixed = _xor(tuned, _converted(base, span))
        return Piece(span, base, _packed(mixed, pair.place.width), b"", tuned)
    import torch

    exact, under = _tensor(tuned, pair.place), _widened(base, span)
    change = exact.to(under.dtype) - under
    if pair.form == "int8":
        rows = torch.nn.functional.pad(change, (0, -change.numel() % SHARING)).view(-1, SHARING)
        scales = (rows.abs().amax(1, keepdim=True) / 127).float()
        whole = torch.where(scales > 0, rows / scales.to(rows.dtype), 0).round().clamp(-127, 127)
        kept = whole.view(-1)[: change.numel()].to(torch.int8)
        side = _bytes(scales)
    else:
        kept, side = change.to(getattr(torch, TORCH[STORED[pair.form]])), b""
    stored = _bytes(kept)
    result = _added(stored, side, base, span)
    distance = (_tensor(result, pair.place).to(under.dtype) - exact.to(under.dtype)).abs().max()
    if not distance.isfinite():
        raise ModelError(
            f"{pair.place.name}: its difference is not finite in {pair.form}; a number in it is not finite itself, or "
            "too large: use --precision exact"
        )
    return Piece(span, base, stored, side, result, float(distance), float(change.abs().max()))


def recovery(given: tuple[Span, bytes, bytes]) -> Piece:
    """One piece of the tuned tensor, from its base and what was stored (and scales). Raises ModelError if damaged."""
    span, stored, scales = given
    base = span.read_base()
    if span.pair.form not in STORED:
        mixed = _unpacked(stored, span)
        return Piece(span, base, stored, scales, _xor(mixed, _converted(base, span)))
    return Piece(span, base, stored, scales, _added(stored, scales, base, span))


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``map`` with a few threads, a few items ahead: numpy, hashes, zstandard and files need no interpreter."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        ahead: deque[Future[Result]] = deque()
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > _WORKERS + 2:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _xor(left: Data, right: Data) -> Data:
    if not right:
        return left
    import numpy

    mixed = numpy.empty(len(left), numpy.uint8)
    one, other = numpy.frombuffer(left, numpy.uint8), numpy.frombuffer(right, numpy.uint8)
    words = len(left) // 8 * 8  # eight bytes at a time, and the rest one by one
    for part, kind in ((slice(words), numpy.uint64), (slice(words, None), numpy.uint8)):
        numpy.bitwise_xor(one[part].view(kind), other[part].view(kind), out=mixed[part].view(kind))
    return mixed.data


def _packed(data: Data, width: int) -> bytes:
    """The bytes of like place side by side, compressed, after the length of that in four bytes."""
    import numpy

    if not data:
        return b""
    numbers = numpy.frombuffer(data, numpy.uint8)
    planes = numpy.empty((width, len(data) // width), numpy.uint8)
    for place in range(width):
        planes[place] = numbers[place::width]
    frame = _zstandard().compress(planes.reshape(-1))
    return b"".join((len(frame).to_bytes(LENGTH, "little"), frame))


def _unpacked(stored: bytes, span: Span) -> Data:
    import numpy

    if not span.size:
        return b""
    try:
        found = _zstandard().decompress(stored[LENGTH:], decompressed_size=span.size)
    except (OSError, ValueError):
        raise ModelError(f"the difference of {span.pair.place.name} is damaged; fetch it again") from None
    width = span.pair.place.width
    planes = numpy.frombuffer(found, numpy.uint8).reshape(width, -1)
    numbers = numpy.empty(span.size, numpy.uint8)
    for place in range(width):
        numbers[place::width] = planes[place]
    return numbers.data


def _zstandard() -> Any:
    import pyarrow

    return pyarrow.Codec("zstd", compression_level=1)


def _converted(base: bytes, span: Span) -> bytes:
    """The base's numbers in the tuned type."""
    if span.pair.base is None or span.pair.base[1].dtype == span.pair.place.dtype or not base:
        return base
    import torch

    return _bytes(_tensor(base, span.pair.base[1]).to(getattr(torch, TORCH[span.pair.place.dtype])))


def _added(stored: bytes, scales: bytes, base: bytes, span: Span) -> bytes:
    """Base + difference in the tuned type. Each operation rounds by itself, so every machine gets the same bits."""
    import torch

    under = _widened(base, span)
    if span.pair.form == "int8":
        kept = torch.frombuffer(bytearray(stored), dtype=torch.int8).to(under.dtype)
        factors = torch.frombuffer(bytearray(scales), dtype=torch.float32).to(under.dtype)
        change = kept * factors.repeat_interleave(SHARING)[: kept.numel()]
    else:
        kind = getattr(torch, TORCH[STORED[span.pair.form]])
        change = torch.frombuffer(bytearray(stored), dtype=kind).to(under.dtype)
    return _bytes((under + change).to(getattr(torch, TORCH[span.pair.place.dtype])))


def _widened(base: bytes, span: Span) -> "torch.Tensor":
    """The base's numbers in the type to reckon with."""
    import torch

    assert span.pair.base is not None
    return _tensor(base, span.pair.base[1]).to(torch.float64 if span.pair.place.dtype == "F64" else torch.float32)


def _tensor(data: Data, place: Place) -> "torch.Tensor":
    import torch

    return torch.frombuffer(bytearray(data), dtype=getattr(torch, TORCH[place.dtype]))


def _bytes(tensor: "torch.Tensor") -> bytes:
    import torch

    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
