"""What a training takes: exact where it is counted, and near to what torch keeps where it is arithmetic."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config, Qwen3MoeConfig

from diotima.cli import main
from diotima.errors import ModelError, SettingsError
from diotima.models.chat import Sampling
from diotima.models.folders import TINY
from diotima.models.generation import Context, sample_replies
from diotima.training.adapters import AdapterSettings, adapter_config
from diotima.training.plan import Engine, Work, activations, flops, memory, shape_of
from diotima.training.plan_command import Settings, run, trainings, work_of

NO_ADAPTER = AdapterSettings()
SMALL = {"hidden_size": 128, "intermediate_size": 344, "num_attention_heads": 4, "vocab_size": 512, "pad_token_id": 0}
SMALL |= {"bos_token_id": 1, "eos_token_id": 2, "num_hidden_layers": 3}
FAMILIES = {
    "llama": LlamaConfig(num_key_value_heads=4, **SMALL),
    "qwen2": Qwen2Config(num_key_value_heads=2, **SMALL),
    "qwen3": Qwen3Config(num_key_value_heads=2, head_dim=64, **SMALL),
}
SEVEN = Qwen2Config(
    hidden_size=3584,
    intermediate_size=18944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    vocab_size=152064,
    tie_word_embeddings=False,
)


def work(**changes):
    return Work(
        **{"adapter": "none", "optimizer": "adamw_torch", "rows": 4, "tokens": 100, "accumulation": 2}
        | {"checkpointing": False}
        | changes
    )


def real(config, dtype=torch.float32):
    return AutoModelForCausalLM.from_config(config, dtype=dtype)


def test_weights_gradients_and_moments_of_the_tiny_tutor_are_exact():
    config = AutoConfig.from_pretrained(TINY)
    shape, model = shape_of(config, NO_ADAPTER), real(config)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 2, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    needed = memory(shape, work(), autocast=False)
    assert needed.weights == sum(weight.nbytes for weight in model.parameters())
    assert needed.gradients == sum(weight.grad.nbytes for weight in model.parameters())
    kept = [value for state in optimizer.state.values() for value in state.values()]
    assert needed.optimizer == sum(value.nbytes for value in kept)
    assert needed.copies == 0


@pytest.mark.parametrize("adapter", ["lora", "prefix"])
def test_an_adapter_has_exactly_as_many_weights_as_peft_trains(adapter):
    from peft import get_peft_model

    settings, config = AdapterSettings(adapter=adapter), AutoConfig.from_pretrained(TINY)
    model = get_peft_model(real(config), adapter_config(settings))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    shape = shape_of(config, settings)
    assert (shape.trained, shape.tensors) == (sum(weight.numel() for weight in trained), len(trained))
    assert shape.parameters == sum(weight.numel() for weight in real(config).parameters())


def test_published_numbers_of_weights():
    assert shape_of(SEVEN, NO_ADAPTER).parameters == 7_615_616_512  # Qwen2.5-7B
    glm = LlamaConfig(
        hidden_size=512, intermediate_size=64, num_hidden_layers=28, num_attention_heads=4, num_key_value_heads=2,
        head_dim=128, vocab_size=64,
    )  # fmt: skip
    assert shape_of(glm, AdapterSettings(adapter="prefix")).trained == 1_835_008  # SocraticLM's prefix


def kept(model, rows, tokens, autocast):
    """Bytes that torch keeps of a forward pass of the layers for the backward pass, weights left out."""
    ours = {weight.untyped_storage().data_ptr() for weight in (*model.parameters(), *model.buffers())}
    found, alive = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or its place would be another's
        return tensor

    ids = torch.randint(3, 500, (rows, tokens))
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0
    body = model.get_base_model().model if hasattr(model, "get_base_model") else model.model
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False),
    ):
        body(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(found.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_what_torch_keeps(family):
    config = FAMILIES[family]
    measured = kept(real(config), 4, 100, autocast=False)
    assert activations(shape_of(config, NO_ADAPTER), work(), 4) == pytest.approx(measured, rel=0.05)
    assert activations(shape_of(config, NO_ADAPTER), work(rows=8), 4) > 1.5 * measured


def test_activations_beside_a_frozen_base_are_fewer_and_known_too():
    from peft import get_peft_model

    config, settings = FAMILIES["llama"], AdapterSettings(adapter="lora", lora_dropout=0.0)
    model = get_peft_model(real(config), adapter_config(settings))
    model.enable_input_require_grads()
    shape = shape_of(config, settings)
    measured = kept(model, 4, 100, autocast=False)
    # In float32 what low-rank differences read is kept once; under autocast each has a copy of its own.
    shared = 4 * (2 * config.hidden_size + config.intermediate_size) + 4 * 7 * settings.lora_rank
    ours = activations(shape, work(adapter="lora"), 4) + 400 * 3 * (shared - 2 * shape.read)
    assert ours == pytest.approx(measured, rel=0.05)


def test_checkpointing_keeps_one_layer_and_the_inputs_of_all():
    shape = shape_of(SEVEN, NO_ADAPTER)
    whole, thrifty = activations(shape, work()), activations(shape, work(checkpointing=True))
    assert thrifty == pytest.approx(whole / 28 + 400 * 28 * 3584 * 4)


def test_shares_of_the_zero_paper():
    """Rajbhandari et al., section 5: 16 bytes a weight, 2 + 14 / N with gradients and moments divided, 16 / N."""
    shape = shape_of(SEVEN, NO_ADAPTER)
    for sharding, expected in (("zero2", 2 + 14 / 64), ("zero3", 16 / 64)):
        needed = memory(shape, work(), sharding, 64)
        held = needed.weights + needed.optimizer + needed.gradients - (1e9 if sharding == "zero2" else 0)
        assert held / shape.parameters == pytest.approx(expected, rel=1e-3)
    one = memory(shape, work())
    assert one.weights + one.optimizer + one.gradients == pytest.approx(16 * shape.parameters, rel=1e-6)
    assert memory(shape, work(), "ddp", 64).gradients == 2 * one.gradients
    assert memory(shape, work(), "fsdp2", 64).weights == one.weights / 64


def test_four_bits_and_a_reference():
    lora, qlora = (shape_of(SEVEN, AdapterSettings(adapter=kind)) for kind in ("lora", "qlora"))
    assert lora.trained == qlora.trained == 40_370_176
    saved = memory(lora, work(adapter="lora")).weights - memory(qlora, work(adapter="qlora")).weights
    assert saved == pytest.approx(lora.linear * (lora.saved - 0.5159), rel=1e-3)
    assert memory(lora, work(reference=True)).reference == 4 * lora.parameters
    assert memory(lora, work(reference=True), "zero2", 4).reference == 2 * lora.parameters  # DeepSpeed casts it
    assert memory(lora, work(reference=True), "fsdp2", 4).reference == lora.parameters
    eight = memory(shape_of(SEVEN, NO_ADAPTER), work(optimizer="paged_adamw_8bit")).optimizer
    assert eight == 2 * (7_615_616_512 - 1_089_994_752) + 8 * 1_089_994_752
    with pytest.raises(SettingsError, match=r"trl\.optim = muon: what it keeps is not known"):
        memory(lora, work(optimizer="muon"))


def test_operations_of_a_step():
    shape = shape_of(SEVEN, NO_ADAPTER)
    assert flops(shape, work()) == 6 * shape.parameters * 800
    assert flops(shape, work(checkpointing=True, adapter="lora")) == 6 * shape.parameters * 800


def test_of_a_mixture_only_the_experts_work_that_a_token_goes_to():
    sizes = {"head_dim": 32, "num_key_value_heads": 2, "num_experts": 8, "moe_intermediate_size": 64}
    few, all_of_them = (
        shape_of(Qwen3MoeConfig(num_experts_per_tok=chosen, **sizes, **SMALL), NO_ADAPTER) for chosen in (2, 8)
    )
    experts = 3 * 8 * 3 * 128 * 64  # layers, experts, matrices
    assert (few.idle, all_of_them.idle) == (experts * 6 / 8, 0)
    assert few.parameters == all_of_them.parameters
    assert flops(few, work()) == flops(all_of_them, work()) - 6 * 800 * few.idle


@pytest.mark.parametrize(("autocast", "bytes_each"), [(False, 4), (True, 4)])
def test_caches_of_lessons_are_what_a_reply_leaves_as_often_as_it_is_held(autocast, bytes_each):
    config = FAMILIES["qwen2"]
    shape, model = shape_of(config, NO_ADAPTER), real(config).eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        (reply,) = sample_replies(model, [Context(tuple(range(3, 40)), Sampling(max_tokens=1, seed=1))], frozenset(), 0)
    left = sum(part.nbytes for layer in reply.layers for part in layer)
    assert left == 37 * 3 * 2 * 64 * bytes_each
    for lessons, copies in ((1, 2), (64, 128), (100, 164)):  # of a batch's lessons there are two
        assert memory(shape, work(tokens=37, lessons=lessons), autocast=autocast).caches == copies * left
    assert memory(shape, work(tokens=37, lessons=1), "zero2", 2).caches == left  # DeepSpeed has them in bfloat16


def test_a_vllm_beside_the_tutor_takes_its_share_when_lessons_are_held_and_has_to_fit_in_it():
    shape = shape_of(SEVEN, AdapterSettings(adapter="lora"))
    alone = memory(shape, work(adapter="lora"))
    share, longest = 0.3, 9000
    asleep, awake = (
        memory(shape, work(adapter="lora", engine=Engine(share, sleeps, longest))) for sleeps in (True, False)
    )
    assert asleep.engine == 2 * shape.parameters + 9000 * 2 * 2 * 28 * 512
    assert asleep.peak == alone.peak - alone.gradients - alone.activations + asleep.engine
    assert awake.peak == alone.peak + asleep.engine
    assert alone.fits(24)
    assert not asleep.fits(24, share)
    assert not asleep.fits(40, share)  # its weights alone take more than 12 GB
    assert asleep.fits(40, 0.5)
    assert not asleep.fits(40, 0.7)  # nothing is left for the tutor
    assert awake.fits(80, share)
    unsaid = memory(shape, work(adapter="lora", engine=Engine(share, True, None)))
    assert unsaid.engine - asleep.engine == (SEVEN.max_position_embeddings - 9000) * 2 * 2 * 28 * 512


@pytest.mark.parametrize("kind", ["gpt2", "opt", "falcon", "bloom", "gemma3n_text", "gemma4_text"])
def test_families_that_name_their_sizes_otherwise_can_be_planned(kind):
    shape = shape_of(AutoConfig.for_model(kind), NO_ADAPTER)
    assert shape.keys <= shape.heads
    assert shape.feed_forward >= 2 * shape.width
    assert memory(shape, work()).peak > 16 * shape.parameters


def only(**settings):
    (training,) = trainings(Settings(**settings))
    return training


def test_a_recipes_own_settings_decide(tmp_path):
    recipe = tmp_path / "grpo.yaml"
    recipe.write_text("problems: p\nadapter: lora\ntrl: {per_device_train_batch_size: 2, beta: 0.1, optim: sgd}\n")
    asked = work_of(only(recipe=recipe, set=("trl.gradient_accumulation_steps=3", "most_tokens=700")))
    assert asked == Work("lora", "sgd", 2, 700, 3, True, reference=False, lessons=6)
    assert work_of(only(recipe=recipe, set=("adapter=none",))).reference
    assert work_of(only(recipe=recipe), tokens=55).tokens == 55
    pairs = work_of(only(method="dpo", set=("trl.per_device_train_batch_size=4",)))
    assert (pairs.rows, pairs.reference, pairs.tokens) == (8, True, 4096)
    assert not work_of(only(method="dpo", set=("trl.precompute_ref_log_probs=true",))).reference


def test_who_speaks_elsewhere_takes_no_room_for_caches_and_leaves_weights_in_parts(tmp_path):
    recipe = tmp_path / "grpo.yaml"
    recipe.write_text("problems: p\ntrl: {vllm_gpu_memory_utilization: 0.4, vllm_max_model_length: 900}\n")
    here, beside, elsewhere = (
        work_of(only(recipe=recipe, set=(f"rollouts={mode}",))) for mode in ("process", "colocate", "server")
    )
    assert (here.lessons, beside.lessons, elsewhere.lessons) == (64, 0, 0)
    assert (here.engine, beside.engine, elsewhere.engine) == (None, Engine(0.4, True, 900), None)
    for mode, ways in (("process", {"ddp", "zero2"}), ("server", {"ddp", "zero2", "zero3", "fsdp2"})):
        (plan,) = run(Settings(method="grpo", gpus=2, set=(f"rollouts={mode}",)))["trainings"]
        assert plan["bytes"].keys() == ways


def test_a_change_may_be_one_stages_as_where_the_recipe_is_run(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "stages:\n  - {name: a, run: train sft, lessons: x}\n  - {name: b, run: train grpo, problems: x}\n"
    )
    changes = ("b.penalty=0", "a.trl.max_length=70", "trl.per_device_train_batch_size=3")
    first, second = trainings(Settings(recipe=recipe, set=changes))
    assert (first.trl["max_length"], second.settings.penalty) == (70, 0)
    assert first.trl["per_device_train_batch_size"] == second.trl["per_device_train_batch_size"] == 3


def test_stages_that_train_are_planned_with_the_models_that_earlier_ones_make(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: r\nstages:\n"
        "  - {name: a, run: teach, tutor: tiny}\n"
        "  - {name: b, run: train sft, from: a, model: some/where}\n"
        "  - {name: c, run: train grpo, from: {model: b, problems: a}}\n"
    )
    found = trainings(Settings(recipe=recipe))
    assert [(one.name, one.method, one.settings.model) for one in found] == [
        ("stage b", "sft", "some/where"),
        ("stage c", "grpo", "some/where"),
    ]


@pytest.mark.parametrize(
    ("key", "method"), [("mix", "sft"), ("records", "sft"), ("pairs", "dpo"), ("problems", "grpo")]
)
def test_what_is_learned_from_tells_the_method(tmp_path, key, method):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{key}: {'[{records: a}]' if key == 'mix' else 'a'}\n")
    assert only(recipe=recipe).method == method


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({}, SettingsError, "which training this is has to be said: --method sft, dpo or grpo"),
        ({"method": "sft", "model": "no/where"}, ModelError, "has no configuration here; use tiny, a folder"),
        ({"method": "sft", "set": ("lerning=1",)}, SettingsError, "lerning is not a setting"),
        ({"method": "sft", "set": ("trl.lerning=1",)}, SettingsError, "trl.lerning is not a field of TRL's SFTConfig"),
        ({"method": "dpo", "set": ("trl.max_length=long",)}, SettingsError, "trl.max_length = 'long': Input should"),
        ({"method": "dpo", "set": ("trl.max_length=null",)}, SettingsError, "longest row is has to be said: --tokens"),
        ({"method": "sft", "set": ("trl.gradient_accumulation_steps=0",)}, SettingsError, "must be at least 1"),
        ({"method": "sft", "set": ("trl.max_length=0",)}, SettingsError, r"trl\.max_length must be at least 1"),
        (
            {"method": "grpo", "set": ("rollouts=colocate", "trl.vllm_gpu_memory_utilization=2")},
            SettingsError,
            "a share of the GPU: above 0, and 1 at most",
        ),
        ({"method": "sft", "set": ("trl.optim=sgdd",)}, SettingsError, "trl.optim = sgdd: what it keeps"),
        ({"method": "sft", "set": ("adapter=lora", "lora_targets=x")}, ModelError, "lora cannot be put on this model"),
    ],
)
def test_what_cannot_be_planned_is_told(settings, error, sentence):
    with pytest.raises(error, match=sentence):
        run(Settings(**settings))


@pytest.mark.parametrize("stages", ["3", "[a]", "{a: b}"])
def test_stages_that_are_none_are_told(tmp_path, stages):
    (tmp_path / "recipe.yaml").write_text(f"stages: {stages}\n")
    with pytest.raises(SettingsError, match=r"recipe\.yaml: stages must be a list of stages"):
        trainings(Settings(recipe=tmp_path / "recipe.yaml"))


def test_layers_that_are_not_known_are_told(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mamba", "num_hidden_layers": 2}')
    with pytest.raises(ModelError, match="what layers of the kind mamba keep is not known here"):
        run(Settings(method="sft", model=str(tmp_path)))


def test_the_table_and_its_figures(tmp_path, capsys):
    (tmp_path / "config.json").write_text(SEVEN.to_json_string())
    words = ["train", "plan", "--method", "grpo", "--model", str(tmp_path), "--gpus", "4", "--set", "trl.beta=0.001"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "7.616 billion weights" in shown
    assert all(word in shown for word in ("DDP", "ZeRO-2", "reference model", "caches of lessons *", "none of these"))
    assert "ZeRO-3" not in shown  # no process would have a whole tutor to hold lessons with
    assert main([*words, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    (plan,) = summary["trainings"]
    assert plan["bytes"]["ddp"]["weights"] == 4 * 7_615_616_512
    assert plan["fits"]["ddp"] == []


def test_a_students_model_comes_on_top():
    alone, together = (only(method="grpo", set=changes) for changes in ((), ("student=tiny",)))
    assert work_of(alone).others == 0
    assert work_of(together).others == 721_408 * 2
