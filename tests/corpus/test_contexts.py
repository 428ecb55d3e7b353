"""Gathering contexts: what is cut where, what is counted, and what is told of repetitions."""

import json
from pathlib import Path
from typing import Any

import pytest
from corpus.published import EULER, euler, published

from diotima.corpus.contexts import Settings, cut, run
from diotima.corpus.repeats import problem_key
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import ProblemFileError, RunError, SettingsError
from diotima.problems.problem import Problem
from diotima.runs.run import Run

PROBLEM = Problem("p", "What is 2 + 2?", "4")
LESSON = Dialogue(
    PROBLEM,
    (
        Turn(TUTOR, "Hello."),
        Turn(STUDENT, "5", thought="a guess"),
        Turn(TUTOR, "Sure?"),
        Turn(STUDENT, "no"),
        Turn(TUTOR, ""),
        Turn(STUDENT, "4"),
        Turn(TUTOR, "Well done.", ends=True),
    ),
    seed=3,
    stop="tutor ended",
)


def row(*said: str, **about: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)], **about}


def lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return str(path)


def lessons(folder: Path, *dialogues: Dialogue, label: str = "guide", finish: bool = True) -> str:
    with Run.create(folder, stage="teach", settings={}, seed=0) as record:
        for dialogue in dialogues:
            record.add(dialogue, label)
        if finish:
            record.finish()
    return str(folder)


def gathered(tmp_path: Path, *sources: str, **settings: Any) -> tuple[dict[str, list[Dialogue]], dict[str, Any]]:
    folder = run(Settings(sources=sources, out=tmp_path / "out", **settings))
    with Run.open(folder) as record:
        held = {label: [one.dialogue for one in record.records(label)] for label in record.labels()}
    return held, json.loads((folder / "summary.json").read_text())


def texts(dialogues: list[Dialogue]) -> list[list[str]]:
    return sorted([turn.text for turn in dialogue.turns] for dialogue in dialogues)


def test_a_lesson_is_cut_before_each_turn_that_answers_the_student() -> None:
    contexts = cut(LESSON, "all", seed=0)
    assert texts(contexts) == [["Hello.", "5"], ["Hello.", "5", "Sure?", "no\n4"]]
    assert all(one.stop == "context" and one.problem == PROBLEM for one in contexts)
    assert not any(turn.thought or turn.ends for one in contexts for turn in one.turns)
    assert cut(LESSON, "last", seed=0) == contexts[-1:]
    drawn = {seed: cut(LESSON, "one", seed) for seed in range(20)}
    assert all(len(one) == 1 and one[0] in contexts for one in drawn.values())
    assert {one[0].seed for one in drawn.values()} == {one.seed for one in contexts}
    assert drawn == {seed: cut(LESSON, "one", seed) for seed in range(20)}


def test_a_run_s_lessons_become_contexts_of_the_same_label(tmp_path: Path) -> None:
    held, summary = gathered(tmp_path, lessons(tmp_path / "lessons", LESSON))
    assert texts(held["guide"]) == [["Hello.", "5"], ["Hello.", "5", "Sure?", "no\n4"]]
    assert held["guide"][0].problem == PROBLEM
    assert summary["sets"]["guide"]["rows"] == 2
    with Run.open(tmp_path / "out") as record:
        assert record.manifest["stage"] == "contexts"
        assert record.manifest["finished"]


def test_a_run_that_goes_on_is_gathered_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lessons(tmp_path / "lessons", LESSON, finish=False)
    gathered(tmp_path, source)
    assert "not finished, so neither is" in capsys.readouterr().err
    lessons(tmp_path / "lessons", Dialogue(PROBLEM, (Turn(STUDENT, "7"), Turn(TUTOR, "Why?")), seed=4))
    held, _ = gathered(tmp_path, source)
    assert texts(held["guide"]) == [["7"], ["Hello.", "5"], ["Hello.", "5", "Sure?", "no\n4"]]


def test_contexts_of_one_s_own_and_what_they_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = lines(
        tmp_path / "train.jsonl",
        row("5?", question="What is 2 + 2?", answer="4", id="sum"),
        row("5?", question="What is 2 + 2?", answer="4", id="sum"),
        row("6?", question="What is 3 + 3?"),
        row("7?"),
    )
    test = lines(tmp_path / "test.jsonl", row("5?"), row("What?", question="what is  2 + 2"), row("8?", "Why?", "So."))
    held, summary = gathered(tmp_path, train, test)
    assert {label: len(dialogues) for label, dialogues in held.items()} == {"train": 3, "test": 3}
    assert held["train"][-1].problem == Problem("sum", "What is 2 + 2?", "4", source="train")
    assert summary["sets"]["train"] == {
        "rows": 4,
        "as_written": 3,
        "contexts": 3,
        "problems": 2,
        "median_turns": 1,
        "without_place": 0,
    }
    assert summary["overlaps"] == [
        {"of": "test", "rows": 3, "also_in": "train", "as_written": 0, "contexts": 1, "problems": 1},
        {"of": "train", "rows": 4, "also_in": "test", "as_written": 0, "contexts": 2, "problems": 2},
    ]
    assert "also in" in capsys.readouterr().out


