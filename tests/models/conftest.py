"""Models and tokenizers small enough to be made for each test run, with weights drawn at random."""

from collections.abc import Iterator
from typing import Any

import pytest

END, TEMPLATE = (
    "<|end|>",
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
)
CONTROL = ["<|pad|>", END, "<|system|>", "<|user|>", "<|assistant|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'diotima[train]'")
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'diotima[train]'")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def new_tokenizer(template: str | None = TEMPLATE, **special: str) -> Any:
    """Byte-level, without merges: every byte is a token, and so is every control token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: index for index, sign in enumerate([*CONTROL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(sign, special=True, normalized=False) for sign in CONTROL])
    tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=template, **({"eos_token": END, "pad_token": "<|pad|>"} | special)
    )


def new_model(family: str = "llama", vocabulary: int = 272, **changed: Any) -> Any:
    """A causal model of that family; the weights are wide, so that its choices are far from even."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": vocabulary,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    if family == "gpt2":
        sizes |= {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
    else:
        sizes |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
        sizes |= {"max_position_embeddings": 512}
    if family in ("llama", "qwen2", "mistral", "gemma3_text"):
        sizes |= {"num_key_value_heads": 2, "head_dim": 8}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **(sizes | changed))).eval()


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return new_tokenizer()


@pytest.fixture(scope="session")
def llama() -> Any:
    return new_model()
