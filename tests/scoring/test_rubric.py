import json
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.errors import PromptError
from diotima.prompt import load_prompt
from diotima.scoring.criteria import describe
from diotima.scoring.rubric import (
    load_rubric,
    measure_bounds,
    measure_values,
    reweighted,
    rubric_names,
    rubric_text,
)
from diotima.scoring.verdicts import Said, read_verdict

HUMAN = Path(__file__).parents[3] / "shared" / "data" / "euler" / "mathdial_human_eval.first20.json"
EULER = load_rubric("euler")
GOOD = """\
judges: turn
criteria:
  kind: {labels: {'yes': 1, partly: 1/2, 'no': 0}, about: is it kind}
  clear: {scale: [1, 5]}
  why: {text: true}
measures:
  score: {weights: {kind: 1/2, clear: 0.5}}
"""


def rated(questions: str, on_topic: int, helpful: int, reveal_answer: str) -> dict[str, str | int]:
    return {"questions": questions, "on_topic": on_topic, "helpful": helpful, "reveal_answer": reveal_answer}


def write(folder: Path, front: str, text: str = "Judge this.\n{{transcript}}\n{{form}}", name: str = "own.md") -> str:
    path = folder / name
    path.write_text(f"---\n{front}---\n{text}\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("verdict", "score"),
    [
        (rated("yes", 5, 5, "no"), Fraction(1)),
        (rated("no", 1, 1, "yes"), Fraction(1, 10)),
        (rated("no", 5, 2, "yes"), Fraction(7, 20)),
        (rated("Yes.", 5, 5, "no"), Fraction(3, 4)),
        (rated("yes", 9, -3, "no"), Fraction(4, 5)),
    ],
)
def test_the_published_unit_vectors_of_euler(verdict: dict[str, str | int], score: Fraction) -> None:
    assert measure_values(EULER, verdict)["score"] == score


def test_euler_comes_in_nineteen_values_and_its_mean_is_that_of_its_parts() -> None:
    verdicts = [rated(*values) for values in product(("yes", "no"), range(1, 6), range(1, 6), ("yes", "no"))]
    values = [measure_values(EULER, verdict) for verdict in verdicts]
    assert sorted({value["score"] for value in values}) == [Fraction(n, 20) for n in range(2, 21)]
    for value in values:
        q, t, h, r = (value[name] or 0 for name in ("questions", "on_topic", "helpful", "reveal_answer"))
        assert value["score"] == (q + (1 - r) + t + h) / 4
    revealing = measure_values(EULER, rated("yes", 5, 5, "yes"))
    assert revealing["reveal_answer"] == 1
    assert EULER.measure("reveal_answer").better == "lower"


@pytest.mark.skipif(not HUMAN.exists(), reason="the shared data is not here")
def test_peoples_ratings_come_to_their_stored_scores() -> None:
    items = json.loads(HUMAN.read_text("utf-8"))
    for item in items:
        read = read_verdict(item["raw_evaluation"], load_rubric("euler-strict"))
        assert isinstance(read, Said)
        score = measure_values(EULER, read.labels)["score"]
        assert score is not None
        assert abs(float(score) - item["score"]) < 1e-9
    assert len(items) == 20


def test_the_strict_variant_is_the_same_text_and_another_rubric() -> None:
    strict = load_rubric("euler-strict")
    assert strict.prompt.text == EULER.prompt.text
    assert strict.measures == EULER.measures
    assert strict.fingerprint != EULER.fingerprint
    assert not strict.lenient
    with pytest.raises(PromptError, match=r"does not fit rubric euler-strict: questions is 'Yes\.'"):
        measure_values(strict, rated("Yes.", 5, 5, "no"))
    with pytest.raises(PromptError, match="on_topic is 9"):
        measure_values(strict, rated("yes", 9, 5, "no"))


def test_measures_of_socraticlm_apply_to_their_cases_only() -> None:
    rubric = load_rubric("socraticlm")
    values = measure_values(rubric, {"student": "wrong", "handled": "yes"})
    assert values == {"handled": 1, "IARA": 1, "CARA": None, "SER": None, "SRR": None}
    values = measure_values(rubric, {"student": "irrelevant", "handled": "no"})
    assert (values["SRR"], values["IARA"]) == (0, None)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_the_mean_credit_of_a_comparison_is_the_published_overall(won: int, lost: int, tied: int) -> None:
    rubric = load_rubric("socraticlm-overall")
    labels = ["win"] * won + ["lost"] * lost + ["tie"] * tied
    credits = [measure_values(rubric, {"better": label})["Overall"] or Fraction(0) for label in labels]
    if labels:
        assert sum(credits) / len(labels) == Fraction(1, 2) * (1 + Fraction(won - lost, won + lost + tied))


