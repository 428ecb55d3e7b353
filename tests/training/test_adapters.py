"""LoRA and prefixes in training: what is trained and what is not, the reference, resuming, and what is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from models.families import random_model
from safetensors.torch import load_file
from training.proofs import gradient, logprobs

from diotima.classroom.teach import Settings as TeachSettings
from diotima.classroom.teach import run as teach
from diotima.errors import ModelError, SettingsError
from diotima.models.folders import TINY
from diotima.models.local import load_local
from diotima.runs.run import Run
from diotima.training import adapters, grpo, sft

KINDS = pytest.mark.parametrize("kind", ["lora", "prefix"])
QUICK = {"per_device_train_batch_size": 4, "max_steps": 3, "learning_rate": 1e-2, "save_steps": 1}
GROUPS = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_generations": 4, "max_steps": 1}


@pytest.fixture(scope="module")
def guided(tmp_path_factory, request) -> Path:
    """A run of lessons by the scripted guide."""
    out = tmp_path_factory.mktemp("lessons") / "run"
    return teach(TeachSettings(out=out, problems=request.getfixturevalue("problems"), tutor="scripted/guide"))


def tuning(guided: Path, out: Path, **changes: Any) -> sft.Settings:
    given = {"keep": {}, "least": {}, "most_lessons": 4, "prefix_tokens": 8, "lora_rank": 4, "trl": QUICK} | changes
    return sft.Settings(out=out, lessons=guided, threads=1, **given)


def reinforcing(problems: Path, out: Path, **changes: Any) -> grpo.Settings:
    given = {"trl": GROUPS, "prefix_tokens": 8} | changes
    return grpo.Settings(out=out, problems=problems, tutor_max_tokens=60, threads=1, **given)


@pytest.fixture(scope="module")
def tuned(guided, tmp_path_factory) -> dict[str, Path]:
    """A tutor of each kind."""
    folder = tmp_path_factory.mktemp("tuned")
    rates = {"lora": 1e-2, "prefix": 0.5}
    return {
        kind: sft.run(tuning(guided, folder / kind, adapter=kind, trl=QUICK | {"learning_rate": rate}))
        for kind, rate in rates.items()
    }


def metrics(out: Path) -> dict[str, list[float]]:
    with Run.open(out) as record:
        return {name: [value for _, value in values] for name, values in record.metrics().items()}


@KINDS
def test_fine_tuning_learns_and_leaves_an_adapter_only(tuned, kind):
    losses = metrics(tuned[kind].parent)["loss"]
    assert losses[-1] < 0.98 * losses[0]
    weights = load_file(tuned[kind] / "adapter_model.safetensors")
    assert all(("lora_" in name) == (kind == "lora") for name in weights)
    model = load_local(TINY, "tiny").model
    if kind == "prefix":
        heads, layers = model.config.num_key_value_heads, model.config.num_hidden_layers
        wide = heads * model.config.head_dim
        assert sum(weight.numel() for weight in weights.values()) == 8 * layers * 2 * wide
    assert json.loads((tuned[kind] / "tutor.json").read_text())["prompt"] == "tutor/tiny"
    assert load_local(tuned[kind], "tuned").tokenizer.eos_token == "<|end|>"
    assert not (tuned[kind] / "README.md").exists()


@KINDS
def test_only_the_adapter_is_trained(guided, tmp_path, kind):
    settings = tuning(guided, tmp_path, adapter=kind)
    local = adapters.load(TINY, "tiny", settings)
    before = {name: weight.clone() for name, weight in local.model.state_dict().items()}
    trainer = sft.make_trainer(rows(settings, local), local, sft.check(settings), settings)
    trainer.train()
    after = {
        name.removeprefix("base_model." + "model." * (kind == "lora")).replace(".base_layer", ""): weight
        for name, weight in trainer.model.state_dict().items()
    }
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    trained = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert trained
    assert all(("lora_" if kind == "lora" else "prompt_encoder") in name for name in trained)


def rows(settings: sft.Settings, local: Any) -> list[dict[str, list[int]]]:
    from diotima.classroom.casting import Part

    part = Part("tutor/tiny", "solution")
    return list(sft.labelled_rows(sft.chosen_lessons(settings), local, part, settings))


def held_by(settings: grpo.Settings, out: Path) -> tuple[Any, dict[str, Any]]:
    """A trainer, and the lessons that it has held as a batch, padded as TRL pads them, with what was sampled."""
    with Run.create(out, stage="train grpo", settings={}, seed=0) as record:
        trainer = grpo.make_trainer(settings, grpo.prepare(settings), record)
        prompts = [row["prompt"] for row in trainer.rollout_func.prompts()[:2] for _ in range(4)]
        return trainer, padded(trainer.rollout_func(prompts, trainer))


def padded(held: dict[str, Any]) -> dict[str, Any]:
    longest_before, longest_after = (max(map(len, held[name])) for name in ("prompt_ids", "completion_ids"))
    ids, real, sampled, mask = [], [], [], []
    for before, after, said in zip(held["prompt_ids"], held["completion_ids"], held["logprobs"], strict=True):
        left, right = longest_before - len(before), longest_after - len(after)
        ids.append([0] * left + before + after + [0] * right)
        real.append([0] * left + [1] * (len(before) + len(after)) + [0] * right)
        sampled.append(list(said) + [0.0] * right)
        mask.append([logprob != 0 for logprob in said] + [False] * right)  # of groups without spread, too
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(real),
        "sampled": torch.tensor(sampled),
        "mask": torch.tensor(mask),
        "narrow": min(map(len, held["prompt_ids"])) < longest_before,
    }


def scored(trainer: Any, batch: dict[str, Any]) -> torch.Tensor:
    """The trainer's own log-probabilities of what the tutor said in a batch."""
    whole = {name: batch[name] for name in ("input_ids", "attention_mask")}
    trainer.model.eval()
    with torch.no_grad():
        kept = batch["sampled"].shape[1]
        found = trainer._get_per_token_logps_and_entropies(trainer.model, **whole, logits_to_keep=kept)[0]
    said: torch.Tensor = found[batch["mask"]]
    return said


