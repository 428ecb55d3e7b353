"""Whether a served model is the model: the same text of a chat, the same token ids, the same greedy reply.

Three things can go wrong between a folder and a server, and each shows elsewhere. The template is rendered by another
program (llama.cpp has a Jinja of its own): the text differs. The tokenizer is another program's: the text is the same
and the ids differ. The weights were converted or rounded: only replies differ.

Replies are not generated twice. The server's is read by the model here in one pass, and wherever the model would have
said something else both log-probabilities are told. Two programs add in different orders, so tokens that are as likely
as each other up to ``tolerance`` are a tie and no difference.
"""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.error import HTTPError

from diotima.dialogue import Message
from diotima.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from diotima.models.local import LocalModel

SECONDS = 600.0
_SHOWN = 60  # characters
_REFUSES = "(refuses this chat)"


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a chat first differs. ``what``: text, ids or reply; ``here`` and ``there``: what stands at that place."""

    what: str
    place: int
    here: str
    there: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One chat. ``refused``: neither side's template takes it. ``ties``: where a tie was decided otherwise.

    ``ids``: how many tokens were read, ``reply``: how many of the server's reply were compared.
    ``otherwise_in_lessons``: the template as both render it is not what the model read when it was trained, which kept
    every turn as it was said (Qwen3's template drops earlier thoughts, for one).
    """

    chat: str
    difference: Difference | None = None
    refused: bool = False
    ids: int = 0
    reply: int = 0
    ties: tuple[Difference, ...] = ()
    otherwise_in_lessons: bool = False


class Serves(Protocol):
    """A server of the kind of llama-server: an object in, an object out. A request it refuses is None."""

    def __call__(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """What it answers. Raises ModelError if it answers nothing."""
        ...


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """llama-server's own pages, beside those that are OpenAI's. ``url``: without /v1."""

    url: str

    def __call__(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """See `Serves`."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=SECONDS) as response:
                told = json.load(response)
        except HTTPError as error:
            if error.code in (401, 403):
                raise ModelError(f"{self.url} asks for a key (HTTP {error.code}): start it without --api-key") from None
            if error.code == 404:
                raise ModelError(f"{self.url} has no page {path}: is it llama-server?") from None
            return None
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.url} does not answer ({error}); start it, or name its address") from None
        return told if isinstance(told, dict) else {}


def compare(
    chats: Mapping[str, Sequence[Message]], local: "LocalModel", server: Serves, tokens: int, tolerance: float
) -> list[Compared]:
    """Compare every chat. ``tokens``: the longest reply, 0 asks for none; ``tolerance``: a tie, in nats."""
    return [_compare(name, messages, local, server, tokens, tolerance) for name, messages in chats.items()]


def _compare(
    name: str, messages: Sequence[Message], local: "LocalModel", server: Serves, tokens: int, tolerance: float
) -> Compared:
    text, in_lessons = rendered(local.tokenizer, messages), _read_in_lessons(local, messages)
    ids = in_lessons if text is None else local.tokenizer.encode(text, add_special_tokens=False)
    answer = server(
        "/apply-template", {"messages": [{"role": message.role, "content": message.content} for message in messages]}
    )
    theirs = None if answer is None else str(answer.get("prompt"))
    if text is None and theirs is None:
        return Compared(name, refused=True, otherwise_in_lessons=in_lessons is not None)
    if ids is None or theirs is None:
        here = None if ids is None else local.tokenizer.decode(ids)
        sides = [_REFUSES if side is None else repr(side[-_SHOWN:]) for side in (here, theirs)]
        return Compared(name, Difference("text", 0, *sides))
    if text is not None:
        # What begins every sequence is written by the template here, and by the tokenizer there.
        begin = str(local.tokenizer.bos_token or "")
        texts = [side.removeprefix(begin) for side in (text, theirs)]
        if (place := first_difference(*texts)) is not None:
            around = slice(max(0, place - _SHOWN // 2), place + _SHOWN // 2)
            return Compared(name, Difference("text", place, *(repr(side[around]) for side in texts)))
    answer = server("/tokenize", {"content": theirs, "add_special": True, "parse_special": True}) or {}
    read = [int(token) for token in answer.get("tokens", [])]
    if (place := first_difference(ids, read)) is not None:
        sides = [_tokens(local, side[place : place + 4]) for side in (ids, read)]
        return Compared(name, Difference("ids", place, *sides))
    difference, reply, ties = _reply(ids, local, server, tokens, tolerance) if tokens else (None, 0, ())
    return Compared(name, difference, ids=len(ids), reply=reply, ties=ties, otherwise_in_lessons=ids != in_lessons)


def rendered(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> str | None:
    """What transformers makes of a chat by the model's template, or None if the template refuses it."""
    chat = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
    except Exception:  # templates raise whatever their authors chose
        return None


def _read_in_lessons(local: "LocalModel", messages: Sequence[Message]) -> list[int] | None:
    """The ids that the model reads here; some where the template alone refuses (`models.template`), None if none."""
    try:
        return list(local.format.context(messages))
    except ModelError:
        return None


def first_difference(here: Sequence[object], there: Sequence[object]) -> int | None:
    """The first place at which two sequences differ, None if they are equal."""
    for place, (one, other) in enumerate(zip(here, there, strict=False)):
        if one != other:
            return place
    return None if len(here) == len(there) else min(len(here), len(there))


def _reply(
    ids: list[int], local: "LocalModel", server: Serves, tokens: int, tolerance: float
) -> tuple[Difference | None, int, tuple[Difference, ...]]:
    import torch

    asked = {"prompt": ids, "n_predict": tokens, "temperature": 0, "n_probs": 1, "return_tokens": True}
    answer = server("/completion", {**asked, "cache_prompt": False})
    if answer is None or not isinstance(answer.get("tokens"), list):
        return Difference("reply", 0, "", "(refuses to reply)"), 0, ()
    said = [int(token) for token in answer["tokens"]]
    if not said:  # the end of a turn is a token, too
        return Difference("reply", 0, "a token", "none"), 0, ()
    told = [entry.get("logprob") for entry in answer.get("completion_probabilities", [])]
    with torch.inference_mode():
        row = torch.tensor([ids + said], device=local.model.device)
        logits = local.model(input_ids=row).logits[0, len(ids) - 1 :].float()
    logprobs_T_V = torch.log_softmax(logits, -1)
    ties: list[Difference] = []
    for place, token in enumerate(said):
        if token in local.format.end_ids and place < len(said) - 1:
            return Difference("reply", place, f"{_tokens(local, [token])} ends it", "goes on"), place, tuple(ties)
        best = int(logprobs_T_V[place].argmax())
        if best == token:
            continue
        mine, other = float(logprobs_T_V[place, best]), float(logprobs_T_V[place, token])
        there = f", there {told[place]:.4f}" if place < len(told) and isinstance(told[place], float) else ""
        found = Difference(
            "reply", place,
            f"{_tokens(local, [best])} at {mine:.4f}",
            f"{_tokens(local, [token])} at {other:.4f} here{there}",
        )  # fmt: skip
        if not mine - other <= tolerance:  # so that what is no number is a difference
            return found, place, tuple(ties)
        ties.append(found)
    if answer.get("stop_type") == "eos" and said and said[-1] not in local.format.end_ids:
        ended = Difference("reply", len(said), "goes on", f"{_tokens(local, said[-1:])} ends it")
        return ended, len(said), tuple(ties)
    return None, len(said), tuple(ties)


def _tokens(local: "LocalModel", ids: Sequence[int]) -> str:
    return f"{list(ids)} {local.tokenizer.decode(list(ids))!r}" if ids else "(nothing)"
