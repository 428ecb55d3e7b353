"""Only the tutor's tokens are trained on: exact zeros, each with the control that shows that the test can fail."""

import pytest
import torch
from training.proofs import gradient, trained_mask

from diotima.runs.run import Run
from diotima.training.grpo import Settings, make_trainer, prepare

LOSSES = ("dapo", "grpo", "dr_grpo", "bnpo")


@pytest.fixture(params=["logits at once", "logits in tiles"], autouse=True)
def logits(request, monkeypatch):
    """As on a processor, and as on a GPU or where the vocabulary is large."""
    if request.param == "logits in tiles":
        monkeypatch.setattr("diotima.training.trainer.SMALL", 0)


@pytest.fixture(scope="module")
def batch(tmp_path_factory, request):
    """A trainer and one batch of lessons that it has held and scored."""
    folder = tmp_path_factory.mktemp("grpo")
    problems = request.getfixturevalue("problems")
    trl = {"max_steps": 2, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 1, "num_generations": 4}
    settings = Settings(out=folder, problems=problems, tutor_max_tokens=80, threads=1, trl=trl)
    prepared = prepare(settings)
    with Run.create(folder, stage="train grpo", settings={}, seed=0) as record:
        trainer = make_trainer(settings, prepared, record)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        yield trainer, inputs, prepared.local


def test_there_is_something_to_train_on_and_something_to_leave_alone(batch):
    _, inputs, _ = batch
    assert trained_mask(inputs).sum() > 100
    assert (inputs["completion_mask"].bool() & ~trained_mask(inputs)).sum() > 100


@pytest.mark.parametrize("loss_type", LOSSES)
def test_no_gradient_on_student_tokens(batch, monkeypatch, loss_type):
    trainer, inputs, _ = batch
    monkeypatch.setattr(trainer, "loss_type", loss_type)
    kept = []
    scored = trainer._get_per_token_logps_and_entropies

    def keeping(*args, **kwargs):
        logprobs, *rest = scored(*args, **kwargs)
        logprobs.retain_grad()
        kept.append(logprobs)
        return logprobs, *rest

    monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", keeping)
    trainer.compute_loss(trainer.model, inputs, num_items_in_batch=inputs["num_items_in_batch"]).backward()
    of_each, mask = kept[0].grad, trained_mask(inputs)
    assert of_each[~mask].abs().max() == 0.0
    assert of_each[mask].abs().max() > 1e-6


@pytest.mark.parametrize("loss_type", LOSSES)
def test_changed_student_targets_change_nothing(batch, monkeypatch, loss_type):
    trainer, inputs, _ = batch
    monkeypatch.setattr(trainer, "loss_type", loss_type)
    others = inputs["completion_mask"].bool() & ~trained_mask(inputs)
    random = torch.randint(0, 1000, others.shape, generator=torch.Generator().manual_seed(0))

    def other_student_targets(labels):
        labels = labels.clone()
        completion = labels[:, -others.shape[1] :]
        completion[others] = random[others]
        return labels

    before = gradient(trainer, inputs)
    assert torch.equal(gradient(trainer, inputs, other_student_targets), before)

    unmasked = {**inputs, "tool_mask": torch.ones_like(inputs["tool_mask"])}
    difference = gradient(trainer, unmasked, other_student_targets) - gradient(trainer, unmasked)
    assert difference.abs().max() > 1e-4


def test_trained_tokens_decode_to_exactly_the_tutors_turns(batch):
    from diotima.dialogue import raw_reply

    trainer, _, local = batch
    held = []
    hold = trainer.rollout_func._hold

    async def remembering(*what):
        held.extend(await hold(*what))
        return held

    trainer.rollout_func._hold = remembering
    prompts = [row["prompt"] for row in trainer.rollout_func.prompts()[:8] for _ in range(2)]
    output = trainer.rollout_func(prompts, trainer)
    trainer.rollout_func._hold = hold
    for dialogue, ids, mask in zip(
        (lesson.dialogue for lesson in held), output["completion_ids"], output["env_mask"], strict=True
    ):
        if not any(mask):  # a group without spread is masked as a whole
            continue
        trained = local.tokenizer.decode([token for token, keep in zip(ids, mask, strict=True) if keep])
        turns = [local.tokenizer.decode(turn.tokens.reply_ids) for turn in dialogue.by("tutor")]
        assert trained == "".join(turns)
        for turn, text in zip(dialogue.by("tutor"), turns, strict=True):
            if not turn.malformed and not turn.cut:
                assert text == raw_reply(turn) + local.tokenizer.eos_token
