"""Tutors that are a base and an adapter: what they say, and what is told when something of them is missing."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'diotima[train]'")
peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'diotima[train]'")

from diotima.dialogue import Message  # noqa: E402
from diotima.errors import ModelError  # noqa: E402
from diotima.models.adapted import ADAPTER_FILE, BASE_FILE, save_adapter  # noqa: E402
from diotima.models.chat import Sampling  # noqa: E402
from diotima.models.folders import TINY  # noqa: E402
from diotima.models.generation import Context, sample_replies  # noqa: E402
from diotima.models.local import LocalModel, load_local  # noqa: E402
from diotima.models.opening import open_model  # noqa: E402

from .conftest import new_model, new_tokenizer  # noqa: E402

PROMPTS = [tuple(range(30, 30 + length)) for length in (3, 40, 11, 25)]
LORA = {"target_modules": "all-linear", "r": 4, "init_lora_weights": False}


def adapt(model: Any, kind: str) -> Any:
    """The model with an adapter drawn at random, as far from a mere beginning as a trained one."""
    torch.manual_seed(1)
    if kind == "prefix":
        return peft.get_peft_model(model, peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)).eval()
    return peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **LORA)).eval()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    new_model().save_pretrained(folder)
    new_tokenizer().save_pretrained(folder)
    return folder


def saved(base: Path, kind: str, folder: Path) -> Path:
    local = load_local(base, "base")
    save_adapter(adapt(local.model, kind), folder)
    local.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=["lora", "prefix"])
def folder(base: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An adapter's folder beside a base of its own."""
    own = shutil.copytree(base, tmp_path / "base")
    return saved(own, request.param, tmp_path / "tutor")


def logprobs(model: Any, ids: tuple[int, ...], reply: tuple[int, ...]) -> list[float]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*ids, *reply]])).logits[0].float()
    rows = torch.log_softmax(logits[len(ids) - 1 : -1], -1)
    return [float(row[token]) for row, token in zip(rows, reply, strict=True)]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("kind", ["lora", "prefix"])
def test_replies_are_drawn_from_what_peft_computes_over_several_turns(family: str, kind: str) -> None:
    wider = {"head_dim": 16} if family == "qwen3" else {}  # than its share of the hidden width
    model = adapt(new_model(family, **wider), kind)
    contexts = [Context(ids, Sampling(1.0, 1.0, 4 + 3 * seed, seed)) for seed, ids in enumerate(PROMPTS)]
    for turn in range(3):
        replies = sample_replies(model, contexts, frozenset(range(1, 8)), pad_id=0)
        for context, reply in zip(contexts, replies, strict=True):
            assert reply.logprobs == pytest.approx(logprobs(model, context.ids, reply.ids), abs=1e-4)
        contexts = [
            Context((*old.ids, *reply.ids, 60, 61), Sampling(1.0, 1.0, 6, turn), reply.layers)
            for old, reply in zip(contexts, replies, strict=True)
        ]
        contexts[turn] = Context(contexts[turn].ids, contexts[turn].sampling)  # one row has lost its cache
    plain = new_model(family, **wider)
    assert replies[0].logprobs != pytest.approx(logprobs(plain, contexts[0].ids, replies[0].ids), abs=0.1)


def test_with_a_prefix_a_later_turn_reads_its_new_tokens_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = adapt(new_model(), "prefix"), []
    inner = model.get_base_model()
    forward = inner.forward
    monkeypatch.setattr(inner, "forward", lambda **named: read.append(named["input_ids"].shape[1]) or forward(**named))
    first = Context(PROMPTS[1], Sampling(max_tokens=6, seed=1))
    (reply,) = sample_replies(model, [first], frozenset(), 0)
    sample_replies(model, [Context((*first.ids, *reply.ids, 60), first.sampling, reply.layers)], frozenset(), 0)
    assert read == [40, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]


