"""Training that has to stop: one sentence, a checkpoint of the last whole step, and from there the same weights."""

import hashlib
from types import SimpleNamespace

import pytest
import torch
from servers.faults import Fault
from servers.scripted import Script, ScriptedServer

from diotima.errors import ModelError, RunError, TrainingError
from diotima.runs.run import Run
from diotima.training import grpo
from diotima.training.setup import COMPLETE, LEFT_OUT, _explained, _recorder, last_checkpoint
from diotima.training.stopping import last_step_kept, refuse_bad_gradient

TRL = {
    "max_steps": 3,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "learning_rate": 1e-3,
}


def settings(problems, out, **changes) -> grpo.Settings:
    short = {"tutor_turns": 2, "tutor_max_tokens": 40, "threads": 1, "attempts": 4}
    return grpo.Settings(out=out, problems=problems, **(short | {"trl": TRL | changes.pop("trl", {})} | changes))


def weights(out) -> str:
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


def test_a_dead_server_stops_a_training_which_goes_on_and_pays_nothing_twice(problems, tmp_path) -> None:
    def there(server):
        name = f"vllm/scripted@{server.url}"
        judged = {"judge": name, "rejected_by": ("leak-meter", "leak"), "samples": 1}
        return {"student": name, "attempts": 2, "trl": {"max_steps": 2}} | judged

    with ScriptedServer(Script(voice="solver")) as server:
        grpo.run(settings(problems, tmp_path / "whole", **there(server)))
        asked = server.seen()["billed"]
    count = sum(asked.values())
    with ScriptedServer(Script(voice="solver", faults=(Fault("insufficient_quota", after=count * 3 // 4),))) as server:
        stopped = settings(problems, tmp_path / "stopped", **there(server))
        with pytest.raises(ModelError, match="what was answered is kept"):
            grpo.run(stopped)
        first = server.seen()["billed"]
    kept = last_checkpoint(stopped.out / "checkpoints")
    assert kept is not None
    assert kept.name == "checkpoint-1"  # trl.save_steps is 20
    assert (kept / COMPLETE).is_file()
    assert not (stopped.out / "model").exists()
    with ScriptedServer(Script(voice="solver")) as server:
        grpo.run(settings(problems, tmp_path / "stopped", **there(server)))
        second = server.seen()["billed"]
    assert sum(first.values()) + sum(second.values()) == count
    assert not first.keys() & second.keys()
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_a_gradient_that_is_no_number_stops_before_it_harms_the_weights(problems, tmp_path, monkeypatch) -> None:
    from diotima.training.trainer import LessonTrainer

    compute, seen = LessonTrainer._compute_loss, []

    def spoilt(self, model, inputs):
        loss = compute(self, model, inputs)
        if self.state.global_step == 1:
            seen.append({name: weight.detach().clone() for name, weight in model.named_parameters()})
            return loss * float("nan")
        return loss

    monkeypatch.setattr(LessonTrainer, "_compute_loss", spoilt)
    chosen = settings(problems, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"after step 1 the gradient is not a number \(that of .*lower"):
        grpo.run(chosen)
    kept = last_checkpoint(chosen.out / "checkpoints")
    assert kept is not None
    assert kept.name == "checkpoint-1"
    from safetensors.torch import load_file

    saved = load_file(kept / "model.safetensors")
    for name, weight in saved.items():
        assert torch.equal(weight, seen[0][name])
        assert bool(weight.isfinite().all())


def test_a_full_gpu_is_told_with_what_takes_less(tmp_path) -> None:
    said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1."
    told = r"full \(CUDA out of memory\), .*per_device_train_batch_size.*train plan"
    with pytest.raises(TrainingError, match=told), _explained(tmp_path):
        raise torch.OutOfMemoryError(said)


def test_a_good_gradient_is_none_of_its_business() -> None:
    model = torch.nn.Linear(2, 1)
    refuse_bad_gradient(model, 3)  # there is none yet
    model(torch.ones(1, 2)).sum().backward()
    refuse_bad_gradient(model, 3)
    model.bias.grad[0] = float("inf")
    with pytest.raises(TrainingError, match=r"after step 3 .*that of bias"):
        refuse_bad_gradient(model, 3)


def test_in_fp16_gradients_may_be_too_large_for_a_while_only() -> None:
    recorder, model, state = _recorder(None, None), torch.nn.Linear(2, 1), SimpleNamespace(global_step=3)

    def steps(gradient: float, count: int, fp16: bool = True) -> None:
        model.bias.grad = torch.tensor([gradient])
        for _ in range(count):
            recorder.on_pre_optimizer_step(SimpleNamespace(fp16=fp16), state, None, model=model)

    steps(float("inf"), LEFT_OUT)
    steps(1.0, 1)
    steps(float("inf"), LEFT_OUT)
    with pytest.raises(TrainingError, match="after step 3 the gradient is not a number"):
        steps(float("inf"), 1)
    steps(1.0, 1)
    with pytest.raises(TrainingError, match="after step 3 the gradient is not a number"):
        steps(float("inf"), 1, fp16=False)


def test_rewards_that_never_differ_stop_a_training_when_patience_is_lost(problems, tmp_path) -> None:
    # Nobody ever speaks, so no reward is known; and a patience that is longer than the training is never lost.
    silent = {"most_words": 1, "opens": "student", "trl": {"max_steps": 4}}
    chosen = settings(problems, tmp_path / "run", patience=3, **silent)
    with pytest.raises(
        TrainingError,
        match=r"after step 2 there is nothing more to learn: the last 3 times .*not known for any",
    ):
        grpo.run(chosen)
    assert last_checkpoint(chosen.out / "checkpoints").name == "checkpoint-2"
    with Run.open(chosen.out) as record:
        assert [value for _, value in record.metrics()["reward/missing"]] == [1.0] * 3
    grpo.run(settings(problems, tmp_path / "patient", patience=5, **silent))


@pytest.mark.parametrize("steps", [0, 4])
def test_what_is_kept_when(steps, tmp_path, monkeypatch) -> None:
    class Trainer:
        model, args, control, kept = object(), SimpleNamespace(output_dir=str(tmp_path)), None, ()

        def __init__(self) -> None:
            self.state = self.callback_handler = self
            self.global_step = steps

        def _save_checkpoint(self, model, trial) -> None:
            self.kept += ("saved",)

        def on_save(self, args, state, control) -> None:
            self.kept += ("marked",)

    for error, expected in ((ModelError("x"), True), (TrainingError("x"), True), (RunError("disk"), False)):
        trainer = Trainer()
        with pytest.raises(type(error)), last_step_kept(trainer):
            raise error
        assert trainer.kept == (("saved", "marked") if expected and steps else ())
    (tmp_path / f"checkpoint-{steps}").mkdir()
    (tmp_path / f"checkpoint-{steps}" / COMPLETE).touch()
    trainer = Trainer()
    with pytest.raises(ModelError), last_step_kept(trainer):
        raise ModelError("the server is still dead")
    assert trainer.kept == ()  # what is whole is not written a second time
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    trainer = Trainer()
    with pytest.raises(ModelError), last_step_kept(trainer):
        raise ModelError("x")
    assert trainer.kept == ()
