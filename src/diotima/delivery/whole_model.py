"""A model as one folder of whole weights, whatever it was trained as: what other programs can read.

A GGUF file has a place for weights, and none for what peft lays over them: a LoRA is merged into its base first. A
prefix cannot be, since it changes no weight.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diotima.training.merging import base_of, merge_adapter
from diotima.training.weight_folder import WeightFolder, open_folder


def weights_under(name: str) -> WeightFolder:
    """Where the weights of a model lie: its own folder, or that of the base under an adapter. Raises ModelError."""
    folder = open_folder(name)
    return open_folder(base_of(folder.path)) if folder.is_adapter else folder


@contextmanager
def whole_model(name: str, work: Path) -> Iterator[Path]:
    """The folder of a model by its name, merged if it is an adapter; a merged one goes when the block ends.

    ``work``: a folder on a disk that has room for it. Raises ModelError if there is no such model, or it cannot merge.
    """
    folder = open_folder(name)
    if not folder.is_adapter:
        yield folder.path
        return
    with tempfile.TemporaryDirectory(prefix=".merged.", dir=work) as merged:
        merge_adapter(folder.path, weights_under(name), Path(merged))
        yield Path(merged)
