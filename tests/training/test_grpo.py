"""GRPO's settings: what cannot work is told before anything is written."""

import numpy as np
import pytest
from safetensors import SafetensorError

from diotima.errors import RunError, SettingsError
from diotima.runs.run import Run
from diotima.training.grpo import Settings, _steps, check, make_trainer, prepare, run
from diotima.training.rollout import Rollouts


def settings(problems, tmp_path, **changes):
    trl = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_generations": 4, "max_steps": 1}
    trl |= changes.pop("trl", {})
    return Settings(out=tmp_path / "grpo", problems=problems, tutor_max_tokens=40, threads=1, trl=trl, **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trl": {"max_steps": "three"}}, r"trl\.max_steps = 'three'"),
        ({"trl": {"save_stepps": 1}}, r"trl\.save_stepps .*did you mean save_steps"),
        ({"trl": {"num_generations": 3}}, "TRL does not accept these settings"),
        ({"trl": {"top_p": 0.9}}, r"trl\.top_p has no effect"),
        ({"trl": {"mask_truncated_completions": True}}, r"trl\.mask_truncated_completions has no effect"),
        ({"trl": {"reward_weights": [1, 0, 0, 0, 0, 0]}}, r"trl\.reward_weights .* a second time; leave it out"),
        ({"trl": {"temperature": 0}}, r"trl\.temperature = 0 must be greater than 0"),
        ({"trl": {"num_iterations": 0}}, r"trl\.num_iterations must be at least 1"),
        ({"trl": {"loss_type": "grop"}}, r"trl\.loss_type = grop: did you mean grpo\?"),
        ({"trl": {"scale_rewards": "batches"}}, r"trl\.scale_rewards = batches: did you mean batch\?"),
        ({"trl": {"multi_objective_aggregation": "?"}}, "known are: normalize_then_sum, sum_then_normalize"),
        ({"credit": "turn", "shuffle_rewards": True}, "shuffle_rewards does nothing"),
        ({"credit": "turn", "thought": 0.5}, "thought does nothing where credit = turn"),
        ({"rejected_by": "leak"}, "who judges by leak"),
        (
            {"trl": {"num_iterations": 2, "save_steps": 5}},
            r"the same lessons serve 2 steps, .*make trl\.save_steps = 5 a multiple of 2",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_loaded(problems, tmp_path, changes, sentence):
    with pytest.raises(SettingsError, match=sentence):
        check(settings(problems, tmp_path, **changes))


@pytest.mark.parametrize("penalty", [0.25, 2.0])
def test_where_each_term_is_normalised_by_itself_it_is_weighed_afterwards(problems, tmp_path, monkeypatch, penalty):
    """As in GDPO: normalised within the group, weighed, summed, and the sums normalised over the batch."""
    trl = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1, "num_generations": 8}
    trl |= {"multi_objective_aggregation": "normalize_then_sum"}
    asked = settings(problems, tmp_path, penalty=penalty, form=1.0, trl=trl)
    told, hold = [], Rollouts.__call__
    monkeypatch.setattr(Rollouts, "__call__", lambda *what: told.append(hold(*what)) or told[-1])
    with Run.create(tmp_path / "run", stage="train grpo", settings={}, seed=0) as record:
        trainer = make_trainer(asked, prepare(asked), record)
        trainer.model.train()
        output = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
        reward = trainer._metrics["train"]["reward"]
    terms = np.array([[row[name] for name in ("solved", "rejected", "form")] for row in told[0]["terms"]])
    assert set(terms[:, 1]) == {0.0, -1.0}
    groups = terms.reshape(2, 8, 3)
    apart = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-4)
    sums = (apart * [1.0, penalty, 1.0]).sum(-1).ravel()
    expected = (sums - sums.mean()) / (sums.std(ddof=1) + 1e-4)
    np.testing.assert_allclose(output["advantages"].numpy(), expected, atol=1e-4)
    assert reward == [pytest.approx((terms * [1.0, penalty, 1.0]).sum(1).mean(), abs=1e-5)]


def test_checkpoints_may_be_a_share_of_the_steps(problems, tmp_path):
    assert check(settings(problems, tmp_path, trl={"save_steps": 0.5})).save_steps == 0.5


def test_too_few_problems_for_one_step_are_refused(problems, tmp_path):
    with pytest.raises(SettingsError, match="holds 24 problems that can be used, and every step takes 25;"):
        prepare(settings(problems, tmp_path, trl={"per_device_train_batch_size": 100}))
    prepare(settings(problems, tmp_path, trl={"per_device_train_batch_size": 96}))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SafetensorError("I/O error: No space left on device"), RunError),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 3506048"), RunError),
        (OSError(28, "No space left on device"), RunError),
        (RuntimeError("shapes do not fit"), RuntimeError),
    ],
)
@pytest.mark.parametrize("place", ["checkpoint", "model"])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(problems, tmp_path, monkeypatch, error, expected, place):
    from transformers import PreTrainedModel

    def fail(self, folder, **_):
        if ("checkpoint-" in str(folder)) == (place == "checkpoint"):
            raise error
        return save(self, folder, **_)

    save = PreTrainedModel.save_pretrained
    chosen = settings(problems, tmp_path)
    with monkeypatch.context() as disk:
        disk.setattr(PreTrainedModel, "save_pretrained", fail)
        with pytest.raises(expected):
            run(chosen)
    assert (run(chosen) / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("trl", "steps"),
    [({"max_steps": 7}, 7), ({"max_steps": -1}, 12), ({"max_steps": -1, "num_iterations": 2, "save_steps": 2}, 24)],
)
def test_progress_knows_how_many_steps_there_will_be(problems, tmp_path, trl, steps):
    prepared = prepare(settings(problems, tmp_path, trl=trl | {"num_train_epochs": 1}))
    assert _steps(prepared) == steps
    with Run.create(tmp_path / "run", stage="train grpo", settings={}, seed=0) as record:
        trainer = make_trainer(settings(problems, tmp_path), prepared, record)
        batches = len(trainer.get_train_dataloader())
    if trl["max_steps"] < 0:
        assert batches == steps


def test_two_iterations_against_a_reference(problems, tmp_path):
    """PedagogicalRL's own settings of the loss, on the tiny tutor."""
    trl = {"beta": 0.001, "num_iterations": 2, "epsilon": 0.2, "loss_type": "grpo", "save_steps": 2, "max_steps": 2}
    model = run(settings(problems, tmp_path, tutor_turns=2, trl=trl))
    with Run.open(model.parent) as record:
        assert len(record.metrics()["kl"]) == 2
