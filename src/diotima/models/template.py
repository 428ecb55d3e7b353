"""From messages to token ids, such that a dialogue's ids only ever grow.

The opening is rendered once with the model's chat template. Every later context is the ids the model read and sampled
before, and then what the template puts between an assistant's turn and the next one. Templates do not keep their own
prefix when they render again (they trim text, drop thoughts, move system prompts), and text does not come back from
ids unchanged; so nothing that was sampled is ever rendered a second time.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from diotima.dialogue import MARKS, THINK_CLOSE, THINK_OPEN, Message
from diotima.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBE_REPLY, _PROBE_USER = "zqreplyqz", "zquserqz"


class ChatFormat:
    """A tokenizer's chat template, used the growing way."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", name: str = "the model") -> None:
        if not tokenizer.chat_template:
            raise ModelError(f"{name} has no chat template; add a chat_template.jinja to its folder")
        self.tokenizer = tokenizer
        self._name = name

    @cached_property
    def _control_tokens(self) -> dict[int, str]:
        # Not `all_special_ids`: it knows only the tokens with a role, such as eos, and a template's marks need none.
        return {index: token.content for index, token in self.tokenizer.added_tokens_decoder.items() if token.special}

    @cached_property
    def _unsaid(self) -> frozenset[int]:
        marks = {index for index, token in self._control_tokens.items() if token in MARKS}
        return frozenset({*self._control_tokens, *self.tokenizer.all_special_ids} - marks)

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The ids that end a turn: the tokenizer's end of sequence, and what the template writes after a reply."""
        return frozenset(index for index in (self.tokenizer.eos_token_id, self.end_id) if index is not None)

    def text(self, reply_ids: Sequence[int]) -> str:
        """What a reply says, without control tokens; but the marks of thoughts and of the end stay, whatever they are.

        Some templates open the thought themselves, so that the model only ever closes it: then it is opened here.
        """
        said = str(self.tokenizer.decode([index for index in reply_ids if index not in self._unsaid]))
        return THINK_OPEN + said if self._thinks else said

    @cached_property
    def end_id(self) -> int | None:
        """The id that ends a turn as the template writes it, else the tokenizer's end of sequence."""
        after = self._encode(self._between[0])
        return after[0] if after and after[0] in self._control_tokens else self.tokenizer.eos_token_id

    def reply(self, text: str) -> tuple[int, ...]:
        """The ids of a reply that says ``text``, as they would be sampled, the end of the turn too; see `text`."""
        end = () if self.end_id is None else (self.end_id,)
        if self._thinks:
            text = text.removeprefix(THINK_OPEN) if text.startswith(THINK_OPEN) else THINK_CLOSE + text
        return (*self._encode(text), *end)

    def context(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The ids to continue from; they extend those of the last turn whose tokens are known."""
        known = next((index for index in reversed(range(len(messages))) if messages[index].tokens), None)
        if known is None:
            return tuple(self._opening(messages))
        tokens, following = messages[known].tokens, messages[known + 1 :]
        if tokens is None or len(following) != 1 or following[0].role != "user":
            raise ModelError(f"{self._name} can only go on after exactly one turn of the other speaker")
        spoken = (*tokens.prompt_ids, *tokens.reply_ids)
        before, after = self._between
        suffix = [*self._encode(before), *self._encode(following[0].content, plain=True), *self._encode(after)]
        if suffix and spoken[-1] == suffix[0] and spoken[-1] in self.end_ids:
            suffix = suffix[1:]
        return (*spoken, *suffix)

    def _opening(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a whole chat, rendered at once; but where a message spells out a control token, put together."""
        if not any(token in message.content for message in messages for token in self._control_tokens.values()):
            return self._encode(self._render(messages))
        probes = [replace(message, content=f"zq{index}qz") for index, message in enumerate(messages)]
        ids, rest = [], self._render(probes)
        for probe, message in zip(probes, messages, strict=True):
            before, found, rest = rest.partition(probe.content)
            if not found:
                raise ModelError(f"{self._name}'s chat template leaves out the {message.role}'s message; use another")
            ids += [*self._encode(before), *self._encode(message.content, plain=True)]
        return ids + self._encode(rest)

    def _render(self, messages: Sequence[Message]) -> str:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return str(self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # templates raise whatever their authors chose
            raise ModelError(f"{self._name}'s chat template refuses this conversation: {error}") from None

    def _encode(self, text: str, plain: bool = False) -> list[int]:
        """Token ids; ``plain`` text cannot smuggle in control tokens by spelling them out."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=plain))

    @cached_property
    def _thinks(self) -> bool:
        """Whether the template itself opens the thought with which a reply begins."""
        return self._between[1].rstrip().endswith(THINK_OPEN)

    @cached_property
    def _between(self) -> tuple[str, str]:
        """What the template writes from a reply's end to the next user's text, and from there to the next reply."""
        text = self._render([Message("user", "x"), Message("assistant", _PROBE_REPLY), Message("user", _PROBE_USER)])
        _, found, rest = text.rpartition(_PROBE_REPLY)
        before, found_too, after = rest.partition(_PROBE_USER)
        if not (found and found_too):
            raise ModelError(
                f"{self._name}'s chat template does not show the turns as they are; it cannot be used here"
            )
        return before, after
