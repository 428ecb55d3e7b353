"""From a model's name to a model: ``backend/name``, one line of a table for each back end.

``hf/PATH`` is a folder on this machine, or a model of the Hugging Face hub, which is downloaded once; ``tiny`` is the
tutor in the package; ``scripted/NAME`` needs no weights. Anything else can be had as ``package.module:factory``: a
function without arguments that returns an object with ``async reply(messages, sampling) -> Reply``. Such a reply may
also be a bare str. It has to be async because hundreds of lessons wait at the same time; whatever goes wrong in it is
told as a ModelError with its type, its text and its place.

Whoever opens the same folder while they are in use gets the same model: a student that is played by its tutor's model
costs no second copy. Training changes weights, so it loads a copy of its own (`load_local`), never one from here.
"""

import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from diotima.dialogue import Message
from diotima.errors import DiotimaError, ModelError
from diotima.models.chat import ChatModel, Reply, Sampling
from diotima.models.folders import TINY, hub_folder, is_folder
from diotima.models.scripted import SCRIPTS, ScriptedModel

if TYPE_CHECKING:
    from diotima.models.local import LocalModel

_IN_USE: "WeakValueDictionary[tuple[object, ...], LocalModel]" = WeakValueDictionary()


def open_model(name: str) -> ChatModel:
    """The model of that name. Raises ModelError if there is none, or it cannot be loaded."""
    if is_folder(name):
        return _open_hf(name)
    backend, _, rest = name.partition("/")
    if name in _BACKENDS or (rest and backend in _BACKENDS):
        return _BACKENDS[backend](rest)
    if ":" in name:
        return _from_factory(name)
    raise ModelError(
        f"there is no model {name!r}; use tiny, a folder, hf/NAME, vllm/NAME, openrouter/NAME or package.module:factory"
    )


def use_threads(count: int) -> None:
    """Let models in this process use so many processor threads; where there are none, nothing happens."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)


def _open_tiny(_: str) -> ChatModel:
    return _open_folder(TINY, "tiny")


def _open_hf(name: str) -> ChatModel:
    return _open_folder(hub_folder(name), f"hf/{name}")


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


@dataclass(frozen=True, slots=True)
class _OwnModel:
    """A user's model, whose mistakes are told in a sentence."""

    name: str
    model: ChatModel

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """The user's reply."""
        try:
            given: object = self.model.reply(messages, sampling)
            waited = inspect.isawaitable(given)
            reply = await given if inspect.isawaitable(given) else given
        except DiotimaError:
            raise
        except Exception as error:
            raise ModelError(f"{self.name}: its reply raised {_told(error)}") from error
        text = reply.text if isinstance(reply, Reply) else reply
        if not waited or not isinstance(text, str):
            how = "gave" if waited else "is not async and gave"
            raise ModelError(f"{self.name}: its reply {how} {type(text).__name__}; {_EXPECTED}")
        return reply if isinstance(reply, Reply) else Reply(text)


def _from_factory(name: str) -> ChatModel:
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        remedy = "; put its folder on PYTHONPATH" if error.name and f"{module}.".startswith(f"{error.name}.") else ""
        raise ModelError(f"{name}: {error}{remedy}") from None
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(f"{name}: {error}") from None
    except Exception as error:
        raise ModelError(f"{name}: importing {module} raised {_told(error)}") from error
    try:
        model = factory()
    except DiotimaError:
        raise
    except Exception as error:
        raise ModelError(f"{name}: calling it raised {_told(error)}; {_EXPECTED}") from error
    if not callable(getattr(model, "reply", None)):
        raise ModelError(f"{name}: what it returned ({type(model).__name__}) has no reply; {_EXPECTED}")
    return _OwnModel(name, model)


def _told(error: Exception) -> str:
    """The type of an error, its text and where in the user's code it came from, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f" ({frame.filename}, line {frame.lineno})" for frame in frames if frame.filename not in _NOT_THEIRS]
    return f"{type(error).__name__}: {' '.join(str(error).split())}{places[-1] if places else ''}"


_NOT_THEIRS = {
    __file__,
    import_module.__code__.co_filename,
    "<frozen importlib._bootstrap>",
    "<frozen importlib._bootstrap_external>",
}
_EXPECTED = (
    "package.module:factory must be a function without arguments that returns an object with "
    "async reply(messages, sampling) -> Reply"
)
_BACKENDS: dict[str, Callable[[str], ChatModel]] = {
    "tiny": _open_tiny,
    "hf": _open_hf,
    "scripted": _open_scripted,
}
