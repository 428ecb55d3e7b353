"""Supervised fine-tuning: which lessons, which tokens, and that it learns."""

import json
import shutil
from dataclasses import replace

import pytest

from diotima.classroom.casting import Part
from diotima.classroom.teach import Settings as TeachSettings
from diotima.classroom.teach import run as teach
from diotima.dialogue import TUTOR, raw_reply
from diotima.errors import RunError, SettingsError
from diotima.models.folders import TINY
from diotima.models.local import load_local
from diotima.runs.run import Run
from diotima.training.sft import Settings, check, chosen_lessons, labelled_rows, run, with_tokens

PART = Part("tutor/tiny", "solution")


@pytest.fixture(scope="module")
def guided(tmp_path_factory, request):
    """A run of lessons by the scripted guide: text without tokens."""
    out = tmp_path_factory.mktemp("lessons") / "run"
    return teach(TeachSettings(out=out, problems=request.getfixturevalue("problems"), tutor="scripted/guide"))


@pytest.fixture(scope="module")
def local():
    return load_local(TINY, "tiny")


def settings(guided, tmp_path, **changes):
    return Settings(out=tmp_path / "sft", lessons=guided, threads=1, **changes)


def test_loss_is_on_the_tutors_turns_only(guided, tmp_path, local):
    chosen = settings(guided, tmp_path, keep={}, least={})
    dialogues = chosen_lessons(chosen)
    assert len(dialogues) == 24
    for dialogue, row in zip(dialogues, labelled_rows(dialogues, local, PART, chosen), strict=True):
        assert all(label in (-100, token) for label, token in zip(row["labels"], row["input_ids"], strict=True))
        trained = local.tokenizer.decode([label for label in row["labels"] if label != -100])
        end = local.tokenizer.eos_token
        assert trained == "".join(raw_reply(turn) + end for turn in dialogue.by(TUTOR))


def test_another_models_tokens_are_not_trained_on(guided, tmp_path, local):
    chosen = settings(guided, tmp_path, keep={}, least={})
    plain = chosen_lessons(chosen)[0]
    own = with_tokens(plain, local, PART, chosen)
    assert with_tokens(own, local, PART, chosen) == own
    foreign = replace(
        own,
        turns=tuple(
            turn if turn.tokens is None else replace(turn, tokens=replace(turn.tokens, prompt_ids=(1, 2, 3)))
            for turn in own.turns
        ),
    )
    assert with_tokens(foreign, local, PART, chosen) == own


@pytest.mark.parametrize("thinking", ["off", "forced"])
def test_its_own_tokens_are_trained_on_also_where_its_thought_was_begun_for_it(problems, tmp_path, local, thinking):
    lessons = TeachSettings(
        out=tmp_path / "own", problems=problems, tutor="tiny", thinking=thinking, most_problems=2, attempts=1,
        tutor_turns=2, tutor_max_tokens=20, threads=1,
    )  # fmt: skip
    chosen = settings(teach(lessons), tmp_path, keep={}, least={})
    part = replace(PART, thinking=thinking)
    for dialogue in chosen_lessons(chosen):
        assert with_tokens(dialogue, local, part, chosen) == dialogue
        begun = dialogue.by(TUTOR)[0].tokens.prompt_ids
        assert local.tokenizer.decode(begun).endswith("<think>") == (thinking == "forced")


def test_a_missing_score_is_never_good_enough(guided, tmp_path):
    assert len(chosen_lessons(settings(guided, tmp_path, keep={}, least={"gain": -1.0}))) == 24
    with pytest.raises(RunError, match=r"24 lack no such score >= -1 \(it is missing\)"):
        chosen_lessons(settings(guided, tmp_path, keep={}, least={"no such score": -1.0}))


@pytest.mark.parametrize(
    ("trl", "sentence"),
    [
        ({"max_steps": "three"}, r"trl\.max_steps = 'three': .*integer"),
        ({"loss_type": "least squares"}, "TRL does not accept these settings"),
        ({"gradient_accumulation_steps": 0}, r"trl\.gradient_accumulation_steps must be at least 1"),
        ({"output_dir": "x"}, r"trl\.output_dir does nothing here: checkpoints lie in the run's folder"),
        ({"resume_from_checkpoint": "x"}, r"trl\.resume_from_checkpoint does nothing here: the same command"),
        ({"save_total_limit": 1}, r"trl\.save_total_limit = 1 would take .* make it at least 2"),
        ({"learning_rate": -1}, r"trl\.learning_rate = -1 must be a number of at least 0"),
        ({"learning_rate": float("nan")}, r"trl\.learning_rate = nan must be a number"),
    ],
)
def test_a_wrong_trl_value_is_told_in_a_sentence(guided, tmp_path, trl, sentence):
    with pytest.raises(SettingsError, match=sentence):
        run(settings(guided, tmp_path, trl=trl))


