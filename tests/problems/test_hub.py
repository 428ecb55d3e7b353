"""``hf:`` without the network: what is asked of the libraries, and what is told when they fail."""

from collections.abc import Callable
from typing import Any

import pytest

from diotima.errors import ProblemFileError
from diotima.problems.files import read_set

datasets = pytest.importorskip("datasets")
hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the hub, which has every set; offline is off."""
    calls: list[Any] = []

    def load(name: str, config: str | None, *, split: str) -> Any:
        calls.append((name, config, split))
        return datasets.Dataset.from_list([{"problem": f"How many {split}?", "answer": "5"}] * 2)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.HfApi, "dataset_info", lambda self, name, timeout: calls.append((name, timeout)))
    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hf:owner/name", ("owner/name", None, "train")),
        ("hf:owner/name:main", ("owner/name", "main", "train")),
        ("hf:owner/name@test", ("owner/name", None, "test")),
        ("hf:name:main@validation", ("name", "main", "validation")),
    ],
)
def test_a_name_with_config_and_split(asked: list[Any], source: str, expected: tuple[object, ...]) -> None:
    found = read_set(source)
    assert (found.rows, len(found.problems)) == (2, 1)
    assert found.problems[0].source == source.removeprefix("hf:")
    assert asked == [(expected[0], 10.0), expected]


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("GatedRepoError", "wants its terms accepted"),
        ("RepositoryNotFoundError", "the hub has no data set owner/name, or a private one"),
        (None, "the Hugging Face hub cannot be reached; check the connection"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_what_the_hub_refuses(monkeypatch: pytest.MonkeyPatch, kind: str | None, sentence: str) -> None:
    error = RuntimeError("no route") if kind is None else getattr(hub.errors, kind)
    monkeypatch.setattr(hub.HfApi, "dataset_info", raising(error if kind is None else error.__new__(error)))
    with pytest.raises(ProblemFileError, match=f"^hf:owner/name: .*{sentence}"):
        read_set("hf:owner/name")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConnectionError("Couldn't reach it"), "not all of it has been fetched before, .*HF_HUB_OFFLINE"),
        (
            ValueError("Unknown split 'x'.\nShould be one of ['test']."),
            r"cannot be read: Unknown split 'x'\. Sho",
        ),
    ],
)
def test_what_cannot_be_loaded(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", raising(error))
    with pytest.raises(ProblemFileError, match=f"^hf:owner/name.*{sentence}"):
        read_set("hf:owner/name@x")
    assert asked == []


@pytest.mark.parametrize("source", ["hf:", "hf:a b", "hf:a/b/c", "hf:../a", "hf:a@", "hf:a:b:c"])
def test_names_that_are_none(asked: list[Any], source: str) -> None:
    with pytest.raises(ProblemFileError, match=f"^{source} is not of the form hf:NAME"):
        read_set(source)
    assert asked == []


def test_a_folder_of_that_name_is_not_read_instead(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "name").mkdir()
    with pytest.raises(ProblemFileError, match="hf:name: name lies here too"):
        read_set("hf:name")
    assert asked == []
