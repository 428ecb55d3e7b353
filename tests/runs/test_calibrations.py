from pathlib import Path

import pytest

from diotima.errors import RunError
from diotima.runs.calibrations import recall, remember


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def calibration(judge: str, weights: str = "", **values: object) -> dict[str, object]:
    return {"rubric": "euler", "rubric_fingerprint": "0123456789ab", "judge": judge, "weights": weights, **values}


def test_a_calibration_is_found_by_rubric_and_judge_alone(home: Path) -> None:
    path = remember(calibration("openai/gpt-4o", kappa=0.5))
    remember(calibration("openai-gpt-4o", kappa=0.1))
    assert path.is_relative_to(home / "data" / "diotima" / "calibrations" / "0123456789ab")
    assert recall("0123456789ab", "openai/gpt-4o", "") == calibration("openai/gpt-4o", kappa=0.5)
    assert recall("0123456789ab", "openai-gpt-4o", "") == calibration("openai-gpt-4o", kappa=0.1)
    assert recall("ba9876543210", "openai/gpt-4o", "") is None
    assert recall("0123456789ab", "openai/gpt-4", "") is None


def test_a_judge_with_other_weights_is_another_judge() -> None:
    remember(calibration("vllm/judge", "aaaa", kappa=0.9))
    assert recall("0123456789ab", "vllm/judge", "bbbb") is None
    remember(calibration("vllm/judge", "bbbb", kappa=0.1))
    assert recall("0123456789ab", "vllm/judge", "aaaa") == calibration("vllm/judge", "aaaa", kappa=0.9)


def test_the_newer_takes_the_place_of_the_older() -> None:
    remember(calibration("tiny", kappa=0.5))
    remember(calibration("tiny", kappa=0.7))
    assert recall("0123456789ab", "tiny", "") == calibration("tiny", kappa=0.7)


@pytest.mark.parametrize("judge", ["../../escape", "/etc/passwd", "...", "a" * 300, "später/模型"])
def test_any_name_of_a_judge_stays_in_its_folder(home: Path, judge: str) -> None:
    path = remember(calibration(judge))
    assert path.parent == home / "data" / "diotima" / "calibrations" / "0123456789ab"
    assert recall("0123456789ab", judge, "") == calibration(judge)


def test_without_the_variable_or_with_a_relative_one_it_lies_in_the_home(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", value)
        assert remember(calibration("tiny")).is_relative_to(home / ".local" / "share" / "diotima")


def test_a_place_that_cannot_be_written_is_told(home: Path) -> None:
    (home / "data").write_text("a file where a folder belongs")
    with pytest.raises(RunError, match="XDG_DATA_HOME"):
        remember(calibration("tiny"))
    assert recall("0123456789ab", "tiny", "") is None


def test_a_torn_one_is_told_and_not_passed_over() -> None:
    remember(calibration("tiny")).write_text('{"rubric":')
    with pytest.raises(RunError, match="cannot be read"):
        recall("0123456789ab", "tiny", "")
