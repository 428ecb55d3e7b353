"""Sets of preference pairs: TRL's conversational form, written and read.

A pair is one context and two replies to it. ``prompt``, ``chosen`` and ``rejected`` are lists of messages, as TRL and
most sets of the hub have them, so a set made here trains elsewhere and the other way round. The prompt begins with the
system message that the tutor read; a reply stands there as the tutor wrote it, its thought included. Files of others
may leave ``prompt`` out and put it in front of both replies, as TRL allows.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from diotima.dialogue import Message
from diotima.errors import ProblemFileError, RunError
from diotima.problems.rows import READERS, Row, read_rows

NAME = "pairs"
FORMATS: tuple[Literal["parquet", "jsonl"], ...] = ("parquet", "jsonl")
CARD = "README.md"
SUMMARY = "summary.json"
COLUMNS = {
    "prompt": "messages",
    "chosen": "messages",
    "rejected": "messages",
    "context": "string",
    "problem_id": "string",
    "source": "string",
    "chosen_score": "string",
    "rejected_score": "string",
    "chosen_tutor": "string",
    "rejected_tutor": "string",
    "chosen_seed": "int64",
    "rejected_seed": "int64",
}
"""Scores are exact fractions as text (``19/20``); tutor, problem and seed find a candidate in its run again."""

_ROLES = get_args(Literal["system", "user", "assistant"])


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one prompt, of which the first is the better one.

    ``prompt``: a chat that ends with the student's message. ``chosen`` and ``rejected``: replies as the tutor wrote
    them, see `dialogue.raw_reply`. ``problem_id``: "" where the file does not tell it.
    """

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    problem_id: str = ""


def read_pairs(path: Path) -> list[Pair]:
    """All pairs of a set: a folder that ``diotima pairs`` has written, or a file of rows in TRL's conversational form.

    Raises ProblemFileError with file, line and field; nothing is read by half.
    """
    path = Path(path)
    file = _file_in(path) if path.is_dir() else path
    if not file.is_file():
        raise ProblemFileError(f"there is no file of pairs {file}; make one with: diotima pairs")
    if file.suffix.lower() not in READERS:
        raise ProblemFileError(f"{file}: pairs are read from files that end in .jsonl, .json or .parquet")
    pairs = [_pair(row, file) for row in read_rows(file)]
    if not pairs:
        raise ProblemFileError(f"{file} holds no pairs")
    return pairs


@contextmanager
def room_for_pairs(folder: Path) -> Iterator[None]:
    """A folder to write a set to, from which an earlier one is removed.

    Where that fails nothing of the set stays behind, nor a folder that was made for it. Raises RunError if something
    else lies there.
    """
    new, earlier = not folder.exists(), any((folder / f"{NAME}.{format}").is_file() for format in FORMATS)
    if not new and not earlier and (folder.is_file() or any(folder.iterdir())):
        raise RunError(f"{folder} holds something that is no set of pairs: choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    try:
        yield
    except BaseException:
        _clear(folder)
        with suppress(OSError):
            if new:
                folder.rmdir()
        raise


def _clear(folder: Path) -> None:
    for name in (CARD, SUMMARY, *(f"{NAME}.{format}" for format in FORMATS)):
        (folder / name).unlink(missing_ok=True)


def _file_in(folder: Path) -> Path:
    files = [folder / f"{NAME}{suffix}" for suffix in (".jsonl", ".parquet")]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise ProblemFileError(
            f"{folder} holds no {files[0].name} and no {files[1].name}; make them with: diotima pairs"
        )
    return found


def _pair(row: Row, file: Path) -> Pair:
    try:
        chosen, rejected = (_messages(row.fields, name) for name in ("chosen", "rejected"))
        if row.fields.get("prompt") is not None:
            prompt = _messages(row.fields, "prompt")
            if len(chosen) != 1 or len(rejected) != 1:
                raise ProblemFileError("beside a prompt, chosen and rejected must have one message each")
        else:
            prompt = chosen[:-1]
            if rejected[:-1] != prompt:
                raise ProblemFileError("without a prompt, chosen and rejected must be alike but for their last message")
        if not prompt or prompt[-1].role != "user":
            raise ProblemFileError("the prompt must end with a message of the user, the student")
        if (chosen[-1].role, rejected[-1].role) != ("assistant", "assistant"):
            raise ProblemFileError("chosen and rejected must be messages of the assistant, the tutor")
        if chosen[-1].content == rejected[-1].content:
            raise ProblemFileError("chosen and rejected are the same text, of which nothing can be learned")
    except ProblemFileError as error:
        raise ProblemFileError(f"{file}, {row.place}: {error}") from None
    return Pair(prompt, chosen[-1].content, rejected[-1].content, str(row.fields.get("problem_id") or ""))


def _messages(fields: Mapping[str, Any], name: str) -> tuple[Message, ...]:
    value = fields.get(name)
    if not isinstance(value, list) or not value:
        raise ProblemFileError(
            f'the field {name} must be a list of messages, [{{"role": "user", "content": "..."}}], not '
            f"{'missing' if value is None else 'empty' if value == [] else type(value).__name__}"
        )
    messages = []
    for number, told in enumerate(value, 1):
        role, content = (told.get("role"), told.get("content")) if isinstance(told, dict) else (None, None)
        if role not in _ROLES or not isinstance(content, str) or not content:
            raise ProblemFileError(
                f"the field {name}, message {number}: needs a role ({', '.join(_ROLES)}) and a content that is text"
            )
        messages.append(Message(cast(Literal["system", "user", "assistant"], role), content))
    return tuple(messages)
