"""SFT, DPO and GRPO on tutors of many families: one step each, and the loss on the tutor's tokens only.

Each proof has the control that shows that it can fail.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import torch
from models.families import FAMILIES, new_family_model, new_family_tokenizer
from torch.nn.functional import logsigmoid
from training.proofs import by_hand, gradient, logprobs, trained_mask

from diotima.classroom.casting import LessonSettings, Part, model_role
from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom
from diotima.classroom.tutors import scripted_tutor
from diotima.corpus.pair_set import Pair
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn, raw_reply
from diotima.models.local import LocalModel
from diotima.problems.files import read_problems
from diotima.runs.run import Run
from diotima.training import dpo, grpo, sft

EACH = pytest.mark.parametrize("family", FAMILIES)
PART = Part("tutor/tiny", "solution")


def new_tutor(family: str) -> LocalModel:
    return LocalModel(new_family_model(family), new_family_tokenizer(family), family)


def moved(model: Any, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def one_step(trainer: Any) -> None:
    """TRL's own loop, once; the weights move, and nothing becomes a non-number."""
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    assert moved(trainer.model, before)
    assert all(weight.isfinite().all() for weight in trainer.model.state_dict().values())


@pytest.fixture
def lessons(problems) -> list[Dialogue]:
    """What a scripted tutor said: text without tokens, with thoughts, opened by either side."""
    guide = scripted_tutor("guide")
    held = [asyncio.run(Classroom(guide, Learner()).teach(problem, 1)) for problem in read_problems(problems)[:1]]
    thinking = Turn(TUTOR, "What do you know?", "it is 5")
    return [*held, Dialogue(held[0].problem, (thinking, Turn(STUDENT, "Line 1: 5")), seed=2).then(thinking)]


@EACH
def test_fine_tuning_is_on_the_tutors_turns_alone(family, lessons, tmp_path):
    local = new_tutor(family)
    settings = sft.Settings(out=tmp_path, lessons=tmp_path, trl={"per_device_train_batch_size": 2, "max_steps": 1})
    rows = list(sft.labelled_rows(lessons, local, PART, settings))
    for dialogue, row in zip(lessons, rows, strict=True):
        trained = [label for label in row["labels"] if label != -100]
        expected = [index for turn in dialogue.by(TUTOR) for index in local.format.reply(raw_reply(turn))]
        assert trained == expected
        assert len(trained) < len(row["labels"]) - 50
    trainer = sft.make_trainer(rows, local, sft.check(settings), settings)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    chosen, mask = batch["labels"][:, 1:] != -100, batch["attention_mask"][:, 1:].bool()
    expected = by_hand(trainer, -logprobs(trainer.model, batch)[chosen].mean())
    torch.testing.assert_close(gradient(trainer, dict(batch)), expected, rtol=1e-3, atol=1e-5)
    of_all = by_hand(trainer, -logprobs(trainer.model, batch)[mask].mean())
    assert (of_all - expected).abs().max() > 1e-2
    one_step(trainer)


@EACH
def test_preferences_are_about_the_replies_alone(family, lessons, tmp_path):
    local = new_tutor(family)
    role = model_role(local, PART, LessonSettings(), 1.0)
    contexts = [tuple(role.messages(replace(lessons[0], turns=lessons[0].turns[:place]))) for place in (1, 3)]
    pairs = [Pair(context, "What is next?", "<think>quick</think>It is 5.") for context in contexts]
    rows = dpo.preference_rows(pairs, local)
    trl = {"per_device_train_batch_size": 2, "max_steps": 1, "warmup_steps": 0}
    settings = dpo.Settings(out=tmp_path, pairs=tmp_path, nll=0.5, trl=trl)
    trainer = dpo.make_trainer(rows, local, dpo.check(settings), settings)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.mul_(1.05)

    def loss(mask: torch.Tensor) -> torch.Tensor:
        kept = mask[:, 1:]
        with torch.no_grad():
            reference = (logprobs(trainer.ref_model, batch) * kept).sum(1)
        policy = logprobs(trainer.model, batch) * kept
        chosen, rejected = (policy.sum(1) - reference).chunk(2)
        likely = policy.chunk(2)[0].sum() / kept.chunk(2)[0].sum()  # in a preference alone the prompts would cancel
        return -logsigmoid(0.1 * (chosen - rejected)).mean() - 0.5 * likely

    expected = by_hand(trainer, loss(batch["completion_mask"]))
    theirs = gradient(trainer, dict(batch))
    torch.testing.assert_close(theirs, expected, rtol=1e-2, atol=1e-5)
    everything = {**batch, "completion_mask": batch["attention_mask"]}
    assert (gradient(trainer, everything) - expected).abs().max() > 1e-4
    one_step(trainer)


@EACH
def test_reinforcement_is_on_the_tutors_turns_alone(family, problems, tmp_path):
    trl = {"max_steps": 1, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_generations": 4}
    settings = grpo.Settings(
        out=tmp_path, problems=problems, tutor_max_tokens=24, tutor_turns=2, length=1.0, threads=1,
        trl=trl | {"beta": 0.0, "learning_rate": 1e-4}, attempts=1,
    )  # fmt: skip
    prepared = prepare_with(settings, new_tutor(family))
    with Run.create(tmp_path / "run", stage="train grpo", settings={}, seed=0) as record:
        trainer = grpo.make_trainer(settings, prepared, record)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        mask = trained_mask(inputs)
        others = inputs["completion_mask"].bool() & ~mask
        assert mask.sum() > 50
        assert others.sum() > 50
        random = torch.randint(0, 250, others.shape, generator=torch.Generator().manual_seed(0))

        def other_student_targets(labels: torch.Tensor) -> torch.Tensor:
            labels = labels.clone()
            labels[:, -others.shape[1] :][others] = random[others]
            return labels

        before = gradient(trainer, inputs)
        assert before.abs().max() > 1e-5
        assert torch.equal(gradient(trainer, inputs, other_student_targets), before)
        unmasked = {**inputs, "tool_mask": torch.ones_like(inputs["tool_mask"])}
        assert (gradient(trainer, unmasked, other_student_targets) - gradient(trainer, unmasked)).abs().max() > 1e-4
        one_step(trainer)


def prepare_with(settings: grpo.Settings, local: LocalModel) -> grpo.Prepared:
    """As `grpo.prepare`, with a model that is in no folder."""
    return replace(grpo.prepare(settings), local=local, part=PART)
