"""A step's lessons on the tiny tutor: judges x thoughts x soft and hard, what is left out, and what is kept of it."""

import json
import math
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from servers.scripted import Script, ScriptedServer

from diotima.dialogue import THINK_OPEN, TUTOR, Message, stable_seed
from diotima.errors import CallFailed, ModelError
from diotima.models.scripted import ScriptedModel
from diotima.runs.run import Run
from diotima.scoring.judge import ModelJudge
from diotima.training import assessment
from diotima.training.grpo import Settings, make_trainer, prepare, run
from diotima.training.rollout import with_spread
from diotima.training.rows import silent_row

JUDGE = "scripted/garbage"  # nobody is asked by this name where a judge is put in
WEIGHTS = {"solved": 1.0, "rejected": 0.25, "form": 0.0, "thought": 0.5, "end": 0.1, "length": 0.5}
TRL = {"max_steps": 1, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_generations": 4}


def settings(problems, out, **changes) -> Settings:
    short = {"tutor_turns": 2, "tutor_max_tokens": 40, "threads": 1, "attempts": 4}
    return Settings(out=out, problems=problems, **(short | {"trl": TRL | changes.pop("trl", {})} | changes))


def step_of(chosen: Settings):
    """The rows of one step, the lessons that it was made of, its metrics, and what was kept."""
    prepared = prepare(chosen)
    with Run.create(chosen.out, stage="train grpo", settings={}, seed=0) as record:
        prepared.calls.keep_books_in(record)
        rollouts = make_trainer(chosen, prepared, record).rollout_func
        held, hold = [], rollouts._hold

        async def remembering(*what):
            held.extend(await hold(*what))
            return held

        rollouts._hold = remembering
        prompts = [row["prompt"] for row in rollouts.prompts()[:2] for _ in range(4)]
        rows = rollouts(prompts, Trainer(prepared))
        return rows, held, {name: value for name, ((_, value),) in record.metrics().items()}, list(record.records())


class Trainer:
    """As much of a trainer as rollouts look at."""

    def __init__(self, prepared) -> None:
        self.args, self.model, self.processing_class = prepared.args, prepared.local.model, prepared.local.tokenizer
        self.accelerator = self.state = self
        self.global_step = self.process_index = 0
        self.reward_weights = torch.ones(1)

    def unwrap_model(self, model):
        return model


def judged_by(monkeypatch, script) -> None:
    def cast(name, settings, calls, rubric):
        return ModelJudge(ScriptedModel(script), name)

    monkeypatch.setattr(assessment, "cast_judge", cast)


def by_chance(messages: Sequence[Message]) -> str:
    """A judge that rejects about half of what it reads."""
    decision = "REJECT" if stable_seed(messages[0].content) % 2 else "OK"
    return json.dumps({"reasoning": "", "decision": decision})


def sometimes_silent(messages: Sequence[Message]) -> str:
    """The same judge, but about a third of the lessons it does not talk about."""
    return "Well..." if stable_seed("silent", messages[0].content) % 3 == 0 else by_chance(messages)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("thinking", ["off", "forced"])
def test_judges_thoughts_soft_and_hard(problems, tmp_path, monkeypatch, hard, thinking) -> None:
    judged_by(monkeypatch, by_chance)
    chosen = settings(
        problems,
        tmp_path / "run",
        rejected_by=("leak", "pedagogy"),
        judge=JUDGE,
        hard=hard,
        thinking=thinking,
        opens="both",
        **{name: weight for name, weight in WEIGHTS.items() if name not in ("solved", "rejected")},
        penalty=WEIGHTS["rejected"],
        trl={"multi_objective_aggregation": "normalize_then_sum"},
    )
    rows, held, metrics, _ = step_of(chosen)
    rejections = []
    for terms, lesson in zip(rows["terms"], held, strict=True):
        turns, score = lesson.dialogue.by(TUTOR), {name: one.value for name, one in lesson.scores.items()}
        rejected = any(judgement.labels["decision"] == "REJECT" for judgement in lesson.judgements)
        rejections.append(rejected)
        thought = sum(bool(turn.thought) and not turn.malformed for turn in turns) / len(turns)
        thought -= sum(turn.malformed for turn in turns)
        expected = -0.5 * any(turn.cut for turn in turns) - 0.25 * rejected
        if not (hard and rejected):
            expected += score["solved_same"] + 0.5 * thought + 0.1 * turns[-1].ends
        assert sum(WEIGHTS[name] * term for name, term in terms.items()) == pytest.approx(expected)
        assert len(lesson.judgements) == 4  # two rules, two samples of each
    assert 0 < sum(rejections) < len(rejections)
    assert metrics["leak.accepted/missing"] == metrics["reward/missing"] == 0.0
    opening = prepare(chosen).local.tokenizer.convert_tokens_to_ids(THINK_OPEN)
    for lesson, ids, mask in zip(held, rows["completion_ids"], rows["env_mask"], strict=True):
        begun = [turn.tokens.prompt_ids[-1] == opening for turn in lesson.dialogue.by(TUTOR)]
        assert all(begun) if thinking == "forced" else not any(begun)
        sampled = [token for turn in lesson.dialogue.by(TUTOR) for token in turn.tokens.reply_ids]
        if any(mask):
            assert [token for token, keep in zip(ids, mask, strict=True) if keep] == sampled


def test_a_lesson_whose_judge_cannot_be_read_is_left_out_whole_and_one_that_can_is_not(
    problems, tmp_path, monkeypatch
) -> None:
    judged = {"rejected_by": "leak", "judge": JUDGE, "samples": 1}
    judged_by(monkeypatch, by_chance)
    control, _, metrics, _ = step_of(settings(problems, tmp_path / "control", **judged))
    assert None not in control["terms"]
    assert metrics["reward/missing"] == 0.0

    judged_by(monkeypatch, sometimes_silent)
    rows, held, metrics, _ = step_of(settings(problems, tmp_path / "run", **judged))
    missing = [terms is None for terms in rows["terms"]]
    assert 0 < sum(missing) < len(missing)
    for absent, lesson, mask, readable in zip(missing, held, rows["env_mask"], control["terms"], strict=True):
        assert absent == (lesson.judgements[0].state == "invalid")
        assert not (absent and any(mask))
        assert lesson.scores["solved_same"].value is not None  # it would have been worth something
        assert readable is not None
    assert any(map(any, rows["env_mask"]))
    assert metrics["reward/missing"] == metrics["leak.accepted/missing"] == sum(missing) / len(missing)


def test_trl_takes_a_row_without_terms_for_no_row_at_all(problems, tmp_path, monkeypatch) -> None:
    judged_by(monkeypatch, sometimes_silent)
    chosen = settings(problems, tmp_path / "run", rejected_by="leak", judge=JUDGE, samples=1)
    prepared = prepare(chosen)
    with Run.create(chosen.out, stage="train grpo", settings={}, seed=0) as record:
        trainer = make_trainer(chosen, prepared, record)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        inputs = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
        rewards = trainer._logs["rewards"]
    sums = [sum(values) for values in zip(*(rewards[name] for name in prepared.assessment.weights.terms), strict=True)]
    assert 0 < sum(map(math.isnan, sums)) < len(sums)
    for start in range(0, 8, 4):
        group, advantages = sums[start : start + 4], inputs["advantages"][start : start + 4].tolist()
        known = [value for value in group if not math.isnan(value)]
        for value, advantage in zip(group, advantages, strict=True):
            if math.isnan(value):
                assert advantage == 0.0
            elif len(known) > 1:  # set against the others that are known, and no zero among them
                assert (advantage > 1e-6) == (value > sum(known) / len(known) + 1e-6)


def test_a_frozen_student_and_a_judge_behind_an_endpoint_are_paid_once(problems, tmp_path) -> None:
    with ScriptedServer(Script(voice="solver")) as server:
        there = {
            "student": f"vllm/scripted@{server.url}",
            "judge": f"vllm/scripted@{server.url}",
            "rejected_by": ("leak-meter", "leak"),
            "student_prompt": ("student/cooperative", "student/demanding"),
            "keep_every": 1,
        }
        _, held, metrics, kept = step_of(settings(problems, tmp_path / "run", **there))
        asked = len(server.seen()["order"])
        turns = sum(len(lesson.dialogue.by("student")) for lesson in held)
        # What the reward needs and nothing more: turns, attempts at the same problem, two samples of one rule.
        assert asked == turns + 8 * 4 + 8 * 2
        assert metrics["solved_same/missing"] == metrics["leak.accepted/missing"] == 0.0
        assert "solved_sibling" not in metrics
        assert len(kept) == 4
        assert {record.label for record in kept} == {"step 1"}
        assert all(record.judgements and record.scores for record in kept)
        again, *_ = step_of(settings(problems, tmp_path / "run", **there))
        assert len(server.seen()["order"]) == asked
        assert again["terms"] == [terms for terms in again["terms"] if terms]


def test_a_lesson_whose_student_failed_is_a_row_on_which_nothing_is_trained(problems, tmp_path, monkeypatch) -> None:
    from diotima.classroom.learner import Learner

    attempts, speak = Learner.attempts, Learner.speak

    def fails(seed):
        return stable_seed("fails", seed) % 4 == 0

    async def failing(self, problem, after, count):
        if after.turns and fails(after.seed):
            raise CallFailed("no answer")
        return await attempts(self, problem, after, count)

    async def mute(self, dialogue):
        if not fails(dialogue.seed):
            raise CallFailed("no answer")
        return await speak(self, dialogue)

    monkeypatch.setattr(Learner, "attempts", failing)
    rows, held, metrics, kept = step_of(settings(problems, tmp_path / "one", keep_every=1))
    lost = [fails(lesson.dialogue.seed) for lesson in held]
    assert 0 < sum(lost) < 5
    assert [terms is None for terms in rows["terms"]] == lost
    assert metrics["reward/missing"] == sum(lost) / len(lost)
    assert not {record.dialogue.seed for record in kept} & {lesson.dialogue.seed for lesson in held if lesson.lost}
    monkeypatch.setattr(Learner, "speak", mute)
    with pytest.raises(ModelError, match=r"[5-8] of the 8 lessons of step 1 were lost, so training stops; .*no answer"):
        step_of(settings(problems, tmp_path / "both"))


def test_a_lesson_in_which_no_tutor_spoke_trains_nothing(problems, tmp_path) -> None:
    rows, held, _, _ = step_of(settings(problems, tmp_path / "run", most_words=1, opens="student"))
    assert all(not lesson.dialogue.by(TUTOR) for lesson in held)
    assert rows["terms"] == [None] * 8
    row = silent_row({7, 9})
    assert (row.prompt_ids, row.completion_ids, row.mask) == ((7,), (7,), (0,))


def test_a_group_has_spread_in_its_sum_or_if_asked_in_any_term() -> None:
    names = ["a", "a", "b", "b", "c", "c"]
    terms = [
        {"solved": 1.0, "rejected": -1.0},
        {"solved": 0.0, "rejected": 0.0},
        {"solved": 0.5, "rejected": 0.0},
        {"solved": 0.5, "rejected": -1.0},
        {"solved": 0.5, "rejected": 0.0},
        None,
    ]
    assert with_spread(names, terms) == [False, False, True, True, False, False]
    assert with_spread(names, terms, separately=True) == [True, True, True, True, False, False]


@pytest.mark.parametrize("generations", [1, 2])
def test_lambda_grows_with_the_steps_and_figures_are_of_all_their_lessons(problems, tmp_path, generations) -> None:
    trl = {"max_steps": 4, "gradient_accumulation_steps": generations, "steps_per_generation": 1}
    penalty = {"from": 0.25, "to": 1.0, "steps": 2}
    chosen = settings(problems, tmp_path / "run", penalty=penalty, keep_every=2, keep_lessons=3, trl=trl)
    run(chosen)
    with Run.open(chosen.out) as record:
        metrics = record.metrics()
        assert Counter(kept.label for kept in record.records()) == {"step 2": 3, "step 4": 3}
    assert [value for _, value in metrics["penalty"]] == [0.25, 0.625, 1.0, 1.0]
    for (_, mean), (_, leaked), (_, penalty) in zip(
        metrics["rewards/rejected/mean"], metrics["leaked"], metrics["penalty"], strict=True
    ):
        assert mean == pytest.approx(-penalty * leaked, abs=1e-6)
