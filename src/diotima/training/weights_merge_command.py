"""`diotima weights merge`: a LoRA put into its base, as one model.

    diotima weights merge runs/sft/model -o tutor

The base is the one that the adapter names, unless another place of it is given. It may be an adapter itself, which is
merged, too.
"""

from pathlib import Path
from typing import Any

from diotima import settings as base
from diotima.models.adapted import base_of, refuse_other_weights
from diotima.models.folders import model_folder
from diotima.training.merging import merge_adapter
from diotima.training.weight_folder import as_size, open_folder, whole_folder


class Settings(base.Settings):
    """What is merged."""

    adapter: str
    """The adapter: a folder or hf/NAME."""
    out: Path
    """Folder of the model, a new one."""
    base: str | None = None
    """The model under the adapter: tiny, a folder or hf/NAME; by default the one the adapter names."""


def run(settings: Settings) -> dict[str, Any]:
    """Write the merged model; returns its figures.

    Raises ModelError if the two cannot be merged, RunError if it cannot be written.
    """
    adapter = model_folder(settings.adapter)
    if settings.base is None:
        under = open_folder(str(base_of(adapter, settings.adapter)))
    else:
        under = open_folder(settings.base)
        refuse_other_weights(adapter, under.path, settings.adapter)
    with whole_folder(settings.out) as part:
        merge_adapter(adapter, under, part)
    size = sum(path.stat().st_size for path in settings.out.iterdir())
    print(f"{settings.out}: {settings.adapter} in the weights of {under.name}, {as_size(size)}")
    return {"out": str(settings.out), "adapter": settings.adapter, "base": under.name, "bytes": size}
