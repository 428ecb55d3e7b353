"""From a model's name to a model: ``backend/name``, one line of a table for each back end.

``hf/PATH`` is a folder on this machine, or a model of the Hugging Face hub, which is downloaded once; ``tiny`` is the
tutor in the package; ``scripted/NAME`` needs no weights. Anything else can be had as ``package.module:factory``, a
function without arguments.

Whoever opens the same folder while they are in use gets the same model: a student that is played by its tutor's model
costs no second copy. Training changes weights, so it loads a copy of its own (`load_local`), never one from here.
"""

import hashlib
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from diotima.errors import ModelError
from diotima.models.chat import ChatModel
from diotima.models.scripted import SCRIPTS, ScriptedModel

if TYPE_CHECKING:
    from diotima.models.local import LocalModel

TINY = Path(__file__).parents[1] / "sandbox" / "tiny"
_IN_USE: "WeakValueDictionary[tuple[object, ...], LocalModel]" = WeakValueDictionary()


def open_model(name: str) -> ChatModel:
    """The model of that name. Raises ModelError if there is none, or it cannot be loaded."""
    if _is_folder(name):
        return _open_hf(name)
    backend, _, rest = name.partition("/")
    if name in _BACKENDS or (rest and backend in _BACKENDS):
        return _BACKENDS[backend](rest)
    if ":" in name:
        return _from_factory(name)
    raise ModelError(f"there is no model {name!r}; use tiny, a folder, hf/NAME or package.module:factory")


def model_folder(name: str) -> Path:
    """The folder of a model in this process (``tiny``, ``hf/...``), for training. Raises ModelError otherwise."""
    if _is_folder(name):
        return Path(name)
    backend, _, rest = name.partition("/")
    if name == "tiny":
        return TINY
    if backend == "hf" and rest:
        return _hub_folder(rest)
    raise ModelError(f"{name!r} has no weights on this machine; use tiny, a folder or hf/NAME")


def weights_fingerprint(folder: Path) -> str:
    """Twelve digits that tell these weights from others: names, sizes, first and last mebibyte of all weight files.

    Raises ModelError if there are none.
    """
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not files:
        raise ModelError(f"{folder} has no weights (no *.safetensors); was the download cut off?")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(2**20))
            file.seek(max(0, path.stat().st_size - 2**20))
            digest.update(file.read())
    return digest.hexdigest()[:12]


def use_threads(count: int) -> None:
    """Let models in this process use so many processor threads; where there are none, nothing happens."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)


def _is_folder(name: str) -> bool:
    # A folder that happens to be called "tiny" does not stand in for the package's tutor.
    return name not in ("", *_BACKENDS) and Path(name).is_dir()


def _hub_folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")):
        raise ModelError(f"hf/{name}: there is no such folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except Exception:  # offline, no such model, no access: the hub raises a dozen kinds
        raise ModelError(
            f"hf/{name}: no such folder, and no such model could be had from the Hugging Face hub "
            f"(offline, or misspelt?)"
        ) from None


def _open_tiny(_: str) -> ChatModel:
    return _open_folder(TINY, "tiny")


def _open_hf(name: str) -> ChatModel:
    return _open_folder(_hub_folder(name), f"hf/{name}")


def _open_folder(folder: Path, name: str) -> ChatModel:
    from diotima.models.local import load_local

    # With the times of its files, for the same folder may hold another model than when it was opened before.
    files = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file())
    model = _IN_USE.get((folder.resolve(), *files))
    if model is None:
        model = _IN_USE[folder.resolve(), *files] = load_local(folder, name)
    return model


def _open_scripted(name: str) -> ChatModel:
    if name not in SCRIPTS:
        raise ModelError(f"there is no model scripted/{name}; scripted models are {', '.join(SCRIPTS)}")
    return ScriptedModel(SCRIPTS[name])


def _from_factory(name: str) -> ChatModel:
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(f"{name}: {error}") from None
    model: ChatModel = factory()
    return model


_BACKENDS: dict[str, Callable[[str], ChatModel]] = {
    "tiny": _open_tiny,
    "hf": _open_hf,
    "scripted": _open_scripted,
}
