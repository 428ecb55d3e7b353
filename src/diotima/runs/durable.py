"""What is written to the disk is there whole or not at all, even after a crash or a power cut.

A file is written beside its place, forced to the disk, and only then given its name.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diotima.processes import rank

PART = ".part"
"""How the names of files and folders go on that are not whole yet."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; what stands there at the end becomes ``path``, whole or not at all."""
    part = path.with_name(f"{path.name}{PART}{rank() or ''}")  # of processes that train together each has its own
    try:
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Return when what a file holds, or which names a folder has, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Return when a folder is on the disk, with all that is in it."""
    for path in (*folder.rglob("*"), folder):
        sync(path)
