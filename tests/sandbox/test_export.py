from pathlib import Path

import pytest

from diotima.errors import SettingsError
from diotima.problems.files import read_problems
from diotima.sandbox.export import Settings, run
from diotima.sandbox.world import split_of


def test_both_sides_of_the_split_are_written(tmp_path: Path) -> None:
    assert run(Settings(out=tmp_path / "problems", train=30, test=10, seed=3)) == tmp_path / "problems"
    for split, count in (("train", 30), ("test", 10)):
        problems = read_problems(tmp_path / "problems" / f"{split}.jsonl")
        assert len(problems) == count
        assert {split_of(problem) for problem in problems} == {split}
        assert all(problem.sibling is not None for problem in problems)


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(Settings(out=tmp_path / name, train=5, test=0, seed=seed))
    a, b, c = ((tmp_path / name / "train.jsonl").read_bytes() for name in "abc")
    assert a == b != c
    assert not (tmp_path / "a" / "test.jsonl").exists()


def test_the_number_of_steps_is_a_setting(tmp_path: Path) -> None:
    run(Settings(out=tmp_path, train=10, test=0, fewest_steps=2, most_steps=2))
    assert {len(problem.steps) for problem in read_problems(tmp_path / "train.jsonl")} == {2}


@pytest.mark.parametrize(("fewest", "most"), [(0, 3), (4, 3), (3, 9)])
def test_steps_that_no_problem_has(tmp_path: Path, fewest: int, most: int) -> None:
    with pytest.raises(
        SettingsError, match=f"{fewest} to {most} steps; fewest_steps and most_steps must be from 1 to 8"
    ):
        run(Settings(out=tmp_path, fewest_steps=fewest, most_steps=most))
