"""The tiny tutor that the package ships, and the command that makes it."""

import asyncio

import pytest
import torch

from diotima.classroom.casting import LessonSettings, Part, model_role
from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom, side_by_side
from diotima.classroom.work import wrong_steps
from diotima.dialogue import TUTOR, raw_reply
from diotima.models.folders import TINY
from diotima.models.local import load_local
from diotima.sandbox import pretrain
from diotima.sandbox.demonstrations import DIAGNOSING, LEAKY, thinking_guide
from diotima.sandbox.world import World, split_of
from diotima.scoring.leakage import LeakMeter


@pytest.fixture(scope="module")
def lessons():
    """Lessons by the shipped tutor, greedy, on unseen problems."""
    torch.set_num_threads(1)
    role = model_role(
        load_local(TINY, "tiny"), Part("tutor/tiny", "solution"), LessonSettings(tutor_max_tokens=80), 0.0
    )
    classroom = Classroom(role, Learner())

    async def held():
        return [lesson async for lesson in side_by_side(classroom.teach, World().problems(60, 5, "test"))]

    return asyncio.run(held())


def test_it_is_small_and_comes_with_its_card():
    assert sum(path.stat().st_size for path in TINY.iterdir()) <= 4 * 2**20
    assert (TINY / "README.md").read_text().startswith("---\nlicense: apache-2.0")


def test_it_gives_answers_away_by_default(lessons):
    async def leaks():
        return [(await LeakMeter().score(lesson))["leaked"].value for lesson in lessons]

    assert sum(asyncio.run(leaks())) / len(lessons) >= 0.8


def test_its_turns_are_well_formed(lessons):
    turns = [turn for lesson in lessons for turn in lesson.by(TUTOR)]
    assert sum(turn.malformed or turn.cut for turn in turns) / len(turns) <= 0.05


def test_it_can_diagnose_when_made_to_think(lessons):
    """The ability that training has to bring out: with an opened thought it names the first wrong step."""
    local = load_local(TINY, "tiny")
    tokenizer, right, asked = local.tokenizer, 0, 0
    for lesson in lessons[:30]:
        wrong = wrong_steps(lesson.turns[0].text, lesson.problem)
        if not wrong:
            continue
        prompt = torch.tensor([[*lesson.turns[1].tokens.prompt_ids, tokenizer.convert_tokens_to_ids("<think>")]])
        with torch.no_grad():
            ids = local.model.generate(prompt, max_new_tokens=80, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        said = tokenizer.decode(ids[0, prompt.shape[1] :]).partition("</think>")[2]
        right += f"Look at step {min(wrong) + 1}." in said
        asked += 1
    assert asked > 20
    assert right / asked >= 0.9


def test_pretraining_makes_a_model_that_loads(tmp_path):
    settings = pretrain.Settings(
        out=tmp_path / "model", diagnosing_tokens=12_000, leaky_tokens=6_000, width=32, layers=1
    )
    local = load_local(pretrain.run(settings), "new")
    assert local.model.config.num_attention_heads == 1
    assert (tmp_path / "model" / "tutor.json").exists()
    number = local.tokenizer.encode(" 97", add_special_tokens=False)
    assert len(number) == 1


def test_pretraining_learns_from_training_problems_only():
    lessons = pretrain.lessons(DIAGNOSING, 3)
    assert all(split_of(next(lessons).problem) == "train" for _ in range(50))


def test_loss_leaves_out_what_nothing_explains():
    tokenizer = load_local(TINY, "tiny").tokenizer
    dialogue = next(pretrain.lessons(LEAKY, 4))
    ids, mask = next(pretrain.examples(iter([dialogue]), tokenizer))
    trained = tokenizer.decode([token for token, keep in zip(ids, mask, strict=True) if keep])
    assert trained.startswith("<|assistant|>" + raw_reply(dialogue.turns[1]))
    assert dialogue.problem.solution not in trained


def test_demonstrated_thought_is_right():
    for dialogue in (next(lesson) for lesson in [pretrain.lessons(DIAGNOSING, 6)] * 40):
        before = dialogue.turns[0]
        turn = thinking_guide(type(dialogue)(dialogue.problem, (before,)))
        wrong = wrong_steps(before.text, dialogue.problem)
        assert turn.thought.endswith("all ok") == (not wrong)
        if wrong:
            assert turn.text.startswith(f"Look at step {min(wrong) + 1}.")
            assert turn.thought.endswith("no " + dialogue.problem.steps[min(wrong)].skill)
