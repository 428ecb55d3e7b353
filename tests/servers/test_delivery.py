"""Delivery to a real llama-server: GGUF files by llama.cpp's own converter, compared with what they were made of."""

import json
import os
import shutil
from pathlib import Path

import pytest
from servers.llama import OTHER_SERVER, llama_server, program, tiny_gguf

from diotima.delivery import check_command, gguf_command
from diotima.delivery.llama_cpp import LlamaCpp
from diotima.errors import ModelError
from diotima.models.folders import TINY

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(OTHER_SERVER in os.environ, reason="Only llama-server shows how it reads a chat."),
]


@pytest.fixture(scope="module")
def llama_cpp() -> LlamaCpp:
    """What was built for the tests of servers."""
    return LlamaCpp(program().parent)


def export(out: Path, llama_cpp: LlamaCpp, model: str = "tiny", kind: str = "f32") -> Path:
    gguf_command.run(gguf_command.Settings(model=model, out=out, type=kind, llama_cpp=llama_cpp.folder))
    return out


def check(llama_cpp: LlamaCpp, model: str = "tiny", **given: object) -> dict[str, object]:
    return check_command.run(check_command.Settings(model=model, llama_cpp=llama_cpp.folder, **given))


def test_in_float32_it_is_the_file_that_all_tests_of_servers_stand_on(tmp_path: Path, llama_cpp: LlamaCpp) -> None:
    assert export(tmp_path / "tiny.gguf", llama_cpp).read_bytes() == tiny_gguf().read_bytes()


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_what_is_served_is_the_tutor(tmp_path: Path, llama_cpp: LlamaCpp, kind: str) -> None:
    told = check(llama_cpp, gguf=export(tmp_path / "tiny.gguf", llama_cpp, kind=kind))
    chats = told["chats"]
    assert isinstance(chats, list)
    assert len(chats) == 9
    assert all(chat["reply"] > 0 and not chat["refused"] for chat in chats)
    assert sum(len(chat["ties"]) for chat in chats) == 0


def test_a_server_that_runs_is_compared_too(tmp_path: Path, llama_cpp: LlamaCpp) -> None:
    with llama_server(tmp_path / "log", slots=1) as server:
        assert check(llama_cpp, server=f"llamacpp/tiny@{server.url}")["server"] == "llamacpp/tiny"


def test_rounded_weights_show_in_replies_only(tmp_path: Path, llama_cpp: LlamaCpp) -> None:
    gguf = export(tmp_path / "tiny.gguf", llama_cpp, kind="q8_0")
    check(llama_cpp, gguf=gguf, tokens=0)
    with pytest.raises(ModelError, match=r"first in the reply of .* here, there .*--tolerance"):
        check(llama_cpp, gguf=gguf, tolerance=0)


def test_another_template_another_vocabulary_and_other_weights_are_found_out(
    tmp_path: Path, llama_cpp: LlamaCpp
) -> None:
    """Controls: the check can fail in each of its three ways."""
    gguf = export(tmp_path / "tiny.gguf", llama_cpp)
    changed = tmp_path / "changed"
    shutil.copytree(TINY, changed)
    template = changed / "chat_template.jinja"
    own = template.read_text()
    template.write_text(own.replace("'<|' + message['role']", "'<| ' + message['role']"))
    with pytest.raises(ModelError, match="first in the text of the chat 'a lesson's first turn' at character 2"):
        check(llama_cpp, model=str(changed), gguf=gguf)
    template.write_text(own)
    tokenizer = json.loads((changed / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:200]
    (changed / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match="first in the ids of the chat"):
        check(llama_cpp, model=str(changed), gguf=gguf)
    shutil.copy(TINY / "tokenizer.json", changed)
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(changed / "model.safetensors")
    weights["model.norm.weight"] = torch.flip(weights["model.norm.weight"], (0,))
    save_file(weights, changed / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="first in the reply of the chat"):
        check(llama_cpp, model=str(changed), gguf=gguf)


def test_a_lora_is_merged_on_the_way(tmp_path: Path, llama_cpp: LlamaCpp) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    folder = tmp_path / "lora"
    get_peft_model(base, lora).save_pretrained(folder)
    for path in TINY.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, folder)
    told = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(told | {"base_model_name_or_path": "tiny"}))
    gguf = export(tmp_path / "lora.gguf", llama_cpp, model=str(folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lora", "lora.gguf"]
    # Merged weights are rounded to the base's bfloat16.
    check(llama_cpp, model=str(folder), gguf=gguf, tolerance=0.1)
    with pytest.raises(ModelError, match="first in the reply"):
        check(llama_cpp, model="tiny", gguf=gguf, tolerance=0.1)


@pytest.mark.parametrize(("hidden", "note"), [(256, 0), (128, 1)])
def test_few_bits_by_llama_quantize(tmp_path: Path, llama_cpp: LlamaCpp, hidden: int, note: int) -> None:
    if not (program().parent / "llama-quantize").is_file():
        pytest.skip("The llama-server of these tests was built without llama-quantize, see README.md.")
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(TINY)
    config.hidden_size, config.head_dim, config.intermediate_size = hidden, hidden // 4, 512
    folder = tmp_path / "model"
    LlamaForCausalLM(config).save_pretrained(folder)
    for path in TINY.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            shutil.copy(path, folder)
    settings = gguf_command.Settings(
        model=str(folder), out=tmp_path / "m.gguf", type="q4_k_m", llama_cpp=llama_cpp.folder
    )
    assert len(gguf_command.run(settings)["notes"]) == note
    check(llama_cpp, model=str(folder), gguf=tmp_path / "m.gguf", tolerance=2)
