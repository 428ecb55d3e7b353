"""Where a model's name leads."""

from fnmatch import fnmatch
from typing import Any

import pytest

from diotima.models.folders import hub_folder


def test_of_a_model_on_the_hub_no_second_copy_of_its_weights_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, **chosen: Any) -> str:
        asked.update(chosen, name=name)
        return "/somewhere"

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert str(hub_folder("a/model")) == "/somewhere"
    assert asked["name"] == "a/model"
    files = ["config.json", "model-00001-of-00002.safetensors", "pytorch_model.bin", "original/consolidated.00.pth"]
    files += ["tokenizer.json", "chat_template.jinja", "consolidated.safetensors", "model-q4.gguf"]
    left = [file for file in files if not any(fnmatch(file, pattern) for pattern in asked["ignore_patterns"])]
    assert left == [files[0], files[1], files[2], "tokenizer.json", "chat_template.jinja"]