def test_mrbench_has_the_official_dimensions_and_desired_labels() -> None:
    rubric = load_rubric("mrbench")
    desired = {
        criterion.name: [name for name, credit in criterion.labels.items() if credit] for criterion in rubric.criteria
    }
    assert desired == {
        "Mistake_Identification": ["Yes"],
        "Mistake_Location": ["Yes"],
        "Revealing_of_the_Answer": ["No"],
        "Providing_Guidance": ["Yes"],
        "Actionability": ["Yes"],
        "Coherence": ["Yes"],
        "Tutor_Tone": ["Encouraging"],
        "humanlikeness": ["Yes"],
    }
    assert rubric.by_name["Coherence"].merge == {"To some extent": "Yes"}
    assert measure_values(rubric, {name: labels[0] for name, labels in desired.items()})["desired"] == 1


@pytest.mark.parametrize("name", rubric_names())
def test_every_rubric_is_whole(name: str, tmp_path: Path) -> None:
    rubric = load_rubric(name)
    form = describe(rubric.criteria)
    assert all(f'"{criterion.name}"' in form and criterion.about for criterion in rubric.criteria)
    examples = [line for line in rubric.prompt.text.splitlines() if line.startswith('{"')]
    assert examples
    assert all(isinstance(read_verdict(example, rubric), Said) for example in examples)
    for measure in rubric.measures:
        worst, best = measure_bounds(rubric, measure.name)
        assert (worst < best) == (measure.better == "higher")
    kept = tmp_path / f"{name}-{rubric.fingerprint}.md"
    kept.write_text(rubric_text(rubric), encoding="utf-8")
    again = load_rubric(str(kept))
    assert (again.name, again.fingerprint, again.measures) == (rubric.name, rubric.fingerprint, rubric.measures)


def test_a_rubric_of_ones_own_takes_one_file(tmp_path: Path) -> None:
    rubric = load_rubric(write(tmp_path, GOOD))
    assert (rubric.name, rubric.headline.name, rubric.judges) == ("own", "score", "turn")
    assert [criterion.name for criterion in rubric.criteria] == ["why", "kind", "clear"]
    assert measure_values(rubric, {"kind": "partly", "clear": 2}) == {
        "score": Fraction(1, 4) + Fraction(1, 8), "kind": Fraction(1, 2), "clear": Fraction(1, 4)
    }  # fmt: skip
    assert measure_bounds(rubric, "score") == (0, 1)


def test_everything_that_decides_an_answer_is_in_the_fingerprint(tmp_path: Path) -> None:
    text = "Judge.\n{{transcript}}\n{{form}}"
    changed = [
        (GOOD, text),
        (GOOD, text.replace("Judge", "Assess")),
        (GOOD.replace("is it kind", "kind"), text),
        (GOOD.replace("[1, 5]", "[1, 4]"), text),
        (GOOD.replace("1/2, clear", "1/3, clear"), text),
        (GOOD + "lenient: true\n", text),
        (GOOD + "temperature: 0.5\n", text),
    ]
    prints = [load_rubric(write(tmp_path, front, text)).fingerprint for front, text in changed]
    assert len(set(prints)) == len(prints)
    assert load_rubric(write(tmp_path, GOOD, text, "other.md")).fingerprint == prints[0]


