"""Several processes that train one model together, as torchrun and accelerate start them, and what each may do.

    torchrun --nproc_per_node 4 -m diotima train grpo --model ... --out runs/grpo

Every process plays its share of the lessons and of the rows. The first, of rank 0, alone writes the run, its metrics,
checkpoints and the model, and alone shows progress. A run has one writer, so any other keeps the books of the calls
that it has paid for in a run of its own below, ``process-1``, ``process-2`` ...; nothing else of interest is there.
"""

import os
from pathlib import Path


def rank() -> int:
    """The place of this process among all of them; 0 if it is alone."""
    # A cluster's own RANK may be that of a machine; whoever starts training processes sets LOCAL_RANK too.
    return int(os.environ.get("RANK", "0")) if "LOCAL_RANK" in os.environ else 0


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def is_first() -> bool:
    """Whether this process writes what all of them have done."""
    return rank() == 0


def own_folder(run: Path) -> Path:
    """Where this process writes if all of them write ``run``."""
    return run if is_first() else run / f"process-{rank()}"


def folders_of_others(run: Path) -> list[Path]:
    """Where processes other than the first have written."""
    return sorted(path for path in run.glob("process-*") if path.is_dir())