@KINDS
def test_what_is_sampled_and_what_is_trained_have_the_same_probabilities(problems, tuned, tmp_path, kind):
    settings = reinforcing(problems, tmp_path, model=str(tuned[kind]), adapter=kind)
    trainer, batch = held_by(settings, tmp_path / "run")
    assert batch["mask"].sum() > 50
    assert batch["narrow"]  # padded on the left
    torch.testing.assert_close(scored(trainer, batch), batch["sampled"][batch["mask"]], rtol=0, atol=1e-4)


def test_without_counting_positions_a_prefix_would_be_trained_at_another_distance(problems, tuned, tmp_path):
    settings = reinforcing(problems, tmp_path, model=str(tuned["prefix"]), adapter="prefix")
    trainer, batch = held_by(settings, tmp_path / "run")
    trainer.model.get_base_model()._forward_pre_hooks.clear()
    assert (scored(trainer, batch) - batch["sampled"][batch["mask"]]).abs().max() > 1e-2


def test_the_reference_is_the_model_with_its_adapter_off(problems, tmp_path):
    settings = reinforcing(problems, tmp_path, adapter="lora", trl=GROUPS | {"beta": 0.1})
    with Run.create(tmp_path / "run", stage="train grpo", settings={}, seed=0) as record:
        trainer = grpo.make_trainer(settings, grpo.prepare(settings), record)
        with torch.no_grad():
            for name, weight in trainer.model.named_parameters():
                if "lora_B" in name:
                    weight.add_(0.02)  # as after some steps
        inputs = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
    assert trainer.ref_model is None
    assert list(trainer.model.peft_config) == ["default"]
    whole = {
        "input_ids": torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
        "attention_mask": torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
    }
    kept, width = inputs["completion_mask"].bool(), inputs["completion_ids"].shape[1]
    with torch.no_grad():
        alone, tuned = (
            logprobs(model, whole)[:, -width:][kept] for model in (load_local(TINY, "tiny").model, trainer.model)
        )
    torch.testing.assert_close(inputs["ref_per_token_logps"][kept], alone, rtol=0, atol=1e-4)
    assert (tuned - alone).abs().max() > 0.01


