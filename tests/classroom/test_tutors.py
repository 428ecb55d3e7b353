"""The reference tutors, and the figures by which the simulated learner is known."""

import asyncio
from dataclasses import dataclass
from functools import cache
from statistics import mean

import pytest

from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom, Limits
from diotima.classroom.reading import read_turn
from diotima.classroom.tutors import BLIND, REFERENCE, hint, scripted_tutor
from diotima.classroom.work import wrong_steps
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import ProblemFileError
from diotima.problems.problem import Problem, Step
from diotima.sandbox.world import World
from diotima.scoring.leakage import LeakMeter


@dataclass(frozen=True)
class Figures:
    same: float
    sibling: float
    leaked: float


@cache
def figures(tutor: str, old: bool, lessons: int) -> Figures:
    """Shares over lessons; the old world is the one for which the table was documented."""
    world, student = (World(2, 4), Learner(patience=4)) if old else (World(), Learner())
    script = scripted_tutor(tutor)
    assert script is not None
    classroom = Classroom(script, student, Limits(4 if old else 8), TUTOR if old else STUDENT)

    async def one(seed: int) -> tuple[float, float, float]:
        dialogue = await classroom.teach(world.problem(seed), seed)
        problem, sibling = dialogue.problem, dialogue.problem.sibling
        assert sibling is not None
        leaked = (await LeakMeter().score(dialogue))["leaked"].value
        assert leaked is not None
        same = await student.attempts(problem, dialogue, 4)
        other = await student.attempts(sibling, dialogue, 4)
        return (
            mean(text.endswith(f" is {problem.answer}.") for text in same),
            mean(text.endswith(f" is {sibling.answer}.") for text in other),
            leaked,
        )

    async def all_of_them() -> list[tuple[float, float, float]]:
        return [await one(seed) for seed in range(100_000, 100_000 + lessons)]

    return Figures(*map(mean, zip(*asyncio.run(all_of_them()), strict=True)))


OLD_TABLE = {
    "guide": (0.790, 0.785, 0.0),
    "leaker": (0.911, 0.044, 1.0),
    "teller": (0.847, 0.060, 0.65),
    "wrong-guide": (0.079, 0.084, 0.0),
    "namer": (0.19, 0.19, 0.0),
    "generic": (0.035, 0.039, 0.0),
}
CELLS = [
    pytest.param(tutor, name, value, id=f"{tutor}-{name}")
    for tutor, row in OLD_TABLE.items()
    for name, value in zip(("same", "sibling", "leaked"), row, strict=True)
]


@pytest.mark.parametrize(("tutor", "name", "value"), CELLS)
def test_the_documented_table(tutor: str, name: str, value: float) -> None:
    assert getattr(figures(tutor, True, 600), name) == pytest.approx(value, abs=0.04)


def test_in_the_harder_world_only_looking_at_the_student_helps() -> None:
    sibling = {
        name: figures(name, False, 300).sibling for name in ("guide", "sweep", "generic", "leaker", "everything")
    }
    assert sibling["guide"] > 0.62
    assert sibling["guide"] - sibling["sweep"] > 0.2
    assert sibling["sweep"] - sibling["generic"] > 0.2
    assert sibling["everything"] < 0.2
    assert sibling["leaker"] < 0.1


def test_the_leaker_leaves_the_sibling_as_it_was() -> None:
    student = Learner()
    classroom = Classroom(scripted_tutor("leaker"), student)  # type: ignore[arg-type]
    for seed in range(50):
        problem = World().problem(seed)
        dialogue = asyncio.run(classroom.teach(problem, seed))
        assert problem.sibling
        after = asyncio.run(student.attempts(problem.sibling, dialogue, 8))
        control = asyncio.run(student.attempts(problem.sibling, Dialogue(problem, seed=seed), 8))
        assert after == control


PROBLEM = Problem(
    "p",
    "How many?",
    "60",
    steps=(Step("", "17 + 57 = 74", "74", "gain"), Step("", "74 - 14 = 60", "60", "fewer")),
)
WRONG = Dialogue(PROBLEM).then(Turn(STUDENT, "Line 1: 17 + 57 = 74\nLine 2: 74 + 14 = 88\nMy answer is 88."))
RIGHT = Dialogue(PROBLEM).then(Turn(STUDENT, "Line 1: 17 + 57 = 74\nLine 2: 74 - 14 = 60\nMy answer is 60."))


def said(tutor: str, dialogue: Dialogue) -> str:
    script = scripted_tutor(tutor)
    assert script is not None
    turn = asyncio.run(script.speak(dialogue))
    assert turn.speaker == TUTOR
    return turn.text


