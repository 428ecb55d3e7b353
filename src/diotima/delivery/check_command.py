"""`diotima export check`: does the served tutor say what the trained one says?

    diotima export check runs/grpo/model --gguf tutor.gguf
    diotima export check runs/grpo/model --server llamacpp/tutor@http://127.0.0.1:8080/v1

Some short chats, each hard for templates in one way, are rendered and read by the model here and by llama-server there,
and the server's greedy replies are gone through token by token (`parity`). If anything differs the command ends with 2.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, NonNegativeInt

from diotima import settings as base
from diotima.classroom.casting import TutorSettings, part_of
from diotima.delivery.chats import chats
from diotima.delivery.llama_cpp import LlamaCpp, served
from diotima.delivery.parity import Compared, LlamaServer, compare
from diotima.errors import ModelError, SettingsError
from diotima.models.folders import model_folder
from diotima.models.services import address_of, is_elsewhere

_CONTEXT = 4096


class Settings(base.Settings):
    """What is compared with what."""

    model: str
    """The model: tiny, a folder or hf/NAME."""
    gguf: Path | None = None
    """The file to compare it with; llama-server is started for it."""
    server: str | None = None
    """Instead: a llama-server that runs, llamacpp/NAME@http://HOST:PORT/v1."""
    tokens: NonNegativeInt = 48
    """The longest greedy reply to compare, in tokens; 0 compares text and token ids only."""
    tolerance: NonNegativeFloat = 1e-3
    """Tokens this close in log-probability are a tie; weights in fewer bits than f16 need more, such as 0.5."""
    llama_cpp: Path | None = None
    """A folder with llama-server, built; by default one that was built for this project's tests, or on PATH."""


def run(settings: Settings) -> dict[str, Any]:
    """Print what was compared; returns the figures. Raises ModelError, with the first difference, if there is one."""
    from diotima.models.local import load_local

    folder = model_folder(settings.model)
    with _server(settings) as (name, server):
        local = load_local(folder, settings.model)
        compared = compare(chats(part_of(folder, TutorSettings())), local, server, settings.tokens, settings.tolerance)
    _print(compared)
    differing = [one for one in compared if one.difference]
    if differing:
        raise ModelError(_told(settings.model, name, differing, len(compared)))
    print(f"{name} is {settings.model}: text, token ids and greedy replies are the same.")
    return {"model": settings.model, "server": name, "chats": [asdict(one) for one in compared]}


@contextmanager
def _server(settings: Settings) -> Iterator[tuple[str, LlamaServer]]:
    if (settings.gguf is None) == (settings.server is None):
        raise SettingsError("export check needs either a file, --gguf FILE, or a server, --server llamacpp/NAME@URL")
    if settings.gguf is not None:
        with served(LlamaCpp(settings.llama_cpp), settings.gguf, _CONTEXT) as url:
            yield str(settings.gguf), LlamaServer(url)
        return
    name = settings.server or ""
    if not is_elsewhere(name, {}):
        raise SettingsError(f"server = {name}: give the name of a llama-server, llamacpp/NAME@http://HOST:PORT/v1")
    address = address_of(name, {})
    if address.kind != "llamacpp":
        raise SettingsError(f"server = {name}: only llama-server shows how it reads a chat: llamacpp/NAME@URL")
    yield address.name, LlamaServer(address.urls[0].removesuffix("/v1"))


def _told(model: str, name: str, differing: list[Compared], count: int) -> str:
    first = differing[0]
    difference = first.difference
    assert difference is not None
    unit = "character" if difference.what == "text" else "token"
    rounding = "; if that is rounding (fewer bits, a merged adapter), say how much is allowed with --tolerance"
    return (
        f"{name} is not {model}: {len(differing)} of {count} chats differ; first in the {difference.what} of the chat "
        f"'{first.chat}' at {unit} {difference.place}: here {difference.here}, there {difference.there}"
        f"{rounding * (difference.what == 'reply')}"
    )


def _print(compared: list[Compared]) -> None:
    from rich.console import Console
    from rich.text import Text

    from diotima.problems.list_command import table

    drawn = table("chat", "read", "reply", "", header=True)
    for one in compared:
        if one.difference:
            found = Text(f"the {one.difference.what} differs at {one.difference.place}", style="red")
        else:
            found = Text("refused by both", style="yellow") if one.refused else Text("the same", style="green")
            found.append(f", {len(one.ties)} tied" if one.ties else "")
            found.append(", but read otherwise in lessons" if one.otherwise_in_lessons else "", style="yellow")
        drawn.add_row(one.chat, f"{one.ids:,}", f"{one.reply:,}", found)
    Console(highlight=False).print(drawn)
