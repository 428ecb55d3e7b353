"""GRPO's settings: what cannot work is told before anything is written."""

import pytest
from safetensors import SafetensorError

from diotima.errors import RunError, SettingsError
from diotima.training.grpo import Settings, check, prepare, run


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
        ({"credit": "turn", "shuffle_rewards": True}, "shuffle_rewards does nothing"),
    ],
)
def test_a_mistake_is_told_before_anything_is_loaded(problems, tmp_path, changes, sentence):
    with pytest.raises(SettingsError, match=sentence):
        check(settings(problems, tmp_path, **changes))


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
