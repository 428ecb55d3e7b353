"""Models and tokenizers small enough to be made for each test run, with weights drawn at random."""

from collections.abc import Iterator
from typing import Any

import pytest

from .families import byte_tokenizer, random_model

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
    """Byte-level, with a few families' marks."""
    return byte_tokenizer(template, tuple(CONTROL), **({"eos_token": END, "pad_token": "<|pad|>"} | special))


def new_model(family: str = "llama", vocabulary: int = 272, **changed: Any) -> Any:
    """A causal model of that architecture."""
    sizes: dict[str, Any] = {"bos_token_id": None, "eos_token_id": 1, "max_position_embeddings": 512}
    if family == "gpt2":
        del sizes["max_position_embeddings"]
    if family in ("llama", "qwen2", "qwen3", "mistral", "gemma3_text"):
        sizes |= {"num_key_value_heads": 2, "head_dim": 8}
    return random_model(family, vocabulary, **(sizes | changed))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return new_tokenizer()


@pytest.fixture(scope="session")
def llama() -> Any:
    return new_model()
