"""Preference optimisation: which ids, which of them are trained on, what is too long, and that it learns."""

import asyncio
import hashlib
import json
import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from diotima.classroom.casting import LessonSettings, Part, model_role
from diotima.classroom.learner import Learner
from diotima.classroom.tutors import hint, leaker
from diotima.classroom.work import wrong_steps
from diotima.corpus.pair_set import Pair
from diotima.dialogue import Dialogue, Turn, raw_reply
from diotima.errors import RunError, SettingsError
from diotima.models.chat import Sampling
from diotima.models.folders import TINY
from diotima.models.local import load_local
from diotima.problems.files import read_problems
from diotima.runs.run import Run
from diotima.training import dpo
from diotima.training.dpo import Settings, check, make_trainer, preference_rows, run

PART = Part("tutor/tiny", "solution")
QUICK = {"learning_rate": 3e-4, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "save_steps": 1}


@pytest.fixture(scope="module")
def local():
    return load_local(TINY, "tiny")


@pytest.fixture(scope="module")
def pairs(local, problems):
    """The perfect hint against the answer given away, after the student's first attempt."""
    role, made = model_role(local, PART, LessonSettings(), 1.0), []
    for problem in read_problems(problems / "train.jsonl"):
        context = Dialogue(problem).then(asyncio.run(Learner(0).speak(Dialogue(problem))))
        wrong = wrong_steps(context.turns[-1].text, problem) or {0}
        better = Turn("tutor", hint(problem, min(wrong), 0), "this one & no other")
        made.append(Pair(tuple(role.messages(context)), raw_reply(better), leaker(context)))
    return made[:8]


@pytest.fixture(scope="module")
def folder(pairs, tmp_path_factory):
    """The same pairs as a set on disk, with a word on who chose them."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = [
        {
            "prompt": [{"role": message.role, "content": message.content} for message in pair.prompt],
            "chosen": [{"role": "assistant", "content": pair.chosen}],
            "rejected": [{"role": "assistant", "content": pair.rejected}],
        }
        for pair in pairs
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def settings(folder, out, **changes):
    return Settings(out=out, pairs=folder, threads=1, **{"trl": QUICK, **changes})


def weights(out):
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


def metrics(out):
    with Run.open(out) as record:
        return {name: [value for _, value in values] for name, values in record.metrics().items()}


def test_rows_are_what_the_tutor_reads_and_would_sample(pairs, local):
    for pair, row in zip(pairs, preference_rows(pairs, local), strict=True):
        read = asyncio.run(local.reply(pair.prompt, Sampling(max_tokens=1))).tokens
        assert tuple(row["prompt_ids"]) == read.prompt_ids
        for ids, text in ((row["chosen_ids"], pair.chosen), (row["rejected_ids"], pair.rejected)):
            assert local.tokenizer.decode(ids) == text + local.tokenizer.eos_token
            assert local.format.text(ids[:-1]) == text


def batch_of(pairs, folder, out, **changes):
    """A trainer and its first batch."""
    chosen = settings(folder, out, **changes)
    local = load_local(TINY, "tiny")  # a copy of its own: TRL patches the model
    rows = preference_rows(pairs, local)
    trainer = make_trainer(rows, local, check(chosen), chosen)
    return trainer, trainer._prepare_inputs(next(iter(trainer.get_train_dataloader()))), rows


def test_a_batch_holds_exactly_these_ids_and_its_mask_exactly_the_replies(pairs, folder, tmp_path):
    _, batch, rows = batch_of(pairs, folder, tmp_path)
    found = set()
    for ids, mask, real in zip(batch["input_ids"], batch["completion_mask"], batch["attention_mask"], strict=True):
        ids, mask, real = ids.tolist(), mask.bool().tolist(), real.bool().tolist()
        seen = [token for token, keep in zip(ids, real, strict=True) if keep]
        trained = [token for token, keep in zip(ids, mask, strict=True) if keep]
        found.add((tuple(seen[: len(seen) - len(trained)]), tuple(trained)))
    chosen = {(tuple(row["prompt_ids"]), tuple(row["chosen_ids"])) for row in rows}
    rejected = {(tuple(row["prompt_ids"]), tuple(row["rejected_ids"])) for row in rows}
    assert len(found & chosen) == len(found & rejected) == 4
    assert len(found) == 8


def gradients(trainer, loss):
    trainer.model.zero_grad(set_to_none=True)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def reply_logprobs(model, batch):
    """Log-probabilities of the replies' tokens, taken from the logits; 0 elsewhere."""
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].log_softmax(-1)
    logprobs = logits.gather(-1, batch["input_ids"][:, 1:, None]).squeeze(-1)
    return logprobs * batch["completion_mask"][:, 1:]


