"""A small stage for tests: writes its settings' words to a file and keeps count of how often it ran."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from diotima.settings import Settings as BaseSettings

PLAYED: list[str] = []


class Group(BaseSettings):
    """A nested group."""

    rate: float = 0.5
    """A rate."""


class Settings(BaseSettings):
    """What to write."""

    obvious_input = "source"

    out: Path
    """Where to write."""
    seed: int = 0
    """The seed."""
    word: str = "word"
    """What to write."""
    source: Path | None = None
    """Another stage's result."""
    mode: Literal["write", "interrupt", "fill", "print"] = "write"
    """How to behave."""
    tags: tuple[str, ...] = ()
    """Some words."""
    bold: bool = True
    """A switch."""
    extras: dict[str, float] = Field(default_factory=dict)
    """Free keys."""
    group: Group = Group()


def run(settings: Settings) -> Path:
    """Write the word after what the source says."""
    if settings.mode == "interrupt":
        raise KeyboardInterrupt
    if settings.mode == "fill":
        raise OSError(28, "No space left on device", str(settings.out))
    if settings.mode == "print":
        print("chatter")
    PLAYED.append(settings.out.name)
    settings.out.mkdir(parents=True, exist_ok=True)
    before = settings.source.read_text() if settings.source else ""
    path = settings.out / "words.txt"
    path.write_text(f"{before}{settings.word}{settings.seed} ")
    path.with_suffix(".json").write_text('{"words": 1}')
    return path
