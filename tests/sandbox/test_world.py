import dataclasses
from random import Random

import pytest

from diotima.classroom.work import wrong_steps
from diotima.problems.arithmetic import Calculation, operands, read_calculation
from diotima.problems.problem import Problem
from diotima.problems.skills import SKILLS, calculate
from diotima.sandbox.world import LARGEST, NAMES, OBJECTS, World, _tell, distinct_problems, split_of

PROBLEMS = [World().problem(seed) for seed in range(400)]


def numbers(work: Calculation | None) -> tuple[int, int]:
    assert work is not None
    left, right = operands(work.expression)
    return int(left), int(right)


def cast(problem: Problem) -> set[str]:
    return {word for word in (*NAMES, *OBJECTS) if word in problem.question}


def both(problem: Problem) -> tuple[Problem, Problem]:
    assert problem.sibling is not None
    return problem, problem.sibling


def test_the_same_seed_gives_the_same_problem() -> None:
    assert World().problem(7) == World().problem(7)
    assert World().problem(7) != World().problem(8)
    # Weights are trained on these problems: a change of the draw is a change of the data.
    assert World().problem(0).id == "sandbox-47fd3a61c264a005"


def test_every_step_can_be_worked_out_again() -> None:
    for problem in (each for pair in PROBLEMS for each in both(pair)):
        assert 3 <= len(problem.steps) <= 5
        amount = None
        for step in problem.steps:
            work = read_calculation(step.work)
            assert work is not None
            assert work.operator == SKILLS[step.skill].operator
            left, right = numbers(work)
            assert calculate(left, work.operator, right) == work.result == int(step.result)
            assert amount is None or left == amount
            amount = work.result
        assert problem.answer == problem.steps[-1].result
        assert f"has {numbers(read_calculation(problem.steps[0].work))[0]} " in problem.question
        assert problem.solution.count("\n") == len(problem.steps) - 1


def test_division_leaves_no_rest_and_subtraction_no_debt() -> None:
    for problem in PROBLEMS:
        for work in (read_calculation(step.work) for step in problem.steps):
            assert work is not None
            left, right = numbers(work)
            assert work.operator != "/" or left % right == 0
            assert work.operator != "-" or left > right


def test_numbers_are_in_range() -> None:
    for problem in (each for pair in PROBLEMS for each in both(pair)):
        for work in (read_calculation(step.work) for step in problem.steps):
            assert work is not None
            left, right = numbers(work)
            assert 2 <= left <= LARGEST
            assert 2 <= right <= 60
            assert 2 <= work.result <= LARGEST


def test_every_number_of_a_step_is_told_in_the_question() -> None:
    for problem in PROBLEMS:
        for step in problem.steps:
            work = read_calculation(step.work)
            assert work is not None
            assert step.skill == "half" or f" {numbers(work)[1]} " in problem.question


def test_results_differ_so_that_a_told_value_belongs_to_one_step() -> None:
    for problem in PROBLEMS:
        assert len({step.result for step in problem.steps}) == len(problem.steps)


def test_a_sibling_has_the_skills_and_nothing_else() -> None:
    for problem, sibling in map(both, PROBLEMS):
        assert [step.skill for step in sibling.steps] == [step.skill for step in problem.steps]
        assert sibling.answer != problem.answer
        assert sibling.id != problem.id
        assert not cast(problem) & cast(sibling)
        assert sibling.sibling is None


def test_skills_do_not_repeat_and_all_occur() -> None:
    for problem in PROBLEMS:
        assert len({step.skill for step in problem.steps}) == len(problem.steps)
    assert {step.skill for problem in PROBLEMS for step in problem.steps} == set(SKILLS)


def test_no_problem_and_no_sibling_crosses_the_split() -> None:
    train = [each for problem in World().problems(300, seed=1, split="train") for each in both(problem)]
    test = [each for problem in World().problems(100, seed=1, split="test") for each in both(problem)]
    assert {split_of(problem) for problem in train} == {"train"}
    assert {split_of(problem) for problem in test} == {"test"}
    assert not {problem.question for problem in train} & {problem.question for problem in test}


def test_the_side_depends_on_the_text_alone() -> None:
    problem = PROBLEMS[0]
    assert split_of(dataclasses.replace(problem, id="other", sibling=None)) == split_of(problem)
    shares = [split_of(dataclasses.replace(problem, question=str(number))) for number in range(1000)]
    assert 70 <= shares.count("test") <= 130


def test_there_are_more_than_a_million_and_a_sample_hardly_repeats() -> None:
    for steps in (3, 4, 5):
        assert distinct_problems(steps) >= 1_000_000
    drawn = [World(3, 3).problem(seed).question for seed in range(3000)]
    assert len(drawn) - len(set(drawn)) <= 5


@pytest.mark.parametrize("skills", [("half", "share", "fewer"), ("half", "share", "fewer", "lose")])
def test_the_bound_holds_where_the_numbers_are_tightest(skills: tuple[str, ...]) -> None:
    # Counted over all orders: of the first amounts from 4 to 60, the fewest that can be continued are 11 and 6.
    random = Random(0)
    told = filter(None, (_tell(skills, random) for _ in range(3000)))
    assert len({problem.steps[0].work.split()[0] for problem in told}) >= 5


def test_problems_of_a_draw_are_different() -> None:
    drawn = list(World().problems(200, seed=3))
    assert len({problem.id for problem in drawn}) == 200
    assert drawn == list(World().problems(200, seed=3))
    assert drawn[0] != next(World().problems(1, seed=4))


@pytest.mark.parametrize(("fewest", "most"), [(2, 2), (8, 8)])
def test_other_worlds(fewest: int, most: int) -> None:
    assert {len(World(fewest, most).problem(seed).steps) for seed in range(20)} == {fewest}


def test_the_reference_solution_is_right_in_the_eyes_of_a_teacher() -> None:
    for problem in PROBLEMS:
        lines = "\n".join(f"Line {number}: {step.work}" for number, step in enumerate(problem.steps, 1))
        assert wrong_steps(lines, problem) == frozenset()
