"""`diotima sandbox problems`: the world's problems as files, one for each side of the split."""

from pathlib import Path

from pydantic import NonNegativeInt

from diotima.errors import SettingsError
from diotima.problems.files import write_problems
from diotima.problems.skills import SKILLS
from diotima.sandbox.world import Split, World
from diotima.settings import Settings as BaseSettings


class Settings(BaseSettings):
    """Which problems to export."""

    out: Path
    """Folder for train.jsonl and test.jsonl."""
    seed: int = 0
    """Seed of the draw; whatever it is, no problem of one split occurs in the other."""
    train: NonNegativeInt = 2000
    """How many problems of the training split."""
    test: NonNegativeInt = 300
    """How many problems of the test split."""
    fewest_steps: int = 3
    """Steps of the shortest problems."""
    most_steps: int = 5
    """Steps of the longest problems."""


def run(settings: Settings) -> Path:
    """Write both files; returns their folder."""
    if not 1 <= settings.fewest_steps <= settings.most_steps <= len(SKILLS):
        raise SettingsError(
            f"a problem cannot have {settings.fewest_steps} to {settings.most_steps} steps; "
            f"fewest_steps and most_steps must be from 1 to {len(SKILLS)}, in this order"
        )
    world = World(settings.fewest_steps, settings.most_steps)
    counts: dict[Split, int] = {"train": settings.train, "test": settings.test}
    for split, count in counts.items():
        if count:
            write_problems(world.problems(count, settings.seed, split), settings.out / f"{split}.jsonl")
    return settings.out
