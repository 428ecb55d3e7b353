import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from servers.scripted import Script, ScriptedServer

from diotima.classroom.casting import PARTS
from diotima.corpus import candidates
from diotima.corpus.candidates import Settings, run
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Message, Turn
from diotima.errors import CallFailed, ModelError, PromptError, RunError, SettingsError
from diotima.models.opening import open_model
from diotima.models.scripted import ScriptedModel
from diotima.problems.problem import Problem
from diotima.prompt import load_prompt
from diotima.runs.run import Run
from diotima.sandbox.world import World
from diotima.settings import load_settings

GUIDE, LEAKER = "scripted/guide", "scripted/leaker"
PROBLEMS = list(World().problems(8, 0, "test"))


def write_contexts(folder: Path, *dialogues: Dialogue, label: str = "set") -> Path:
    with Run.create(folder, stage="contexts", settings={}, seed=0) as record:
        for dialogue in dialogues:
            record.add(dialogue, label)
        record.finish()
    return folder


def sandbox_context(number: int, *said: str) -> Dialogue:
    """A sandbox problem; the turns begin with the student's and the last is the student's."""
    problem = PROBLEMS[number]
    speakers = (STUDENT, TUTOR) * len(said)
    turns = tuple(Turn(speaker, text) for speaker, text in zip(speakers, said, strict=False))
    return Dialogue(problem, turns, 50 + number, "context")


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    wrong = "Line 1: 1 + 1 = 9\nMy answer is 9."
    leaked = f"The answer is {PROBLEMS[0].answer}."
    return write_contexts(
        tmp_path / "contexts",
        sandbox_context(0, wrong, leaked, wrong),
        *(sandbox_context(number, wrong) for number in (1, 2, 3)),
    )


def settings(contexts: Path, tutor: Any = GUIDE, **more: Any) -> Settings:
    given = {"contexts": contexts, "out": contexts.parent / "out", "tutor": tutor, "threads": 1, **more}
    return load_settings(Settings, None, given)


def kept(path: Path, label: str | None = None) -> list[Dialogue]:
    with Run.open(path) as record:
        return [held.dialogue for held in record.records(label)]


def test_every_tutor_replies_to_every_context_under_the_same_seeds(contexts: Path) -> None:
    path = run(settings(contexts, (GUIDE, LEAKER), label=("good", "bad"), candidates=3))
    assert isinstance(path, Path)
    asked = {context.problem.id: context for context in kept(contexts)}
    with Run.open(path) as record:
        assert record.labels() == ["good", "bad"]
        assert record.manifest["stage"] == "candidates"
        assert record.manifest["finished"]
        assert record.manifest["expected"] == {"good": 12, "bad": 12}
    for label in ("good", "bad"):
        dialogues = kept(path, label)
        assert len(dialogues) == 12
        for dialogue in dialogues:
            assert dialogue.turns[:-1] == asked[dialogue.problem.id].turns
            assert (dialogue.turns[-1].speaker, dialogue.stop) == (TUTOR, "candidate")
    keys = [[(one.problem.id, one.seed) for one in kept(path, label)] for label in ("good", "bad")]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 12
    assert len({turn.turns[-1].text for turn in kept(path, "good")}) > 4


def test_another_seed_is_another_draw(contexts: Path, tmp_path: Path) -> None:
    first, second = (run(settings(contexts, seed=seed, out=tmp_path / str(seed))) for seed in (0, 1))
    assert isinstance(first, Path)
    assert isinstance(second, Path)
    assert not {one.seed for one in kept(first)} & {one.seed for one in kept(second)}


def test_only_the_reply_is_scored(contexts: Path) -> None:
    path = run(settings(contexts, (GUIDE, LEAKER), candidates=1))
    assert isinstance(path, Path)
    with Run.open(path) as record:
        leaks = {label: [held.scores["leaked"].value for held in record.records(label)] for label in (GUIDE, LEAKER)}
        scores = next(held.scores for held in record.records(GUIDE) if len(held.dialogue.turns) == 4)
    assert leaks == {GUIDE: [0.0] * 4, LEAKER: [1.0] * 4}
    assert scores["tutor_turns"].value == 1.0
    assert scores["well_formed"].value == 1.0


def test_what_nobody_knows_the_answer_of_is_not_searched_for_leaks(tmp_path: Path) -> None:
    free = Dialogue(Problem("free", "", ""), (Turn(STUDENT, "What is a prime?"),), 3, "context")
    path = run(settings(write_contexts(tmp_path / "contexts", free), "scripted/parrot", candidates=1))
    assert isinstance(path, Path)
    with Run.open(path) as record:
        scores = next(record.records()).scores
    assert (scores["leaked"].value, scores["leaked"].reason) == (None, "the problem has no answer")
    assert scores["well_formed"].value == 1.0


