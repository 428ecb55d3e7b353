"""EULER's six files and its human ratings: all of them is read, and none of the debris is left."""

import json
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from corpus.published import EULER, euler, published

from diotima.corpus.euler import read_context, read_contexts, read_human
from diotima.dialogue import STUDENT, TUTOR, Turn
from diotima.errors import ProblemFileError
from diotima.scoring.rubric import load_rubric, measure_values

MATHDIAL = (
    "Student: \"Professor, I have a problem, here is the text: Ann's box holds 3 pens. How many do 4 hold? Here is my "
    "solution 3 + 4 = 7\\n 7Teacher: (probing)What's 3 + 3?\\n\", 'Steven: It\\'s \"6\".', 'Teacher: (focus)', "
    "'Student: Next?'"
)
TUTORCHAT = ' "\\nassistant: Shall we?\\n\\nIt\'s easy.", \'\\nuser: Yes, "please".\''
DEBUGGING = (
    "<problem>\nAdd two.\n</problem>\n<bug_code>\n1. def f(a):\n2.\treturn a\n</bug_code>\n"
    "<bug_desc>\nNo 2.\n</bug_desc>\n"
    "<bug_fixes>\nAdd 2.\n</bug_fixes>User: Help!\nAssistant: What does line 2 do?\tUser: It returns `a`.     "
    "User: Oh.\tAssistant: "
)


def test_a_context_of_mathdial() -> None:
    dialogue = read_context(MATHDIAL)
    assert dialogue.problem.question == "Ann's box holds 3 pens. How many do 4 hold?"
    assert dialogue.turns == (
        Turn(STUDENT, "3 + 4 = 7\n7"),
        Turn(TUTOR, "What's 3 + 3?"),
        Turn(STUDENT, 'It\'s "6".\nNext?'),  # the teacher between them sent a move and no words
    )
    assert (dialogue.stop, dialogue.problem.answer, dialogue.problem.id[:9]) == ("context", "", "mathdial-")


def test_a_context_of_tutorchat() -> None:
    dialogue = read_context(TUTORCHAT)
    assert dialogue.problem.question == ""
    assert dialogue.turns == (Turn(TUTOR, "Shall we?\n\nIt's easy."), Turn(STUDENT, 'Yes, "please".'))


def test_the_passage_that_a_tutorchat_is_about_is_its_question() -> None:
    dialogue = read_context("['Keys are close if\\nthey share notes.\\n', \"\\nuser: So C and C# are?\"")
    assert dialogue.problem.question == "Keys are close if\nthey share notes."
    assert dialogue.turns == (Turn(STUDENT, "So C and C# are?"),)


