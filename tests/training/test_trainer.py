"""Tight batches are the same rows: the gradient of the step must not notice. And the drift is what it says."""

import pytest
import torch
from trl import GRPOTrainer

from diotima.runs.run import Run
from diotima.training.grpo import Settings, make_trainer, prepare, run
from diotima.training.trainer import tight_batches


@pytest.fixture(scope="module")
def loose(tmp_path_factory, request):
    """A trainer, and one generation in four micro-batches as TRL pads them."""
    folder = tmp_path_factory.mktemp("grpo")
    trl = {"max_steps": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    trl |= {"num_generations": 4, "temperature": 0.7}
    settings = Settings(
        out=folder, problems=request.getfixturevalue("problems"), tutor_max_tokens=80, threads=1, credit="turn", trl=trl
    )
    prepared = prepare(settings)
    with Run.create(folder, stage="train grpo", settings={}, seed=0) as record:
        trainer = make_trainer(settings, prepared, record)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 4
        rows = next(iter(trainer.get_train_dataloader()))
        generated = trainer._generate_and_score_completions(rows)
        count = generated["completion_ids"].shape[0] // 4
        yield (
            trainer,
            [
                {
                    name: value[start : start + count] if isinstance(value, torch.Tensor) and value.dim() else value
                    for name, value in generated.items()
                }
                for start in range(0, 4 * count, count)
            ],
        )


def gradient(trainer, batches):
    trainer.model.zero_grad(set_to_none=True)
    for batch in batches:
        trainer.compute_loss(trainer.model, batch, num_items_in_batch=batch["num_items_in_batch"]).backward()
    return torch.cat([parameter.grad.flatten() for parameter in trainer.model.parameters()])


def test_gradient_of_the_step_is_the_same(loose):
    trainer, batches = loose
    expected = gradient(trainer, batches)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(gradient(trainer, tight_batches(batches)), expected, rtol=1e-3, atol=1e-6)


def test_logits_at_once_and_in_tiles_are_the_same(loose, monkeypatch):
    trainer, batches = loose
    first = batches[0]
    ids, mask = (torch.cat([first[f"prompt_{name}"], first[f"completion_{name}"]], 1) for name in ("ids", "mask"))

    def scored():
        kept = first["completion_ids"].shape[1]
        scores, entropies, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, kept, compute_entropy=True
        )
        said = first["completion_mask"].bool()
        return scores.detach()[said], entropies.detach()[said], gradient(trainer, batches)

    at_once = scored()
    monkeypatch.setattr("diotima.training.trainer.SMALL", 0)
    assert at_once[1].max() > 0.5
    for one, other in zip(at_once, scored(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5)


def test_logits_of_a_model_that_makes_all_of_them_are_counted_from_the_end(loose, monkeypatch):
    trainer, batches = loose
    expected, forward = gradient(trainer, batches), trainer.model.forward

    def whole(*args, logits_to_keep=0, **others):
        return forward(*args, **others)

    monkeypatch.setattr(trainer.model, "forward", whole)
    torch.testing.assert_close(gradient(trainer, batches), expected, rtol=1e-3, atol=2e-5)


def test_in_a_lower_precision_logits_are_made_by_trl(loose, monkeypatch):
    trainer, batches = loose
    monkeypatch.setattr(trainer.accelerator.state, "_mixed_precision", "bf16")
    monkeypatch.setattr(trainer, "_score_at_once", None)
    assert gradient(trainer, batches).isfinite().all()


def test_a_bonus_for_entropy_has_a_gradient(loose, monkeypatch):
    trainer, batches = loose
    without = gradient(trainer, batches)
    monkeypatch.setattr(trainer, "_entropy_bonus_enabled", True)
    monkeypatch.setattr(trainer, "entropy_coef", 0.5)
    assert (gradient(trainer, batches) - without).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "value"), [("loss_type", "bnpo"), ("_entropy_bonus_enabled", True), ("top_entropy_quantile", 0.2)]
)
def test_rows_stay_where_it_matters_which_share_a_batch(loose, monkeypatch, name, value):
    trainer, _ = loose
    assert trainer._sums_over_rows()
    monkeypatch.setattr(trainer, name, value)
    assert not trainer._sums_over_rows()


def test_a_later_epochs_order_is_found_again(loose):
    trainer, _ = loose
    straight = GRPOTrainer._get_train_sampler(trainer)
    orders = [list(straight) for _ in range(3)]
    assert orders[0] != orders[2]
    trainer.state.epoch = 2.0
    resumed = list(trainer._get_train_sampler())
    trainer.state.epoch = None
    assert (list(trainer._get_train_sampler()), resumed) == (orders[0], orders[2])


def test_every_row_is_there_once_and_less_is_padding(loose):
    _, batches = loose
    tight = tight_batches(batches)

    def rows(parts):
        found = []
        for part in parts:
            for ids, mask, advantages in zip(
                part["completion_ids"], part["completion_mask"].bool(), part["advantages"], strict=True
            ):
                found.append((tuple(ids[mask].tolist()), tuple(advantages[mask].tolist())))
        return sorted(found)

    def places(parts):
        return sum(part["completion_ids"].numel() for part in parts)

    assert rows(tight) == rows(batches)
    assert places(tight) < 0.9 * places(batches)
    lengths = [int(part["completion_mask"].sum(1).max()) for part in tight]
    assert lengths == sorted(lengths)


def drift_of(trainer, batches):
    """What the trainer logs of the drift after these batches."""
    trainer._drifts.clear()
    for batch in batches:
        trainer.compute_loss(trainer.model, batch, num_items_in_batch=batch["num_items_in_batch"])
    logs = {}
    trainer.log(logs)
    return logs["drift/mean"], logs["drift/max"]


def test_what_was_sampled_and_what_is_trained_have_the_same_log_probabilities(loose):
    trainer, batches = loose
    mean, most = drift_of(trainer, batches)
    assert 0 < mean < 1e-5
    assert mean < most < 1e-4
    assert drift_of(trainer, tight_batches(batches)) == pytest.approx((mean, most), rel=0.5)


def test_weights_that_are_not_those_of_the_sampling_show_in_the_drift(loose):
    trainer, batches = loose
    head = trainer.model.get_output_embeddings().weight
    with torch.no_grad():
        head.mul_(1.01)
        mean, most = drift_of(trainer, batches)
        head.div_(1.01)
    assert mean > 1e-4
    assert most > mean


def test_the_drift_is_that_of_the_tutors_tokens_alone(loose):
    trainer, batches = loose
    others = [
        {
            **batch,
            "sampling_per_token_logps": batch["sampling_per_token_logps"]
            - 9.0 * (1 - batch["completion_mask"] * batch["tool_mask"]),
        }
        for batch in batches
    ]
    assert drift_of(trainer, others) == pytest.approx(drift_of(trainer, batches))


def test_where_lessons_serve_several_steps_only_the_first_pass_tells_the_drift(tmp_path, problems):
    trl = {"max_steps": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "num_generations": 4}
    trl |= {"num_iterations": 2, "save_steps": 2, "learning_rate": 1e-2}
    settings = Settings(
        out=tmp_path, problems=problems, tutor_max_tokens=40, tutor_turns=2, threads=1, credit="turn", trl=trl
    )
    run(settings)
    with Run.open(tmp_path) as record:
        metrics = record.metrics()
    ((step, mean),) = metrics["drift/mean"]
    assert step == 1
    assert 0 < mean < 1e-5
    assert metrics["grad_norm"][1][1] > 0  # the second step was taken, with other weights
