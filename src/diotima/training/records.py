"""Records of other people's files as rows for supervised fine-tuning: questions with solutions, and conversations.

After SciGLM (Zhang et al. 2024), which learns from ``content`` and ``summary``: what is read is a prompt of the file's
own and the question, what is learned the solution and the end of the turn. A conversation is a column of chat messages,
of which the assistant's are learned, each in the context of all before it. Departures: the model's own chat template
instead of one made for another; nothing is cut, where SciGLM cut questions at 128 tokens, with the end of the question
and the mark of the answer; GSM8K's notes to the calculator are taken out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from diotima.dialogue import Message, Tokens, stable_seed
from diotima.errors import ModelError, ProblemFileError, SettingsError
from diotima.problems.formats import has_final_mark, text_of
from diotima.problems.rows import read_rows
from diotima.problems.solutions import without_annotations
from diotima.prompt import Prompt, load_prompt
from diotima.settings import did_you_mean
from diotima.training.sources import Source

if TYPE_CHECKING:
    from diotima.models.local import LocalModel

Row = dict[str, list[int]]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "messages": ("messages", "conversation", "conversations"),
    "question": ("question", "problem", "prompt", "query", "instruction", "content"),
    "solution": ("solution", "response", "output", "summary", "completion", "answer"),
}
"""What a column may be called that nobody has mapped, the likeliest first; case does not matter."""
DEFAULT_PROMPT = "solve/steps"


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation to learn from: the first ``given`` messages are only read, the assistant's later ones learned.

    ``place``: where it stands, for what is told about it.
    """

    messages: tuple[Message, ...]
    given: int
    place: str


@dataclass(frozen=True, slots=True)
class _Record:
    """One row of a file: a question with its solution, or messages."""

    fields: Mapping[str, Any]
    place: str
    question: str
    solution: str
    messages: tuple[Message, ...]


def chats(source: Source) -> list[Chat]:
    """All records of a source as conversations, in an order drawn by its seed, at most as many as it wants.

    Raises SettingsError if there is no such file, ProblemFileError with file, place and field for what cannot be read.
    """
    path = source.place
    if not path.is_file():
        raise SettingsError(f"records = {path}: there is no such file; name one that ends in .jsonl, .parquet or .csv")
    records = list(_read(path, source.columns))
    if not records:
        raise ProblemFileError(f"{path} holds no records")
    prompts = [load_prompt(name) for name in source.prompt or ([] if records[0].messages else [DEFAULT_PROMPT])]
    places = sorted(range(len(records)), key=lambda place: stable_seed("sft record", source.seed, place))
    return [_chat(place, records, prompts, source) for place in places[: source.most_records]]


def chat_row(chat: Chat, local: "LocalModel") -> Row:
    """``input_ids`` and ``labels`` of a conversation; -100 wherever the assistant did not speak, or was given.

    The ids are those that the model would read and sample. Raises ModelError for what its template cannot show.
    """
    heard = list(chat.messages[: chat.given])
    ids: tuple[int, ...] = ()
    labels: list[int] = []
    for message in chat.messages[chat.given :]:
        if message.role == "assistant":
            try:
                prompt_ids, reply_ids = local.format.context(heard), local.format.reply(message.content)
            except ModelError as error:
                raise ModelError(f"{chat.place}: {error}") from None
            labels += [-100] * (len(prompt_ids) - len(ids)) + list(reply_ids)
            ids = (*prompt_ids, *reply_ids)
            message = Message("assistant", message.content, Tokens(prompt_ids, reply_ids, (0.0,) * len(reply_ids)))
        heard.append(message)
    return {"input_ids": list(ids), "labels": labels}


def _read(path: Path, mapped: Mapping[str, str]) -> Iterator[_Record]:
    columns: dict[str, str] | None = None
    for row in read_rows(path):
        columns = columns or _columns(row.fields, mapped, path)
        try:
            if "messages" in columns:
                yield _Record(row.fields, f"{path}, {row.place}", "", "", _messages(row.fields, columns["messages"]))
                continue
            question, solution = (text_of(row.fields, columns[name]) for name in ("question", "solution"))
        except ProblemFileError as error:
            raise ProblemFileError(f"{path}, {row.place}: {error}") from None
        solution = without_annotations(solution) if has_final_mark(solution) else solution
        yield _Record(row.fields, f"{path}, {row.place}", question, solution, ())


