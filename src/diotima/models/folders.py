"""From a model's name to the folder with its weights: ``tiny``, ``hf/NAME``, or a folder on this machine."""

from pathlib import Path

from diotima.errors import ModelError

TINY = Path(__file__).parents[1] / "sandbox" / "tiny"
_NO_FOLDERS = ("", "tiny", "hf", "scripted")
_SECOND_COPIES = ("original/*", "consolidated*", "*.gguf", "*.onnx", "*.h5", "*.msgpack")
"""The same weights for other programs, which many models on the hub hold beside those that are read here."""


def model_folder(name: str) -> Path:
    """The folder of a model in this process (``tiny``, ``hf/...``), for training. Raises ModelError otherwise."""
    if is_folder(name):
        return Path(name)
    backend, _, rest = name.partition("/")
    if name == "tiny":
        return TINY
    if backend == "hf" and rest:
        return hub_folder(rest)
    raise ModelError(f"{name!r} has no weights on this machine; use tiny, a folder or hf/NAME")


def is_folder(name: str) -> bool:
    """Whether a model is called by its folder."""
    # A folder that happens to be called "tiny" does not stand in for the package's tutor.
    return name not in _NO_FOLDERS and Path(name).is_dir()


def hub_folder(name: str) -> Path:
    """The folder behind ``hf/NAME``, downloaded if need be. Raises ModelError if there is none."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")):
        raise ModelError(f"hf/{name}: there is no such folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, ignore_patterns=list(_SECOND_COPIES)))
    except Exception:  # offline, no such model, no access: the hub raises a dozen kinds
        raise ModelError(
            f"hf/{name}: no such folder, and no such model could be had from the Hugging Face hub "
            f"(offline, or misspelt?)"
        ) from None
