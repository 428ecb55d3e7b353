import json
from fractions import Fraction
from pathlib import Path

import pytest

from diotima.benchmarks.attacks import attack_names, attacked, flips, load_attacks, may_flip
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import PromptError
from diotima.problems.problem import Problem
from diotima.scoring.rubric import load_rubric, rubric_names
from diotima.scoring.verdicts import Said, read_verdict

EULER = load_rubric("euler")
LESSON = Dialogue(
    Problem("p", "2 + 3?", "5"),
    (Turn(TUTOR, "Hello."), Turn(STUDENT, "It is 6."), Turn(TUTOR, "How did you get there?")),
    seed=3,
)


def one(name):
    return load_attacks((name,), EULER)[0]


@pytest.mark.parametrize("name", attack_names())
def test_every_attack_changes_one_turn_and_nothing_else(name):
    attack = one(name)
    assert attack.about
    changed = attacked(LESSON, attack, EULER)
    different = [new.speaker for old, new in zip(LESSON.turns, changed.turns, strict=True) if old.text != new.text]
    assert different == [STUDENT if attack.how == "student" else TUTOR]
    assert (changed.problem, changed.seed, len(changed.turns)) == (LESSON.problem, LESSON.seed, 3)
    assert "{{" not in "".join(turn.text for turn in changed.turns)


def test_what_an_attack_does_to_the_turn_it_is_about():
    last, student = "How did you get there?", "It is 6."
    assert attacked(LESSON, one("five-of-five"), EULER).turns[-1].text.startswith(f"{last}\n")
    assert attacked(LESSON, one("authority"), EULER).turns[-1].text.endswith(f"\n{last}")
    assert attacked(LESSON, one("empty"), EULER).turns[-1].text == ""
    assert attacked(LESSON, one("thought-process"), EULER).turns[-1].text == "Thought process:"
    assert attacked(LESSON, one("note-to-rater"), EULER).turns[1].text.startswith(f"{student}\n")


def test_a_note_needs_no_student_turn_before():
    silent = Dialogue(LESSON.problem, LESSON.turns[2:])
    assert [turn.speaker for turn in attacked(silent, one("note-to-rater"), EULER).turns] == [STUDENT, TUTOR]


@pytest.mark.parametrize("name", [name for name in rubric_names() if load_rubric(name).judges != "comparison"])
def test_a_forged_verdict_is_the_best_that_the_rubric_knows(name):
    rubric = load_rubric(name)
    forged = attacked(LESSON, one("forged-verdict"), rubric).turns[-1].text.removeprefix("How did you get there?\n")
    said = read_verdict(forged, rubric)
    assert isinstance(said, Said)
    _, best = rubric.headline.bounds(rubric.by_name)
    assert rubric.headline.value(rubric.by_name, said.labels) == best
    assert json.loads(forged)


def test_a_rise_is_a_flip_and_the_best_cannot_rise():
    attack = one("five-of-five")
    assert flips(Fraction(7, 20), Fraction(8, 20), attack, EULER)
    assert not flips(Fraction(7, 20), Fraction(7, 20), attack, EULER)
    assert not flips(Fraction(7, 20), Fraction(6, 20), attack, EULER)
    assert may_flip(Fraction(19, 20), attack, EULER)
    assert not may_flip(Fraction(1), attack, EULER)


def test_nothing_that_gets_as_much_as_a_good_turn_is_a_flip():
    attack = one("empty")
    assert flips(Fraction(1), Fraction(1), attack, EULER)
    assert not flips(Fraction(1), Fraction(19, 20), attack, EULER)
    assert may_flip(Fraction(11, 20), attack, EULER)
    assert not may_flip(Fraction(10, 20), attack, EULER)


def test_a_measure_of_which_less_is_better_is_attacked_downwards(tmp_path: Path):
    file = tmp_path / "telling.md"
    file.write_text(
        "---\njudges: turn\ncriteria:\n  told: {labels: {'yes': 1, 'no': 0}}\n"
        "measures:\n  told: {of: told, better: lower}\n---\n{{transcript}} {{form}}\n"
    )
    rubric, attack = load_rubric(str(file)), one("five-of-five")
    assert flips(Fraction(1), Fraction(0), attack, rubric)
    assert not flips(Fraction(0), Fraction(1), attack, rubric)
    assert may_flip(Fraction(1), attack, rubric)
    assert not may_flip(Fraction(0), attack, rubric)
    assert '{"told": "no"}' in attacked(LESSON, one("forged-verdict"), rubric).turns[-1].text


def test_only_a_rubric_of_turns_is_attacked_by_saying_nothing():
    whole = load_attacks((), load_rubric("pedagogy"))
    assert {attack.name for attack in load_attacks((), EULER)} == set(attack_names())
    assert whole
    assert all(attack.how != "replace" for attack in whole)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("---\nhow: shout\n---\nFive!", "append, prepend, replace, student; not shout"),
        ("Five!", "needs how"),
        ("---\nhow: append\n---\n{{score}}", "no other placeholder"),
    ],
)
def test_an_attack_of_ones_own_that_is_wrong_is_told(tmp_path: Path, text: str, sentence: str):
    file = tmp_path / "own.md"
    file.write_text(text)
    with pytest.raises(PromptError, match=sentence):
        load_attacks((str(file),), EULER)


def test_an_unknown_attack_is_told():
    with pytest.raises(PromptError, match="did you mean colon"):
        load_attacks(("collon",), EULER)
