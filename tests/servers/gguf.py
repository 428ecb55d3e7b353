"""The tiny tutor as GGUF, the file that llama.cpp serves, by llama.cpp's own converter.

Two guesses of the converter do not hold for a tokenizer of one's own. For a Llama it looks for SentencePiece, but ours
is byte-level BPE; and it knows pre-tokenizers only by the hash of what published models make of a test text, but ours
is GPT-2's (`ByteLevel` with its regex), so that is what the file says. The weights stay in float32: then greedy replies
are those of the same weights in this process, and a feed-forward width of 341 fits no block of a quantised file.

The converter's package `conversion` and llama.cpp's `gguf` have to be on PYTHONPATH, and they change what they import;
so this is a program of its own, which `servers.llama` runs:

    python -m servers.gguf MODEL_FOLDER FILE.gguf
"""

import sys
from pathlib import Path

import torch
from conversion.llama import LlamaModel
from gguf import LlamaFileType


class OwnTokenizer(LlamaModel):  # type: ignore[misc]
    model_arch = LlamaModel.model_arch

    def set_vocab(self) -> None:
        self._set_vocab_gpt2()

    def get_vocab_base_pre(self, _: object) -> str:
        return "gpt-2"


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    with torch.inference_mode():
        OwnTokenizer(folder, LlamaFileType.ALL_F32, out).write()


if __name__ == "__main__":
    main()
