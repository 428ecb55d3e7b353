"""Which weights a folder holds, whatever else lies beside them."""

from pathlib import Path

import pytest

from diotima.errors import ModelError
from diotima.models.weights import weights_fingerprint


def test_second_copies_of_the_weights_do_not_count(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no weights"):
        weights_fingerprint(tmp_path)
    found = []
    for name in ("pytorch_model.bin", "consolidated.safetensors", "model.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
        found.append(weights_fingerprint(tmp_path))
    assert len(set(found)) == 3
    (tmp_path / "pytorch_model.bin").unlink()
    (tmp_path / "consolidated.safetensors").unlink()
    assert weights_fingerprint(tmp_path) == found[-1]
    (tmp_path / "model.safetensors").write_bytes(b"other")
    assert weights_fingerprint(tmp_path) != found[-1]
