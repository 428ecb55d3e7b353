import asyncio
import dataclasses

import pytest

from diotima.classroom.learner import Learner, LearnerParameters, Reaction
from diotima.classroom.lesson import Classroom
from diotima.classroom.tutors import hint, scripted_tutor
from diotima.classroom.work import lines_shown, wrong_steps
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import ProblemFileError
from diotima.problems.problem import Problem, Step
from diotima.problems.skills import SKILLS
from diotima.sandbox.world import World

LEARNER = Learner()
PROBLEMS = [World().problem(seed) for seed in range(300)]


def gap(problem: Problem, learner: Learner = LEARNER) -> int:
    """The first step whose skill the learner lacks."""
    return next(index for index, step in enumerate(problem.steps) if step.skill in learner.gaps(problem))


def reaction(text: str, problem: Problem, seed: int = 0, learner: Learner = LEARNER) -> Reaction:
    return next(iter(learner.reactions(Dialogue(problem, (Turn(TUTOR, text),), seed))))


def other_skill(problem: Problem, step: int) -> str:
    return next(name for name in SKILLS if name != problem.steps[step].skill)


def share(events: list[bool]) -> float:
    return sum(events) / len(events)


def test_one_or_two_skills_are_missing_and_which_depends_on_the_seed() -> None:
    counts = [len(LEARNER.gaps(problem)) for problem in PROBLEMS]
    assert set(counts) == {1, 2}
    assert 0.4 < share([count == 1 for count in counts]) < 0.6
    for problem in PROBLEMS:
        assert LEARNER.gaps(problem) <= {step.skill for step in problem.steps}
    assert any(Learner(1).gaps(problem) != LEARNER.gaps(problem) for problem in PROBLEMS)
    assert {len(Learner(fewest_gaps=2, most_gaps=2).gaps(problem)) for problem in PROBLEMS} == {2}


@pytest.mark.parametrize(
    ("say", "learning"),
    [
        (lambda p, s: hint(p, s), 0.75),
        (lambda p, s: hint(p, s).replace("?", "."), 0.12),  # asks nothing
        (lambda p, s: f"Look at step {s + 1}.", 0.12),
        (lambda p, s: SKILLS[p.steps[s].skill].questions[0], 0.12),
        (lambda p, s: "You are doing fine!", 0.0),
        (lambda p, s: f"The answer is {p.answer}.", 0.0),
        (lambda p, s: f"{hint(p, s)} The answer is {p.answer}.", 0.0),
        (lambda p, s: hint(p, s) + " Come on!" * 20, 0.375),  # more than 40 words count half
    ],
)
def test_what_a_turn_is_worth(say, learning: float) -> None:  # type: ignore[no-untyped-def]
    problem = PROBLEMS[0]
    assert reaction(say(problem, gap(problem)), problem).learning == pytest.approx(learning)


def test_a_told_intermediate_result_is_worth_little() -> None:
    problem = next(problem for problem in PROBLEMS if gap(problem) < len(problem.steps) - 1)
    step = gap(problem)
    told = reaction(f"Step {step + 1} gives {problem.steps[step].result}.", problem)
    assert (told.learning, told.told, told.skill) == (0.08, {step}, problem.steps[step].skill)


def test_forty_words_are_not_too_many() -> None:
    problem = PROBLEMS[0]
    start = hint(problem, gap(problem))
    padding = 40 - len(start.split())
    assert reaction(start + " so" * padding, problem).learning == 0.75
    assert reaction(start + " so" * (padding + 1), problem).learning == 0.375


def test_guiding_teaches_three_times_in_four() -> None:
    learned = [reaction(hint(problem, gap(problem)), problem, seed).learned for seed in (1, 2) for problem in PROBLEMS]
    assert share(learned) == pytest.approx(0.75, abs=0.04)


def test_giving_the_answer_away_teaches_nothing() -> None:
    for problem in PROBLEMS:
        given = reaction(f"The answer is {problem.answer}.", problem)
        assert given.mastered == set(SKILLS) - LEARNER.gaps(problem)


def test_a_contradiction_confuses() -> None:
    forgot = []
    for problem in PROBLEMS:
        step = next(i for i, step in enumerate(problem.steps) if step.skill not in LEARNER.gaps(problem))
        other = SKILLS[other_skill(problem, step)]
        for seed in (1, 2, 3):
            found = reaction(f"Look at step {step + 1}. {other.questions[0]}", problem, seed)
            forgot.append(found.forgot)
            assert (problem.steps[step].skill in found.mastered) != found.forgot
            assert not found.learned
    assert share(forgot) == pytest.approx(0.10, abs=0.03)


