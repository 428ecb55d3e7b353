"""What all readers share: turns from texts and messages, merging, seeds of texts; and MathDial's own files."""

import json
from itertools import pairwise

import pytest
from corpus.published import published
from hypothesis import given
from hypothesis import strategies as st

from diotima.corpus import mathdial
from diotima.corpus.conversations import context_of, conversation_key, merged, spoken, tidy, with_text_seed
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import ProblemFileError
from diotima.problems.problem import Problem

TURNS = st.lists(st.builds(Turn, st.sampled_from([TUTOR, STUDENT]), st.sampled_from(["", "a", "b", "a\nb"])))


@given(TURNS)
def test_merged_turns_alternate_and_keep_what_was_said(turns: list[Turn]) -> None:
    kept = merged(turns)
    assert all(one.speaker != other.speaker for one, other in pairwise(kept))
    assert merged(kept) == kept
    assert all(turn.text for turn in kept)
    for turn in turns:
        assert not turn.text or any(turn.speaker == one.speaker and turn.text in one.text for one in kept)


def test_a_form_that_was_sent_three_times_is_one_turn() -> None:
    assert merged([Turn(TUTOR, "So?")] * 3) == (Turn(TUTOR, "So?"),)


def test_speakers_count_only_where_a_line_begins() -> None:
    turns = spoken('Student: My note says\nTutor of mine: "ask the Student: why".\tTEACHER: Why?  user: so')
    assert [(turn.speaker, turn.text) for turn in turns] == [
        (STUDENT, 'My note says\nTutor of mine: "ask the Student: why".'),
        (TUTOR, "Why?"),
        (STUDENT, "so"),
    ]


def test_a_long_row_of_blanks_is_read_at_once() -> None:
    assert spoken("Student: a" + " " * 100_000 + "b")[0].text == "a" + " " * 100_000 + "b"


def test_tidy_keeps_the_indentation_of_code() -> None:
    assert tidy("\xa0if a:  \n    b\xa0\n") == "if a:\n    b"


def test_a_context_needs_a_student_s_last_word() -> None:
    problem = Problem("p", "?", "")
    assert context_of(problem, [Turn(STUDENT, "a", thought="secret")]).turns == (Turn(STUDENT, "a"),)
    for turns in ([], [Turn(STUDENT, "a"), Turn(TUTOR, "b")]):
        with pytest.raises(ProblemFileError, match="must end with a student's turn"):
            context_of(problem, turns)


def test_the_seed_is_the_text_s() -> None:
    said = (Turn(STUDENT, "a"),)
    one, other = (with_text_seed(Dialogue(Problem("p", question, ""), said, seed=5)) for question in ("1?", "2?"))
    assert one.seed != other.seed
    assert one == with_text_seed(one)
    assert conversation_key(one) == conversation_key(other)
    assert conversation_key(one) != conversation_key(Dialogue(one.problem, (Turn(TUTOR, "a"),)))


def test_a_lesson_of_mathdial() -> None:
    lesson = mathdial.read_lesson(
        {
            "question": "What is 2 + 2?",
            "ground_truth": "2 + 2 = 4\n 4",
            "student_incorrect_solution": "2 + 2 = 5 \n 5",
            "conversation": "Teacher: (generic)Hi Ann|EOM|Ann: Hello|EOM|Teacher: (focus)|EOM|Student: What now?",
        }
    )
    assert lesson.turns == (Turn(STUDENT, "2 + 2 = 5\n5"), Turn(TUTOR, "Hi Ann"), Turn(STUDENT, "Hello\nWhat now?"))
    assert (lesson.problem.answer, len(lesson.problem.steps), lesson.stop) == ("4", 1, "")


def test_mathdial_s_test_split_is_read_whole() -> None:
    lines = published("mathdial/test.jsonl").read_text().splitlines()
    lessons = [mathdial.read_lesson(json.loads(line)) for line in lines]
    assert len(lessons) == 599
    said = [turn.text for one in lessons for turn in one.turns]
    assert not any(text.startswith(("(focus)", "(generic)", "(probing)", "(telling)")) for text in said)