def test_a_context_of_debugging_keeps_the_fix_from_the_tutor() -> None:
    dialogue = read_context(DEBUGGING)
    assert (dialogue.problem.question, dialogue.problem.solution) == ("Add two.", "No 2.\nAdd 2.")
    assert dialogue.turns == (
        Turn(STUDENT, "Help!\n<code>\n1. def f(a):\n2.\treturn a\n</code>"),
        Turn(TUTOR, "What does line 2 do?"),
        Turn(STUDENT, "It returns `a`.\nOh."),
    )


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (MATHDIAL.replace("Here is my", "This is my"), "does not hold a problem"),
        (MATHDIAL.replace("Student: Next", "Next"), "does not begin with a speaker: 'Next?'"),
        (MATHDIAL[:-1], "neither a printed list"),
        (MATHDIAL + ", 'Teacher: (generic)Well?'", "must end with a student's turn"),
        (DEBUGGING.replace("</bug_desc>", ""), "tags"),
        ("'\\nuser: a', print(1)", "neither a printed list"),
        ("'\\nuser: \\xZZ'", "cannot be read"),
        ("'a passage'", "nothing is said"),
        (7, "is text, not int"),
    ],
)
def test_what_is_wrong_is_told_with_its_item(item: object, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "contexts.json"
    path.write_text(json.dumps([TUTORCHAT, item]))
    with pytest.raises(ProblemFileError, match=re.escape(reason)) as told:
        read_contexts(path)
    assert str(told.value).startswith(f"{path}, item 2: ")


@pytest.mark.parametrize(
    ("name", "rows", "different", "problems"),
    [
        ("mathdial_train", 498, 498, 423),
        ("mathdial_test", 101, 101, 97),
        ("tutorchat_train", 594, 594, 594),
        ("tutorchat_test", 101, 101, 101),
        ("debugging_train", 663, 531, 38),  # of 532 texts, two differ in blanks only
        ("debugging_test", 100, 96, 33),
    ],
)
def test_every_published_context_is_read(name: str, rows: int, different: int, problems: int) -> None:
    contexts = read_contexts(euler(name))
    assert len(contexts) == rows
    assert len({context.seed for context in contexts}) == different
    assert len({context.problem.id for context in contexts}) == problems
    for context in contexts:
        speakers = [turn.speaker for turn in context.turns]
        assert speakers[-1] == STUDENT
        assert all(one != other for one, other in pairwise(speakers))


def test_no_debris_of_printed_lists_is_left() -> None:
    heads = re.compile(r"(?:^|\W)(?:Teacher|Student|User|Assistant|user|assistant):")
    debris = re.compile(r"\((?:generic|probing|focus|telling)\)|\\n|\\'|\xa0|here is the text|Here is my solution")
    for name in ("mathdial_train", "mathdial_test"):
        for context in read_contexts(euler(name)):
            assert context.problem.question[0] not in "'\""
            for text in (context.problem.question, *(turn.text for turn in context.turns)):
                assert not debris.search(text), text
                assert not re.search(r"""['"], ['"]""", text), text
    for name in EULER:
        for context in read_contexts(euler(name)):
            for turn in context.turns:
                assert turn.text == turn.text.strip()
                assert turn.text
                assert not heads.search(turn.text), turn.text


def test_no_word_that_was_said_is_lost() -> None:
    """The words of every item are those of its problem and its turns, the frame and the moves left out."""
    frame = r"Professor, I have a problem, here is the text:|Here is my solution|\((?:generic|probing|focus|telling)\)"
    for name in ("mathdial_test", "debugging_test"):
        items = json.loads(euler(name).read_text())
        for item, context in zip(items, read_contexts(euler(name)), strict=True):
            bare = re.sub(rf"{frame}|</?\w+>|(?:Student|Teacher|User|Assistant|DeAndre|Jordy|Mariana):", " ", item)
            if not item.startswith("<"):
                bare = bare.replace("\\n", " ").replace("\\'", "'")
            parts = (context.problem.question, context.problem.solution, *(turn.text for turn in context.turns))
            kept = re.sub(r"</?\w+>", " ", " ".join(parts))
            assert set(re.findall(r"\w+", bare)) == set(re.findall(r"\w+", kept))


def test_people_s_ratings_give_the_published_score() -> None:
    path = published("euler/mathdial_human_eval.first20.json")
    rated, rubric = read_human(path), load_rubric("euler")
    published_scores = [item["score"] for item in json.loads(path.read_text())]
    assert len(rated) == 20
    for one, score in zip(rated, published_scores, strict=True):
        assert measure_values(rubric, one.labels)["score"] == Fraction(round(score * 20), 20)
        assert abs(score * 20 - round(score * 20)) < 1e-9
        assert one.dialogue.turns[-1].speaker == TUTOR
    assert rated[0].labels == {"questions": "yes", "on_topic": 4, "helpful": 1, "reveal_answer": "no"}
    assert rated[0].dialogue.turns[-1].text.startswith("That's correct, well done")


def test_the_rated_contexts_are_those_of_the_test_set() -> None:
    rated = read_human(published("euler/mathdial_human_eval.first20.json"))
    contexts = read_contexts(euler("mathdial_test"))
    assert [one.dialogue.turns[:-1] for one in rated] == [context.turns for context in contexts[:20]]


def test_half_a_point_is_no_rating(tmp_path: Path) -> None:
    path = tmp_path / "human.json"
    path.write_text(json.dumps([{"prompt": MATHDIAL, "output": "Why?", "evaluation": {"helpful": 3.5}}]))
    with pytest.raises(ProblemFileError, match=r"item 1: the field helpful .* not 3\.5"):
        read_human(path)
