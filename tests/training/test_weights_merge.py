"""Adapters: a LoRA goes into its base, a prefix stays one, and the difference of either is itself."""

import asyncio
import hashlib
import json
import shutil
import warnings
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from training.weight_folders import digests, made, recovered, write

from diotima.classroom.casting import Part, remember_part
from diotima.cli import main
from diotima.dialogue import Message
from diotima.errors import ModelError
from diotima.models.adapted import save_adapter
from diotima.models.chat import Sampling
from diotima.models.folders import TINY
from diotima.models.local import load_local, load_tokenizer, load_weights

Captured = pytest.CaptureFixture[str]
LORA = peft.LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
PREFIX = peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")


def adapter(folder: Path, config: peft.PeftConfig, base: Path = TINY) -> Path:
    """An adapter over the tiny tutor, with random weights, as a training saves it."""
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(load_weights(base, "tiny"), config)
    for parameter in filter(lambda parameter: parameter.requires_grad, model.parameters()):
        parameter.data = 0.02 * torch.randn_like(parameter)
    save_adapter(model, folder)
    load_tokenizer(TINY, "tiny").save_pretrained(folder)
    remember_part(folder, Part("tutor/tiny", "answer"))
    return folder


@pytest.fixture(scope="module")
def lora(tmp_path_factory) -> Path:
    return adapter(tmp_path_factory.mktemp("lora") / "adapter", LORA)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> Path:
    return adapter(tmp_path_factory.mktemp("prefix") / "adapter", PREFIX)


def expected(folder: Path, name: str) -> torch.Tensor:
    """base + alpha / r * B A, rounded once."""
    base = load_file(TINY / "model.safetensors")[name]
    held = load_file(folder / "adapter_model.safetensors")
    stem = f"base_model.model.{name.removesuffix('.weight')}"
    change = 4 * held[f"{stem}.lora_B.weight"].float() @ held[f"{stem}.lora_A.weight"].float()
    return (base.float() + change).to(base.dtype)


def reply(folder: Path) -> str:
    """What a model says to a greeting, greedily."""
    local = load_local(folder, "model")
    said = asyncio.run(local.reply([Message("user", "Hello")], Sampling(temperature=0, max_tokens=12)))
    return said.text


