from pathlib import Path

import pytest
from reports.lessons import AFTER, BEFORE, DEMO, PROBLEMS, SWEEP, lesson, write_evaluation

from diotima.errors import RunError
from diotima.reports.collect import KEPT, Findings, collect, read_lessons
from diotima.runs.run import Run
from diotima.score import Score
from diotima.statistics import mean_interval

PAIR = (("tiny T=1", "trained T=1"),)
BLIND = ("scripted/sweep",)


def read(folder: Path, **settings: int) -> Findings:
    return collect(folder, pairs=PAIR, blind=BLIND, **settings)


def shown(findings: Findings) -> list[tuple[str, int]]:
    return [(pair.before.dialogue.problem.id, pair.before.dialogue.seed) for pair in findings.side_by_side]


def test_a_folder_of_stages_gives_examinations_comparisons_and_curves(demo: Path) -> None:
    findings = read(demo)
    assert [stage.name for stage in findings.stages] == ["exam", "grpo"]
    assert {e.label: e.role for e in findings.examinations} == {
        "tiny T=1": "before",
        "trained T=1": "after",
        "scripted/sweep": "blind",
    }
    assert all(e.lessons == 2 * PROBLEMS and e.stage == "exam" for e in findings.examinations)
    gain = findings.comparison("solved_sibling", *PAIR[0])
    assert gain is not None
    assert (gain.first_mean, gain.second_mean, gain.interval.mean, gain.sign) == (0.25, 0.75, 0.5, 1)
    over_sweep = findings.comparison("solved_sibling", "scripted/sweep", "trained T=1")
    assert over_sweep is not None
    assert over_sweep.interval.mean == 0.25


def test_of_each_step_of_a_training_that_kept_lessons_one_is_shown_in_the_order_of_the_steps(tmp_path: Path) -> None:
    with Run.create(tmp_path / "grpo", stage="train grpo", settings={}, seed=3) as run:
        for step in (10, 2, *range(20, 420, 10)):
            run.add(lesson(step, 1, leaks=False), f"step {step}", {"leaked": Score(0.0)})
            run.add(lesson(step + 1, 1, leaks=True), f"step {step}", {"leaked": Score(1.0)})
        run.metric(1, "reward", 0.5)
    (kept,) = read(tmp_path).kept.values()
    labels = [one.label for one in kept]
    assert len(labels) == KEPT
    assert labels[:2] == ["step 10", "step 30"]
    assert labels[-1] == "step 410"
    assert {one.scores["leaked"].value for one in kept} == {0.0}


def test_an_unfinished_stage_and_its_metrics_are_read_without_what_is_no_number(demo: Path) -> None:
    findings = read(demo)
    assert findings.stages[0].finished
    assert not findings.stages[1].finished
    assert findings.notes == ("grpo is not finished",)
    reward = next(curve for curve in findings.curves if curve.name == "reward")
    assert [step for step, _ in reward.points] == list(range(30))


def test_an_examination_that_was_cut_off_is_noted_with_the_tutors_that_are_missing(tmp_path: Path) -> None:
    settings = {"tutor": ["tiny", "scripted/sweep"], "label": []}
    with Run.create(tmp_path / "cut", stage="evaluate", settings=settings, seed=3) as run:
        for number in range(3):
            run.add(lesson(number, 1, leaks=False), "tiny T=1", {"leaked": Score(0.0)})
    assert read(tmp_path / "cut").notes == ("cut is not finished (3 lessons so far, none of scripted/sweep)",)


def test_a_pair_is_before_and_after_training_only_if_there_was_one_and_neither_is_scripted(demo: Path) -> None:
    assert read(demo).trained
    assert not read(demo / "exam").trained
    assert not collect(demo, pairs=[("scripted/sweep", "trained T=1")]).trained


def test_the_sweep_as_before_is_compared_once(demo: Path) -> None:
    compared = [c.measure for c in collect(demo, pairs=[("scripted/sweep", "trained T=1")], blind=BLIND).comparisons]
    assert len(compared) == len(set(compared)) == 5


def test_the_learning_gain_is_over_the_control_and_normalised_by_what_was_left(demo: Path) -> None:
    after = read(demo).examinations[1]
    assert after.mean("gain") == 0.5
    assert after.normalised_gain == pytest.approx(0.5 / 0.75)


def test_a_control_that_leaves_nothing_to_learn_has_no_normalised_gain(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "exam", {"tiny T=1": BEFORE | {"control_sibling": 1.0}})
    assert read(tmp_path).examinations[0].normalised_gain is None


def test_a_missing_score_is_left_out_of_its_measure_and_of_its_pair_only(tmp_path: Path) -> None:
    def unreadable(number: int, scores: dict[str, Score]) -> None:
        if number == 0 and scores["leaked"].value:
            scores["solved_sibling"] = Score.missing("unreadable", "error")

    findings = read(write_evaluation(tmp_path / "exam", DEMO, unreadable))
    before = findings.examinations[0]
    assert (before.lessons, before.intervals["solved_sibling"].n, before.intervals["leaked"].n) == (24, 22, 24)
    pair = findings.comparison("solved_sibling", *PAIR[0])
    assert pair is not None
    assert pair.interval.n == 22
    assert before.mean("solved_sibling") == 0.25