def test_only_the_first_step_and_the_first_concept_are_taken_in() -> None:
    problem = next(p for p in PROBLEMS if gap(p) == 1)
    assert reaction(f"{hint(problem, 1)} {hint(problem, 2)}", problem).skill == problem.steps[1].skill
    assert reaction(f"{hint(problem, 2)} {hint(problem, 1)}", problem).skill == problem.steps[2].skill


def test_the_same_dialogue_gets_the_same_reaction() -> None:
    for problem in PROBLEMS[:20]:
        dialogue = asyncio.run(Classroom(scripted_tutor("guide"), LEARNER).teach(problem, 1))  # type: ignore[arg-type]
        assert asyncio.run(Learner().speak(dialogue)) == asyncio.run(Learner().speak(dialogue))
        assert list(Learner().reactions(dialogue)) == list(Learner().reactions(dialogue))
        # The past is not rewritten: what a turn did does not depend on what came after it.
        shorter = dataclasses.replace(dialogue, turns=dialogue.turns[:2], stop="")
        assert list(Learner().reactions(shorter)) == list(Learner().reactions(dialogue))[:1]


def test_every_learner_has_a_seed_of_its_own() -> None:
    def work(learner: Learner, seed: int) -> list[str]:
        return [asyncio.run(learner.speak(Dialogue(problem, seed=seed))).text for problem in PROBLEMS[:30]]

    assert work(Learner(1), 0) == work(Learner(1), 0)
    assert work(Learner(1), 0) != work(Learner(2), 0)
    assert work(Learner(1), 0) != work(Learner(1), 1)


def test_the_first_attempt_fails_at_what_is_not_mastered() -> None:
    wrong, right = [], []
    for problem in PROBLEMS:
        text = asyncio.run(LEARNER.speak(Dialogue(problem))).text
        mistakes = wrong_steps(text, problem) or frozenset()
        for index, step in enumerate(problem.steps):
            (wrong if step.skill in LEARNER.gaps(problem) else right).append(index in mistakes)
    assert share(wrong) == pytest.approx(1 - 0.08, abs=0.03)
    assert share(right) == pytest.approx(1 - 0.96, abs=0.02)


def test_a_learner_keeps_to_its_misconception() -> None:
    problem = PROBLEMS[0]
    step = gap(problem)
    operators = {
        lines_shown(text)[step].operator
        for text in asyncio.run(LEARNER.attempts(problem, Dialogue(problem), 40))
        if step in (wrong_steps(text, problem) or ())
    }
    assert len(operators) == 1


def test_told_values_are_copied_on_the_same_problem_only() -> None:
    same, sibling = [], []
    for problem in PROBLEMS[:150]:
        assert problem.sibling
        after = Dialogue(problem, (Turn(TUTOR, f"The answer is {problem.answer}."),))
        for text in asyncio.run(LEARNER.attempts(problem, after, 4)):
            same.append(f"My answer is {problem.answer}." in text)
        for text in asyncio.run(LEARNER.attempts(problem.sibling, after, 4)):
            sibling.append(f"My answer is {problem.sibling.answer}." in text)
    assert share(same) == pytest.approx(0.9, abs=0.04)
    assert share(sibling) < 0.12


def test_patience_is_one_turn_more_than_there_are_gaps() -> None:
    for problem in PROBLEMS[:40]:
        heard = 0
        dialogue = Dialogue(problem)
        while not asyncio.run(LEARNER.speak(dialogue)).ends:
            heard += 1
            dialogue = dialogue.then(Turn(TUTOR, "Hm."))
        assert heard == len(LEARNER.gaps(problem)) + 1
    patient = Learner(patience=2)
    two = Dialogue(PROBLEMS[0], (Turn(TUTOR, "Hm."),) * 2)
    assert asyncio.run(patient.speak(two)).ends
    assert not asyncio.run(patient.speak(dataclasses.replace(two, turns=two.turns[:1]))).ends


