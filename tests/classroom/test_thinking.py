import asyncio

import pytest
from servers.scripted import Script, serving

from diotima.classroom.casting import LessonSettings, Part, cast_tutor, model_role, part_of, remember_part
from diotima.classroom.thinking import Thoughts, begins, told_to_think
from diotima.dialogue import STUDENT, THINK_OPEN, TUTOR, Dialogue, Turn, split_reply
from diotima.errors import ModelError, SettingsError
from diotima.models.opening import open_model
from diotima.problems.problem import Problem
from diotima.prompt import load_prompt

PROBLEM = Problem("p", "What is 6 x 7?", "42")
SOCRATIC = load_prompt("tutor/socratic")


def said(raw: str) -> Turn:
    text, thought, ends, malformed = split_reply(raw)
    return Turn(TUTOR, text, thought, ends, malformed=malformed)


@pytest.mark.parametrize(
    ("replies", "thoughts", "unbalanced"),
    [
        (["<think>Six.</think>And now?", "Well?"], 0.5, 0),
        (["<think>Six.</think>And now?", "<think>Hm.</think>Well?"], 1, 0),
        (["<think>Six. And now?", "Hm.</think>Well?", "Well?"], 0, 2),
        (["<think></think>An empty thought is none."], 0, 0),
        (["<think>All of it is thought.</think>"], 0, 1),
        (["<think>a<think>b</think>c", "<think>d</think>e"], 0.5, 1),
    ],
)
def test_thoughts_are_counted(replies: list[str], thoughts: float, unbalanced: float) -> None:
    turns = [turn for reply in replies for turn in (Turn(STUDENT, "<think>x"), said(reply))]
    scores = asyncio.run(Thoughts().score(Dialogue(PROBLEM, tuple(turns))))
    assert {name: score.value for name, score in scores.items()} == {"thoughts": thoughts, "unbalanced": unbalanced}


def test_of_a_tutor_that_never_spoke_nothing_is_known() -> None:
    scores = asyncio.run(Thoughts().score(Dialogue(PROBLEM, (Turn(STUDENT, "Hello?"),))))
    assert {score.state for score in scores.values()} == {"invalid"}


def test_a_tutor_is_told_to_think_after_its_own_prompt() -> None:
    assert told_to_think(SOCRATIC, "off") is SOCRATIC
    allowed, forced = told_to_think(SOCRATIC, "allowed"), told_to_think(SOCRATIC, "forced")
    assert len({prompt.fingerprint for prompt in (SOCRATIC, allowed, forced)}) == 3
    for prompt in (allowed, forced):
        assert prompt.text.startswith(SOCRATIC.text)
        assert prompt.placeholders == SOCRATIC.placeholders
        assert "<think>" in prompt.text.removeprefix(SOCRATIC.text)
    assert (begins("off"), begins("allowed"), begins("forced")) == ("", "", THINK_OPEN)


def test_a_trained_tutor_thinks_as_in_training(tmp_path) -> None:
    remember_part(tmp_path, Part("tutor/tiny", "solution", "forced"))
    assert part_of(tmp_path, LessonSettings()).thinking == "forced"
    assert part_of(tmp_path, LessonSettings(thinking="off")) == Part("tutor/tiny", "solution", "off")
    remember_part(tmp_path, Part(thinking="sometimes"))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="thinking must be one of off, allowed, forced"):
        part_of(tmp_path, LessonSettings())


def test_a_forced_thought_is_begun_in_what_the_tutor_reads_at_every_turn() -> None:
    model = open_model("tiny")
    settings = LessonSettings(tutor_max_tokens=12)
    opening = model.tokenizer.convert_tokens_to_ids(THINK_OPEN)
    free, forced = (
        model_role(model, Part("tutor/tiny", "solution", thinking), settings, 1.0) for thinking in ("off", "forced")
    )

    async def two_turns(role) -> tuple[Turn, Turn]:
        dialogue = Dialogue(PROBLEM, (Turn(STUDENT, "Line 1: 6 + 7 = 13"),), seed=1)
        first = await role.speak(dialogue)
        return first, await role.speak(dialogue.then(first).then(Turn(STUDENT, "Line 1: 6 x 7 = 42")))

    first, second = asyncio.run(two_turns(forced))
    for turn in (first, second):
        assert turn.tokens.prompt_ids[-1] == opening
        assert turn.malformed or turn.thought
    assert second.tokens.prompt_ids[: len(first.tokens.prompt_ids)] == first.tokens.prompt_ids
    assert asyncio.run(two_turns(free))[0].tokens.prompt_ids[-1] != opening


def test_behind_an_endpoint_nobody_can_begin_a_thought() -> None:
    async def refused() -> str:
        async with serving(Script()) as server:
            settings = LessonSettings(thinking="forced")
            name = f"vllm/scripted@{server.url}"
            with pytest.raises(SettingsError, match="thinking = forced: vllm/scripted is behind an endpoint") as told:
                await asyncio.to_thread(cast_tutor, name, settings, 1.0)
            assert await asyncio.to_thread(cast_tutor, name, LessonSettings(thinking="allowed"), 1.0)
            return str(told.value)

    assert "take thinking = allowed" in asyncio.run(refused())
