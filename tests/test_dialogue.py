import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.dialogue import (
    END_OF_CONVERSATION,
    STUDENT,
    THINK_CLOSE,
    THINK_OPEN,
    TUTOR,
    Dialogue,
    Message,
    Tokens,
    Turn,
    raw_reply,
    split_reply,
    stable_seed,
)
from diotima.problems.problem import Problem

PROBLEM = Problem("p", "How many?", "5")
MARKS = (THINK_OPEN, THINK_CLOSE, END_OF_CONVERSATION)
# Whole marks, and halves of marks that may be joined by what is removed between them.
replies = st.lists(st.sampled_from([*MARKS, "<thi", "nk>", "</thi", "<end_of_", "conversation>", "a", " b", "\n"])).map(
    "".join
)


@pytest.mark.parametrize(
    ("raw", "text", "thought", "ends", "malformed"),
    [
        ("Look at step 2.", "Look at step 2.", "", False, False),
        ("<think>he lost 3</think>Look at step 2.", "Look at step 2.", "he lost 3", False, False),
        ("Hm. <think>no</think>Look!", "Hm. Look!", "no", False, False),
        ("<think>a</think>x<think>b</think>y", "xy", "a\nb", False, False),
        ("<think>secret", "", "secret", False, True),
        ("Well. <think>secret", "Well.", "secret", False, True),
        ("secret</think>Look!", "Look!", "secret", False, True),
        ("<think>a<think>b</think>c</think>d", "d", "a b\nc", False, True),
        ("x<think>a</think>y</think>z", "z", "a\nxy", False, True),
        ("Bye." + END_OF_CONVERSATION, "Bye.", "", True, False),
        (END_OF_CONVERSATION, "", "", True, False),
        (f"<think>shall I {END_OF_CONVERSATION}</think>Go on.", "Go on.", "shall I", False, False),
        ("", "", "", False, True),
        ("<think>only thought</think>", "", "only thought", False, True),
    ],
)
def test_split_reply(raw: str, text: str, thought: str, ends: bool, malformed: bool) -> None:
    assert split_reply(raw) == (text, thought, ends, malformed)


@given(replies)
def test_no_mark_is_ever_heard_or_kept(raw: str) -> None:
    text, thought, _, _ = split_reply(raw)
    assert not any(mark in text or mark in thought for mark in MARKS)


@given(replies, replies)
def test_what_follows_an_unclosed_thought_never_shows(before: str, after: str) -> None:
    hidden = after.replace(THINK_CLOSE, " ") + "SECRET"
    text, thought, _, malformed = split_reply(before + THINK_OPEN + hidden)
    assert "SECRET" not in text
    assert thought.endswith("SECRET")
    assert malformed


@given(replies)
def test_what_precedes_an_unopened_closing_never_shows(before: str) -> None:
    text, thought, _, malformed = split_reply("SECRET" + before.replace(THINK_OPEN, " ") + THINK_CLOSE + "x")
    assert "SECRET" not in text
    assert "SECRET" in thought
    assert malformed


@given(replies)
def test_round_trip_with_raw_reply(raw: str) -> None:
    text, thought, ends, _ = split_reply(raw)
    assert split_reply(raw_reply(Turn(TUTOR, text, thought, ends)))[:3] == (text, thought, ends)


@given(st.lists(st.tuples(st.sampled_from([TUTOR, STUDENT]), st.text("ab"), st.text("cd")), max_size=6))
def test_views_keep_own_thoughts_and_hide_those_of_others(said: list[tuple[str, str, str]]) -> None:
    tokens = Tokens((1,), (2,), (-0.5,))
    dialogue = Dialogue(PROBLEM)
    for speaker, text, thought in said:
        dialogue = dialogue.then(Turn(speaker, text, thought, tokens=tokens))
    for me in (TUTOR, STUDENT):
        for turn, message in zip(dialogue.turns, dialogue.seen_by(me), strict=True):
            if turn.speaker == me:
                assert message == Message("assistant", raw_reply(turn), tokens)
            else:
                assert message == Message("user", turn.text)


def test_a_dialogue_is_a_value() -> None:
    start = Dialogue(PROBLEM, seed=3)
    one, other = start.then(Turn(TUTOR, "one")), start.then(Turn(STUDENT, "other"))
    assert start.turns == ()
    assert (one.last(TUTOR), one.last(STUDENT)) == (Turn(TUTOR, "one"), None)
    assert one.then(Turn(STUDENT, "two")).by(STUDENT) == (Turn(STUDENT, "two"),)
    assert other.stopped("turn limit") == Dialogue(PROBLEM, (Turn(STUDENT, "other"),), 3, "turn limit")


def test_tokens_need_a_log_probability_each() -> None:
    with pytest.raises(ValueError, match="2 reply ids but 1 log-probabilities"):
        Tokens((1,), (2, 3), (-0.5,))


def test_stable_seed_is_the_same_in_every_process() -> None:
    command = "from diotima.dialogue import stable_seed; print(stable_seed('lesson', 1, 2.5))"
    told = [
        subprocess.run(
            [sys.executable, "-c", command],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told == [f"{stable_seed('lesson', 1, 2.5)}\n"] * 2
    assert stable_seed("a", "b") != stable_seed("ab")
    assert 0 <= stable_seed("a") < 2**63
