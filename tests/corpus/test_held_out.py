from dataclasses import replace
from pathlib import Path

import pytest
from corpus.judged_runs import context
from corpus.published import euler

from diotima.corpus.euler import read_contexts
from diotima.corpus.held_out import held_out
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import ProblemFileError
from diotima.problems.problem import Problem
from diotima.runs.run import Run


@pytest.mark.parametrize(("name", "leaked"), [("mathdial", 32), ("tutorchat", 1), ("debugging", 100)])
def test_what_eulers_own_test_sets_share_with_training(name: str, leaked: int) -> None:
    held = held_out([str(euler(f"{name}_train"))])
    assert sum(one in held for one in read_contexts(euler(f"{name}_test"))) == leaked


def test_a_word_problem_is_known_whatever_was_said(tmp_path: Path) -> None:
    with Run.create(tmp_path / "lessons", stage="evaluate", settings={}, seed=0) as record:
        record.add(context(1).then(Turn(TUTOR, "Why?")).then(Turn(STUDENT, "Because.")), "tutor")
        record.finish()
    held = held_out([str(tmp_path / "lessons")])
    other = Dialogue(context(1).problem, (Turn(STUDENT, "Something else."),))
    assert other in held
    assert context(2) not in held


def test_of_lessons_without_a_question_every_place_is_known(tmp_path: Path) -> None:
    turns = (Turn(STUDENT, "What is a prime?"), Turn(TUTOR, "What divides 7?"), Turn(STUDENT, "7 does."))
    lesson = Dialogue(Problem("u", "", ""), (*turns, Turn(TUTOR, "And?"), Turn(STUDENT, "1 does.")), 1, "turn limit")
    with Run.create(tmp_path / "lessons", stage="evaluate", settings={}, seed=0) as record:
        record.add(lesson, "tutor")
        record.finish()
    held = held_out([str(tmp_path / "lessons")])
    assert replace(lesson, turns=turns) in held
    assert replace(lesson, turns=turns[:1]) in held
    assert replace(lesson, turns=(Turn(STUDENT, "7 does."),)) not in held


def test_nothing_is_held_out_by_default_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    assert context(1) not in held_out([])
    with pytest.raises(ProblemFileError, match="nowhere"):
        held_out([str(tmp_path / "nowhere.jsonl")])