def test_a_conversation_that_ends_with_the_tutor_is_cut(tmp_path: Path) -> None:
    held, summary = gathered(
        tmp_path,
        lines(tmp_path / "a.jsonl", row("1", "2", "3", "4"), {"history": "Tutor: Hi"}),
        turns="last",
    )
    assert texts(held["a"]) == [["1", "2", "3"]]
    assert summary["sets"]["a"]["without_place"] == 1


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    source = lines(tmp_path / "a.jsonl", row("5?"), row("6?"))
    assert gathered(tmp_path, source) == gathered(tmp_path, source)
    lines(tmp_path / "a.jsonl", row("5?"))
    with pytest.raises(RunError, match="begun with other settings"):
        gathered(tmp_path, source)


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = lines(tmp_path / "a.jsonl", row("5?")), lines(tmp_path / "other" / "a.jsonl", row("6?"))
    with pytest.raises(SettingsError, match="2 sources hold a set called a"):
        gathered(tmp_path, one, other)
    with pytest.raises(SettingsError, match="2 sources but 1 labels"):
        gathered(tmp_path, one, other, label="x")
    assert not (tmp_path / "out").exists()
    held, _ = gathered(tmp_path, one, other, label=("x", "y"))
    assert list(held) == ["x", "y"]


def test_what_is_wrong_is_told_before_anything_is_written(tmp_path: Path) -> None:
    good = lines(tmp_path / "a.jsonl", row("5?"))
    bad = lines(tmp_path / "b.jsonl", row("5?"), {"text": "a"})
    with pytest.raises(ProblemFileError, match=r"b\.jsonl, line 2: no field holds a conversation: messages"):
        gathered(tmp_path, good, bad)
    with pytest.raises(ProblemFileError, match="holds no conversations"):
        gathered(tmp_path, lines(tmp_path / "c.jsonl"))
    with pytest.raises(RunError, match="no student's turn waits for the tutor"):
        gathered(tmp_path, lines(tmp_path / "d.jsonl", {"history": "Tutor: Hi"}))
    with pytest.raises(RunError, match="holds no lessons"):
        gathered(tmp_path, lessons(tmp_path / "none"))
    assert not (tmp_path / "out").exists()


def test_questions_are_the_same_by_their_words() -> None:
    assert problem_key("How  many,\nAnn?") == problem_key("how many Ann")
    assert problem_key("2 + 3?") != problem_key("3 + 2?")


def test_euler_s_sets_repeat_themselves_and_leak(tmp_path: Path) -> None:
    held, summary = gathered(tmp_path, *(str(euler(name)) for name in EULER))
    figures = {name: (one["rows"], one["as_written"], one["contexts"]) for name, one in summary["sets"].items()}
    assert figures == {
        "mathdial_train": (498, 498, 498),
        "mathdial_test": (101, 101, 101),
        "tutorchat_train": (594, 594, 594),
        "tutorchat_test": (101, 101, 101),
        "debugging_train": (663, 532, 531),
        "debugging_test": (100, 96, 96),
    }
    assert {label: len(dialogues) for label, dialogues in held.items()} == {
        name: contexts for name, (_, _, contexts) in figures.items()
    }
    leaks = {one["of"]: (one["as_written"], one["contexts"], one["problems"]) for one in summary["overlaps"]}
    assert leaks["debugging_test"] == (33, 35, 100)
    assert leaks["mathdial_test"] == (0, 0, 32)
    assert leaks["tutorchat_test"] == (1, 1, 0)
    assert len(summary["overlaps"]) == 6


def test_mrbench_s_conversations_are_contexts(tmp_path: Path) -> None:
    held, summary = gathered(tmp_path, str(published("mrbench/MRBench_V2.json")), turns="last")
    assert summary["sets"]["MRBench_V2"]["rows"] == 200
    assert len(held["MRBench_V2"]) == 195
    assert all(one.turns[-1].speaker == STUDENT for one in held["MRBench_V2"])
