"""Tiny tutors of the families that people use: random weights, a byte-level tokenizer, each family's own template.

Templates are TRL's copies where TRL ships one; the others here are ours and behave like the family's.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

MISTRAL = (
    "{{ bos_token }}{% set turns = messages %}{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}"
    "{% endif %}{% for turn in turns %}{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant have to take turns') }}{% endif %}"
    "{% if turn['role'] == 'user' %}[INST] {% if loop.last and messages[0]['role'] == 'system' %}"
    "{{ messages[0]['content'] + '\\n\\n' }}{% endif %}{{ turn['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + turn['content'] | trim + eos_token }}{% endif %}{% endfor %}"
)
"""System text in the last user's message, strict turns, a blank before the reply and nothing to begin it."""


@dataclass(frozen=True, slots=True)
class Family:
    """``architecture``: transformers' name. ``template``: the name of TRL's file, or a template.

    ``control``: its tokens. ``end``: the one that ends a turn, whatever the tokenizer's end of sequence is.
    ``more``: sizes of its own.
    """

    architecture: str
    template: str
    control: tuple[str, ...]
    end: str
    eos: str
    bos: str | None = None
    pad: str | None = None
    more: tuple[tuple[str, Any], ...] = ()


_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_HEADS = (("num_key_value_heads", 2), ("head_dim", 8))
FAMILIES = {
    "qwen2.5": Family("qwen2", "qwen2_5", _CHATML, "<|im_end|>", "<|im_end|>", None, "<|endoftext|>", _HEADS[:1]),
    "qwen3": Family("qwen3", "qwen3", _CHATML, "<|im_end|>", "<|im_end|>", None, "<|endoftext|>", _HEADS),
    "llama3": Family(
        "llama",
        "llama3_2",
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
        "<|eot_id|>",
        "<|begin_of_text|>",
        more=_HEADS,
    ),
    "phi3": Family(
        "phi3",
        "phi3",
        ("<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        "<|end|>",
        "<|endoftext|>",
        "<s>",
        "<|endoftext|>",
        (*_HEADS[:1], ("sliding_window", 64)),
    ),
    "gemma": Family(
        "gemma2",
        "gemma",
        ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        "<end_of_turn>",
        "<eos>",
        "<bos>",
        "<pad>",
        (*_HEADS, ("sliding_window", 64)),
    ),
    "glm4": Family(
        "glm4",
        "glm4moe",
        ("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"),
        "<|user|>",
        "<|endoftext|>",
        None,
        "<|endoftext|>",
        _HEADS,
    ),
    "mistral": Family(
        "mistral",
        MISTRAL,
        ("<s>", "</s>", "[INST]", "[/INST]"),
        "</s>",
        "</s>",
        "<s>",
        None,
        (*_HEADS, ("sliding_window", None)),
    ),
}


def new_family_tokenizer(name: str) -> Any:
    """A tokenizer of single bytes with the family's control tokens and template."""
    family = FAMILIES[name]
    named = {"eos_token": family.eos, "bos_token": family.bos, "pad_token": family.pad}
    special = {role: token for role, token in named.items() if token}
    return byte_tokenizer(template_of(family.template), family.control, **special)


@cache
def template_of(name: str) -> str:
    """A template of TRL's by its name; anything else is a template already."""
    path = files("trl") / "chat_templates" / f"{name}.jinja"
    return path.read_text(encoding="utf-8") if name.isidentifier() else name


def byte_tokenizer(template: str | None, control: tuple[str, ...], **special: str) -> Any:
    """Byte-level, without merges: every byte is a token, and so is every control token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: index for index, sign in enumerate([*control, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(sign, special=True, normalized=False) for sign in control])
    tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **special)


def new_family_model(name: str) -> Any:
    """A model of that family with less than 100,000 weights drawn at random."""
    family = FAMILIES[name]
    ids = {"bos_token_id": None, "eos_token_id": family.control.index(family.eos), "pad_token_id": None}
    return random_model(family.architecture, 272, **ids, **dict(family.more))


def random_model(architecture: str, vocabulary: int, **changed: Any) -> Any:
    """A causal model of that architecture; the weights are wide, so that its choices are far from even."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes: dict[str, Any] = {"vocab_size": vocabulary, "initializer_range": 0.3}
    if architecture == "gpt2":
        sizes |= {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
    else:
        sizes |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
        sizes |= {"max_position_embeddings": 2048}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **(sizes | changed))).eval()
