"""The tiny tutor's tokenizer: byte-level BPE with GPT-2's split, trained on the sandbox's own lessons.

GPT-2's split is the one that llama.cpp accepts for a tokenizer of one's own, and with the Llama architecture
transformers leaves it as it is. Marks such as ``Line 2:`` are single tokens, and so is every whole number that the
world uses: a model this small has to compare them at a glance.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from diotima.dialogue import END_OF_CONVERSATION, THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCABULARY = 1024
END, PAD = "<|end|>", "<|pad|>"
_SPEAKERS = ("<|system|>", "<|user|>", "<|assistant|>")
_MARKS = [f"{kind} {index}{colon}" for kind, colon in (("Line", ":"), ("Step", "")) for index in range(1, 6)]
_NUMBERS = 300
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> "PreTrainedTokenizerFast":
    """Train the tokenizer on these texts and on every whole number below 300."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    marks = [THINK_OPEN, THINK_CLOSE, END_OF_CONVERSATION, *_MARKS]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(marks),
        special_tokens=[PAD, END, *_SPEAKERS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    whole = re.compile("|".join(map(re.escape, marks)))
    numbers = " ".join(str(number) for number in range(_NUMBERS))
    tokenizer.train_from_iterator([*(whole.sub(" ", text) for text in texts), *[numbers] * 2000], trainer)
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in marks])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