def test_a_saved_tutor_says_what_it_said_before(folder: Path, base: Path) -> None:
    kind = "prefix" if "PREFIX" in (folder / ADAPTER_FILE).read_text() else "lora"
    local = load_local(base, "base")
    before = LocalModel(adapt(local.model, kind), local.tokenizer)
    after = load_local(folder, "tutor")
    said = [say(one) for one in (before, after, load_local(base, "base"))]
    assert said[0] == said[1] != said[2]
    assert isinstance(after.model, peft.PeftModel) == (kind == "prefix")
    assert sorted(path.name for path in folder.glob("*.safetensors")) == ["adapter_model.safetensors"]
    assert any(parameter.requires_grad for parameter in after.model.parameters()) == (kind == "lora")


def say(model: Any) -> str:
    return str(asyncio.run(model.reply([Message("user", "Hi")], Sampling(max_tokens=16, seed=1))).text)


def test_a_folder_is_opened_by_its_name(folder: Path) -> None:
    assert say(open_model(str(folder))) == say(load_local(folder, "tutor"))


def test_the_packages_own_tutor_is_named_so_that_others_find_it(tmp_path: Path) -> None:
    folder = saved(TINY, "lora", tmp_path / "tutor")
    assert json.loads((folder / ADAPTER_FILE).read_text())["base_model_name_or_path"] == "tiny"
    assert load_local(folder, "tutor").model.config.vocab_size == 1024


def test_a_model_of_the_hub_is_named_as_it_is_there(base: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--some--tutor" / "snapshots" / "abc"
    shutil.copytree(base, snapshot)
    folder = saved(snapshot, "lora", tmp_path / "tutor")
    assert json.loads((folder / ADAPTER_FILE).read_text())["base_model_name_or_path"] == "some/tutor"


def test_an_adapter_may_stand_on_another(base: Path, tmp_path: Path) -> None:
    first = saved(base, "lora", tmp_path / "first")
    second = saved(first, "lora", tmp_path / "second")
    assert say(load_local(second, "second")) != say(load_local(first, "first"))
    with pytest.raises(ModelError, match="has a prefix, which cannot be added to weights"):
        load_local(on(saved(base, "prefix", tmp_path / "prefixed"), second), "third")


def on(base: Path, folder: Path) -> Path:
    config = json.loads((folder / ADAPTER_FILE).read_text()) | {"base_model_name_or_path": str(base)}
    (folder / ADAPTER_FILE).write_text(json.dumps(config))
    (folder / BASE_FILE).unlink(missing_ok=True)
    return folder


def _forget_base(folder: Path) -> None:
    config = json.loads((folder / ADAPTER_FILE).read_text())
    (folder / ADAPTER_FILE).write_text(json.dumps(config | {"base_model_name_or_path": None}))


def _change_base(folder: Path) -> None:
    model = new_model()
    with torch.no_grad():
        model.model.norm.weight.add_(1)
    model.save_pretrained(folder.parent / "base")


def _drop_weights(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({"nothing": torch.zeros(1)}, folder / "adapter_model.safetensors", {"format": "pt"})


def _other_kind(folder: Path) -> None:
    inner = load_local(folder.parent / "base", "base").model
    config = peft.IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[])
    save_adapter(peft.get_peft_model(inner, config), folder)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda f: shutil.rmtree(f.parent / "base"),
            r"its base cannot be had \('/.*base' has no .*\); put it back, or",
        ),
        (_forget_base, r"adapter_config.json names no base; write its name there as base_model_name_or_path"),
        (_change_base, r"trained beside other weights \(\w{12}\) than those in .*base \(\w{12}\); put its base back"),
        (lambda f: (f / ADAPTER_FILE).write_text("{"), "adapter_config.json cannot be read .*; was the download cut"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"cut"), "the adapter in .* cannot be loaded"),
        (_drop_weights, "the adapter in .* cannot be loaded"),
        (_other_kind, "is of the kind IA3; LoRA and prefixes can be used"),
    ],
)
def test_what_is_missing_is_told_in_one_sentence(folder: Path, damage: Any, sentence: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=rf"^a tutor\b.*{sentence}") as told:
        load_local(folder, "a tutor")
    assert "\n" not in str(told.value)


def test_a_prefix_needs_a_cache_that_keeps_everything(tokenizer: Any) -> None:
    model = adapt(new_model("mistral", sliding_window=8), "prefix")
    with pytest.raises(ModelError, match=r"hf/m: a prefix is a part of the key-value cache, .* take adapter: lora"):
        LocalModel(model, tokenizer, "hf/m")
