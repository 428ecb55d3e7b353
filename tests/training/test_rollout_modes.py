"""A vLLM that speaks for the tutor: what it says is what the trained weights would say, at every step.

There is no vLLM here: TRL's trainer is real, and in place of its vLLM stand the same weights behind the same calls.
That the calls are the same is read from TRL's source; that vLLM itself answers so is asked by tests/servers.
"""

import asyncio
import inspect
import json
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from models.stand_in_vllm import INFO, Engine, completing, install, serving
from peft import LoraConfig, get_peft_model
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer import grpo_trainer

from diotima.errors import CallRefused, SettingsError
from diotima.models.chat import Sampling
from diotima.models.local import load_local
from diotima.models.opening import TINY
from diotima.runs.run import Run
from diotima.training import grpo, rollout_modes
from diotima.training.rollout_modes import Colocated, InProcess, Served, check, keep_base, policy_of, refuse_unready

TRL = {"max_steps": 2, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_generations": 4}


@pytest.fixture(autouse=True)
def as_if_vllm_were_here(monkeypatch):
    install(monkeypatch)
    monkeypatch.setattr(rollout_modes, "_lacking", list)


class VLLM:
    """In place of TRL's: speaks with a copy of the tutor's weights, which it is given when TRL says so."""

    gives = True

    def __init__(self, model, accelerator, mode, **chosen) -> None:
        self.mode, self.model = mode, model
        self.enable_sleep_mode = self._llm_weights_sleeping = chosen["enable_sleep_mode"]
        self.max_num_seqs = chosen["max_num_seqs"]
        self.llm = Engine(load_local(TINY, "tiny").model)
        self.vllm_client = SimpleNamespace(get_server_info=lambda: INFO["vllm_config"])
        self.pushed = 0
        VLLM.last = self

    def sync_weights(self) -> None:
        self.pushed += 1
        if self.mode == "colocate":
            self.llm.wake_up(["weights"])
            self._llm_weights_sleeping = False
        if VLLM.gives:
            self.llm.model.load_state_dict(self.model.state_dict())


def trained(problems, out, monkeypatch, mode, **changes):
    """What a short training in this mode logs, and the stand-in for vLLM that spoke in it."""
    monkeypatch.setattr(grpo_trainer, "VLLMGeneration", VLLM)
    trl = TRL | {"learning_rate": 1e-3} | changes.pop("trl", {})
    short = {"tutor_turns": 2, "tutor_max_tokens": 24, "threads": 1, "keep_every": 1, "rollouts": mode, **changes}

    def answer(body):
        return completing(VLLM.last.llm.model)(body)

    with serving(answer) as url:
        if mode == "server":
            trl["vllm_server_base_url"] = url
        grpo.run(grpo.Settings(out=out, problems=problems, trl=trl, **short))
    with Run.open(out) as record:
        said = [[turn.text for turn in kept.dialogue.turns] for kept in record.records()]
        return {name: [value for _, value in told] for name, told in record.metrics().items()}, said


@pytest.mark.parametrize("mode", ["server", "colocate"])
def test_a_vllm_says_what_the_trained_weights_would_say(problems, tmp_path, monkeypatch, mode):
    here, said = trained(problems, tmp_path / "process", monkeypatch, "process")
    there, also_said = trained(problems, tmp_path / mode, monkeypatch, mode)
    assert also_said == said
    assert there["reward"] == here["reward"]
    assert there["grad_norm"] == pytest.approx(here["grad_norm"], rel=1e-2)
    assert VLLM.last.pushed == 2
    assert max(there["drift/max"]) < 1e-4
    assert there["sampling/importance_sampling_ratio/mean"] == pytest.approx([1.0] * 2, abs=1e-5)


def test_weights_that_were_not_given_show_in_the_drift_from_the_second_step_on(problems, tmp_path, monkeypatch):
    monkeypatch.setattr(VLLM, "gives", False)
    metrics, _ = trained(problems, tmp_path, monkeypatch, "server")
    first, *later = metrics["drift/max"]
    assert first < 1e-4
    assert min(later) > 1e-3


def test_a_vllm_on_the_same_gpu_sleeps_while_the_tutor_is_trained(problems, tmp_path, monkeypatch):
    two = {"gradient_accumulation_steps": 2, "steps_per_generation": 1, "max_steps": 2}
    trained(problems, tmp_path, monkeypatch, "colocate", trl=two, tutor_turns=1, tutor_max_tokens=8)
    assert VLLM.last.llm.events == ["wake weights", "wake kv_cache", "speak", "sleep 2"] * 4
    assert VLLM.last.pushed == 4  # TRL's own twice, once a step; ours before the second generation of a step


def test_a_vllm_without_sleep_is_left_alone(problems, tmp_path, monkeypatch):
    monkeypatch.setattr(Engine, "sleep", None)
    monkeypatch.setattr(Engine, "wake_up", lambda self, tags: self.awake.update(("weights", "kv_cache")))
    trained(problems, tmp_path, monkeypatch, "colocate", trl={"vllm_enable_sleep_mode": False, "max_steps": 1})
    assert VLLM.last.llm.events == ["speak"]


@pytest.mark.parametrize("kept", [True, False])
def test_an_adapter_leaves_no_trace_in_its_base_when_it_is_given_to_a_vllm(kept):
    model = get_peft_model(
        load_local(TINY, "tiny", dtype=torch.bfloat16).model,
        LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"),
    )
    given = []

    def sync_weights():  # as TRL does it; see the last test
        model.merge_adapter()
        given.append(weights(model, ".base_layer."))
        model.unmerge_adapter()

    vllm = SimpleNamespace(model=model, sync_weights=sync_weights)
    if kept:
        keep_base(vllm)
    before = weights(model, ".base_layer.")
    torch.manual_seed(0)
    for _ in range(3):
        with torch.no_grad():
            for weight in (one for name, one in model.named_parameters() if "lora_" in name):
                weight.add_(torch.randn_like(weight) * 0.01)
        vllm.sync_weights()
    assert len(before) > 10
    assert torch.equal(torch.cat(weights(model, ".base_layer.")), torch.cat(before)) == kept
    assert not torch.equal(torch.cat(given[0]), torch.cat(before))
    assert not torch.equal(torch.cat(given[1]), torch.cat(given[2]))


def weights(model, part):
    return [weight.detach().clone().flatten() for name, weight in model.named_parameters() if part in name]


def stand_in_trainer(mode="colocate", **changes):
    local = load_local(TINY, "tiny")
    accelerator = SimpleNamespace(unwrap_model=lambda model: model, device=local.model.device)
    vllm = VLLM(local.model, None, mode, enable_sleep_mode=True, max_num_seqs=8)
    return SimpleNamespace(
        model=local.model,
        processing_class=local.tokenizer,
        accelerator=accelerator,
        vllm_generation=vllm,
        args=SimpleNamespace(vllm_server_base_url=None, vllm_server_host="0.0.0.0", vllm_server_port=8000),
        **changes,
    )


def lessons_that_fail(policy, trainer):
    with suppress(RuntimeError), policy.speaking(trainer) as tutor:
        assert getattr(tutor, "model", trainer.model).training is False
        raise RuntimeError


def test_it_sleeps_and_the_model_trains_on_also_when_the_lessons_fail():
    trainer = stand_in_trainer()
    lessons_that_fail(policy_of("colocate"), trainer)
    assert trainer.vllm_generation.llm.events[-1] == "sleep 2"
    assert trainer.vllm_generation._llm_weights_sleeping
    trainer.model.train()
    lessons_that_fail(policy_of("process"), trainer)
    assert trainer.model.training


def test_a_reply_for_which_there_is_no_room_is_refused_alone():
    trainer = stand_in_trainer()
    trainer.vllm_generation.llm.llm_engine.model_config.max_model_len = 20

    async def both(tutor):
        replies = [tutor.sample((5,) * length, Sampling(max_tokens=10, seed=1)) for length in (10, 11)]
        return await asyncio.gather(*replies, return_exceptions=True)

    with Colocated().speaking(trainer) as tutor:
        (ids, logprobs), refused = asyncio.run(both(tutor))
    assert 0 < len(ids) == len(logprobs) <= 10
    assert isinstance(refused, CallRefused)
    assert "has read 11 tokens and may write 10, and its vLLM has room for 20" in str(refused)


def test_nobody_speaks_at_a_server_before_all_weights_are_there():
    waited = []
    trainer = stand_in_trainer("server")
    trainer.accelerator.wait_for_everyone = lambda: waited.append(True)
    with Served().speaking(trainer):
        assert waited == [True]


def test_weights_in_parts_speak_at_a_server_only(monkeypatch):
    trainer = stand_in_trainer("server")
    trainer.accelerator.wait_for_everyone = lambda: None
    monkeypatch.setattr(rollout_modes, "in_parts", lambda _: True)
    with Served().speaking(trainer) as tutor:
        assert tutor.format.end_ids
    with (
        pytest.raises(SettingsError, match=r"FSDP or ZeRO-3 .*rollouts: server"),
        InProcess().speaking(trainer),
    ):
        pass


@pytest.mark.parametrize(
    ("mode", "adapter", "trl", "sentence"),
    [
        ("process", "none", {"use_vllm": True}, "trl.use_vllm follows from rollouts"),
        ("server", "none", {"vllm_mode": "server"}, "trl.vllm_mode follows from rollouts"),
        ("process", "none", {"vllm_server_port": 1}, "trl.vllm_server_port is for a vLLM"),
        ("server", "prefix", {}, "adapter = prefix does not have; take adapter: lora"),
        ("colocate", "qlora", {}, "adapter = qlora does not have; take adapter: lora"),
        ("server", "none", {"vllm_server_base_url": "http://h:8000/v1/"}, "leave /v1 out"),
        ("colocate", "none", {"vllm_tensor_parallel_size": 2}, "lessons do not; .*--tensor-parallel-size"),
    ],
)
def test_what_cannot_be_together_is_told(mode, adapter, trl, sentence):
    with pytest.raises(SettingsError, match=sentence):
        check(mode, adapter, trl)


def test_a_machine_without_gpu_or_vllm_is_told_in_one_sentence(problems, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(rollout_modes, "find_spec", lambda _: None)
    with pytest.raises(
        SettingsError, match=r"rollouts = server needs a GPU and vLLM \(pip install .*say rollouts: process"
    ):
        grpo.check(grpo.Settings(out=tmp_path / "run", problems=problems, rollouts="server"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", ["server", "colocate"])
def test_defaults_are_ours_and_what_is_said_counts(problems, tmp_path, mode):
    def args(**trl):
        return grpo.check(grpo.Settings(out=tmp_path, problems=problems, rollouts=mode, trl=TRL | trl))

    given = args()
    assert (given.use_vllm, given.vllm_mode, given.vllm_enable_sleep_mode) == (True, mode, mode == "colocate")
    assert given.vllm_importance_sampling_mode == "token_truncate"
    assert (given.temperature, given.top_k, given.top_p) == (1.0, 0, 1.0)
    assert args(vllm_importance_sampling_mode="token_mask").vllm_importance_sampling_mode == "token_mask"


@pytest.mark.parametrize(
    "info",
    [
        {},
        [],
        {"vllm_config": "a word"},
        {"vllm_config": INFO["vllm_config"] | {"weight_transfer_config": None}},
        {"vllm_config": INFO["vllm_config"] | {"model_config": {"logprobs_mode": "raw_logprobs"}}},
    ],
)
def test_a_server_that_was_started_otherwise_is_refused_with_the_command(info):
    with serving(lambda _: (404, {}), info) as url, pytest.raises(SettingsError, match="VLLM_SERVER_DEV_MODE=1 vllm"):
        refuse_unready("server", SimpleNamespace(vllm_server_base_url=url, vllm_server_timeout=0))


def test_a_page_that_is_no_servers_is_refused_like_another_server():
    assert rollout_modes._told(SimpleNamespace(body=b"<html>")) == (None, None)
    assert rollout_modes._told(SimpleNamespace(body=json.dumps(INFO).encode())) == (
        {"backend": "nccl"},
        "processed_logprobs",
    )


def test_a_server_that_is_not_there_is_waited_for_and_then_told(monkeypatch, capsys):
    monkeypatch.setattr(rollout_modes, "_PAUSE", 0.01)
    nowhere = SimpleNamespace(vllm_server_base_url="http://127.0.0.1:9/", vllm_server_timeout=0.05)
    with pytest.raises(SettingsError, match=r"nobody answers at http://127\.0\.0\.1:9 .*vllm_server_base_url"):
        refuse_unready("server", nowhere)
    assert "waiting 0.05 seconds at most" in capsys.readouterr().err
    refuse_unready("process", None)


def test_trl_still_does_what_is_relied_upon():
    generate = inspect.getsource(grpo_trainer.GRPOTrainer._generate)
    assert generate.index("self.vllm_generation.sync_weights()") < generate.index("self.rollout_func(prompts, self)")
    assert "self.state.global_step != self._last_loaded_step" in generate
    whole = inspect.getsource(VLLMGeneration)
    assert whole.index("model.merge_adapter()") < whole.index("model.unmerge_adapter()")
    for line in (
        'if self.mode == "colocate" and self.enable_sleep_mode and self._llm_weights_sleeping:',
        'self.llm.wake_up(tags=["weights"])',
        "self._llm_weights_sleeping = False",
        'self.llm.wake_up(tags=["kv_cache"])',
        'vllm_prompts = [{"prompt_token_ids": ids} for ids in all_prompts]',
        "self.llm.generate(vllm_prompts, sampling_params=sampling_params, use_tqdm=False)",
        "self.llm.sleep(level=2)",
        "self._llm_weights_sleeping = True",
        'logprobs_mode="processed_logprobs"',
        "self.max_num_seqs = max_num_seqs",
    ):
        assert line in whole
    assert "self.llm.llm_engine.model_config.max_model_len" in inspect.getsource(grpo_trainer.GRPOTrainer).replace(
        "self.vllm_generation.", "self."
    )
    asked = inspect.getsource(VLLMClient.generate)
    assert '"return_token_ids": True' in asked
    assert 'choice["prompt_token_ids"]' in asked
    assert 'choice["token_ids"]' in asked
    told = inspect.getsource(VLLMClient.get_server_info)
    assert '/server_info", params={"config_format": "json"}' in told
    assert '["vllm_config"]' in told
    assert set(inspect.signature(VLLMGeneration.__init__).parameters) >= {"mode", "enable_sleep_mode", "max_num_seqs"}
