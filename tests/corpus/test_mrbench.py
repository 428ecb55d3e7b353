"""MRBench V2: read whole, counted, and what is wrong in a file is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from corpus.published import published

from diotima.corpus.mrbench import damr, dimensions, mrbench_counts, read_conversations, read_mrbench
from diotima.dialogue import STUDENT, TUTOR, Turn
from diotima.errors import ProblemFileError

LABELS = {name: next(iter(dimension.labels)) for name, dimension in dimensions().items()}


def item(history: str, **changes: Any) -> dict[str, Any]:
    replies = {"Expert": {"response": "\xa0Why? ", "annotation": LABELS}}
    told = {"conversation_history": history, "Ground_Truth_Solution": "2 + 2 = 4\n4", "anno_llm_responses": replies}
    return told | changes


def written(path: Path, *items: object) -> Path:
    path.write_text(json.dumps(items))
    return path


def test_a_conversation_and_its_reply(tmp_path: Path) -> None:
    history = "Tutor: Hi. The question is: What is 2 + 2?\xa0\n\xa0Student: 5.\xa0\n\xa05\xa0\n\xa0Student: or 6"
    path = written(tmp_path / "m.json", item(history))
    (one,) = read_mrbench(path)
    assert one.dialogue.turns == (
        Turn(TUTOR, "Hi. The question is: What is 2 + 2?"),
        Turn(STUDENT, "5.\n 5\nor 6"),
        Turn(TUTOR, "Why?"),
    )
    problem = one.dialogue.problem
    assert (problem.question, problem.answer, problem.solution) == ("What is 2 + 2?", "4", "2 + 2 = 4")
    assert (one.tutor, one.labels) == ("Expert", LABELS)
    (conversation,) = read_conversations(path)
    assert (conversation.turns, conversation.stop) == (one.dialogue.turns[:-1], "context")


def test_a_conversation_of_bridge_has_no_question(tmp_path: Path) -> None:
    path = written(tmp_path / "m.json", item("Tutor: Count.\n\xa0Student: 3", Ground_Truth_Solution="Not Available"))
    (conversation,) = read_conversations(path)
    assert (conversation.problem.question, conversation.problem.answer) == ("", "")
    assert conversation.problem.id.startswith("bridge-")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (["no object"], "must be an object"),
        (item("Hello"), "a conversation must begin with a speaker"),
        (item("Student: \xa0\n\xa0Tutor: Hi"), "a turn of the student is empty"),
        (item("Student: 3", anno_llm_responses={"GPT4": {}}), "the reply of GPT4 must be"),
        (
            item("Student: 3", anno_llm_responses={"GPT4": {"response": "No.", "annotation": {"Coherence": "yes"}}}),
            "the reply of GPT4: Coherence = 'yes' is no label",
        ),
        (
            item("Student: 3", anno_llm_responses={"GPT4": {"response": "No.", "annotation": {"Tone": "Neutral"}}}),
            "the reply of GPT4: Tone = 'Neutral' is no label",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_item(broken: object, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path / "m.json", item("Student: 3"), broken)
    with pytest.raises(ProblemFileError, match=f"m.json, item 2: {reason}"):
        read_mrbench(path)


def test_the_published_file_is_read_whole() -> None:
    path = published("mrbench/MRBench_V2.json")
    rated, conversations = read_mrbench(path), read_conversations(path)
    assert (len(conversations), len(rated)) == (200, 1655)
    assert len({conversation.seed for conversation in conversations}) == 195
    assert sum(conversation.stop == "" for conversation in conversations) == 6
    assert all(len(one.labels) == 8 for one in rated)
    assert not any("\xa0" in turn.text for one in rated for turn in one.dialogue.turns[:-1])
    counts = mrbench_counts(rated)
    replies = {tutor: one["Tutor_Tone"].total() for tutor, one in counts.items()}
    assert replies == dict.fromkeys(sorted(replies), 200) | {"Novice": 55}
    assert {one.dialogue.problem.source for one in rated if one.tutor == "Novice"} == {"bridge"}


def test_the_published_labels_are_counted() -> None:
    counts = mrbench_counts(read_mrbench(published("mrbench/MRBench_V2.json")))
    assert counts["GPT4"]["Revealing_of_the_Answer"] == {
        "No": 110,
        "Yes (and the answer is correct)": 85,
        "Yes (but the answer is incorrect)": 5,
    }
    assert damr(counts["GPT4"]["Revealing_of_the_Answer"], "Revealing_of_the_Answer") == 0.55
    assert damr(counts["Expert"]["Tutor_Tone"], "Tutor_Tone") == 0.165
    assert damr(counts["Novice"]["Actionability"], "Actionability") == 1 / 55
    assert sum(one["humanlikeness"]["To some extent"] for one in counts.values()) == 102