@pytest.mark.parametrize(
    ("tutor", "wrong", "right"),
    [
        ("leaker", "The answer is 60.", "The answer is 60."),
        ("teller", "Step 2 gives 60.", "Well done, every line is right."),
        ("namer", "Look at step 2 again, please.", "Well done, every line is right."),
        ("constant", "Look at step 2. Who has fewer, and by how many?", None),
        ("parrot", f"You wrote: {WRONG.turns[0].text}", f"You wrote: {RIGHT.turns[0].text}"),
    ],
)
def test_what_they_say(tutor: str, wrong: str, right: str | None) -> None:
    assert said(tutor, WRONG) == wrong
    assert said(tutor, RIGHT) == (right or wrong)


def test_the_guide_points_at_the_first_wrong_step_and_the_wrong_guide_elsewhere() -> None:
    assert (read_turn(said("guide", WRONG), PROBLEM).step, read_turn(said("guide", WRONG), PROBLEM).skill) == (
        1,
        "fewer",
    )
    assert read_turn(said("wrong-guide", WRONG), PROBLEM).step == 0
    assert said("guide", RIGHT) == "Well done, every line is right."


def test_the_sweep_goes_through_the_steps_and_begins_again() -> None:
    dialogue, steps = Dialogue(PROBLEM), []
    for _ in range(3):
        dialogue = dialogue.then(Turn(TUTOR, said("sweep", dialogue)))
        steps.append(read_turn(dialogue.turns[-1].text, PROBLEM).step)
    assert steps == [0, 1, 0]


@pytest.mark.parametrize("tutor", [*REFERENCE, *BLIND])
def test_every_tutor_can_open(tutor: str) -> None:
    assert said(tutor, Dialogue(PROBLEM))


@pytest.mark.parametrize("tutor", [name for name in (*REFERENCE, *BLIND) if name not in ("leaker", "teller")])
def test_who_does_not_tell_tells_nothing_new(tutor: str) -> None:
    for seed in range(40):
        problem = World().problem(seed)
        dialogue = asyncio.run(Classroom(scripted_tutor(tutor), Learner()).teach(problem, seed))  # type: ignore[arg-type]
        known: set[int] = set()
        for turn in dialogue.turns:
            if turn.speaker == STUDENT:
                known |= {int(word) for word in turn.text.replace(".", " ").split() if word.isdigit()}
            else:
                assert not read_turn(turn.text, problem, known).told


def test_a_hint_to_a_step_without_a_skill_is_its_question() -> None:
    problem = Problem("p", "?", "2", steps=(Step("How many now?", "1 + 1 = 2", "2"),))
    assert hint(problem, 0) == "How many now?"


def test_without_a_sub_question_a_hint_leaves_the_numbers_out() -> None:
    step = Step("", "16 - 3 - 4 = 9", "9", text="Janet sells 16 - 3 - 4 = 9 eggs, three fewer than before.")
    said = hint(Problem("p", "?", "9", steps=(step,)), 0)
    assert said.endswith("Janet sells ___ - ___ - ___ = ___ eggs, ___ fewer than before.")


def test_there_is_no_other_tutor() -> None:
    assert scripted_tutor("guru") is None


def test_looking_means_that_the_work_decides() -> None:
    assert wrong_steps(WRONG.turns[0].text, PROBLEM) == {1}
    for tutor in ("guide", "teller", "namer", "wrong-guide"):
        assert said(tutor, WRONG) != said(tutor, RIGHT)
    for tutor in ("sweep", "constant", "everything", "random-step"):
        assert said(tutor, WRONG) == said(tutor, RIGHT)


def test_who_goes_by_steps_needs_some() -> None:
    opening = Dialogue(Problem("p", "How many?", "5")).then(Turn(STUDENT, "My answer is 4."))
    for name in [*REFERENCE, *BLIND]:
        tutor = scripted_tutor(name)
        assert tutor is not None
        if name in ("leaker", "generic", "parrot"):
            assert asyncio.run(tutor.speak(opening)).text
        else:
            with pytest.raises(ProblemFileError, match="problem p has no steps"):
                asyncio.run(tutor.speak(opening))


@pytest.mark.parametrize("name", ["guide", "teller", "namer", "wrong-guide"])
def test_an_attempt_that_shows_no_work_is_not_praised(name: str) -> None:
    problem = Problem("p", "How many?", "5", steps=(Step("", "2 + 3 = 5", "5"),))
    tutor = scripted_tutor(name)
    assert tutor is not None
    said = asyncio.run(tutor.speak(Dialogue(problem).then(Turn(STUDENT, "My answer is 4.")))).text
    assert said == "Please show me how you would solve it."


def test_a_hint_to_a_step_without_words_names_it() -> None:
    assert hint(Problem("p", "How many?", "5", steps=(Step("", "2 + 3 = 5", "5"),)), 0) == "How do you work out step 1?"