@KINDS
def test_a_tutor_is_trained_on_from_where_it_was(problems, tuned, tmp_path, kind):
    """LoRA beside a tutor that was fine-tuned with LoRA, and the very prefix of one with a prefix."""
    settings = reinforcing(
        problems, tmp_path, model=str(tuned[kind]), adapter=kind, trl=GROUPS | {"beta": 0.1, "learning_rate": 1e-3}
    )
    folder = grpo.run(settings)
    assert metrics(tmp_path)["kl"] == pytest.approx([0.0], abs=1e-5)  # the reference is the tutor as it was
    named = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == (str(tuned[kind]) if kind == "lora" else "tiny")
    before, after = (load_file(path / "adapter_model.safetensors") for path in (tuned[kind], folder))
    assert not (folder / "ref").exists()
    if kind == "prefix":
        (before,), (after,) = before.values(), after.values()
        assert 0 < (after - before).abs().max() < 0.1
    load_local(folder, "tutor")


def stopped_and_resumed(stage: Any, whole: Any, stopped: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """SHA-256 of the adapters of a training that was left alone, and of one that was stopped after its first step."""
    from transformers import TrainerCallback

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 1:
                raise KeyboardInterrupt

    def stopping(*what: Any) -> Any:
        trainer = make(*what)
        trainer.add_callback(Stop())
        return trainer

    make = stage.make_trainer
    with monkeypatch.context() as stops:
        stops.setattr(stage, "make_trainer", stopping)
        with pytest.raises(KeyboardInterrupt):
            stage.run(stopped)
    assert not (stopped.out / "model").exists()
    assert (stopped.out / "checkpoints" / "checkpoint-1" / "complete").exists()
    folders = [stage.run(one) for one in (whole, stopped)]
    return [hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest() for folder in folders]


@KINDS
def test_fine_tuning_that_was_stopped_ends_with_the_same_adapter(guided, tmp_path, monkeypatch, kind):
    whole, stopped = (tuning(guided, tmp_path / name, adapter=kind) for name in ("whole", "stopped"))
    one, other = stopped_and_resumed(sft, whole, stopped, monkeypatch)
    assert one == other


@KINDS
def test_reinforcement_that_was_stopped_ends_with_the_same_adapter(problems, tuned, tmp_path, monkeypatch, kind):
    """With a reference, which for a prefix that is trained on is a second one of these."""
    trl = GROUPS | {"beta": 0.1, "learning_rate": 1e-2, "max_steps": 2, "save_steps": 1}
    whole, stopped = (
        reinforcing(problems, tmp_path / name, model=str(tuned[kind]), adapter=kind, trl=trl)
        for name in ("whole", "stopped")
    )
    one, other = stopped_and_resumed(grpo, whole, stopped, monkeypatch)
    assert one == other
    assert metrics(whole.out)["kl"] == pytest.approx(metrics(stopped.out)["kl"], abs=1e-7)


def test_the_seed_decides_where_an_adapter_begins(guided, tmp_path):
    def first_weights(seed: int) -> torch.Tensor:
        settings = tuning(guided, tmp_path / str(seed), adapter="lora", seed=seed)
        local = adapters.load(TINY, "tiny", settings)
        trainer = sft.make_trainer(rows(settings, local), local, sft.check(settings), settings)
        return torch.cat([w.flatten() for name, w in trainer.model.named_parameters() if "lora_A" in name])

    assert torch.equal(first_weights(1), first_weights(1))
    assert not torch.equal(first_weights(1), first_weights(2))


@pytest.mark.parametrize("kind", ["none", "lora"])
def test_computing_layers_again_changes_nothing(guided, tmp_path, kind):
    def one(again: bool) -> torch.Tensor:
        trl = QUICK | {"gradient_checkpointing": again}
        settings = tuning(guided, tmp_path, adapter=kind, trl=trl, lora_dropout=0.0)
        local = adapters.load(TINY, "tiny", settings)
        trainer = sft.make_trainer(rows(settings, local), local, sft.check(settings), settings)
        trainer.model.train()
        if again:
            trainer.model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
        return gradient(trainer, trainer._prepare_inputs(next(iter(trainer.get_train_dataloader()))))

    torch.testing.assert_close(one(True), one(False), rtol=1e-4, atol=1e-6)


def test_packed_lessons_have_the_gradient_of_lessons_side_by_side(guided, tmp_path):
    """No lesson sees another, and only the tutor's turns count: with one mask for all, it would not be the same."""

    def one(packing: bool) -> tuple[Any, torch.Tensor, int]:
        trl = QUICK | {"packing": packing, "max_length": 4096, "per_device_train_batch_size": 1 if packing else 4}
        settings = tuning(guided, tmp_path, trl=trl)
        local = adapters.load(TINY, "tiny", settings)
        trainer = sft.make_trainer(rows(settings, local), local, sft.check(settings), settings)
        trainer.model.train()
        batch = dict(trainer._prepare_inputs(next(iter(trainer.get_train_dataloader()))))
        return trainer, batch, gradient(trainer, batch)

    _, side_by_side, expected = one(False)
    trainer, packed, found = one(True)
    assert packed["input_ids"].shape[0] == 1
    assert (packed["labels"] != -100).sum() == (side_by_side["labels"] != -100).sum()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    unbroken = {name: packed[name] for name in ("input_ids", "labels")}
    unbroken["position_ids"] = torch.arange(packed["input_ids"].shape[1])[None]
    assert (gradient(trainer, unbroken) - expected).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"adapter": "qlora"}, "train sft: adapter = qlora needs a GPU of NVIDIA's .*; take adapter: lora"),
        (
            {"adapter": "prefix", "trl": {"gradient_checkpointing": True}},
            "gradient_checkpointing computes layers again",
        ),
        ({"adapter": "prefix", "trl": {"packing": True}}, "several lessons behind one prefix"),
        ({"trl": {"packing": True, "packing_strategy": "wrapped"}}, "wrapped cuts lessons in two"),
    ],
)
def test_what_cannot_be_together_is_told_before_anything_is_loaded(tmp_path, monkeypatch, changes, sentence):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=sentence):
        sft.check(tuning(tmp_path, tmp_path, **changes))