@pytest.mark.parametrize(
    ("trl", "package"), [({"optim": "paged_adamw_8bit"}, "bitsandbytes"), ({"report_to": "wandb"}, "wandb")]
)
def test_a_package_that_is_not_here_is_named_before_a_run_is_written(guided, tmp_path, monkeypatch, trl, package):
    from transformers import trainer_optimizer
    from transformers.integrations import integration_utils

    monkeypatch.setattr(trainer_optimizer, "is_bitsandbytes_available", lambda: False)
    monkeypatch.setattr(integration_utils, "is_wandb_available", lambda: False)
    chosen = settings(guided, tmp_path, trl=trl)
    check(chosen)  # a recipe may be read on another machine than it is for
    with pytest.raises(SettingsError, match=package):
        run(chosen)
    assert not chosen.out.exists()


def test_only_lessons_with_the_scores_asked_for_are_kept(guided, tmp_path):
    good = settings(guided, tmp_path, keep={"leaked": 0.0}, least={"solved_sibling": 0.6})
    kept = {dialogue.problem.id for dialogue in chosen_lessons(good)}
    with Run.open(guided) as record:
        wanted = {
            one.dialogue.problem.id for one in record.records() if (one.scores["solved_sibling"].value or 0) >= 0.6
        }
    assert kept == wanted
    assert 0 < len(kept) < 24
    assert len(chosen_lessons(good.model_copy(update={"most_lessons": 3}))) == 3


def test_no_lessons_left_is_told_in_a_sentence(guided, tmp_path):
    sentence = r"none of its 24 lessons can be learned from: 24 lack solved_sibling >= 2; relax keep or least$"
    with pytest.raises(RunError, match=sentence):
        run(settings(guided, tmp_path, least={"solved_sibling": 2.0}))
    with pytest.raises(RunError, match="24 lack well_formed = 0, 24 lack gain >= 3; relax"):
        run(settings(guided, tmp_path, keep={"well_formed": 0.0}, least={"gain": 3.0}))
    assert not (tmp_path / "sft").exists()


def test_lessons_in_which_no_tutor_spoke_are_not_learned_from(problems, tmp_path):
    silent = TeachSettings(out=tmp_path / "silent", problems=problems, tutor="tiny", most_words=1, attempts=1)
    with pytest.raises(RunError, match="none of its 24 lessons can be learned from: 24 lack a turn of the tutor;"):
        chosen_lessons(settings(teach(silent), tmp_path, keep={}, least={}))


def test_an_unknown_label_is_told_with_the_known_ones(guided, tmp_path):
    with pytest.raises(SettingsError, match=r"label = zzz: .* has none; known are: scripted/guide$"):
        run(settings(guided, tmp_path, label="zzz"))
    with pytest.raises(SettingsError, match=r"did you mean scripted/guide\?"):
        run(settings(guided, tmp_path, label="guide"))


def test_a_run_without_lessons_is_told(guided, tmp_path):
    with Run.create(tmp_path / "empty", stage="teach", settings={}, seed=0) as record:
        record.finish()
    with pytest.raises(RunError, match="empty has no lessons; hold some with diotima teach"):
        run(settings(tmp_path / "empty", tmp_path))


def test_misspelt_trl_key_is_told_before_anything_is_loaded(guided, tmp_path):
    with pytest.raises(SettingsError, match=r"trl\.learning_rte .*learning_rate"):
        run(settings(guided, tmp_path, trl={"learning_rte": 1e-4}))


def test_rows_over_the_length_limit_are_counted_and_left_out(guided, tmp_path):
    sentence = r"none of the \d+ lessons .* at most trl.max_length = 8 tokens, the shortest has [\d,]+; raise"
    with pytest.raises(RunError, match=sentence):
        run(settings(guided, tmp_path, trl={"max_length": 8}))


def test_tuning_lowers_the_loss_and_leaves_a_model_that_plays_its_part(guided, tmp_path):
    trl = {"learning_rate": 3e-3, "num_train_epochs": 4, "per_device_train_batch_size": 8}
    pupil = shutil.copytree(TINY, tmp_path / "pupil")
    (pupil / "judges.json").write_text('{"judges": ["openai/gpt-4o"]}')
    folder = run(settings(guided, tmp_path, model=str(pupil), keep={}, least={}, trl=trl))
    with Run.open(tmp_path / "sft") as record:
        losses = [value for _, value in record.metrics()["loss"]]
    assert losses[-1] < 0.7 * losses[0]
    part = json.loads((folder / "tutor.json").read_text())
    assert (part["prompt"], part["sees"]) == ("tutor/tiny", "solution")
    assert load_local(folder, "tuned").tokenizer.eos_token == "<|end|>"
    assert json.loads((folder / "judges.json").read_text()) == {"judges": ["openai/gpt-4o"]}
