"""A world of word problems that a tutor cannot teach without looking at the student's work.

Each problem is a chain of 3-5 steps; each step exercises another of the eight skills, changes one running amount and
is told in one sentence. Problems are drawn from names, objects, wordings, orders of skills and numbers; there are far
more than a million (see `distinct_problems`). A sibling has the same skills in the same order with other names,
objects and numbers.

Train and test are split by a hash of the problem's text, and a problem's sibling is always on the same side, so that
nothing examined was ever trained on, whichever seed drew it.

Why 3-5 steps: with two to four, tutors that never look at the student did as well as trained ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import perm
from random import Random
from typing import Literal

from diotima.dialogue import stable_seed
from diotima.problems.arithmetic import Calculation
from diotima.problems.problem import Problem, Step
from diotima.problems.skills import SKILLS, calculate

Split = Literal["train", "test"]

NAMES = tuple(
    "Ada Amir Ben Carla Chen Dana Eli Emma Finn Grace Hana Ivan Jonas Lena Maya Nora Omar Rosa Sami Tara".split()
)
OBJECTS = tuple("apples beads books cards coins eggs marbles pencils shells stickers".split())
LARGEST = 150
TEST_SHARE = 10
"""Of a hundred problems, so many belong to the test split."""

# Sentences for each skill: {who} has the running amount of {things}, {other} is a new person, {n} the new number.
_SENTENCES: dict[str, tuple[str, ...]] = {
    "gain": ("{who} gets {n} new {things}.", "Then {who} receives {n} {things}."),
    "lose": ("{who} gives away {n} {things}.", "Then {who} loses {n} {things}."),
    "times": ("{other} has {n} times as many {things} as {who}.", "{other} has {n} times the {things} of {who}."),
    "price": ("{who} sells everything at a price of {n} dollars each.", "{who} is paid {n} dollars for every one."),
    "share": (
        "{who} shares the {things} equally among {n} boxes and keeps one box.",
        "{who} splits the {things} into {n} equal piles and takes one pile.",
    ),
    "more": ("{other} has {n} more {things} than {who}.", "{other} is ahead of {who} by {n} {things}."),
    "fewer": ("{other} has {n} fewer {things} than {who}.", "{other} is behind {who} by {n} {things}."),
    "half": ("{other} has half as many {things} as {who}.", "{other} has half of what {who} has."),
}
_NEW_HOLDER = frozenset({"times", "more", "fewer", "half"})
_QUESTIONS: dict[str, str] = {
    "gain": "How many {things} does {who} have after getting {n} new ones?",
    "lose": "How many {things} does {who} have after giving away {n}?",
    "times": "How many {things} does {who} have?",
    "price": "How many dollars does {who} have after selling everything?",
    "share": "How many {things} does {who} keep?",
    "more": "How many {things} does {who} have?",
    "fewer": "How many {things} does {who} have?",
    "half": "How many {things} does {who} have?",
}


@dataclass(frozen=True, slots=True)
class World:
    """The difficulty of a world: how many steps its problems have, both ends included."""

    fewest_steps: int = 3
    most_steps: int = 5

    def problem(self, seed: int, split: Split = "train") -> Problem:
        """Draw the problem with this seed, its sibling in it; the same seed always gives the same problem."""
        random = Random(stable_seed("problem", seed))
        while True:
            skills = tuple(random.sample(sorted(SKILLS), random.randint(self.fewest_steps, self.most_steps)))
            problem = _tell(skills, random)
            if problem and split_of(problem) == split:
                break
        return replace(problem, sibling=_sibling(problem, skills, split, random))

    def problems(self, count: int, seed: int, split: Split = "train") -> Iterator[Problem]:
        """``count`` different problems of one split."""
        seen: set[str] = set()
        draw = 0
        while len(seen) < count:
            problem = self.problem(stable_seed("world", seed, split, draw), split)
            draw += 1
            if problem.id not in seen:
                seen.add(problem.id)
                yield problem


def split_of(problem: Problem) -> Split:
    """Which side of the split a problem is on, by a hash of its text alone."""
    return "test" if stable_seed("split", problem.question) % 100 < TEST_SHARE else "train"


def distinct_problems(steps: int) -> int:
    """A lower bound of the number of different problems with so many steps.

    Counts the first person, the objects, the orders of skills, the two wordings of each step, and for the numbers only
    the first amount: up to five steps, at least five of its values can be continued whatever skills follow.
    """
    return len(NAMES) * len(OBJECTS) * perm(len(SKILLS), steps) * int(2**steps) * 5


def _sibling(problem: Problem, skills: tuple[str, ...], split: Split, random: Random) -> Problem:
    names = {name for name in NAMES if name in problem.question}
    things = {thing for thing in OBJECTS if thing in problem.question}
    while True:
        sibling = _tell(skills, random, without=names | things)
        if sibling and split_of(sibling) == split and sibling.answer != problem.answer:
            return sibling


def _tell(skills: tuple[str, ...], random: Random, without: frozenset[str] | set[str] = frozenset()) -> Problem | None:
    """A problem with these skills, or None if the numbers drawn lead nowhere."""
    people = [name for name in NAMES if name not in without]
    random.shuffle(people)
    who, *others = people
    things = random.choice([thing for thing in OBJECTS if thing not in without])
    amount = random.randint(4, 60)
    sentences, steps = [f"{who} has {amount} {things}."], []
    for skill in skills:
        number = _number(skill, amount, random)
        if number is None:
            return None
        other = others.pop()
        template = random.choice(_SENTENCES[skill])
        sentences.append(template.format(who=who, other=other, n=number, things=things))
        who = other if skill in _NEW_HOLDER else who
        operator = SKILLS[skill].operator
        result = calculate(amount, operator, number)
        work = Calculation.of(amount, operator, number, result)
        question = _QUESTIONS[skill].format(who=who, n=number, things=things)
        steps.append(Step(question, str(work), str(result), skill))
        things = "dollars" if skill == "price" else things
        amount = result
    if len({step.result for step in steps}) < len(steps):
        return None
    sentences.append(f"How many {things} does {who} have in the end?")
    text = " ".join(sentences)
    return Problem(
        id=f"sandbox-{stable_seed(text):016x}",
        question=text,
        answer=str(amount),
        solution="\n".join(f"Step {i} {step.skill}: {step.work}" for i, step in enumerate(steps, 1)),
        steps=tuple(steps),
        source="sandbox",
    )


def _number(skill: str, amount: int, random: Random) -> int | None:
    """A second operand that keeps the amount a whole number from 2 to ``LARGEST``, or None if there is none."""
    match skill:
        case "half":
            numbers = [2] if amount % 2 == 0 and amount >= 4 else []
        case "share":
            numbers = [n for n in range(3, 13) if amount % n == 0 and amount // n >= 2]
        case "times" | "price":
            numbers = [n for n in range(2, 10) if amount * n <= LARGEST]
        case "gain" | "more":
            numbers = list(range(2, min(60, LARGEST - amount) + 1))
        case _:
            numbers = list(range(2, min(60, amount - 2) + 1))
    return random.choice(numbers) if numbers else None
