"""The row that training sees, by construction from the tokens of the turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.dialogue import STUDENT, TUTOR, Dialogue, Tokens, Turn
from diotima.problems.problem import Problem
from diotima.training.rows import training_row

PROBLEM = Problem("p", "What is 1 + 1?", "2")
END = 0
ids = st.lists(st.integers(1, 50), min_size=1, max_size=6).map(tuple)


def lesson(opening: tuple[int, ...], exchanges: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> Dialogue:
    """A lesson in which the tutor reads ``opening``, and after each reply the given ids of the other side."""
    dialogue, context = Dialogue(PROBLEM), opening
    for reply, following in exchanges:
        tokens = Tokens(context, reply, tuple(-float(token) for token in reply))
        dialogue = dialogue.then(Turn(TUTOR, "...", tokens=tokens)).then(Turn(STUDENT, "..."))
        context = (*context, *reply, *following)
    return dialogue


@given(ids, st.lists(st.tuples(ids, ids), min_size=1, max_size=4))
def test_mask_selects_exactly_what_the_tutor_sampled(opening, exchanges):
    row = training_row(lesson(opening, exchanges), {END})
    masked = [token for token, mask in zip(row.completion_ids, row.mask, strict=True) if mask]
    assert masked == [token for reply, _ in exchanges for token in reply]
    assert row.prompt_ids == opening
    assert [p for p, mask in zip(row.logprobs, row.mask, strict=True) if mask] == [-float(t) for t in masked]
    assert all(p == 0.0 for p, mask in zip(row.logprobs, row.mask, strict=True) if not mask)
    assert {turn for turn, mask in zip(row.turns, row.mask, strict=True) if mask} == set(range(len(exchanges)))


def test_row_that_was_cut_off_gets_a_masked_end():
    row = training_row(lesson((1, 2), [((3, 4), (9,))]), {END})
    assert row.completion_ids == (3, 4, END)
    assert row.mask == (1, 1, 0)


def test_row_that_ended_by_itself_stays_as_it_is():
    assert training_row(lesson((1, 2), [((3, END), (9,))]), {END}).completion_ids == (3, END)


def test_turn_that_does_not_continue_what_was_said_is_refused():
    first = Turn(TUTOR, "a", tokens=Tokens((1, 2), (3,), (0.0,)))
    other = Turn(TUTOR, "b", tokens=Tokens((1, 9, 9, 9), (3,), (0.0,)))
    with pytest.raises(ValueError, match="turn 2 does not continue"):
        training_row(Dialogue(PROBLEM, (first, Turn(STUDENT, "x"), other)), {END})


def test_tutor_without_tokens_is_refused():
    with pytest.raises(ValueError, match="no turns of the tutor with tokens"):
        training_row(Dialogue(PROBLEM, (Turn(TUTOR, "hello"),)), {END})
