import asyncio
from collections import Counter

from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom
from diotima.classroom.reading import read_turn
from diotima.classroom.work import wrong_steps
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn, raw_reply, split_reply
from diotima.problems.problem import Problem, Step
from diotima.sandbox.demonstrations import DIAGNOSING, LEAKY, PRAISE, Mixture, thinking_guide
from diotima.sandbox.world import World

WORLD = World()
PROBLEM = Problem(
    "p",
    "How many?",
    "60",
    steps=(Step("", "17 + 57 = 74", "74", "gain"), Step("", "74 - 14 = 60", "60", "fewer")),
)


def shown(work: str) -> Dialogue:
    return Dialogue(PROBLEM).then(Turn(STUDENT, work))


def test_the_thought_quotes_both_lines_and_stops_at_the_first_that_differs() -> None:
    turn = thinking_guide(shown("Line 1: 17 + 57 = 74\nLine 2: 74 + 14 = 88\nMy answer is 88."))
    assert turn.thought == "Line 1: + 74 Step 1 + 74 ok Line 2: + 88 Step 2 - 60 no fewer"
    assert turn.text.startswith("Look at step 2. ")
    assert read_turn(turn.text, PROBLEM).skill == "fewer"


def test_right_work_is_praised() -> None:
    turn = thinking_guide(shown("Line 1: 17 + 57 = 74\nLine 2: 74 - 14 = 60\nMy answer is 60."))
    assert (turn.text, turn.thought) == (PRAISE, "Line 1: + 74 Step 1 + 74 ok Line 2: - 60 Step 2 - 60 ok all ok")


def test_the_thinking_guide_points_at_the_first_wrong_step() -> None:
    student, seen = Learner(), 0
    for seed in range(200):
        problem = WORLD.problem(seed)
        dialogue = Dialogue(problem, seed=seed)
        dialogue = dialogue.then(asyncio.run(student.speak(dialogue)))
        wrong = wrong_steps(dialogue.turns[0].text, problem)
        turn = thinking_guide(dialogue)
        if wrong:
            seen += 1
            assert read_turn(turn.text, problem).step == min(wrong)
            assert turn.thought.endswith(f"no {problem.steps[min(wrong)].skill}")
        else:
            assert turn.text == PRAISE
        assert split_reply(raw_reply(turn)) == (turn.text, turn.thought, False, False)
    assert seen > 150


def test_a_mixture_draws_for_every_turn_by_its_weights() -> None:
    opening = {seed: Dialogue(PROBLEM, (Turn(STUDENT, "Line 1: 17 + 57 = 75"),), seed) for seed in range(2000)}
    said = Counter(asyncio.run(Mixture(LEAKY).speak(dialogue)).text[:14] for dialogue in opening.values())
    assert abs(said["The answer is "] / 2000 - LEAKY["leak"]) < 0.03
    thoughts = sum(bool(asyncio.run(Mixture(LEAKY).speak(dialogue)).thought) for dialogue in opening.values())
    assert abs(thoughts / 2000 - LEAKY["think"]) < 0.03
    assert abs(sum(LEAKY.values()) - 1) < 1e-9
    assert max(LEAKY, key=lambda name: LEAKY[name]) == "leak"


def test_a_lesson_by_a_mixture_can_be_held_again() -> None:
    classroom = Classroom(Mixture(LEAKY), Learner())
    problem = WORLD.problem(1)
    first, second = (asyncio.run(classroom.teach(problem, 5)) for _ in range(2))
    assert first == second
    diagnosing = asyncio.run(Classroom(Mixture(DIAGNOSING), Learner()).teach(problem, 5))
    assert all(turn.thought for turn in diagnosing.by(TUTOR))
