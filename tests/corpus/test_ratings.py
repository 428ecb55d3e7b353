"""Ratings in files of one's own, and the forms that are told apart by content."""

import json
from pathlib import Path

import pytest
from corpus.published import published

from diotima.corpus.ratings import read_ratings
from diotima.dialogue import STUDENT, TUTOR, Turn
from diotima.errors import ProblemFileError

CSV = """history,response,tutor,rater,question,answer,questions,helpful
"Student: 2 + 2 = 5
Tutor: Sure?
Student: no",What is 1 + 1?,guide,ann,What is 2 + 2?,4,yes,5
"Student: 2 + 2 = 5
Tutor: Sure?
Student: no",What is 1 + 1?,guide,ben,What is 2 + 2?,4,no,
"""


def test_a_table_of_two_people_s_ratings(tmp_path: Path) -> None:
    path = tmp_path / "ours.csv"
    path.write_text(CSV)
    ann, ben = read_ratings(path)
    assert ann.dialogue.turns == (
        Turn(STUDENT, "2 + 2 = 5"),
        Turn(TUTOR, "Sure?"),
        Turn(STUDENT, "no"),
        Turn(TUTOR, "What is 1 + 1?"),
    )
    assert (ann.tutor, ann.rater, ann.labels) == ("guide", "ann", {"questions": "yes", "helpful": 5})
    assert (ben.rater, ben.labels) == ("ben", {"questions": "no"})  # an empty cell is no rating, not a zero
    assert ann.dialogue == ben.dialogue
    assert (ann.dialogue.problem.answer, ann.dialogue.problem.source) == ("4", "ours")


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_messages_whose_last_is_the_rated_turn(suffix: str, tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "5?"},
        {"role": "assistant", "content": "Hm."},
        {"role": "teacher", "content": "Why?"},
    ]
    row = {"messages": messages, "helpful": 4.0, "answer": 0, "rater": 7}
    path = tmp_path / f"ours{suffix}"
    path.write_text(json.dumps([row] if suffix == ".json" else row) + "\n")
    (one,) = read_ratings(path)
    assert [turn.text for turn in one.dialogue.turns] == ["5?", "Hm.", "Why?"]  # what was rated stays by itself
    assert (one.labels, one.dialogue.problem.answer, one.rater) == ({"helpful": 4}, "0", "7")


def test_messages_in_a_cell_are_json(tmp_path: Path) -> None:
    path = tmp_path / "ours.tsv"
    messages = json.dumps([{"role": "user", "content": "5?"}, {"role": "assistant", "content": "Why?"}])
    path.write_text("conversation\thelpful\n" + '"' + messages.replace('"', '""') + '"\t3\n')
    (one,) = read_ratings(path)
    assert (one.dialogue.turns[-1], one.labels) == (Turn(TUTOR, "Why?"), {"helpful": 3})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"helpful": 3}, "the field history is missing or empty; a row needs messages or conversation, or history and"),
        ({"history": "Student: a", "helpful": 3}, "the field response is missing"),
        ({"history": "a", "response": "b", "helpful": 3}, "must begin with a speaker"),
        ({"messages": [{"role": "user", "content": "a"}], "helpful": 3}, "the rated turn must be the tutor's"),
        ({"messages": [{"role": "assistant", "content": "a"}], "helpful": 3}, "with something said before it"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "messages, message 1: needs a role .* its role is 'bot'"),
        ({"messages": [{"role": "user", "content": 1}]}, "message 1: its content must be text"),
        ({"messages": [{"role": "system", "content": "a"}]}, "messages holds no turns"),
        ({"messages": "[1"}, "the field messages: not valid JSON"),
        ({"history": "Student: a", "response": "b"}, "there is no rating"),
        ({"history": "Student: a", "response": "b", "helpful": 3.5}, "helpful must be .* whole number, not 3.5"),
        ({"history": "Student: a", "response": "b", "helpful": True}, "helpful must be .* not True"),
        ({"history": "Student: a", "response": "b", "helpful": [1]}, r"helpful must be .* not \[1\]"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_field(row: object, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "ours.jsonl"
    good = {"history": "Student: a", "response": "b", "helpful": 1}
    path.write_text("".join(json.dumps(one) + "\n" for one in (good, row)))
    with pytest.raises(ProblemFileError, match=reason) as told:
        read_ratings(path)
    assert str(told.value).startswith(f"{path}, line 2: ")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for name, content, reason in (
        ("absent.csv", None, "there is no such file"),
        ("ours.txt", "a", "does not end in"),
        ("ours.json", '["a"]', "item 1: must be an object"),
        ("empty.json", "[]", "a JSON list that is not empty"),
        ("empty.jsonl", "", "holds no ratings"),
    ):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(ProblemFileError, match=reason):
            read_ratings(tmp_path / name)


def test_published_forms_are_known_by_their_content() -> None:
    assert len(read_ratings(published("euler/mathdial_human_eval.first20.json"))) == 20
    assert len(read_ratings(published("mrbench/MRBench_V2.json"))) == 1655
