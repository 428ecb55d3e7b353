import asyncio
from collections.abc import Sequence

import pytest

from diotima.classroom.roles import Role, Sees
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Message, Tokens, Turn
from diotima.errors import PromptError
from diotima.models.chat import Reply, Sampling
from diotima.models.scripted import ScriptedModel, queue_of
from diotima.problems.problem import Problem
from diotima.prompt import Prompt

PROBLEM = Problem("p", "How many apples?", "57", "12 + 45 = 57")
DIALOGUE = Dialogue(PROBLEM).then(Turn(STUDENT, "55?", "I guess"))


def prompt(text: str) -> Prompt:
    return Prompt("test", text, "0")


def role(model: ScriptedModel, text: str = "{{question}}", sees: Sees = "question") -> Role:
    return Role(TUTOR, model, prompt(text), sees=sees)


def test_the_model_sees_the_filled_prompt_and_the_tutors_view() -> None:
    dialogue = DIALOGUE.then(Turn(TUTOR, "Look again.", "he guessed")).then(Turn(STUDENT, "57"))
    assert role(queue_of([])).messages(dialogue) == [
        Message("system", "How many apples?"),
        Message("user", "55?"),
        Message("assistant", "<think>he guessed</think>Look again."),
        Message("user", "57"),
    ]


@pytest.mark.parametrize(
    ("sees", "text", "filled"),
    [
        ("question", "Q {{question}}", "Q How many apples?"),
        ("answer", "A {{answer}}", "A 57"),
        ("solution", "S {{solution}} {{answer}}", "S 12 + 45 = 57 57"),
        ("solution", "nothing", "nothing"),
    ],
)
def test_what_a_prompt_may_use(sees: Sees, text: str, filled: str) -> None:
    assert role(queue_of([]), text, sees).messages(DIALOGUE)[0].content == filled


@pytest.mark.parametrize(
    ("sees", "text"), [("question", "{{answer}}"), ("answer", "{{solution}}"), ("solution", "{{steps}}")]
)
def test_a_prompt_that_asks_for_more_is_refused(sees: Sees, text: str) -> None:
    with pytest.raises(PromptError, match=f"prompt test uses .*, but the tutor sees the {sees} only; use another"):
        role(queue_of([]), text, sees)


def test_a_reply_becomes_a_turn() -> None:
    tokens = Tokens((1, 2), (3,), (-0.1,))

    class Model:
        async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
            return Reply("<think>55, so no</think>Look!<end_of_conversation>", "length", tokens)

    turn = asyncio.run(Role(TUTOR, Model(), prompt("")).speak(DIALOGUE))
    assert turn == Turn(TUTOR, "Look!", "55, so no", ends=True, cut=True, tokens=tokens)


def test_a_malformed_reply_is_a_turn_too() -> None:
    turn = asyncio.run(role(queue_of(["<think>the answer is 57"])).speak(DIALOGUE))
    assert (turn.text, turn.malformed, turn.cut) == ("", True, False)


def test_every_turn_of_every_lesson_has_a_sampling_seed_of_its_own() -> None:
    seeds: list[int | None] = []

    class Model:
        async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
            seeds.append(sampling.seed)
            assert (sampling.temperature, sampling.max_tokens) == (0.3, 9)
            return Reply("Look!")

    speaker = Role(TUTOR, Model(), prompt(""), Sampling(temperature=0.3, max_tokens=9))
    later = DIALOGUE.then(Turn(TUTOR, "Look!")).then(Turn(STUDENT, "56?"))
    other = Dialogue(PROBLEM, DIALOGUE.turns, seed=1)
    for dialogue in (DIALOGUE, later, other, DIALOGUE):
        asyncio.run(speaker.speak(dialogue))
    assert len(set(seeds)) == 3
    assert seeds[0] == seeds[3] is not None
