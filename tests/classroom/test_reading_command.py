from pathlib import Path

import pytest

from diotima.classroom.reading_command import EXAMPLE, Settings, run
from diotima.cli import main
from diotima.errors import SettingsError
from diotima.problems.files import write_problems
from diotima.problems.problem import Problem, Step
from diotima.sandbox.world import World


def told(capsys: pytest.CaptureFixture[str], text: str, **settings: object) -> str:
    run(Settings(text=text, **settings))  # type: ignore[arg-type]
    return " ".join(capsys.readouterr().out.split())


def test_a_guiding_turn_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    shown = told(capsys, "Look at step 2. Who has fewer, and by how many?")
    assert EXAMPLE.question in shown
    assert "2 fewer 74 - 14 = 60 74 + 14 = 88 goes wrong here" in shown
    assert "3 share 60 / 5 = 12 88 / 5 = 18 right, on a wrong amount" in shown
    assert "step 2 concept fewer asks yes told nothing words 11" in shown
    assert "fewer 0.75 not mastered mastered" in shown
    assert "The student has learned fewer." in shown


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("The answer is 12.", ["told the result of step 3", "The answer is given away"]),
        ("Step 2 gives 60.", ["told the result of step 2", "fewer 0.08 not mastered", "might have learned fewer"]),
        ("Go on!", ["step none concept none asks no told nothing words 2", "bears on a skill"]),
        ("[bold]Hm[/] [nonsense]", ["[bold]Hm[/] [nonsense]"]),
    ],
)
def test_other_turns(capsys: pytest.CaptureFixture[str], text: str, parts: list[str]) -> None:
    shown = told(capsys, text)
    for part in parts:
        assert part in shown


def test_a_contradiction_may_confuse(capsys: pytest.CaptureFixture[str]) -> None:
    shown = [told(capsys, "Look at step 3. What is half of something?", learner_seed=seed) for seed in range(25)]
    assert any("the student is confused about share" in text for text in shown)
    assert any("nothing was learned from it" in text for text in shown)


def test_a_problem_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    problems = list(World().problems(3, 0))
    write_problems(problems, tmp_path / "problems.jsonl")
    shown = told(capsys, "Hm?", problems=tmp_path / "problems.jsonl", problem="3")
    assert problems[2].question in shown
    for number in (0, 4):
        with pytest.raises(SettingsError, match=f"problem = {number}: .* holds problems 1 to 3"):
            run(Settings(text="Hm?", problems=tmp_path / "problems.jsonl", problem=str(number)))


def test_a_problem_whose_skills_have_no_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    steps = (Step("How many eggs are left?", "16 - 7 = 9", "9"), Step("What do they bring?", "9 * 2 = 18", "18"))
    write_problems([Problem("[/]", "16 eggs, [/] eats 7, $2 each?", "18", steps=steps)], tmp_path / "p.jsonl")
    shown = told(capsys, "How many eggs are left?", problems=tmp_path / "p.jsonl")
    _, mastery = shown.split("Mastery")
    assert "concept step 1" in shown
    assert mastery.count("step 1") + mastery.count("step 2") >= 3
    assert "not mastered" in mastery


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learner", "read", "Go on!"]) == 0
    assert "The problem" in capsys.readouterr().out
    assert main(["learner", "read", "Go on!", "--problems", "/no/such/file"]) == 2
    assert "there is no file of problems" in capsys.readouterr().err
