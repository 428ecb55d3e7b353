from collections import Counter
from fractions import Fraction
from itertools import product

from corpus.judged_runs import EULER
from hypothesis import given
from hypothesis import strategies as st

from diotima.corpus.selection import CLOSE, FEW, LOW, REASONS, SAME, Candidate, Choice, choose
from diotima.dialogue import TUTOR, Turn
from diotima.scoring.rubric import measure_values

LIMIT = Fraction(4, 5)


def candidate(value: Fraction | int | None, text: str = "", **turn: bool) -> Candidate:
    number = None if value is None else Fraction(value)
    return Candidate("ours", 0, Turn(TUTOR, text or f"reply worth {value}", **turn), number)


def test_the_best_is_set_against_the_worst() -> None:
    one, half, all_ = candidate(Fraction(1, 10)), candidate(Fraction(1, 2)), candidate(1)
    assert choose([one, all_, half], LIMIT) == Choice(all_, one, Fraction(1), Fraction(1, 10))


def test_among_equals_a_lot_decides_and_no_tutors_name() -> None:
    chosen, rejected = Counter[str](), Counter[str]()
    for seed in range(200):  # candidates of one number have one seed, whoever the tutor is
        equals = [
            Candidate(label, seed, Turn(TUTOR, f"{label} {value}"), Fraction(value))
            for label in ("a", "b")
            for value in (0, 1)
        ]
        choice = choose(equals, LIMIT)
        assert isinstance(choice, Choice)
        assert choose(equals[::-1], LIMIT) == choice
        chosen[choice.chosen.label] += 1
        rejected[choice.rejected.label] += 1
    assert all(60 < counted[label] < 140 for counted in (chosen, rejected) for label in ("a", "b"))


def test_exactly_the_pairs_that_euler_trains_on() -> None:
    # A score above 4/5 takes a question, no answer, and seven points of ten; floats get some of these wrong.
    for questions, on_topic, helpful, reveal in product(("yes", "no"), range(1, 6), range(1, 6), ("yes", "no")):
        said = {"questions": questions, "on_topic": on_topic, "helpful": helpful, "reveal_answer": reveal}
        score = measure_values(EULER, said)["score"]
        kept = choose([candidate(score, "best"), candidate(Fraction(1, 10), "worst")], LIMIT)
        assert isinstance(kept, Choice) == (questions == "yes" and reveal == "no" and on_topic + helpful >= 7)


def test_why_there_is_no_pair() -> None:
    best, worst = candidate(1), candidate(0)
    assert choose([], LIMIT) == FEW
    assert choose([best], LIMIT) == FEW
    assert choose([candidate(LIMIT), worst], LIMIT) == LOW
    assert choose([best, candidate(1, "other words")], LIMIT) == CLOSE
    assert choose([candidate(1, "a"), candidate(Fraction(17, 20), "b")], LIMIT, Fraction(1, 5)) == CLOSE
    assert isinstance(choose([candidate(1, "a"), candidate(LIMIT, "b")], LIMIT, Fraction(1, 5)), Choice)
    assert choose([candidate(1, "a"), candidate(0, "a")], LIMIT) == SAME


def test_what_has_no_verdict_or_no_end_stands_in_no_pair() -> None:
    best, worst = candidate(1), candidate(Fraction(1, 2))
    unfit = [
        candidate(None, "unread"),
        candidate(0, "cut", cut=True),
        candidate(0, "malformed", malformed=True),
        Candidate("ours", 0, Turn(TUTOR, "", ends=True), Fraction(0)),
    ]
    for one in unfit:
        assert choose([one, best], LIMIT) == FEW
        choice = choose([one, best, worst, one], LIMIT)
        assert isinstance(choice, Choice)
        assert choice.rejected is worst


@given(st.lists(st.one_of(st.none(), st.fractions(0, 1, max_denominator=20)), max_size=7), st.fractions(0, 1))
def test_a_pair_is_never_made_up(values: list[Fraction | None], above: Fraction) -> None:
    candidates = [candidate(value, f"{number}") for number, value in enumerate(values)]
    choice = choose(candidates, above)
    known = [value for value in values if value is not None]
    if isinstance(choice, str):
        assert choice in REASONS
        assert len(known) < 2 or max(known) <= above or max(known) == min(known)
    else:
        assert choice.chosen in candidates
        assert choice.rejected in candidates
        assert (choice.chosen_score, choice.rejected_score) == (max(known), min(known))
        assert choice.chosen_score > max(above, choice.rejected_score)