def test_layers_that_a_model_does_not_have_are_told(guided, tmp_path):
    with pytest.raises(SettingsError, match=r"train sft: .*Target modules \{'nothing'\} not found"):
        sft.run(tuning(guided, tmp_path, adapter="lora", lora_targets="nothing"))


def test_models_that_cannot_be_trained_so_are_told(problems, tuned, tmp_path):
    lora, prefix = (str(tuned[kind]) for kind in ("lora", "prefix"))
    with pytest.raises(
        ModelError, match=r"has a prefix, which cannot be added to weights; go on .* adapter: prefix, or"
    ):
        grpo.prepare(reinforcing(problems, tmp_path, model=prefix, adapter="lora"))
    with pytest.raises(SettingsError, match=r"the reference is loaded from the model's folder, and .* an adapter only"):
        grpo.prepare(reinforcing(problems, tmp_path, model=lora, trl=GROUPS | {"beta": 0.1}))
    sliding = load_local(TINY, "tiny").tokenizer
    folder = tmp_path / "sliding"
    random_model("mistral", 1024, num_key_value_heads=2, sliding_window=8).save_pretrained(folder)
    sliding.save_pretrained(folder)
    with pytest.raises(ModelError, match="does not keep all of its cache"):
        adapters.load(folder, "hf/sliding", adapters.AdapterSettings(adapter="prefix"))


def test_a_tutor_trained_whole_from_an_adapter_is_a_model_of_its_own(guided, tuned, tmp_path):
    folder = sft.run(tuning(guided, tmp_path, model=str(tuned["lora"]), trl=QUICK | {"max_steps": 1}))
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "adapter_config.json").exists()
    load_local(folder, "tutor")