def test_the_loss_is_the_papers_on_the_replies_alone(pairs, folder, tmp_path):
    trainer, batch, _ = batch_of(pairs, folder, tmp_path, nll=0.5)
    with torch.no_grad():  # away from the reference, where chosen and rejected would weigh the same
        for parameter in trainer.model.parameters():
            parameter.mul_(1.05)
        reference = reply_logprobs(trainer.ref_model, batch).sum(1)
    policy = reply_logprobs(trainer.model, batch)
    chosen, rejected = (policy.sum(1) - reference).chunk(2)
    nll = -policy[:4].sum() / batch["completion_mask"][:4].sum()
    by_hand = gradients(trainer, -logsigmoid(0.1 * (chosen - rejected)).mean() + 0.5 * nll)
    theirs = gradients(trainer, trainer.compute_loss(trainer.model, batch))
    assert (chosen - rejected).abs().max() > 0.1
    assert torch.allclose(theirs, by_hand, atol=1e-5, rtol=1e-3)

    on_prompts_too = {**batch, "completion_mask": batch["attention_mask"]}
    assert (gradients(trainer, trainer.compute_loss(trainer.model, on_prompts_too)) - by_hand).abs().max() > 1e-2


def test_training_prefers_the_chosen_turn_and_leaves_a_tutor_that_plays_its_part(folder, tmp_path):
    told = {
        "judges": ["scripted/yardstick"],
        "rubric": "euler",
        "prompt": {"name": "tutor/context", "sees": "answer"},
    }
    (folder / "summary.json").write_text(json.dumps(told))
    out = tmp_path / "dpo"
    tuned = run(settings(folder, out, trl=QUICK | {"num_train_epochs": 6}))
    found = metrics(out)
    assert found["pairs"] == [8.0]
    assert found["pairs_too_long"] == [0.0]
    assert found["loss"][0] == pytest.approx(math.log(2))
    assert found["rewards/margins"][0] == 0.0
    assert found["rewards/margins"][-1] > 0.5
    assert found["rewards/accuracies"][-1] == 1.0
    assert json.loads((tuned / "tutor.json").read_text()) == {
        "prompt": "tutor/context",
        "sees": "answer",
        "thinking": "off",
    }
    assert json.loads((tuned / "judges.json").read_text())["judges"] == ["scripted/yardstick"]
    assert load_local(tuned, "tuned").tokenizer.eos_token == "<|end|>"


def test_a_reference_computed_beforehand_trains_the_same(folder, tmp_path):
    run(settings(folder, tmp_path / "copy"))
    run(settings(folder, tmp_path / "before", trl=QUICK | {"precompute_ref_log_probs": True}))
    assert metrics(tmp_path / "copy")["loss"] == pytest.approx(metrics(tmp_path / "before")["loss"], abs=1e-4)