def test_a_model_in_this_process_reads_any_history_and_keeps_the_reply_tokens(tmp_path: Path) -> None:
    work = "Line 1: 1 + 1 = 9\nMy answer is 9."
    opened = sandbox_context(1, "Hello.", "Show me your work.", work)
    by_tutor = Dialogue(opened.problem, (Turn(TUTOR, "Show me your work."), Turn(STUDENT, work)), 9, "context")
    folder = write_contexts(tmp_path / "contexts", opened, by_tutor)
    path = run(settings(folder, "tiny", candidates=2, tutor_max_tokens=24))
    assert isinstance(path, Path)
    model = open_model("tiny")
    for dialogue in kept(path):
        *history, reply = dialogue.turns
        assert [turn.tokens for turn in history] == [None] * len(history)
        assert reply.tokens is not None
        prompt = load_prompt("tutor/tiny").fill(solution=dialogue.problem.solution, answer=dialogue.problem.answer)
        before = Dialogue(dialogue.problem, tuple(history))
        chat = [Message("system", prompt), *before.seen_by(TUTOR)]
        assert reply.tokens.prompt_ids == model.format.context(chat)  # type: ignore[attr-defined]
    assert len({dialogue.turns[-1].tokens for dialogue in kept(path)}) == 4


def test_the_tokens_of_another_model_are_left_behind(tmp_path: Path) -> None:
    lesson = run(settings(write_contexts(tmp_path / "one", sandbox_context(1, "Hi.")), "tiny", candidates=1))
    assert isinstance(lesson, Path)
    spoken = kept(lesson)[0]
    assert spoken.turns[-1].tokens
    later = write_contexts(tmp_path / "two", spoken.then(Turn(STUDENT, "And now?")).stopped("context"))
    path = run(settings(later, "tiny", candidates=1, out=tmp_path / "later", tutor_prompt="tutor/context"))
    assert isinstance(path, Path)
    reply = kept(path)[0].turns[-1]
    assert reply.tokens
    earlier = spoken.turns[-1].tokens.prompt_ids
    assert reply.tokens.prompt_ids[: len(earlier)] != earlier


