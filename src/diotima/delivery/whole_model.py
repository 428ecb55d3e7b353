"""A model as one folder of whole weights, whatever it was trained as: what other programs can read.

A GGUF file has a place for weights, and none for what peft lays over them: a LoRA is merged into its base first. A
prefix cannot be, since it changes no weight.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diotima.models.adapted import base_of
from diotima.training.merging import merge_adapter
from diotima.training.weight_folder import open_folder


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
        merge_adapter(folder.path, open_folder(str(base_of(folder.path, name))), Path(merged))
        yield Path(merged)
