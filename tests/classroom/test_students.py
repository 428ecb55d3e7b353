"""The student played by a model: what it is sent in lessons and tests, with which seeds, and what it may see."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from diotima.classroom.exam import Exam
from diotima.classroom.lesson import Classroom, Limits
from diotima.classroom.students import ModelStudent
from diotima.classroom.teach import Settings, run
from diotima.classroom.tutors import Scripted
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Message, Tokens, Turn
from diotima.errors import PromptError
from diotima.models.chat import Reply, Sampling
from diotima.problems.files import write_problems
from diotima.problems.problem import Problem
from diotima.prompt import Prompt, load_prompt, prompt_names
from diotima.runs.run import Run
from diotima.sandbox.world import World

SIBLING = Problem("s", "How many pears?", "7777", "7770 + 7 = 7777")
PROBLEM = Problem("p", "How many apples?", "5555", "5550 + 5 = 5555", sibling=SIBLING)
NAMES = ("Amina", "Bao", "Elif")
PERSONAS = [name for name in prompt_names() if name.startswith("student/") and "/request/" not in name]
ATTEMPT = load_prompt("student/request/attempt").fill()
SOLUTION = load_prompt("student/request/solution").fill()


class Model:
    """Remembers what it was asked, and answers with ``script``."""

    def __init__(self, script: Callable[[Sequence[Message]], str] = lambda messages: "Hm.") -> None:
        self.script = script
        self.asked: list[list[Message]] = []
        self.samplings: list[Sampling] = []

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        self.asked.append(list(messages))
        self.samplings.append(sampling)
        await asyncio.sleep(0)
        return Reply(self.script(messages))


def student(model: Model, temperature: float = 0.6, persona: str = "{{name}}: {{question}}") -> ModelStudent:
    prompt = Prompt("persona", persona, "0")
    return ModelStudent(
        model, prompt, Sampling(temperature, max_tokens=20), Sampling(temperature, max_tokens=90), NAMES
    )


def spoken(*texts: str, first: str = STUDENT, seed: int = 0) -> Dialogue:
    """A dialogue of these texts, in turns."""
    other = TUTOR if first == STUDENT else STUDENT
    turns = tuple(Turn(other if place % 2 else first, text, f"thought {place}") for place, text in enumerate(texts))
    return Dialogue(PROBLEM, turns, seed)


def contents(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def speak(model: Model, dialogue: Dialogue) -> Turn:
    return asyncio.run(student(model).speak(dialogue))


def sit(model: Model, problem: Problem, after: Dialogue, count: int = 1, temperature: float = 0.6) -> list[str]:
    return asyncio.run(student(model, temperature).attempts(problem, after, count))


def test_who_has_the_first_word_is_asked_for_an_attempt() -> None:
    model = Model()
    assert speak(model, spoken()) == Turn(STUDENT, "Hm.")
    (system, *asked) = contents(model.asked[0])
    assert system[1].partition(": ")[0] in NAMES
    assert system == ("system", f"{system[1].partition(': ')[0]}: How many apples?")
    assert asked == [("user", ATTEMPT)]


def test_own_turns_are_the_assistants_and_the_tutors_thoughts_are_hidden() -> None:
    model = Model()
    speak(model, spoken("Mine", "Look!"))
    assert contents(model.asked[0])[1:] == [
        ("user", ATTEMPT),
        ("assistant", "<think>thought 0</think>Mine"),
        ("user", "Look!"),
    ]


def test_after_a_tutor_who_opened_nothing_is_asked() -> None:
    model = Model()
    speak(model, spoken("Try it!", "Mine", "Look!", first=TUTOR))
    assert contents(model.asked[0])[1:] == [
        ("user", "Try it!"),
        ("assistant", "<think>thought 1</think>Mine"),
        ("user", "Look!"),
    ]


@pytest.mark.parametrize("opens", [STUDENT, TUTOR])
def test_in_a_lesson_roles_alternate_and_the_name_stays(opens: str) -> None:
    model = Model()
    room = Classroom(Scripted(lambda dialogue: "Look!"), student(model), Limits(3), opens)  # type: ignore[arg-type]
    lesson = asyncio.run(room.teach(PROBLEM, 4))
    sit(model, PROBLEM, lesson)
    sit(model, SIBLING, lesson)
    assert len(model.asked) >= 5
    assert len({messages[0].content for messages in model.asked}) == 1
    for messages in model.asked:
        roles = [message.role for message in messages]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)][: len(roles)]
        assert roles[-1] == "user"


def test_names_are_drawn_from_the_lesson_alone() -> None:
    def name(seed: int, *texts: str) -> str:
        return student(Model()).messages(spoken(*texts, seed=seed))[0].content.partition(":")[0]

    assert {name(seed) for seed in range(30)} == set(NAMES)
    assert all(name(seed) == name(seed, "Mine", "Look!") for seed in range(9))


def test_a_student_does_not_end_a_lesson_and_an_empty_reply_is_a_turn() -> None:
    turn = speak(Model(lambda messages: "<think>enough</think>Bye!<end_of_conversation>"), spoken("Mine", "Look!"))
    assert turn == Turn(STUDENT, "Bye!", "enough")
    silent = student(Model(lambda messages: ""))
    lesson = asyncio.run(Classroom(Scripted(lambda dialogue: ""), silent, Limits(2)).teach(PROBLEM))
    assert (lesson.stop, [turn.text for turn in lesson.turns]) == ("turn limit", [""] * 5)
    assert asyncio.run(silent.attempts(PROBLEM, lesson, 2)) == ["", ""]
    assert asyncio.run(Exam(silent, 2).score(lesson))["solved_same"].value in (None, 0.0)


def test_without_a_lesson_the_test_is_about_the_problem_itself() -> None:
    for problem in (PROBLEM, SIBLING):
        model = Model()
        sit(model, problem, spoken())
        (system, *asked) = contents(model.asked[0])
        assert system[1].endswith(f": {problem.question}")
        assert asked == [("user", SOLUTION)]


def test_after_a_lesson_the_solution_is_asked_for_below_the_dialogue() -> None:
    model = Model()
    lesson = spoken("Mine", "Look!", "57?")
    sit(model, PROBLEM, lesson)
    assert model.asked[0] == [*student(model).messages(lesson), Message("user", SOLUTION)]


def test_the_siblings_test_shows_the_lesson_on_the_original() -> None:
    model = Model()
    sit(model, SIBLING, spoken("Mine", "Look!", "57?"))
    system, *lesson, request = contents(model.asked[0])
    assert system[1].endswith(": How many apples?")
    assert [text for _, text in lesson] == [
        ATTEMPT,
        "<think>thought 0</think>Mine",
        "Look!",
        "<think>thought 2</think>57?",
    ]
    assert request == ("user", load_prompt("student/request/sibling").fill(question="How many pears?"))


def test_a_tutors_last_word_and_the_request_are_one_message() -> None:
    model = Model()
    kept = Tokens((1,), (2,), (0.0,))
    lesson = Dialogue(PROBLEM, (Turn(STUDENT, "57?", tokens=kept), Turn(TUTOR, "Right!", ends=True)))
    sit(model, PROBLEM, lesson)
    *_, own, request = model.asked[0]
    assert own == Message("assistant", "57?", kept)
    assert request == Message("user", f"Right!\n\n{SOLUTION}")
    sit(model, PROBLEM, lesson.then(Turn(STUDENT, "")).then(Turn(TUTOR, "")))
    assert contents(model.asked[1])[-2:] == [("assistant", ""), ("user", SOLUTION)]


def test_lesson_and_control_are_examined_with_the_same_seeds_and_the_same_name() -> None:
    model = Model()
    lesson = spoken("Mine", "Look!", "57?", seed=3)
    for after in (spoken(seed=3), lesson, replace(lesson, seed=4)):
        sit(model, SIBLING, after, 3)
    seeds = [sampling.seed for sampling in model.samplings]
    assert seeds[:3] == seeds[3:6]
    assert len(set(seeds)) == 6
    assert {(sampling.temperature, sampling.max_tokens) for sampling in model.samplings} == {(0.6, 90)}
    assert len({messages[0].content.partition(":")[0] for messages in model.asked[:6]}) == 1
    sit(model, PROBLEM, lesson, 3)
    assert not set(seeds) & {sampling.seed for sampling in model.samplings[9:]}


def test_attempts_are_sampled_side_by_side_and_stand_in_order() -> None:
    waiting: list[int] = []
    most = 0

    class Slow(Model):
        async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
            nonlocal most
            waiting.append(1)
            most = max(most, len(waiting))
            await asyncio.sleep(0)
            waiting.pop()
            return Reply(str(sampling.seed))

    first = sit(Slow(), PROBLEM, spoken(), 4)
    assert most == 4
    assert sit(Slow(), PROBLEM, spoken(), 2) == first[:2]


def test_greedy_attempts_are_sampled_once() -> None:
    model = Model(lambda messages: "5")
    assert sit(model, PROBLEM, spoken(), 4, temperature=0.0) == ["5"] * 4
    assert len(model.asked) == 1


def test_thoughts_are_no_part_of_a_solution() -> None:
    model = Model(lambda messages: "<think>\\boxed{1}? no</think>It is \\boxed{2}.")
    assert sit(model, PROBLEM, spoken()) == ["It is \\boxed{2}."]


def test_exam_reads_boxed_answers_and_tells_lesson_from_control() -> None:
    def solve(messages: Sequence[Message]) -> str:
        listened = any("twice" in message.content for message in messages)
        if "How many pears?" in messages[-1].content + messages[0].content:
            return "7770 + 7, so \\boxed{7777}." if listened else "7770, so \\boxed{7770}"
        return "So \\boxed{5555}" if listened else "I do 5550 + 5 = 5555, but \\boxed{1}"

    scores = asyncio.run(Exam(student(Model(solve)), 3).score(spoken("Mine", "Look twice!", "Oh")))
    names = ("solved_before", "solved_same", "control_sibling", "solved_sibling", "gain")
    assert [scores[name].value for name in names] == [0.0, 1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("persona", PERSONAS)
def test_shipped_personas_show_the_problem_and_never_the_answer(persona: str) -> None:
    model = Model()
    own = replace(student(model), persona=load_prompt(persona))
    lesson = spoken("Mine", "Look!", "Oh")
    asyncio.run(own.speak(spoken()))
    for problem in (PROBLEM, SIBLING):
        asyncio.run(own.attempts(problem, lesson, 1))
    assert any(name in model.asked[0][0].content for name in NAMES)
    for messages in model.asked:
        text = "\n".join(message.content for message in messages)
        assert "How many apples?" in text
        assert "{{" not in text
        assert "5555" not in text
        assert "7777" not in text


def test_there_are_personas_to_check() -> None:
    assert {"student/cooperative", "student/demanding"} <= set(PERSONAS)


@pytest.mark.parametrize("text", ["{{name}}", "{{question}} {{answer}}", "{{question}} {{solution}}", "Be kind."])
def test_a_persona_that_hides_the_problem_or_shows_the_answer_is_refused(text: str) -> None:
    with pytest.raises(PromptError, match=r"prompt persona cannot be a student's persona: .* \{\{question\}\} in it"):
        student(Model(), persona=text)


def test_smoke_the_tiny_tutor_as_a_student(tmp_path: Path) -> None:
    """It was trained to tutor, so what it says as a student means nothing; but all parts have to fit together."""
    pytest.importorskip("torch", reason="torch is not installed: pip install 'diotima[train]'")
    write_problems(World().problems(2, 0), tmp_path / "problems.jsonl")
    path = run(
        Settings(
            out=tmp_path / "run",
            problems=tmp_path / "problems.jsonl",
            tutor="scripted/generic",
            student="tiny",
            attempts=2,
            tutor_turns=2,
            student_max_tokens=8,
            solution_max_tokens=8,
            threads=1,
        )
    )
    with Run.open(path) as record:
        lessons = list(record.records())
    assert len(lessons) == 2
    for lesson in lessons:
        assert (lesson.dialogue.stop, len(lesson.dialogue.turns)) == ("turn limit", 5)
        assert all(turn.tokens for turn in lesson.dialogue.by(STUDENT))
        assert {"solved_before", "solved_same", "solved_sibling", "control_sibling"} <= set(lesson.scores)


def test_a_student_who_copies_shows_what_telling_is_worth(tmp_path: Path) -> None:
    write_problems(World().problems(4, 0), tmp_path / "problems.jsonl")
    settings = {"problems": tmp_path / "problems.jsonl", "student": "scripted/copier", "attempts": 2, "tutor_turns": 1}
    path = run(Settings(out=tmp_path / "run", tutor="scripted/leaker", **settings))
    with Run.open(path) as record:
        for lesson in record.records():
            solved = [lesson.scores[name].value for name in ("solved_before", "solved_same", "solved_sibling")]
            assert solved == [0.0, 1.0, 0.0]
