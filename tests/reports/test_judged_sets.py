import json
import shutil
from pathlib import Path

import pytest
from corpus.judged_runs import BEST, JUDGE, POOR
from reports.judgements import CONTEXTS, GIVES_AWAY, GUIDES, write_judged, write_pairs

from diotima.classroom.judges import JUDGES_FILE
from diotima.errors import RunError
from diotima.reports.judged_sets import UnderRubric, judged_sets
from diotima.reports.pair_sets import pair_sets

PAIR = [("base", "tuned")]


def read(folder: Path, pairs: list[tuple[str, str]] = PAIR) -> UnderRubric:
    (found,) = judged_sets(folder, pairs, pair_sets(folder))
    return found


def means(found: UnderRubric) -> dict[str, dict[str, float]]:
    return {
        one.name: {tutor.label: round(tutor.measured[0].interval.mean, 3) for tutor in one.tutors} for one in found.sets
    }


def test_a_run_is_split_by_test_set_and_tutors_stand_in_pairs(tmp_path: Path) -> None:
    write_judged(tmp_path / "r", {"other": [BEST], "tuned": GUIDES, "base": GIVES_AWAY})
    found = read(tmp_path / "r")
    expected = {"base": round((0.1 + 0.1 + 0.9) / 3, 3), "tuned": 0.95, "other": 1.0}
    assert means(found) == {"mathdial": expected, "debugging": expected}
    assert [list(tutors) for tutors in means(found).values()] == [["base", "tuned", "other"]] * 2
    assert found.roles == {"base": "before", "tuned": "after"}
    assert [one.tutors[0].measured[0].cases for one in found.sets] == [CONTEXTS] * 2


def test_tutors_of_several_stages_are_compared_context_by_context(tmp_path: Path) -> None:
    write_judged(tmp_path / "a", {"base": GIVES_AWAY})
    write_judged(tmp_path / "b", {"tuned": GUIDES}, sets=("debugging",))
    debugging, mathdial = read(tmp_path).sets
    assert mathdial.comparisons == ()
    score = next(c for c in debugging.comparisons if c.measure == "score")
    assert (score.first, score.second, score.interval.n) == ("base", "tuned", CONTEXTS)
    assert score.interval.mean == pytest.approx(0.95 - 1.1 / 3)
    assert score.verdict == "better"
    assert next(c for c in debugging.comparisons if c.measure == "reveal_answer").verdict == "better"  # lower


def test_without_the_pair_all_are_compared_with_the_first(tmp_path: Path) -> None:
    write_judged(tmp_path / "r", {"x": [POOR], "y": [BEST], "z": GUIDES}, sets=("mathdial",))
    (one,) = read(tmp_path / "r").sets
    assert {(c.first, c.second) for c in one.comparisons} == {("x", "y"), ("x", "z")}


def test_one_label_of_two_stages_is_one_tutor_on_two_sets_and_two_on_one_set(tmp_path: Path) -> None:
    write_judged(tmp_path / "a", {"base": [POOR]}, sets=("mathdial",))
    write_judged(tmp_path / "b", {"base": [BEST]}, sets=("debugging",))
    assert means(read(tmp_path)) == {"mathdial": {"base": 0.1}, "debugging": {"base": 1.0}}
    write_judged(tmp_path / "c", {"base": GUIDES}, sets=("debugging",))
    assert means(read(tmp_path))["debugging"] == {"base": 1.0, "base (c)": 0.95}


def test_what_pairs_were_chosen_from_is_no_test_set(tmp_path: Path) -> None:
    write_judged(tmp_path / "judged", {"tiny": GUIDES}, sets=("mathdial",), candidates=3, first=50)
    write_pairs(tmp_path / "pairs", "tiny", "mathdial", first=50)
    assert means(read(tmp_path)) == {"mathdial": {"tiny": 0.95}}  # there is nothing else
    write_judged(tmp_path / "test", {"base": [POOR]}, sets=("mathdial",))
    assert means(read(tmp_path)) == {"mathdial": {"base": 0.1}}


def test_lessons_that_a_tutor_was_trained_in_are_no_test_set(tmp_path: Path) -> None:
    write_judged(tmp_path / "grpo", {"step 10": GUIDES}, stage="train grpo")
    assert judged_sets(tmp_path, PAIR) == ()
    write_judged(tmp_path / "judged", {"tuned": GUIDES})
    assert read(tmp_path).labels == ["tuned"]


def test_what_a_tutor_was_trained_on_is_known_after_a_move_and_its_judge_is_warned_of(tmp_path: Path) -> None:
    old = tmp_path / "old"
    write_pairs(old / "pairs", "tiny", "tutorchat")
    (old / "dpo" / "model").mkdir(parents=True)
    judges = {"judges": [JUDGE], "pairs": "somewhere/pairs"}
    (old / "dpo" / "model" / JUDGES_FILE).write_text(json.dumps(judges), encoding="utf-8")
    models = {"tuned": str(old / "dpo" / "model")}
    write_judged(old / "judged", {"base": [POOR], "tuned": [BEST]}, models=models)
    shutil.move(old, tmp_path / "new")
    found = read(tmp_path / "new")
    assert found.trained_on == {"tuned": "tutorchat (7 pairs)"}
    (caution,) = found.cautions
    assert caution.startswith(f"{JUDGE} judges its pupil: it chose what tuned learned from")
    path = tmp_path / "new" / "dpo" / "model" / JUDGES_FILE
    path.write_text(json.dumps({"judges": [JUDGE]}), encoding="utf-8")  # it learned from rewards, not from pairs
    assert read(tmp_path / "new").trained_on == {}


def test_what_is_missing_is_noted_with_its_test_set(tmp_path: Path) -> None:
    write_judged(tmp_path / "r", {"base": [BEST, None]})
    found = read(tmp_path / "r")
    assert f"base on mathdial: of {CONTEXTS} verdicts {CONTEXTS // 2} invalid (50.0% are valid)" in found.notes
    assert f"How far {JUDGE} can be trusted with this rubric is not known; measure it with diotima calibrate" in (
        found.notes
    )
    score = found.sets[0].tutors[0].measured[0]
    assert (score.valid, score.cases) == (CONTEXTS // 2, CONTEXTS)
    assert (score.worst, score.best) == pytest.approx(((1 + 0.1) / 2, 1.0))


def test_a_lost_rubric_is_told(tmp_path: Path) -> None:
    shutil.rmtree(write_judged(tmp_path / "r", {"base": [BEST]}) / "rubrics")
    with pytest.raises(RunError, match="has lost the text of its rubric euler"):
        read(tmp_path / "r")
