"""Templates in Go's language: the same text, or none."""

from collections.abc import Sequence

import pytest

from diotima.classroom.casting import Part
from diotima.delivery.chats import chats
from diotima.delivery.go_template import found_pieces, go_template
from diotima.delivery.parity import rendered
from diotima.dialogue import Message
from diotima.models.folders import TINY
from diotima.models.local import load_tokenizer

CHATS = chats(Part("tutor/socratic", "question"))
CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def render():
    """Rendering by the tiny tutor's tokenizer, with any template."""
    tokenizer = load_tokenizer(TINY, "tiny")

    def of(template: str | None = None):
        def by(messages: Sequence[Message]) -> str | None:
            tokenizer.chat_template = template or own
            return rendered(tokenizer, messages)

        own = tokenizer.chat_template
        return by

    return of


def test_the_tiny_tutors_template_is_put_together_from_its_pieces(render):
    own = render()
    pieces = found_pieces(own)
    assert pieces.between["", "system"] == "<|system|>"
    assert pieces.between["assistant", "user"] == "<|end|><|user|>"
    assert pieces.between["user", ""] == "<|end|><|assistant|>"
    assert all(pieces.render(messages) == own(messages) for messages in CHATS.values())
    text = go_template(own, CHATS)
    assert text.startswith('{{ $before := "" }}{{ range .Messages }}{{ if eq $before "" }}{{ if eq .Role "system" }}')
    assert text.endswith('{{ else if eq $before "user" }}<|end|><|assistant|>{{ end }}')
    assert text.count("{{ if ") + text.count("{{ range ") == text.count("{{ end }}")


def test_a_default_system_message_is_a_piece_like_any_other(render):
    pieces = found_pieces(render(CHATML))
    assert pieces.between["", "user"] == "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n"
    assert "Be kind." in go_template(render(CHATML), CHATS)


@pytest.mark.parametrize(
    "other",
    [
        CHATML.replace("m.content", "m.content | trim"),
        CHATML.replace("m.content", "m.content.split('</think>')[-1]"),
        CHATML.replace("{{ m.role }}", "{{ m.role }} {{ loop.index }}"),
        CHATML.replace("Be kind.", "Be {{ '{{' }} kind."),
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_that_does_more_gets_none(render, other):
    assert go_template(render(CHATML), CHATS) is not None
    assert go_template(render(other), CHATS) is None


def test_what_the_tokenizer_begins_with_is_left_to_it_but_only_at_the_beginning(render):
    own = render("<s>" + CHATML.replace("<|im_end|>", "<s>"))
    text = go_template(own, CHATS, begin="<s>")
    assert '{{ if eq .Role "system" }}<|im_start|>system\n{{' in text
    assert text.count("<s>") == go_template(own, CHATS).count("<s>") - 3  # one for each role that can begin