def check_merged(out: Path, folder: Path) -> None:
    """The weights are those of the base with the adapter in them, and all else is there."""
    before, after = load_file(TINY / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    for name in before:
        adapted = "q_proj" in name or "down_proj" in name
        assert torch.equal(after[name], expected(folder, name) if adapted else before[name]), name
        assert adapted != torch.equal(after[name], before[name])
    assert not (out / "adapter_config.json").exists()
    assert json.loads((out / "tutor.json").read_text())["sees"] == "answer"
    assert load_tokenizer(out, "out").chat_template == load_tokenizer(TINY, "tiny").chat_template


def test_a_lora_is_merged_with_one_rounding(lora: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["weights", "merge", str(lora), "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["summary"]
    assert (told["adapter"], told["out"]) == (str(lora), str(tmp_path / "out"))
    check_merged(tmp_path / "out", lora)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    lora: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **named: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", full)
    assert main(["weights", "merge", str(lora), "--out", str(tmp_path / "out")]) == 2
    assert "No space left on device (os error 28)), and nothing of them is left; make room" in capsys.readouterr().err
    assert not [*tmp_path.glob("out*")]


def test_a_lora_over_a_lora_is_merged_with_it(lora: Path, tmp_path: Path) -> None:
    second = adapter(tmp_path / "second", LORA, lora)
    (second / "judges.json").write_text('{"judges": ["openai/gpt-4o"]}')
    assert main(["weights", "merge", str(second), "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "judges.json").read_text()) == {"judges": ["openai/gpt-4o"]}
    name = "model.layers.0.mlp.down_proj.weight"
    base, once, twice = (
        tensor.float()
        for tensor in (load_file(TINY / "model.safetensors")[name], expected(lora, name), expected(second, name))
    )
    after = load_file(tmp_path / "out" / "model.safetensors")[name]
    assert after.dtype == torch.bfloat16
    assert torch.allclose(after.float(), once + twice - base, atol=2e-3)
    assert not torch.allclose(after.float(), once, atol=2e-3)


def test_an_adapter_over_an_adapter_has_no_difference_from_the_root(lora: Path, tmp_path: Path) -> None:
    second = adapter(tmp_path / "second", LORA, lora)
    with pytest.raises(ModelError, match="was trained beside other weights"):  # the first would be lost
        made(Path("tiny"), second, tmp_path / "diff")


@pytest.mark.parametrize("end", ["embed_tokens", "lm_head"])
def test_a_lora_on_one_of_two_tied_layers_leaves_the_other_as_it_was(end: str, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "lora", peft.LoraConfig(r=2, lora_alpha=64, target_modules=[end]))
    ids = torch.tensor([[5, 9, 33, 12, 7]])
    base = transformers.AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    plain = base(input_ids=ids).logits
    trained = peft.PeftModel.from_pretrained(base, folder)(input_ids=ids).logits
    assert torch.allclose(load_local(folder, "lora").model(input_ids=ids).logits, trained, atol=1e-3)
    assert main(["weights", "merge", str(folder), "--out", str(tmp_path / "out")]) == 0
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    away = (merged(input_ids=ids).logits - trained).abs().max()
    assert away < 0.2 * (plain - trained).abs().max()


def test_the_difference_of_an_adapter_is_the_adapter(lora: Path, tmp_path: Path, capsys: Captured) -> None:
    diff = made(Path("tiny"), lora, tmp_path / "diff")
    assert "is an adapter, and that is the difference" in capsys.readouterr().out
    kept = digests(diff)
    manifest = json.loads((diff / "diff.json").read_text())
    del kept["diff.json"]
    assert kept == digests(lora) == manifest["files"]
    tensor = load_file(TINY / "model.safetensors")["model.norm.weight"]
    bits = tensor.view(torch.uint8).numpy().tobytes()
    assert manifest["base_tensors"]["model.norm.weight"]["sha256"] == hashlib.sha256(bits).hexdigest()
    check_merged(recovered(Path("tiny"), diff, tmp_path / "out"), lora)


def test_a_prefix_stays_one_over_the_base_as_it_lies_here(prefix: Path, tmp_path: Path) -> None:
    said = reply(prefix)
    base = write(tmp_path / "base", *_halves(load_file(TINY / "model.safetensors")))
    for name in ("config.json", "generation_config.json"):
        (base / name).write_text((TINY / name).read_text())
    out = recovered(base, made(Path("tiny"), prefix, tmp_path / "diff"), tmp_path / "out")
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)
    assert digests(out)["adapter_model.safetensors"] == digests(prefix)["adapter_model.safetensors"]
    assert reply(out) == said


def _halves(tensors: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    names = sorted(tensors)
    return [{name: tensors[name] for name in names[half::2]} for half in (0, 1)]


def test_only_a_lora_is_merged(prefix: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["weights", "merge", str(prefix), "--out", str(tmp_path / "out")]) == 2
    assert "is an adapter of the kind PREFIX_TUNING; only a LoRA can be merged" in capsys.readouterr().err
    assert main(["weights", "merge", "tiny", "--base", "tiny", "--out", str(tmp_path / "out")]) == 2
    assert "is no adapter: it has no adapter_config.json" in capsys.readouterr().err
    assert main(["weights", "merge", "tiny", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("diotima: tiny is no adapter: ")
    assert not [*tmp_path.glob("out*")]


def test_an_adapter_over_other_weights_is_refused(lora: Path, tmp_path: Path, capsys: Captured) -> None:
    tensors = load_file(TINY / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + 1
    wrong = write(tmp_path / "wrong", tensors)
    diff = made(Path("tiny"), lora, tmp_path / "diff")
    with pytest.raises(ModelError, match=r"made with tiny: model.norm.weight has SHA-256"):
        recovered(wrong, diff, tmp_path / "out")
    (diff / "adapter_model.safetensors").write_bytes(b"x" * 200)
    with pytest.raises(ModelError, match=r"adapter_model.safetensors is damaged: its SHA-256 is"):
        recovered(Path("tiny"), diff, tmp_path / "out")
    config = transformers.AutoConfig.from_pretrained(TINY, intermediate_size=64)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "narrow")
    capsys.readouterr()
    own = shutil.copytree(lora, tmp_path / "own")
    merge = ["weights", "merge", str(own), "--base", str(tmp_path / "narrow"), "--out", str(tmp_path / "out")]
    assert main(merge) == 2
    assert "was trained beside other weights" in capsys.readouterr().err
    (own / "base.json").unlink()  # an adapter that does not tell
    assert main(merge) == 2
    assert f"the adapter in {own} cannot be loaded (" in capsys.readouterr().err
    with pytest.raises(ModelError, match="is an adapter; the base is the whole model under it"):
        made(lora, lora, tmp_path / "diff2")
    with pytest.raises(ModelError, match="was trained beside other weights"):
        made(wrong, lora, tmp_path / "diff2")
    with pytest.raises(ModelError, match="leave out --precision"):
        made(Path("tiny"), lora, tmp_path / "diff2", precision="int8")
    assert not [*tmp_path.glob("out*")]