def test_a_measure_without_any_value_has_no_interval(tmp_path: Path) -> None:
    findings = read(write_evaluation(tmp_path / "exam", {"tiny T=1": BEFORE | {"addressed": None}}))
    assert "addressed" not in findings.examinations[0].intervals
    assert findings.examinations[0].lessons == 24


def test_no_leak_in_the_lessons_is_not_proof_that_there_is_none(demo: Path) -> None:
    leaked = read(demo).examinations[1].intervals["leaked"]
    assert (leaked.mean, leaked.low, leaked.n) == (0.0, 0.0, 24)
    assert 0.1 < leaked.high < 0.4  # Wilson over 12 problems, not over 24 lessons


def test_the_same_label_in_two_stages_is_kept_twice(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", {"scripted/sweep": SWEEP})
    write_evaluation(tmp_path / "b", {"scripted/sweep": SWEEP})
    assert [e.label for e in read(tmp_path).examinations] == ["scripted/sweep", "scripted/sweep (b)"]


def test_the_lessons_shown_are_one_a_problem_and_do_not_depend_on_how_they_went(tmp_path: Path) -> None:
    first = read(write_evaluation(tmp_path / "a", DEMO), lessons=5)
    other = read(write_evaluation(tmp_path / "b", {"tiny T=1": AFTER, "trained T=1": BEFORE}), lessons=5)
    assert len({problem for problem, _ in shown(first)}) == 5
    assert shown(first) == shown(other)
    pair = first.side_by_side[0]
    assert (pair.before.dialogue.problem.id, pair.before.dialogue.seed) == (
        pair.after.dialogue.problem.id,
        pair.after.dialogue.seed,
    )


def test_lessons_of_students_who_could_not_solve_it_alone_are_shown_first(tmp_path: Path) -> None:
    def only_two_cannot(number: int, scores: dict[str, Score]) -> None:
        scores["solved_before"] = Score(0.0 if number in (4, 9) else 1.0)

    findings = read(write_evaluation(tmp_path / "exam", DEMO, only_two_cannot), lessons=3)
    assert {problem for problem, _ in shown(findings)[:2]} == {"p4", "p9"}
    assert len(findings.side_by_side) == 3


def test_without_the_named_pair_there_is_nothing_to_compare(tmp_path: Path) -> None:
    findings = read(write_evaluation(tmp_path / "exam", {"scripted/sweep": SWEEP}))
    assert (findings.pairs, findings.comparisons, findings.side_by_side) == ((), (), ())


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_runs_is_one_clear_sentence(tmp_path: Path, there: bool) -> None:
    folder = tmp_path if there else tmp_path / "absent"
    with pytest.raises(RunError, match="give the folder that a stage or a recipe wrote"):
        read(folder)


def test_lessons_held_to_learn_from_are_shown_by_themselves_only(demo: Path) -> None:
    with Run.create(demo / "own", stage="teach", settings={}, seed=3) as run:
        run.add(lesson(0, 1, leaks=True), "tiny", {"leaked": Score(1.0), "solved_sibling": Score(0.5)})
    assert [one.label for one in collect(demo / "own", pairs=()).examinations] == ["tiny"]
    assert "tiny" not in [one.label for one in collect(demo, pairs=()).examinations]


@pytest.mark.parametrize(("stage", "settings"), [("candidates", {}), ("score", {"turns": "last"})])
def test_single_turns_are_lessons_of_no_recipe(demo: Path, stage: str, settings: dict[str, str]) -> None:
    with Run.create(demo / "turns", stage=stage, settings=settings, seed=3) as run:
        run.add(lesson(0, 1, leaks=True), "tiny", {"leaked": Score(1.0)})
    assert "tiny" not in read_lessons(demo)
    assert list(read_lessons(demo / "turns")) == ["tiny"]  # such runs can be compared
    assert read_lessons(demo / "turns", turns=False) == {}


def test_lessons_are_read_by_the_name_of_their_tutor_with_their_valid_values_only(tmp_path: Path) -> None:
    def unreadable(number: int, scores: dict[str, Score]) -> None:
        if number == 0:
            scores["leaked"] = Score.missing("unreadable")

    write_evaluation(tmp_path / "exam", {"scripted/sweep": SWEEP}, unreadable)
    (lessons,) = read_lessons(tmp_path).values()
    assert (lessons.folder, lessons.label) == (tmp_path / "exam", "scripted/sweep")
    assert ("p0", 1) in lessons.lessons
    assert ("p0", 1) not in lessons.values["leaked"]
    assert lessons.values["gain"]["p1", 2] == 0.25
    assert len(lessons.lessons) == 2 * PROBLEMS


def test_a_run_without_scores_has_nothing_to_report(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "exam", {})
    with pytest.raises(RunError, match="no scored lessons, no verdicts of judges and no training metrics"):
        read(tmp_path)


def test_lessons_about_one_problem_count_as_one_when_it_comes_to_chance(tmp_path: Path) -> None:
    def by_problem(number: int, scores: dict[str, Score]) -> None:
        if scores["leaked"].value:
            scores["solved_sibling"] = Score(float(number % 2))

    findings = read(write_evaluation(tmp_path / "exam", DEMO, by_problem))
    pair = findings.comparison("solved_sibling", *PAIR[0])
    assert pair is not None
    independent = mean_interval([float(number % 2) for number in range(PROBLEMS) for _ in (1, 2)])
    for interval in (findings.examinations[0].intervals["solved_sibling"], pair.interval):
        assert interval.high - interval.low > 1.15 * (independent.high - independent.low)
