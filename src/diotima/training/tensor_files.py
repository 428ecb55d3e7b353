"""Safetensors files by their bytes: where each tensor lies, and new files whose sizes are known only at the end.

The format is eight bytes with the length of a header, the header (JSON) and the tensors one after the other without
holes. The library's own reader maps whole files into memory and keeps the header to itself, and its writer wants all
tensors at once. Here a tensor is read in pieces, so memory stays flat, and the header is kept as it stands (order,
metadata, padding), without which a file could not be made again to the last bit.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from diotima.errors import ModelError

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1} | {
    "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1
}  # fmt: skip
"""Bytes of one number. What is not here (numbers of four bits, future ones) is bytes like any other."""

_LENGTH = 8
_LONGEST_HEADER = 100_000_000  # the library's own limit
_ENTRY = 128  # characters of a header's entry beside name and shape, with two offsets of 20 digits


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor's name, type and shape, and where its bytes begin in the data of its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    @property
    def width(self) -> int:
        """Bytes of one number, 1 where the type is not known."""
        return WIDTHS.get(self.dtype, 1)


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A safetensors file: its header, byte for byte, and its tensors in the order of their bytes."""

    path: Path
    header: bytes
    places: tuple[Place, ...]

    @property
    def size(self) -> int:
        """The bytes of its tensors."""
        return sum(place.size for place in self.places)

    def read(self, place: Place, start: int, size: int) -> bytes:
        """So many bytes of a tensor. Raises ModelError if it has not so many, or the file has become shorter."""
        if start + size > place.size:
            raise ModelError(f"{self.path}: {place.name} is shorter than it should be; fetch it again")
        with self.path.open("rb", buffering=0) as file:
            file.seek(_LENGTH + len(self.header) + place.start + start)
            found = file.read(size)
        if len(found) < size:
            raise ModelError(f"{self.path} has changed while it was read: it ends inside {place.name}")
        return found


def open_tensors(path: Path) -> TensorFile:
    """Read a file's header. Raises ModelError if it is none, or if the file is not as long as it says."""
    actual = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, actual - _LENGTH):
            raise ModelError(f"{path} is no safetensors file, or was cut off in its first bytes")
        header = file.read(length)
    places = read_header(header, path)
    promised = _LENGTH + length + sum(place.size for place in places)
    if actual != promised:
        raise ModelError(
            f"{path} is not whole: its header speaks of {promised:,} bytes and it has {actual:,}; fetch it again"
        )
    return TensorFile(path, header, places)


def read_header(header: bytes, where: object) -> tuple[Place, ...]:
    """The tensors of a header, in the order of their bytes. Raises ModelError if they overlap or leave holes."""
    try:
        told: dict[str, Any] = json.loads(header.decode())  # UTF-8 only: the manifest keeps it as text
        found = [
            Place(name, str(entry["dtype"]), tuple(map(int, entry["shape"])), int(start), int(end) - int(start))
            for name, entry in told.items()
            if name != "__metadata__"
            for start, end in [entry["data_offsets"]]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{where}: its header cannot be read ({type(error).__name__}: {error})") from None
    places = sorted(found, key=lambda place: (place.start, place.size))
    end = 0
    for place in places:
        numbers = place.dtype not in WIDTHS or place.size == math.prod(place.shape) * place.width
        if place.start != end or place.size < 0 or not numbers:
            raise ModelError(f"{where}: its header places {place.name} where it cannot lie")
        end += place.size
    return tuple(places)


def file_head(header: bytes) -> bytes:
    """What stands in a file before its tensors."""
    return len(header).to_bytes(_LENGTH, "little") + header


class TensorWriter:
    """Writes tensors whose sizes become known as they are written; the header gets its room first and its text last.

    ``room``: name and shape of all tensors that may come.
    """

    def __init__(self, file: IO[bytes], room: Mapping[str, tuple[int, ...]]) -> None:
        self._file = file
        needed = sum(_ENTRY + len(json.dumps(name)) + len(json.dumps(shape)) for name, shape in room.items())
        self._room = -(-(needed + 2) // 8) * 8
        self._entries: dict[str, dict[str, Any]] = {}
        self._start = self._end = 0
        file.seek(_LENGTH + self._room)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes of the tensor that `name` will give a name."""
        self._file.write(data)
        self._end += len(data)

    def name(self, name: str, dtype: str, shape: tuple[int, ...] | None = None) -> None:
        """What was written since the last name is this tensor; without a shape, a row of bytes.

        Raises ModelError if there is one of this name.
        """
        if name in self._entries:
            raise ModelError(f"two tensors would be called {name}: use --precision exact")
        shape = (self._end - self._start,) if shape is None else shape
        self._entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [self._start, self._end]}
        self._start = self._end

    def close(self) -> None:
        """Write the header into its room."""
        header = json.dumps(self._entries, separators=(",", ":")).encode().ljust(self._room)
        self._file.seek(0)
        self._file.write(file_head(header))
