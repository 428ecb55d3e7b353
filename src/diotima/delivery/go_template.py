"""A chat template in the language of Ollama (Go's text/template), where one can be shown to write the same.

Ollama renders a GGUF file's own Jinja template only from version 0.30 on, and even then not if that template is much
like one it knows: then it takes its own, which may differ in a blank or a default. A TEMPLATE in the Modelfile is
always taken, so one is written wherever it is exactly the model's.

Most templates are, for tutoring, no more than this: what stands between two messages depends on the roles of both.
So these pieces are found by rendering, put together again by the rule that the Go text follows, and compared with the
model's template on all chats of `chats`. Templates that do more (trim what is said, drop thoughts, number turns) fail
there, and get no TEMPLATE.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from diotima.dialogue import Message

Render = Callable[[Sequence[Message]], str | None]
"""The model's template: what it writes for a chat, or None if it refuses it."""
Speaker = Literal["system", "user", "assistant"]
_PROBES: tuple[tuple[Speaker, ...], ...] = (
    ("system",),
    ("user",),
    ("system", "user", "assistant", "user"),
    ("assistant", "user"),
    ("system", "assistant", "user"),
    ("user", "assistant", "user"),
)
_BEGIN = _END = ""


@dataclass(frozen=True, slots=True)
class Pieces:
    """What stands ``between`` two messages, by their roles; "" as a role is the beginning, or the end."""

    between: Mapping[tuple[str, str], str]

    def render(self, messages: Sequence[Message]) -> str | None:
        """A chat as these pieces make it, None if one is missing."""
        roles = [_BEGIN, *(message.role for message in messages), _END]
        steps = list(pairwise(roles))
        if any(step not in self.between for step in steps):
            return None
        said = [*(message.content for message in messages), ""]
        return "".join(self.between[step] + text for step, text in zip(steps, said, strict=True))

    def go(self) -> str:
        """The same as Go's text/template has it, with Ollama's names."""
        befores = list(dict.fromkeys(before for before, after in self.between if after != _END))
        inner = _choice("$before", {before: self._after(before) for before in befores})
        ends = {before: text for (before, after), text in self.between.items() if after == _END}
        return (
            f'{{{{ $before := "" }}}}{{{{ range .Messages }}}}{inner}{{{{ .Content }}}}{{{{ $before = .Role }}}}'
            f"{{{{ end }}}}{_choice('$before', ends)}"
        )

    def _after(self, before: str) -> str:
        return _choice(".Role", {after: text for (one, after), text in self.between.items() if one == before and after})


def go_template(render: Render, chats: Mapping[str, Sequence[Message]], begin: str = "") -> str | None:
    """The Go template that writes what ``render`` does for all these chats, None if there is none of this kind.

    ``begin``: the text of a token that the server's tokenizer puts before every chat by itself, so that the template
    must not.
    """
    pieces = found_pieces(render)
    texts = ((messages, render(messages)) for messages in chats.values())
    if not all(text is not None and pieces.render(messages) == text for messages, text in texts):
        return None
    between = {
        (before, after): text.removeprefix(begin) if before == _BEGIN else text
        for (before, after), text in pieces.between.items()
    }
    # Braces would be Go's own, and three quotes the end of what the Modelfile says.
    unsayable = any(sign in text for text in between.values() for sign in ("{{", "}}", '"""'))
    braces = any(text.endswith("{") or text.startswith("}") for text in between.values())  # beside Go's own two
    if unsayable or braces or not all(map(can_be_read, "".join(between.values()))):
        return None
    return Pieces(between).go()


def can_be_read(sign: str) -> bool:
    """Whether Ollama keeps this sign of a Modelfile: it drops what Go does not print, a no-break space for one."""
    return sign.isprintable() or sign in "\n\r\t"


def found_pieces(render: Render) -> Pieces:
    """The pieces of a template, as far as it shows them."""
    between: dict[tuple[str, str], str] = {}
    for roles in _PROBES:
        messages = [Message(role, f"zq{place}qz") for place, role in enumerate(roles)]
        rest = render(messages)
        found: dict[tuple[str, str], str] = {}
        for before, message in zip(["", *roles], messages, strict=False):
            if rest is not None and message.content in rest:
                found[before, message.role], _, rest = rest.partition(message.content)
            else:
                rest = None
        if rest is not None:
            between |= {**found, (roles[-1], _END): rest}
    return Pieces(between)


def _choice(name: str, texts: Mapping[str, str]) -> str:
    """Go for: the text that belongs to the value of ``name``."""
    written = "{{ else ".join(f'if eq {name} "{value}" }}}}{text}' for value, text in texts.items())
    return f"{{{{ {written}{{{{ end }}}}" if texts else ""
