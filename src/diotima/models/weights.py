"""Telling weights apart without reading all of them."""

import hashlib
from pathlib import Path

from diotima.errors import ModelError


def weights_fingerprint(folder: Path) -> str:
    """Twelve digits that tell these weights from others: names, sizes, first and last mebibyte of the weight files.

    Many models on the hub hold the same weights several times, and who downloads one takes some of them or all; only
    those that are read count. Raises ModelError if there are none.
    """
    safe = list(folder.glob("*.safetensors"))
    read = [path for path in safe if not path.name.startswith("consolidated")]
    files = sorted(read or safe or folder.glob("*.bin"))
    if not files:
        raise ModelError(f"{folder} has no weights (no *.safetensors); was the download cut off?")
    return _fingerprint(files)


def file_fingerprint(path: Path) -> str:
    """The same of one file, such as a GGUF."""
    return _fingerprint([path])


def _fingerprint(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(2**20))
            file.seek(max(0, path.stat().st_size - 2**20))
            digest.update(file.read())
    return digest.hexdigest()[:12]
