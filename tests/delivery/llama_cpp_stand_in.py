"""A checkout of llama.cpp as far as delivery sees it: Python packages and a program of a few lines.

Torch is among the packages, because the real one takes seconds to be imported and nothing is computed here.
"""

from pathlib import Path

_CONVERSION = """
import json

class ModelType:
    TEXT = "text"

class ModelBase:
    @staticmethod
    def load_hparams(folder, mistral):
        return json.loads((folder / "config.json").read_text())

class Model:
    def __init__(self, folder, kind, out):
        self.folder, self.kind, self.out = folder, kind, out

    def get_vocab_base_pre(self, tokenizer):
        raise NotImplementedError("the words of this tokenizer")

    def write(self):
        try:
            self._create_vocab_sentencepiece()
        except FileNotFoundError:
            self.out.write_bytes(f"GGUF {self.kind} {self.get_vocab_base_pre(None)}".encode())

def get_model_architecture(hparams, kind):
    return hparams["architectures"][0]

def get_model_class(name):
    if name != "LlamaForCausalLM":
        raise NotImplementedError(name)
    return Model
"""
_GGUF = """
class LlamaFileType:
    ALL_F32, MOSTLY_F16, MOSTLY_BF16, MOSTLY_Q8_0 = "f32", "f16", "bf16", "q8_0"
"""
_TORCH = """
from contextlib import nullcontext as inference_mode
"""
_QUANTIZE = """#!/bin/sh
echo reading "$1"
case "$3" in Q3_K_M) echo "no room" >&2; printf '\r30%%|###   |\n' >&2; exit 1;; esac
case "$3" in Q2_K) echo "this type is too small" >&2; exit 1;; esac
{ cat "$1"; printf " then %s" "$3"; } > "$2"
"""


def checkout(folder: Path, quantize: bool = True) -> Path:
    """Write it into a folder."""
    for name, text in (("conversion", _CONVERSION), ("gguf-py/gguf", _GGUF), ("gguf-py/torch", _TORCH)):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(text)
    if quantize:
        program = folder / "build/bin/llama-quantize"
        program.parent.mkdir(parents=True)
        program.write_text(_QUANTIZE)
        program.chmod(0o755)
    return folder