def test_parameters_are_honoured() -> None:
    sure = Learner(parameters=LearnerParameters(guided=1.0, correct=1.0, guess=0.0))
    for problem in PROBLEMS[:40]:
        taught = Dialogue(problem, tuple(Turn(TUTOR, hint(problem, i)) for i in range(len(problem.steps))))
        assert f"My answer is {problem.answer}." in asyncio.run(sure.attempts(problem, taught, 1))[0]
        untaught = asyncio.run(sure.attempts(problem, Dialogue(problem), 1))[0]
        assert set(wrong_steps(untaught, problem) or ()) == {
            i for i, step in enumerate(problem.steps) if step.skill in sure.gaps(problem)
        }


@pytest.mark.parametrize("steps", [(), (Step("", "1 + 1 = 2", "2", "gain"), Step("", "think", "5", "lose"))])
def test_a_problem_it_cannot_work_on_is_refused(steps: tuple[Step, ...]) -> None:
    with pytest.raises(ProblemFileError, match="problem p has no steps that the simulated learner can work out"):
        asyncio.run(LEARNER.speak(Dialogue(Problem("p", "?", "5", steps=steps))))


def eggs(name: str, daily: int, breakfast: int, muffins: int, price: int) -> Problem:
    sold = daily - breakfast - muffins
    return Problem(
        name,
        f"A hen house gives {daily} eggs a day. {breakfast} are eaten and {muffins} baked. "
        f"The rest is sold for ${price} each. How many dollars are made?",
        str(sold * price),
        steps=(
            Step(
                "How many eggs are sold?",
                f"{daily} - {breakfast} - {muffins} = {sold}",
                str(sold),
                text="Eggs for sale:",
            ),
            Step(
                "How much is made at the market?",
                f"{sold} * {price} = {sold * price}",
                str(sold * price),
                text="Money:",
            ),
        ),
    )


ELSEWHERE = [
    dataclasses.replace(eggs(f"eggs-{n}", 16 + n, 3, 4, 2 + n % 5), sibling=eggs(f"eggs-{n}-s", 29 + n, 5, 6, 7))
    for n in range(200)
]


def test_steps_without_named_skills_are_components_of_their_own() -> None:
    for problem in ELSEWHERE[:50]:
        assert LEARNER.gaps(problem) <= {"step 1", "step 2"}
        text = asyncio.run(LEARNER.speak(Dialogue(problem))).text
        assert set(lines_shown(text)) == {0, 1}
    sure = Learner(parameters=LearnerParameters(guided=1.0, correct=1.0, guess=0.0))
    for problem in ELSEWHERE[:50]:
        missing = {int(name[-1]) - 1 for name in sure.gaps(problem)}
        before = asyncio.run(sure.attempts(problem, Dialogue(problem), 1))[0]
        assert wrong_steps(before, problem) == missing
        asked = Dialogue(problem, tuple(Turn(TUTOR, problem.steps[index].question) for index in sorted(missing)))
        assert problem.sibling
        for each in (problem, problem.sibling):
            assert f"My answer is {each.answer}." in asyncio.run(sure.attempts(each, asked, 1))[0]


def test_on_free_text_too_what_was_asked_transfers_and_what_was_told_does_not() -> None:
    def solved(tutor: str, sibling: bool) -> float:
        classroom, right = Classroom(scripted_tutor(tutor), LEARNER), []  # type: ignore[arg-type]
        for problem in ELSEWHERE:
            dialogue = asyncio.run(classroom.teach(problem, 1))
            each = problem.sibling if sibling else problem
            assert each
            right += [f" is {each.answer}." in text for text in asyncio.run(LEARNER.attempts(each, dialogue, 2))]
        return share(right)

    assert solved("guide", True) > 0.6
    assert solved("leaker", False) > 0.8
    assert solved("leaker", True) < 0.15
    assert solved("generic", True) < 0.15


def test_it_speaks_as_the_student_and_shows_its_work() -> None:
    turn = asyncio.run(LEARNER.speak(Dialogue(PROBLEMS[0])))
    assert (turn.speaker, turn.ends, turn.malformed) == (STUDENT, False, False)
    assert len(lines_shown(turn.text)) == len(PROBLEMS[0].steps)


def test_errors_carried_forward_do_not_grow_without_bounds() -> None:
    problem = Problem("p", "How many?", "1", steps=tuple(Step("", "1 * 1 = 1", "1") for _ in range(70)))
    for seed in range(5):
        attempt = asyncio.run(Learner(seed).attempts(problem, Dialogue(problem, seed=seed), 1))[0]
        assert len(lines_shown(attempt)) == 70
