"""The published files that the readers are held against, where they lie beside the repository."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"
EULER = tuple(f"{name}_{split}" for name in ("mathdial", "tutorchat", "debugging") for split in ("train", "test"))


def published(name: str) -> Path:
    """The path of a file, or the reason why the test is skipped."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"needs a public set, which is not shipped: {path} is not there")
    return path


def euler(name: str) -> Path:
    """One of EULER's files."""
    return published(f"euler/{name}.json")
