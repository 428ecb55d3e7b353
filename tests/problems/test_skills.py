import re

import pytest

from diotima.classroom.reading import read_turn
from diotima.classroom.tutors import hint
from diotima.problems.problem import Problem, Step
from diotima.problems.skills import SKILLS, Skill, calculate, first_skill_named, wrong_result
from diotima.sandbox.world import NAMES, OBJECTS

# "get to" sounds like a gain; it stands behind the price, and a listener takes in the first concept only.
ALSO = {"Think of the price of one. How do we get to all?": {"gain"}}
skills = pytest.mark.parametrize("skill", SKILLS.values(), ids=SKILLS.keys())


def concepts(text: str) -> set[str]:
    """All concepts in a text, found one after the other."""
    found = set()
    while (name := first_skill_named(text)) is not None:
        found.add(name)
        text = re.sub("|".join(SKILLS[name].words), " ", text, flags=re.IGNORECASE)
    return found


@skills
def test_every_question_names_its_own_skill_only(skill: Skill) -> None:
    for question in skill.questions:
        assert first_skill_named(question) == skill.name
        assert concepts(question) - ALSO.get(question, set()) == {skill.name}, question


@pytest.mark.parametrize("step", range(5))
@skills
def test_every_hint_names_its_step_and_its_skill(skill: Skill, step: int) -> None:
    steps = (Step("", "12 + 7 = 19", "19", skill.name),) * 5
    problem = Problem("p", "?", "19", steps=steps)
    for choice in range(len(skill.questions)):
        reading = read_turn(hint(problem, step, choice), problem)
        assert (reading.step, reading.skill, reading.asks, reading.told) == (step, skill.name, True, frozenset())


def test_the_words_of_the_world_name_no_skill() -> None:
    for word in (*NAMES, *OBJECTS, "dollars"):
        assert concepts(f"How many {word}?") == set()


def test_the_first_concept_counts() -> None:
    assert first_skill_named("Is that half, or a gain?") == "half"
    assert first_skill_named("a GAIN, or half?") == "gain"
    assert first_skill_named("Think again about the Sometimes-costly thing.") is None


@skills
def test_mal_rules_are_named_and_never_give_the_right_result(skill: Skill) -> None:
    assert len({rule.name for rule in skill.mal_rules}) == len(skill.mal_rules) >= 3
    assert all(rule.source for rule in skill.mal_rules)
    for left in range(2, 151):
        for right in (2, 3, 7, 10, 25, 60):
            for choice in range(3):
                _, result = wrong_result(skill, left, right, choice)
                assert result != calculate(left, skill.operator, right)
                assert 0 <= result < 1000


@skills
def test_every_mal_rule_can_be_met(skill: Skill) -> None:
    for rule in skill.mal_rules:
        applied = [
            rule.apply(left, right)
            for left in range(4, 151)
            for right in range(2, 60)
            if rule.apply(left, right) and rule.apply(left, right)[1] != calculate(left, skill.operator, right)
        ]
        assert applied, rule.name


@pytest.mark.parametrize(
    ("skill", "left", "right", "wrong"),
    [
        ("gain", 17, 25, {("-", 8), ("+", 32), ("+", 17)}),
        ("gain", 12, 25, {("-", 13), ("+", 12)}),  # no carry to drop
        ("lose", 42, 17, {("+", 59), ("-", 35), ("-", 42)}),
        ("lose", 48, 17, {("+", 65), ("-", 48)}),  # every column can be taken
        ("times", 12, 3, {("+", 15), ("/", 4), ("*", 12)}),
        ("times", 2, 2, {("/", 1), ("*", 2)}),  # adding would be right by chance
        ("share", 12, 3, {("-", 9), ("*", 36), ("/", 12)}),
        ("half", 12, 2, {("*", 24), ("-", 10), ("/", 12)}),
    ],
)
def test_what_students_write_instead(skill: str, left: int, right: int, wrong: set[tuple[str, int]]) -> None:
    assert {wrong_result(SKILLS[skill], left, right, choice) for choice in range(6)} == wrong


def test_without_a_mal_rule_the_student_is_off_by_one() -> None:
    bare = Skill("bare", "+", (), (), ())
    assert wrong_result(bare, 2, 3, 0) == ("+", 6)


@pytest.mark.parametrize(
    ("left", "operator", "right", "result"),
    [(3, "-", 5, 2), (7, "/", 2, 4), (8, "/", 2, 4), (7, "/", 0, 7), (6, "*", 7, 42), (1, "+", 1, 2)],
)
def test_calculation_as_a_student_does_it(left: int, operator: str, right: int, result: int) -> None:
    assert calculate(left, operator, right) == result