def _columns(fields: Mapping[str, Any], mapped: Mapping[str, str], path: Path) -> dict[str, str]:
    """Which column holds what, by the first row."""
    for name, column in mapped.items():
        if name not in COLUMNS:
            raise SettingsError(f"columns = {name}: a column can hold the {', '.join(COLUMNS)}")
        if column not in fields:
            raise SettingsError(f"columns.{name} = {column}: {path} has none; {did_you_mean(column, fields)}")
    lower = {column.strip().lower(): column for column in fields}
    found = {name: next((lower[one] for one in known if one in lower), "") for name, known in COLUMNS.items()}
    columns = {name: column for name, column in {**found, **mapped}.items() if column}
    if "messages" in columns and not {"question", "solution"} & set(mapped):
        return {"messages": columns["messages"]}
    for name in ("question", "solution"):
        if name not in columns:
            there = ", ".join(map(str, fields)) or "none"
            raise ProblemFileError(
                f"{path}: no column is known to hold the {name}; the columns are {there}; say which it is: "
                f"--columns.{name} NAME, or in a recipe columns: {{{name}: NAME}}"
            )
    return {name: columns[name] for name in ("question", "solution")}


def _messages(fields: Mapping[str, Any], column: str) -> tuple[Message, ...]:
    """The messages up to the assistant's last. Raises ProblemFileError unless the two take turns."""
    listed = fields.get(column)
    if not isinstance(listed, list):
        raise ProblemFileError(f"the field {column} must be a list of messages")
    messages: list[Message] = []
    for number, item in enumerate(listed, 1):
        role, content = (item.get("role"), item.get("content")) if isinstance(item, dict) else (None, None)
        if role not in ("system", "user", "assistant") or not isinstance(content, str) or not content.strip():
            raise ProblemFileError(
                f"the field {column}, message {number}: it must be an object with role (system, user or assistant) and "
                "content, a text"
            )
        if messages and role in ("system", messages[-1].role):
            raise ProblemFileError(
                f"the field {column}, message {number}: after the {messages[-1].role} comes the {role}, where user and "
                "assistant must take turns, behind one system message at most"
            )
        messages.append(Message(role, content))
    last = max((place for place, message in enumerate(messages) if message.role == "assistant"), default=-1)
    if last < 0:
        raise ProblemFileError(f"the field {column} holds nothing that the assistant said")
    return tuple(messages[: last + 1])


def _chat(place: int, records: Sequence[_Record], prompts: Sequence[Prompt], source: Source) -> Chat:
    record, random = records[place], Random(stable_seed("sft prompt", source.seed, place))
    prompt = random.choice(prompts) if prompts else None
    if record.messages:
        if prompt is None:
            return Chat(record.messages, _given(record.messages), record.place)
        rest = record.messages[record.messages[0].role == "system" :]
        return Chat((Message("system", _filled(prompt, record)), *rest), 1, record.place)
    assert prompt is not None
    shown = []
    if len(records) > 1 and random.random() < source.one_shot:
        other = random.randrange(len(records) - 1)
        shown = _asked(prompt, records[other + (other >= place)])
    asked = _asked(prompt, record)
    opening = [*shown, *(asked[1:] if shown and asked[0].role == "system" else asked)]
    return Chat(tuple(opening), len(opening) - 1, record.place)


def _given(messages: Sequence[Message]) -> int:
    return next(place for place, message in enumerate(messages) if message.role == "assistant")


def _asked(prompt: Prompt, record: _Record) -> list[Message]:
    """A question as it is put, and its solution."""
    answer = Message("assistant", record.solution)
    if "question" in prompt.placeholders:
        return [Message("user", _filled(prompt, record)), answer]
    return [Message("system", _filled(prompt, record)), Message("user", record.question), answer]


def _filled(prompt: Prompt, record: _Record) -> str:
    known = {**record.fields, **({"question": record.question} if record.question else {})}
    try:
        return prompt.fill(**{name: text_of(known, name, number=True) for name in prompt.placeholders})
    except ProblemFileError as error:
        raise ProblemFileError(f"{record.place}: {error}, and the prompt {prompt.name} asks for it") from None
