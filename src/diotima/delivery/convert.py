"""A program of its own: a model folder becomes a GGUF file, by llama.cpp's own converter.

    python -m diotima.delivery.convert FOLDER FILE.gguf TYPE

llama.cpp's Python packages, ``conversion`` and ``gguf``, have to be on PYTHONPATH. They change what they import and
keep a table that fills itself, so they get a process of their own (`llama_cpp.converted` starts it).

One guess of the converter does not hold for tokenizers of one's own: how a tokenizer cuts text into words it knows only
by a hash of what published models make of a test text. A byte-level tokenizer with GPT-2's own expression says in its
tokenizer.json that it is one, and then this is what the file says. Any other unknown tokenizer stays refused: the
served model would read other tokens than it was trained on.
"""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    """Convert, as the three words of the command line say. What goes wrong ends with one line on standard error."""
    folder, out, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    import torch

    conversion: Any = import_module("conversion")
    types: Any = import_module("gguf").LlamaFileType
    kinds = {"f32": types.ALL_F32, "f16": types.MOSTLY_F16, "bf16": types.MOSTLY_BF16, "q8_0": types.MOSTLY_Q8_0}
    settings = conversion.ModelBase.load_hparams(folder, False)
    architecture = conversion.get_model_architecture(settings, conversion.ModelType.TEXT)
    with torch.inference_mode():
        model = conversion.get_model_class(architecture)(folder, kinds[kind], out)
        model.get_vocab_base_pre = words_of(folder, model.get_vocab_base_pre)
        if not (folder / "tokenizer.model").is_file():
            model._create_vocab_sentencepiece = no_sentencepiece
        model.write()


def no_sentencepiece(*_: Any) -> Any:
    """Say as the converter would that this is no SentencePiece tokenizer, without the package that reads such ones."""
    raise FileNotFoundError("tokenizer.model")


def words_of(folder: Path, known: Callable[[Any], str]) -> Callable[[Any], str]:
    """llama.cpp's name for how a tokenizer cuts words: what ``known`` says, else what tokenizer.json shows."""

    def found(tokenizer: Any) -> str:
        try:
            return known(tokenizer)
        except NotImplementedError:
            if cuts_like_gpt2(folder):
                return "gpt-2"
            raise

    return found


def cuts_like_gpt2(folder: Path) -> bool:
    """Whether the tokenizer in a folder is byte-level, cuts words by GPT-2's expression and changes nothing before."""
    try:
        told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    cutter = told.get("pre_tokenizer") or {}
    return (
        told.get("normalizer") is None
        and cutter.get("type") == "ByteLevel"
        and cutter.get("use_regex") is True
        and cutter.get("add_prefix_space") is False
    )


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as error:
        sys.exit(f"llama.cpp does not know this kind of model or tokenizer ({error})")
