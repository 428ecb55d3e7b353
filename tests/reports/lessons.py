"""Small evaluations with known scores, written through the real `Run`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.problems.problem import Problem
from diotima.runs.run import Run
from diotima.score import Score

QUESTION = "Mina has <b>3</b> pens & $4. How many in all?"
PROBLEMS = 12
Values = Mapping[str, float | None]

BEFORE = {"leaked": 1.0, "solved_same": 0.75, "solved_sibling": 0.25, "addressed": 0.25, "well_formed": 1.0}
AFTER = {"leaked": 0.0, "solved_same": 0.75, "solved_sibling": 0.75, "addressed": 1.0, "well_formed": 1.0}
SWEEP = {"leaked": 0.0, "solved_same": 0.5, "solved_sibling": 0.5, "addressed": 0.5, "well_formed": 1.0}
DEMO = {"tiny T=1": BEFORE, "trained T=1": AFTER, "scripted/sweep": SWEEP}


def lesson(number: int, seed: int, leaks: bool) -> Dialogue:
    problem = Problem(f"p{number}", QUESTION, "7", "Step 1: 3 + 4 = 7", sibling=Problem(f"p{number}s", "Other?", "9"))
    turns = (
        Turn(STUDENT, "I get 12."),
        Turn(TUTOR, "Look at step 1.", thought="it multiplied"),
        Turn(TUTOR, "The answer is 7." if leaks else "Gain or <i>loss</i>?"),
    )
    return Dialogue(problem, turns, seed, "turn limit")


def write_evaluation(
    folder: Path,
    tutors: Mapping[str, Values],
    change: Callable[[int, dict[str, Score]], None] = lambda number, scores: None,
) -> Path:
    """A run in which every tutor teaches the same lessons; ``change`` edits the scores of a problem in place."""
    with Run.create(folder, stage="evaluate", settings={"tutors": list(tutors)}, seed=3) as run:
        for label, values in tutors.items():
            for number in range(PROBLEMS):
                for seed in (1, 2):
                    given = {"solved_before": 0.0, "control_sibling": 0.25, "tutor_turns": 2.0, **values}
                    scores = {
                        name: Score.missing("unreadable") if value is None else Score(value)
                        for name, value in given.items()
                    }
                    scores["first_leak_turn"] = Score(2.0) if values["leaked"] else Score.missing("no leak")
                    change(number, scores)
                    run.add(lesson(number, seed, bool(values["leaked"])), label, scores)
        run.finish()
    return folder
