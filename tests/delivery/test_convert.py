"""How a tokenizer cuts words is said only where it is known or shown."""

import json
import shutil

import pytest

from diotima.delivery.convert import cuts_like_gpt2, words_of
from diotima.models.folders import TINY


def unknown(_):
    raise NotImplementedError


def test_what_llama_cpp_knows_stands():
    assert words_of(TINY, lambda _: "qwen2")(None) == "qwen2"


def test_a_byte_level_tokenizer_of_ones_own_is_gpt2s():
    assert words_of(TINY, unknown)(None) == "gpt-2"


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": {"type": "ByteLevel", "use_regex": False, "add_prefix_space": False}},
        {"pre_tokenizer": {"type": "ByteLevel", "use_regex": True, "add_prefix_space": True}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": []}},
        {"pre_tokenizer": None},
        {"normalizer": {"type": "NFC"}},
    ],
)
def test_any_other_stays_refused(tmp_path, change):
    shutil.copy(TINY / "tokenizer.json", tmp_path)
    assert cuts_like_gpt2(tmp_path)
    told = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(told | change))
    with pytest.raises(NotImplementedError):
        words_of(tmp_path, unknown)(None)


def test_no_tokenizer_is_not_gpt2s(tmp_path):
    assert not cuts_like_gpt2(tmp_path)
