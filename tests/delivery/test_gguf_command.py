"""GGUF files by a stand-in of llama.cpp: what is refused before anything is done, and that nothing is left by half."""

import json
import shutil

import pytest
from delivery.llama_cpp_stand_in import checkout

from diotima.delivery import whole_model
from diotima.delivery.gguf_command import Settings, fitting, run
from diotima.delivery.llama_cpp import LlamaCpp
from diotima.errors import ModelError, RunError
from diotima.models.folders import TINY

WIDE = {"embed": (1000, 512), "down": (512, 256), "norm": (512,)}


@pytest.fixture
def llama_cpp(tmp_path):
    return checkout(tmp_path / "llama.cpp")


@pytest.fixture
def wide(tmp_path):
    """A model whose rows fill all blocks: no weights of sense, but heads of files like any other."""
    folder = tmp_path / "wide"
    shutil.copytree(TINY, folder)
    head = json.dumps({"down": {"dtype": "U8", "shape": [2, 256], "data_offsets": [0, 512]}}).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(512))
    return folder


def test_the_converter_writes_what_was_asked_for(tmp_path, llama_cpp, capsys):
    told = run(Settings(model="tiny", out=tmp_path / "a/tiny.gguf", type="q8_0", llama_cpp=llama_cpp))
    assert (tmp_path / "a/tiny.gguf").read_bytes() == b"GGUF q8_0 gpt-2"
    assert told["bytes"] == 15
    assert told["notes"] == ["3 of 22 matrices have rows that fill no blocks of 32 and stay in f16"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["tiny.gguf"]
    assert "diotima export check tiny" in capsys.readouterr().out


def test_weights_are_those_under_all_adapters(tmp_path, llama_cpp, monkeypatch):
    for name, base in (("first", TINY), ("second", tmp_path / "first")):
        (tmp_path / name).mkdir()
        told = {"peft_type": "LORA", "base_model_name_or_path": str(base)}
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(told))
        shutil.copy(TINY / "config.json", tmp_path / name)
        head = json.dumps({"lora_B": {"dtype": "U8", "shape": [8, 2], "data_offsets": [0, 16]}}).encode()
        (tmp_path / name / "adapter_model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(16))
    monkeypatch.setattr(
        whole_model, "merge_adapter", lambda adapter, base, out: shutil.copytree(TINY, out, dirs_exist_ok=True)
    )
    out = tmp_path / "second.gguf"
    told = run(Settings(model=str(tmp_path / "second"), out=out, type="q8_0", llama_cpp=llama_cpp))
    assert told["notes"] == ["3 of 22 matrices have rows that fill no blocks of 32 and stay in f16"]
    (tmp_path / "second/base.json").write_text('{"fingerprint": "another"}')
    out.unlink()
    with pytest.raises(ModelError, match="was trained beside other weights"):
        run(Settings(model=str(tmp_path / "second"), out=out, llama_cpp=llama_cpp))


def test_few_bits_are_made_of_f16_by_llama_quantize(tmp_path, llama_cpp, wide):
    out = tmp_path / "a/wide.gguf"
    run(Settings(model=str(wide), out=out, type="q4_k_m", llama_cpp=llama_cpp))
    assert out.read_bytes() == b"GGUF f16 gpt-2 then Q4_K_M"
    assert list(out.parent.iterdir()) == [out]


def test_what_goes_wrong_is_told_in_its_own_words_and_leaves_nothing(tmp_path, llama_cpp, wide):
    with pytest.raises(ModelError, match="llama-quantize cannot make q2_k: this type is too small"):
        run(Settings(model=str(wide), out=tmp_path / "a/w.gguf", type="q2_k", llama_cpp=llama_cpp))
    with pytest.raises(ModelError, match=r"llama-quantize cannot make q3_k_m: no room$"):  # and not how far it was
        run(Settings(model=str(wide), out=tmp_path / "a/w.gguf", type="q3_k_m", llama_cpp=llama_cpp))
    config = json.loads((wide / "config.json").read_text())
    (wide / "config.json").write_text(json.dumps(config | {"architectures": ["OddForCausalLM"]}))
    with pytest.raises(ModelError, match=r"does not know this kind of model or tokenizer \(OddForCausalLM\)"):
        run(Settings(model=str(wide), out=tmp_path / "a/w.gguf", llama_cpp=llama_cpp))
    assert list((tmp_path / "a").iterdir()) == []


def test_nothing_is_written_over(tmp_path, llama_cpp):
    (tmp_path / "mine.gguf").write_text("mine")
    with pytest.raises(RunError, match="is there already"):
        run(Settings(model="tiny", out=tmp_path / "mine.gguf", llama_cpp=llama_cpp))
    assert (tmp_path / "mine.gguf").read_text() == "mine"


def test_rows_that_fill_no_block_are_refused_before_anything_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"q4_k_m stores weights in blocks of 32 or 256.*rows of 341\); take f16"):
        run(Settings(model="tiny", out=tmp_path / "t.gguf", type="q4_k_m"))


def test_fitting_rows_need_no_word():
    assert fitting(WIDE, "q4_k_m") == fitting(WIDE, "q8_0") == fitting({"odd": (4, 7)}, "f16") == []
    (note,) = fitting({**WIDE, "up": (256, 896)}, "q4_k_m")
    assert note.startswith("1 of 3 matrices")
    assert fitting({**WIDE, "up": (256, 896)}, "q4_0") == []


def test_it_is_said_how_to_get_llama_cpp(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match="--llama-cpp FOLDER"):
        LlamaCpp().converter()
    with pytest.raises(ModelError, match=r"no llama-quantize on this machine.*--target llama-quantize"):
        LlamaCpp().program("llama-quantize")
    with pytest.raises(ModelError, match="give a checkout of llama"):
        LlamaCpp(tmp_path).converter()


def test_the_newest_build_of_the_cache_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for version in ("0.3.9", "0.3.36"):
        checkout(tmp_path / f"diotima/llama-server-{version}")
    assert LlamaCpp().converter()[0].name == "llama-server-0.3.36"
    assert LlamaCpp().program("llama-quantize").parents[2].name == "llama-server-0.3.36"