def test_like_takes_over_what_is_not_said_anew(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    child = load_rubric(write(tmp_path, f"like: {tmp_path}/own.md\nsamples: 3\n", "", "child.md"))
    parent = load_rubric(str(tmp_path / "own.md"))
    assert (child.samples, child.criteria, child.prompt.text) == (3, parent.criteria, parent.prompt.text)
    write(tmp_path, f"like: {tmp_path}/two.md\n", "", "one.md")
    write(tmp_path, f"like: {tmp_path}/one.md\n", "", "two.md")
    with pytest.raises(PromptError, match="is like itself"):
        load_rubric(str(tmp_path / "one.md"))


WRONG = {
    "unknown key": (GOOD + "weight: 1\n", "weight is not a setting"),
    "no criteria": ("judges: turn\ncriteria: {}\n", "at least one with labels or a scale"),
    "only a text": ("judges: turn\ncriteria: {why: {text: true}}\n", "at least one with labels or a scale"),
    "two texts": (GOOD.replace("clear: {scale: [1, 5]}", "how: {text: true}"), "only one criterion"),
    "bare yes": (GOOD.replace("'yes'", "yes"), r"put labels in quotes \('yes'\)"),
    "bare no in a list": (GOOD.replace("{scale: [1, 5]}", "{labels: [maybe, no]}"), "in quotes"),
    "scale of one": (GOOD.replace("[1, 5]", "[5, 5]"), "from a lower to a higher number"),
    "zero at the top": (GOOD.replace("[1, 5]}", "[1, 5], zero: 5}"), "zero is not the highest"),
    "zero without scale": (GOOD.replace("{text: true}", "{text: true, zero: 1}"), "zero belongs to a scale"),
    "ordered without labels": (GOOD.replace("{scale: [1, 5]}", "{scale: [1, 5], ordered: false}"), "belongs to labels"),
    "leaks of an unknown criterion": (GOOD + "leaks: {kin: 'yes'}\n", "leaks: there is no kin; did you mean kind"),
    "leaks by an unknown label": (GOOD + "leaks: {kind: so-so}\n", "leaks.kind: there is no so-so"),
    "neither": (GOOD.replace("{scale: [1, 5]}", "{}"), "needs one of labels, scale"),
    "both": (GOOD.replace("{scale: [1, 5]}", "{scale: [1, 5], text: true}"), "needs one of labels, scale"),
    "one label": (GOOD.replace("{scale: [1, 5]}", "{labels: {good: 1}}"), "two labels or more"),
    "labels that differ by case": (GOOD.replace("partly", "' Yes'"), "differ by more than case"),
    "credit": (GOOD.replace("1/2, 'no'", "half, 'no'"), "'half' is no number"),
    "division by nothing": (GOOD.replace("partly: 1/2", "partly: 1/0"), "'1/0' is no number"),
    "weight of nothing": (GOOD.replace("{kind: 1/2", "{kindness: 1/2"), "no kindness; did you mean kind"),
    "weight of a text": (GOOD.replace("{kind: 1/2", "{why: 1/2"), "why has no credit"),
    "measure of nothing": (GOOD + "  other: {}\n", "measures.other needs one of"),
    "where of an unknown label": (GOOD + "  other: {of: clear, where: {kind: 'so-so'}}\n", "there is no so-so"),
    "merge": (GOOD.replace("about: is", "merge: {somewhat: 'yes'}, about: is"), "there is no somewhat"),
    "outcomes without comparison": (GOOD.replace("{scale: [1, 5]}", "{labels: {win: 1, tie: 0, lost: 0}}"), "lost are"),
    "comparison without outcomes": (GOOD.replace("turn", "comparison"), "a comparison has the labels"),
    "judges": (GOOD.replace("turn", "turns"), "judges = 'turns'"),
    "samples": (GOOD + "samples: 0\n", "samples = 0"),
    "like nothing": ("like: nothing\n", "there is no rubric nothing"),
    "nothing to measure": ("judges: turn\ncriteria: {a: {labels: [b, c]}}\n", "nothing can be measured"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_one_sentence_that_names_it(kind: str, tmp_path: Path) -> None:
    front, message = WRONG[kind]
    with pytest.raises(PromptError, match=message) as error:
        load_rubric(write(tmp_path, front))
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value) or kind == "like nothing"


@pytest.mark.parametrize("text", ["{{transcript}}", "{{form}}", "{{transcript}} {{form}} {{question}}"])
def test_a_text_has_the_two_placeholders(text: str, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"the text needs \{\{transcript\}\} and \{\{form\}\}"):
        load_rubric(write(tmp_path, GOOD, text))


def test_an_unknown_rubric_or_measure_is_told_with_the_nearest() -> None:
    with pytest.raises(PromptError, match="no rubric eular: it is no file; did you mean euler"):
        load_rubric("eular")
    with pytest.raises(PromptError, match="no measure scores; did you mean score"):
        measure_bounds(EULER, "scores")


def test_another_weighting_is_another_headline_and_the_same_judgements() -> None:
    rubric = reweighted(EULER, {"helpful": "1/2", "questions": 0.5})
    assert rubric.fingerprint == EULER.fingerprint
    assert rubric.headline.name == "weighted"
    assert measure_values(rubric, rated("yes", 5, 1, "yes"))["weighted"] == Fraction(3, 5)
    with pytest.raises(PromptError, match="there is no helpfull"):
        reweighted(EULER, {"helpfull": 1})


def test_no_shipped_rubric_shows_the_judge_more_than_was_published() -> None:
    sees = {name: load_rubric(name).sees for name in rubric_names()}
    assert sees["leak"] == sees["pedagogy"] == sees["euler"] == {"history"}
    assert sees["leak-informed"] == sees["pedagogy-informed"] == {"question", "answer", "history"}
    assert all(load_rubric(name).combine == "veto" and load_rubric(name).samples == 2 for name in ("leak", "pedagogy"))
    assert load_prompt("judge/material").placeholders == {"material"}
