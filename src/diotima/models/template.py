"""From messages to token ids, such that a dialogue's ids only ever grow.

The opening, which is what comes before the model's first turn, is rendered once with the model's chat template. Every
later context is the ids that the model read and sampled before, and then what the template puts between an assistant's
turn and the next one, found once per template. Templates do not keep their own prefix when they render again (they trim
text, drop thoughts, move system prompts), and text does not come back from ids unchanged; so nothing that was said is
ever rendered a second time. A turn whose tokens are not known is written as it would have been sampled.

What families do differently is found by asking their templates, never by a family's name:

- no system role, or none without a user's turn (Gemma, Mistral): the system's text begins the first user's message, as
  these families' own pages say; so no template is ever shown an opening turn of the assistant's, which many refuse;
- text without the blanks around it (Llama, Gemma): so is a user's text here;
- a blank, or an empty thought, before a reply (GLM, Qwen3), or a thought that the template opens itself;
- today's date (Llama 3.2, Mistral): always the same day, for a lesson must not be another one tomorrow.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from diotima.dialogue import MARKS, THINK_CLOSE, THINK_OPEN, Message
from diotima.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBE_REPLY, _PROBE_USER = "zqreplyqz", "zquserqz"

_DATE = "{% macro strftime_now(form) %}{{ form FILTERS }}{% endmacro %}{{ '' }}".replace(
    "FILTERS",
    "".join(
        f"| replace('%{letter}', '{datetime(2024, 7, 26):%{letter}}')"  # as Llama's templates do without a clock
        for letter in "AaBbdemYyjHIMSp"
    ),
)
"""What stands before a template that asks for the date; transformers lets no function of ours through to it."""


@dataclass(frozen=True, slots=True)
class _Turns:
    """What a template writes around turns.

    ``after_reply``: from the end of a reply to the next user's text. ``after_user``: from there to the next reply.
    ``lead``: what it writes before a reply without a thought. ``trims``: a user's text loses the blanks around it.
    """

    after_reply: str
    after_user: str
    lead: str
    trims: bool

    @property
    def thinks(self) -> bool:
        """Whether the template itself opens the thought with which a reply begins."""
        return self.after_user.rstrip().endswith(THINK_OPEN)


class ChatFormat:
    """A tokenizer's chat template, used the growing way.

    ``more_ends``: ids that also end a turn, as the model's own settings say. Raises ModelError, here or when first
    used, for a template that cannot be used so.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", name: str = "the model", more_ends: Sequence[int] = ()
    ) -> None:
        if not tokenizer.chat_template:
            raise ModelError(f"{name} has no chat template; add a chat_template.jinja to its folder")
        self.tokenizer = tokenizer
        self._name = name
        self._more_ends = more_ends
        self._merges: dict[tuple[str, ...], bool] = {}

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The ids that end a turn: what the template writes after a reply, and what tokenizer and model call an end."""
        ends = (self._ending[-1] if self._ending else None, self.tokenizer.eos_token_id, *self._more_ends)
        return frozenset(index for index in ends if index is not None)

    def text(self, reply_ids: Sequence[int]) -> str:
        """What a reply says, without control tokens; but the marks of thoughts and of the end stay, whatever they are.

        Some templates open the thought themselves, so that the model only ever closes it: then it is opened here.
        """
        said = str(self.tokenizer.decode([index for index in reply_ids if index not in self._unsaid]))
        return THINK_OPEN + said if self._turns.thinks else said

    def reply(self, text: str) -> tuple[int, ...]:
        """The ids of a reply that says ``text``, as they would be sampled, the end of the turn too; see `text`."""
        lead = self._turns.lead
        if text.startswith(THINK_OPEN):
            text, lead = (text.removeprefix(THINK_OPEN), "") if self._turns.thinks else (text, _blanks_before(lead))
        return (*self._continued(self._turns.after_user, lead + text), *self._ending)

    def begun(self, begins: str) -> tuple[int, ...]:
        """The ids after which a reply that begins so is sampled; none where the template has begun it like that."""
        if begins == THINK_OPEN and self._turns.thinks:
            return ()
        return tuple(self._continued(self._turns.after_user, begins)) if begins else ()

    def context(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The ids to continue from; they extend those of the last turn whose tokens are known."""
        known = [index for index, message in enumerate(messages) if message.tokens]
        replies = [index for index, message in enumerate(messages) if message.role == "assistant"]
        start = known[-1] if known else replies[0] if replies else len(messages)
        tokens = messages[start].tokens if known else None
        ids = tokens.prompt_ids if tokens else tuple(self._opening(messages[:start]))
        rest = messages[start:]
        if [one.role for one in rest] != ["assistant", "user"] * (len(rest) // 2):
            raise ModelError(f"{self._name} can only go on after exactly one turn of the other speaker")
        for own, other in zip(rest[::2], rest[1::2], strict=True):
            spoken = own.tokens.reply_ids if own.tokens else self.reply(own.content)
            ids = (*ids, *spoken, *self._next(spoken, other.content))
        return ids

    def _next(self, spoken: Sequence[int], text: str) -> list[int]:
        """From the end of a reply, whose own end may have been cut off, to the beginning of the next one."""
        turns = self._turns
        text = text.strip() if turns.trims else text
        if self._harmless(text):
            suffix = self._continued("x", turns.after_reply + text + turns.after_user)
        else:
            suffix = self._continued("x", turns.after_reply) + self._encode(text, plain=True)
            suffix += self._encode(turns.after_user)
        ended = spoken[-1:] == self._ending[-1:] and tuple(suffix[: len(self._ending)]) == self._ending
        return suffix[len(self._ending) :] if ended else suffix

    def _opening(self, messages: Sequence[Message]) -> list[int]:
        """The ids of what comes before the first reply, rendered at once; with control tokens in it, put together."""
        messages = self._fitting(messages)
        if all(self._harmless(message.content) for message in messages):
            return self._encode(self._render(messages))
        probes = _probes(messages)
        ids, rest = [], self._render(probes)
        for probe, message in zip(probes, messages, strict=True):
            before, _, rest = rest.partition(probe.content)
            ids += [*self._encode(before), *self._encode(message.content, plain=True)]
        return ids + self._encode(rest)

    def _fitting(self, messages: Sequence[Message]) -> list[Message]:
        """The opening in a form that the template takes and shows whole: as it is, else without a system's message."""
        roles = tuple(message.role for message in messages)
        if roles not in self._merges:
            try:
                self._check_shown(_probes(messages))
                self._merges[roles] = False
            except ModelError:
                if roles[:1] != ("system",):
                    raise
                self._check_shown(_probes(_merged(messages)))
                self._merges[roles] = True
        return _merged(messages) if self._merges[roles] else list(messages)

    def _check_shown(self, probes: Sequence[Message]) -> None:
        rest = self._render(probes)
        for probe in probes:
            _, found, rest = rest.partition(probe.content)
            if not found:
                raise ModelError(f"{self._name}'s chat template leaves out the {probe.role}'s message; use another")

    def _render(self, messages: Sequence[Message], prompt: bool = True) -> str:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    chat, chat_template=self._template, tokenize=False, add_generation_prompt=prompt
                )
            )
        except Exception as error:  # templates raise whatever their authors chose
            raise ModelError(f"{self._name}'s chat template refuses this conversation: {error}") from None

    def _encode(self, text: str, plain: bool = False) -> list[int]:
        """Token ids; ``plain`` text cannot smuggle in control tokens by spelling them out."""
        pieces = self._inside_control_tokens.split(text) if plain else [text]
        encoded = (self.tokenizer.encode(one, add_special_tokens=False, split_special_tokens=plain) for one in pieces)
        return [index for piece in encoded for index in piece]

    def _continued(self, before: str, text: str) -> list[int]:
        """The ids of ``text`` after ``before``: some tokenizers write a text's beginning differently."""
        head, whole = self._encode(before), self._encode(before + text)
        return whole[len(head) :] if whole[: len(head)] == head else self._encode(text)

    def _harmless(self, text: str) -> bool:
        return not any(token in text for token in self._control_tokens.values())

    @cached_property
    def _template(self) -> str:
        template = str(self.tokenizer.get_chat_template())
        return _DATE + template if "strftime_now" in template else template

    @cached_property
    def _control_tokens(self) -> dict[int, str]:
        # Not `all_special_ids`: it knows only the tokens with a role, such as eos, and a template's marks need none.
        # Nor is each of them called special (DeepSeek's speakers are not): those written around turns count, too.
        written = self._turns.after_reply + self._turns.after_user
        return {
            index: token.content
            for index, token in self.tokenizer.added_tokens_decoder.items()
            if token.special or (token.content in written and token.content[:1] in "<[" and token.content not in MARKS)
        }

    @cached_property
    def _inside_control_tokens(self) -> re.Pattern[str]:
        """Where a text is cut in two lest it spell a control token that the tokenizer does not call special."""
        special = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        spelled = [token for token in self._control_tokens.values() if token not in special]
        places = [f"(?<={re.escape(token[0])})(?={re.escape(token[1:])})" for token in spelled if len(token) > 1]
        return re.compile("|".join(places) or "(?!)")

    @cached_property
    def _unsaid(self) -> frozenset[int]:
        marks = {index for index, token in self._control_tokens.items() if token in MARKS}
        return frozenset({*self._control_tokens, *self.tokenizer.all_special_ids} - marks)

    @cached_property
    def _ending(self) -> tuple[int, ...]:
        """How the template ends a turn: its first control token, with blanks before it; else the end of sequence."""
        after = self._continued("x", self._turns.after_reply)
        first = next((place for place, index in enumerate(after) if index in self._control_tokens), None)
        if first is not None and not str(self.tokenizer.decode(after[:first])).strip():
            return tuple(after[: first + 1])
        eos = self.tokenizer.eos_token_id
        return () if eos is None else (eos,)

    @cached_property
    def _turns(self) -> _Turns:
        user, reply, padded = Message("user", "x"), Message("assistant", _PROBE_REPLY), f" {_PROBE_USER} "
        text = self._render([user, reply, Message("user", _PROBE_USER)])
        _, found, rest = text.rpartition(_PROBE_REPLY)
        after_reply, found_too, after_user = rest.partition(_PROBE_USER)
        if not (found and found_too):
            raise ModelError(
                f"{self._name}'s chat template does not show the turns as they are; it cannot be used here"
            )
        trims = padded not in self._render([user, reply, Message("user", padded)])
        prompt = self._render([user])
        before, _, _ = self._render([user, reply], prompt=False).partition(_PROBE_REPLY)
        turns = _Turns(after_reply, after_user, before.removeprefix(prompt) if before.startswith(prompt) else "", trims)
        if turns.thinks and THINK_CLOSE not in turns.lead:
            turns = replace(turns, lead=THINK_CLOSE)
        if turns.lead.replace(THINK_OPEN, "").replace(THINK_CLOSE, "").strip():
            raise ModelError(
                f"{self._name}'s chat template divides a reply into parts of its own ({turns.lead.strip()}), which are "
                "not understood here; take another model"
            )
        return turns


def _blanks_before(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]


def _probes(messages: Sequence[Message]) -> list[Message]:
    return [replace(message, content=f"zq{index}qz") for index, message in enumerate(messages)]


def _merged(messages: Sequence[Message]) -> list[Message]:
    """The same chat with the system's text at the beginning of the first user's message."""
    system, *rest = messages
    if rest and rest[0].role == "user":
        return [Message("user", f"{system.content}\n\n{rest[0].content}"), *rest[1:]]
    return [Message("user", system.content), *rest]
