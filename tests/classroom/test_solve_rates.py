"""The marks of a student alone: counted, kept, and taken up again."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from diotima.classroom.exam import Paper
from diotima.classroom.solve_rates import solve_alone
from diotima.dialogue import Dialogue
from diotima.errors import CallFailed, CallRefused, ModelError, RunError
from diotima.models.calls import Calls
from diotima.problems.problem import Problem, Step

PROBLEMS = [Problem(name, f"How many {name}?", "5") for name in ("apples", "pears", "plums")]
MADE_OF = {"student": "canned", "attempts": 4}


class Canned:
    """Solves as many attempts as the table says, and remembers what it was asked."""

    def __init__(self, solved: dict[str, int], dies_at: str = "") -> None:
        self.solved = solved
        self.dies_at = dies_at
        self.asked: list[str] = []

    async def attempts(self, problem: Problem, after: Dialogue, count: int) -> list[str]:
        if problem.id == self.dies_at:
            raise KeyError(problem.id)
        assert not after.turns
        self.asked.append(problem.id)
        right = self.solved[problem.id]
        return ["My answer is 5."] * right + ["My answer is 6."] * (count - right)


def rates(student: Canned, path: Path, problems: Sequence[Problem] = PROBLEMS) -> list[float | None]:
    return [paper.rate for paper in solve_alone(student, problems, 4, 0, path, MADE_OF, 4, Calls())]


def test_marks_are_kept_and_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rates.jsonl"
    student = Canned({"apples": 1, "pears": 4, "plums": 0})
    assert rates(student, path) == [0.25, 1.0, 0.0]
    assert sorted(student.asked) == ["apples", "pears", "plums"]
    again = Canned({})
    assert rates(again, path, PROBLEMS[::-1]) == [0.0, 1.0, 0.25]
    assert again.asked == []
    changed = Canned({"apples": 2})
    other = Problem("apples", PROBLEMS[0].question, "5", steps=(Step("", "2 + 3 = 5", "5"),))
    assert rates(changed, path, [other]) == [0.5]


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "rates.jsonl"
    assert rates(Canned({"apples": 1}), path, PROBLEMS[:1]) == [0.25]
    with pytest.raises(KeyError):
        rates(Canned({}, dies_at="pears"), path, PROBLEMS[:2])
    with path.open("a") as file:
        file.write('{"problem": "pears 12", "att')
    student = Canned({"pears": 2, "plums": 3})
    assert rates(student, path) == [0.25, 0.5, 0.75]
    assert sorted(student.asked) == ["pears", "plums"]
    assert json.loads(path.read_text().partition("\n")[0]) == MADE_OF


def test_a_problem_that_is_refused_costs_only_its_own_mark(tmp_path: Path) -> None:
    class Refused(Canned):
        failure = CallRefused

        async def attempts(self, problem: Problem, after: Dialogue, count: int) -> list[str]:
            if problem.id == "pears":
                raise self.failure("lab/m: 400: no such text here")
            return await super().attempts(problem, after, count)

    path = tmp_path / "rates.jsonl"
    assert rates(Refused({"apples": 1, "plums": 4}), path) == [0.25, None, 1.0]
    assert rates(Canned({"pears": 2}), path) == [0.25, 0.5, 1.0]
    path.unlink()
    Refused.failure = CallFailed  # which may succeed another time
    with pytest.raises(ModelError, match=r"one problem was lost \(lab/m: 400.*the same command tries again"):
        rates(Refused({"apples": 1, "plums": 4}), path)
    assert rates(Canned({"pears": 2}), path) == [0.25, 0.5, 1.0]


def test_other_marks_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "rates.jsonl"
    rates(Canned({"apples": 1}), path, PROBLEMS[:1])
    with pytest.raises(RunError, match=r"rates\.jsonl holds solve rates with other values of attempts, seed; "):
        solve_alone(Canned({}), PROBLEMS, 8, 0, path, MADE_OF | {"attempts": 8, "seed": 1}, 4, Calls())
    for content in ("", "[]\n", '{"student": 1}\n{"problem": 1}\n', "\xff\n"):
        path.write_text(content, encoding="latin-1")
        with pytest.raises(RunError, match="does not hold solve rates"):
            rates(Canned({}), path)
        assert path.read_text(encoding="latin-1") == content


def test_attempts_that_cannot_be_marked_are_counted(tmp_path: Path) -> None:
    class Vague(Canned):
        async def attempts(self, problem: Problem, after: Dialogue, count: int) -> list[str]:
            return ["\\boxed{\\text{about a handful or so}}"] * 3 + ["My answer is 5."]

    (paper,) = solve_alone(Vague({}), PROBLEMS[:1], 4, 0, tmp_path / "rates.jsonl", MADE_OF, 4, Calls())
    assert paper == Paper(attempts=4, solved=1, unread=3)
    assert paper.rate == 1.0