def test_a_killed_run_goes_on_with_what_is_missing(
    contexts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(contexts, (GUIDE, LEAKER), candidates=4, at_once=1)
    measured, done = candidates.measured, []

    async def dies(dialogue: Dialogue, scorers: Any) -> Any:
        if len(done) == 21:
            raise KeyboardInterrupt
        done.append(dialogue)
        return await measured(dialogue, scorers)

    with monkeypatch.context() as patch:
        patch.setattr(candidates, "measured", dies)
        with pytest.raises(KeyboardInterrupt):
            run(asked)
    assert 16 <= len(kept(asked.out)) < 32
    run(asked)
    whole = run(asked.model_copy(update={"out": tmp_path / "whole"}))
    assert isinstance(whole, Path)
    assert kept(asked.out) == kept(whole)
    with pytest.raises(RunError, match="candidates: 4 -> 5"):
        run(asked.model_copy(update={"candidates": 5}))


def test_other_contexts_are_another_run(contexts: Path) -> None:
    run(settings(contexts))
    with Run.create(contexts, stage="contexts", settings={}, seed=0) as record:
        record.add(sandbox_context(5, "Help me."), "set")
        record.finish()
    with pytest.raises(RunError, match="contexts_fingerprint"):
        run(settings(contexts))


def test_the_prompt_stands_in_the_run(contexts: Path) -> None:
    path = run(settings(contexts, (GUIDE, "tiny"), label=("g", "t"), candidates=1, tutor_max_tokens=8))
    assert isinstance(path, Path)
    with Run.open(path) as record:
        parts = record.manifest["settings"][PARTS]
    tiny = load_prompt("tutor/tiny")
    told = {"prompt": "tutor/tiny", "text": tiny.text, "fingerprint": tiny.fingerprint, "sees": "solution"}
    assert parts == {"g": {"tutor": GUIDE}, "t": {"tutor": "tiny", **told}}


def test_all_candidates_of_a_context_answer_one_prompt(
    contexts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []

    def say(messages: Sequence[Message]) -> str:
        heard.append(messages[0].content)
        return f"reply {len(heard)}"

    module = types.ModuleType("own_tutor")
    module.make = lambda: ScriptedModel(say)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_tutor", module)
    (tmp_path / "named.md").write_text("You teach {{name}}: {{question}}\n")
    run(settings(contexts, "own_tutor:make", tutor_prompt=str(tmp_path / "named.md"), candidates=6))
    assert len(heard) == 24
    assert len(set(heard)) == 4


def test_a_prompt_with_a_gap_is_refused(contexts: Path, tmp_path: Path) -> None:
    free = Dialogue(Problem("free", "", ""), (Turn(STUDENT, "What is a prime?"),), 3, "context")
    mixed = write_contexts(tmp_path / "mixed", free, sandbox_context(1, "Help me."))
    with pytest.raises(PromptError, match=r"uses the answer, which 1 of 2 contexts do not have, the first is free"):
        run(settings(mixed, "tiny"))
    assert not (tmp_path / "out").exists()
    run(settings(mixed, "tiny", tutor_prompt="tutor/context", candidates=1, tutor_max_tokens=8))
    assert len(kept(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"temperature": 0.0}, "at temperature 0 all 5 candidates would be the same"),
        ({"label": ("a", "b")}, "there are 1 tutors but 2 labels"),
        ({"tutor": (GUIDE, GUIDE)}, "two tutors cannot share a label"),
        ({"sets": "sett"}, "holds no set sett; did you mean set"),
        ({"tutor": "scripted/guru"}, "there is no tutor scripted/guru"),
    ],
)
def test_settings_that_do_not_fit(contexts: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        run(settings(contexts, **given))
    assert not (contexts.parent / "out").exists()


def test_a_lesson_is_no_context(tmp_path: Path) -> None:
    over = sandbox_context(1, "Hi.").stopped("student ended")
    with pytest.raises(RunError, match="does not wait for a tutor; cut lessons"):
        run(settings(write_contexts(tmp_path / "over", over)))
    answered = sandbox_context(1, "Hi.", "Hello.")
    with pytest.raises(RunError, match="does not wait for a tutor"):
        run(settings(write_contexts(tmp_path / "answered", answered)))


def test_contexts_of_several_sets_are_taken_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_contexts(tmp_path / "contexts", sandbox_context(1, "Hi."), sandbox_context(2, "Hi."), label="train")
    write_contexts(folder, sandbox_context(1, "Hi."), label="test")
    path = run(settings(folder, candidates=1))
    assert isinstance(path, Path)
    assert len(kept(path)) == 2
    assert "3 contexts are 2 different ones" in capsys.readouterr().err
    only = run(settings(folder, candidates=1, sets="test", out=tmp_path / "only"))
    assert isinstance(only, Path)
    assert len(kept(only)) == 1
    write_contexts(folder, sandbox_context(2, "Another text."), label="third")
    with pytest.raises(RunError, match="two sets hold different contexts"):
        run(settings(folder, out=tmp_path / "x"))


def test_the_figures_are_told(contexts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run(settings(contexts, LEAKER, candidates=2))
    assert isinstance(path, Path)
    told = json.loads((path / "summary.json").read_text())["tutors"][LEAKER]
    assert (told["contexts"], told["candidates"], told["different"]) == (4, 8, 4)
    assert (told["well_formed"], told["cut"], told["leaked"]) == (1.0, 0.0, 1.0)
    assert "scripted/leaker" in capsys.readouterr().out


SERVED = Script(kind="vllm", models=("m",))


def test_replies_of_a_server_are_paid_for_once(contexts: Path, tmp_path: Path) -> None:
    with ScriptedServer(SERVED) as server:
        tutor = f"vllm/m@{server.url}"
        given = {"tutor_prompt": "tutor/context", "candidates": 3}
        path = run(settings(contexts, tutor, **given))
        assert isinstance(path, Path)
        assert {label: len(kept(path, label)) for label in ("vllm/m",)} == {"vllm/m": 12}
        assert server.counts()["billed"] == 12
        run(settings(contexts, tutor, **given))
        forked = run(settings(contexts, tutor, **given, fork=path, out=tmp_path / "fork"))
        assert isinstance(forked, Path)
        assert kept(forked) == kept(path)
        assert server.counts()["billed"] == 12


def test_a_dry_run_asks_nobody(contexts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(SERVED) as server:
        told = run(settings(contexts, f"vllm/m@{server.url}", dry_run=True, tutor_prompt="tutor/context"))
        assert server.counts()["billed"] == 0
    assert isinstance(told, dict)
    assert (told["contexts"], told["candidates"], told["at_most"]["calls"]) == (4, 20, 20)
    assert told["at_most"]["reply_tokens"] == 20 * 120
    assert "20 candidates on 4 contexts" in capsys.readouterr().out
    assert not (contexts.parent / "out").exists()


def test_a_context_that_is_too_long_costs_its_own_candidates_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = sandbox_context(1, "word " * 900)
    folder = write_contexts(tmp_path / "contexts", long, sandbox_context(2, "Hi."))
    with ScriptedServer(Script(kind="vllm", models=("m",), context=600)) as server:
        path = run(settings(folder, f"vllm/m@{server.url}", candidates=2, tutor_prompt="tutor/context"))
        assert isinstance(path, Path)
        assert [len(dialogue.turns[0].text) for dialogue in kept(path)] == [3, 3]
        assert "vllm/m cannot give 2 of 4 candidates" in capsys.readouterr().err
        alone = settings(
            write_contexts(tmp_path / "alone", long),
            f"vllm/m@{server.url}",
            candidates=2,
            tutor_prompt="tutor/context",
            out=tmp_path / "none",
        )
        with pytest.raises(ModelError, match="2 candidates were lost"):
            run(alone)


def test_what_a_failing_server_loses_is_told(contexts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(self: Any, dialogue: Dialogue) -> Turn:
        if dialogue.problem.id == PROBLEMS[1].id:
            raise CallFailed("vllm/m does not answer")
        return Turn(TUTOR, "Why?")

    monkeypatch.setattr("diotima.classroom.tutors.Scripted.speak", fails)
    with pytest.raises(ModelError, match=r"2 candidates were lost \(vllm/m does not answer\); the others are kept"):
        run(settings(contexts, candidates=2))
    assert len(kept(contexts.parent / "out")) == 6
