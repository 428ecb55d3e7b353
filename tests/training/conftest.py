"""A few problems of the sandbox, one thread, and no reports to anywhere."""

from pathlib import Path

import pytest
import torch

from diotima.problems.files import write_problems
from diotima.sandbox.world import World


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def problems(tmp_path_factory) -> Path:
    """A folder with a few problems of the training split."""
    folder = tmp_path_factory.mktemp("problems")
    write_problems(World().problems(24, 0), folder / "train.jsonl")
    return folder