def test_stopped_training_ends_with_the_same_weights(folder, tmp_path, monkeypatch):
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 3:
                raise KeyboardInterrupt

    def stopping(*what):
        trainer = make_trainer(*what)
        trainer.add_callback(Stop())
        return trainer

    run(settings(folder, tmp_path / "whole"))
    stopped = settings(folder, tmp_path / "stopped")
    monkeypatch.setattr(dpo, "make_trainer", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(stopped)
    monkeypatch.undo()
    assert not (stopped.out / "model").exists()
    run(stopped)
    assert weights(stopped.out) == weights(tmp_path / "whole")


def test_too_long_pairs_are_told_and_left_out_or_refused(pairs, local, folder, tmp_path, capsys):
    lengths = sorted(dpo._length(row) for row in preference_rows(pairs, local))
    limit = QUICK | {"max_length": lengths[-1] - 1, "max_steps": 1}
    run(settings(folder, tmp_path / "drop", trl=limit))
    over = sum(length == lengths[-1] for length in lengths)
    sentence = f"{over} of 8 pairs have more than trl.max_length = {lengths[-1] - 1} tokens and are left out"
    assert sentence in capsys.readouterr().err
    assert metrics(tmp_path / "drop")["pairs_too_long"] == [over]
    with pytest.raises(RunError, match=rf"the longest has {lengths[-1]}; raise trl\.max_length, or take long: drop"):
        run(settings(folder, tmp_path / "refuse", trl=limit, long="refuse"))
    with pytest.raises(RunError, match=rf"8 of 8 pairs .* = 8 tokens, the shortest has {lengths[0]}; raise"):
        run(settings(folder, tmp_path / "none", trl={"max_length": 8}))
    assert not (tmp_path / "none").exists()


def test_other_pairs_are_another_run(folder, tmp_path):
    lines = (folder / "pairs.jsonl").read_text().splitlines(keepends=True)
    chosen = settings(tmp_path / "set.jsonl", tmp_path / "dpo", trl=QUICK | {"max_steps": 1})
    chosen.pairs.write_text("".join(lines))
    run(chosen)
    run(chosen)
    chosen.pairs.write_text("".join(lines[:4]))
    with pytest.raises(RunError, match=r"begun with other settings \(settings.pairs_fingerprint: "):
        run(chosen)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trl": {"learning_rte": 1e-4}}, r"trl\.learning_rte .*learning_rate"),
        ({"trl": {"loss_weights": [1.0, 2.0]}}, "TRL does not accept these settings .*loss_weights"),
        ({"trl": {"loss_type": ["sigmod"]}}, r"trl\.loss_type = sigmod .* did you mean sigmoid\?"),
        ({"trl": {"loss_type": ["sigmoid", "sft"]}, "nll": 0.1}, r"trl\.loss_type has .* nll already"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_loaded(tmp_path, changes, sentence):
    with pytest.raises(SettingsError, match=sentence):
        run(settings(tmp_path / "nowhere", tmp_path / "dpo", **changes))


def test_the_likelihood_term_goes_beside_the_losses_that_were_chosen(tmp_path):
    args = check(settings(tmp_path, tmp_path / "dpo", nll=0.2, trl={"loss_type": "ipo"}))
    assert (args.loss_type, args.loss_weights) == (["ipo", "sft"], [1.0, 0.2])
    assert check(settings(tmp_path, tmp_path / "dpo")).loss_type == ["sigmoid"]


@pytest.mark.parametrize(("kind", "rate"), [("lora", 1e-2), ("prefix", 0.5)])
def test_an_adapter_learns_to_prefer_with_the_model_without_it_for_reference(folder, tmp_path, kind, rate):
    trl = QUICK | {"learning_rate": rate, "warmup_steps": 0, "num_train_epochs": 4}
    first = settings(folder, tmp_path / "first", adapter=kind, prefix_tokens=8, trl=trl)
    tuned = run(first)
    found = metrics(first.out)
    assert found["loss"][0] == pytest.approx(math.log(2), abs=0.5 if kind == "prefix" else 1e-6)
    assert found["rewards/margins"][-1] > found["rewards/margins"][0]
    assert (tuned / "adapter_model.safetensors").is_file()
    again = settings(folder, tmp_path / "again", model=str(tuned), adapter=kind, trl=trl | {"max_steps": 1})
    run(again)
    assert metrics(again.out)["loss"] == pytest.approx([math.log(2)], abs=1e-5)  # the reference is the tutor as it was
