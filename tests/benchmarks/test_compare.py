import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from diotima import cli
from diotima.benchmarks.compare import Settings, conclusion, run, show, sides
from diotima.benchmarks.comparison import compare
from diotima.dialogue import TUTOR, Dialogue, Turn
from diotima.errors import RunError, SettingsError
from diotima.problems.problem import Problem
from diotima.reports.collect import collect
from diotima.reports.verdict import summary
from diotima.runs.run import Run
from diotima.score import Score

GUIDE, LEAKER, TINY = "scripted/guide", "scripted/leaker", "tiny T=1"
GOOD = {"leaked": 0.0, "solved_sibling": 0.75, "solved_same": 0.75, "addressed": 1.0, "well_formed": 1.0}
BAD = {"leaked": 1.0, "solved_sibling": 0.25, "solved_same": 1.0, "addressed": 0.25, "well_formed": 1.0}
Captured = pytest.CaptureFixture[str]


def write_run(folder: Path, tutors: Mapping[str, Mapping[str, float]], problems: str = "p", **settings: Any) -> Path:
    made_of = {"tutor": [label.removesuffix(" T=1") for label in tutors], "label": [], "attempts": 4} | settings
    with Run.create(folder, stage="evaluate", settings=made_of, seed=0) as record:
        for label, values in tutors.items():
            for number in range(20):
                problem = Problem(f"{problems}{number}", f"How many {problems}?", "1")
                scores = {
                    name: Score(value if number % 5 or value in (0.0, 1.0) else value + 0.1)
                    for name, value in values.items()
                }
                record.add(Dialogue(problem, (Turn(TUTOR, "Look at step 1."),)), label, scores)
        record.finish()
    return folder


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return write_run(tmp_path / "before", {TINY: BAD, GUIDE: GOOD})


@pytest.fixture
def after(tmp_path: Path) -> Path:
    return write_run(tmp_path / "after", {"trained T=1": GOOD})


def asked(*runs: Path, label: tuple[str, ...] = (), **more: Any) -> Settings:
    return Settings(runs=tuple(map(str, runs)), label=label, **more)


def names(settings: Settings) -> list[str]:
    return [side.name for side in sides(settings)]


def test_the_model_of_each_run_is_meant_unless_labels_say_otherwise(before: Path, after: Path) -> None:
    assert names(asked(before, after)) == [TINY, "trained T=1"]
    assert names(asked(before, after, label=(GUIDE, "trained T=1"))) == [GUIDE, "trained T=1"]


def test_a_label_of_its_own_does_not_hide_that_a_tutor_is_scripted(tmp_path: Path, after: Path) -> None:
    labelled = {"perfect guide": GOOD, "mine": BAD}
    path = write_run(tmp_path / "run", labelled, tutor=[GUIDE, "tiny"], label=["perfect guide", "mine"])
    assert names(asked(path, after)) == ["mine", "trained T=1"]


def test_the_only_tutor_of_a_run_may_be_scripted(tmp_path: Path, after: Path) -> None:
    path = write_run(tmp_path / "guide", {GUIDE: GOOD}, tutor=GUIDE)  # as a stage of one tutor records it
    assert names(asked(path, after)) == [GUIDE, "trained T=1"]


def test_one_label_is_taken_from_all_runs_which_are_then_called_by_their_folders(before: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", {GUIDE: GOOD, LEAKER: BAD})
    assert names(asked(before, other, label=(GUIDE,))) == ["before", "other"]
    deep = write_run(tmp_path / "deep" / "other", {GUIDE: GOOD})
    assert names(asked(other, deep, label=(GUIDE,))) == [f"{GUIDE} in {other}", f"{GUIDE} in {deep}"]


def test_two_tutors_of_one_run_and_of_a_folder_of_stages(before: Path, after: Path) -> None:
    assert names(asked(before, label=(TINY, GUIDE))) == [TINY, GUIDE]
    assert names(asked(before.parent, label=("trained T=1", TINY))) == ["trained T=1", TINY]


@pytest.mark.parametrize(
    ("runs", "labels", "sentence"),
    [
        (["before"], [], "one run is nothing to compare.*by --label, which are: tiny T=1, scripted/guide"),
        (["before", "before"], [], "tiny T=1 in .* is compared with itself"),
        (["before", "after"], ["a", "b", "c"], "there are 2 runs but 3 labels"),
        (["before", "after"], ["tiny"], "after has no tutor tiny|did you mean tiny T=1"),
        (
            ["several", "after"],
            [],
            "several has several tutors, choose one by --label: scripted/guide, scripted/leaker",
        ),
    ],
)
def test_who_is_meant_must_be_clear(
    before: Path, after: Path, tmp_path: Path, runs: list[str], labels: list[str], sentence: str
) -> None:
    write_run(tmp_path / "several", {GUIDE: GOOD, LEAKER: BAD})
    with pytest.raises(SettingsError, match=sentence):
        run(asked(*(tmp_path / name for name in runs), label=tuple(labels)))


def test_runs_that_share_no_problem_or_hold_no_scores(before: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="share no problem"):
        run(asked(before, write_run(tmp_path / "other", {"trained T=1": GOOD}, problems="q")))
    with pytest.raises(RunError, match="holds no scored lessons"):
        run(asked(before, write_run(tmp_path / "empty", {})))
    with pytest.raises(RunError, match="There is no run in"):
        run(asked(before, tmp_path / "absent"))


def test_every_run_is_compared_with_the_first(before: Path, after: Path, tmp_path: Path, capsys: Captured) -> None:
    text = run(asked(before, after, before, label=(TINY, "trained T=1", GUIDE), out=tmp_path / "x" / "two.json"))
    assert text == tmp_path / "x" / "two.txt"
    figures = json.loads((tmp_path / "x" / "two.json").read_text())
    assert [(one["baseline"]["tutor"], one["new"]["tutor"]) for one in figures["comparisons"]] == [
        (TINY, "trained T=1"),
        (TINY, GUIDE),
    ]
    shown = capsys.readouterr().out
    assert "trained T=1 against tiny T=1 (baseline): 20 problems, 95% intervals" in shown
    for one in figures["comparisons"]:
        for printed in (shown, text.read_text()):
            assert one["conclusion"] in " ".join(printed.split())


def test_json_has_the_figures_alone_on_standard_output(before: Path, after: Path, capsys: Captured) -> None:
    assert cli.main(["compare", str(before), str(after), "--json"]) == 0
    result = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert result["path"] == str(after / "comparison.txt")
    (compared,) = result["summary"]["comparisons"]
    measures = {one["measure"]: one for one in compared["measures"]}
    leaked, sibling = measures["leaked"], measures["solved_sibling"]
    assert (leaked["test"], leaked["only_baseline_only_new"], leaked["verdict"]) == ("exact McNemar", [20, 0], "better")
    assert (leaked["effect"], leaked["smallest"]) == (None, None)
    assert (sibling["difference"]["mean"], sibling["difference"]["n"]) == (0.5, 20)
    assert leaked["p"] <= leaked["p_holm"] < 0.001
    assert compared["problems"] == 20


def test_figures_that_cannot_be_kept_are_shown_all_the_same(
    before: Path, after: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"file: .*what was stored before is kept"):
        run(asked(before, after, out=tmp_path / "file"))
    assert "trained T=1 is better than tiny T=1" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "file").read_text() == "mine"


def test_bad_input_is_one_sentence_on_the_command_line(before: Path, capsys: Captured) -> None:
    assert cli.main(["compare", str(before)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["compare", str(before), str(before), "--level", "95"]) == 2
    assert "level = 95.0: Input should be less than 1" in capsys.readouterr().err


def test_the_conclusion_in_plain_words(before: Path, after: Path) -> None:
    first, second = sides(asked(before, after))
    assert conclusion(compare(first, second)) == (
        "trained T=1 is better than tiny T=1: the tutor gives the answer away 100.0 points less often (83.9 to 100.0); "
        "students solve the sibling problem 50.0 points more often (33.9 to 66.1); students solve the same problem "
        "again 23.0 points less often (21.0 to 24.5); the tutor's turns are about a wrong step 73.0 points more often "
        "(71.0 to 74.5). Equal in every problem: well-formed."
    )
    assert conclusion(compare(second, first)).startswith("tiny T=1 is worse than trained T=1: the tutor gives")


def test_the_conclusion_of_what_is_not_clear_and_of_gains_that_cost(tmp_path: Path, before: Path) -> None:
    mixed = write_run(tmp_path / "mixed", {"tiny T=1": BAD | {"solved_sibling": 0.5, "addressed": 0.0}})
    first, second = sides(asked(before, mixed, label=(TINY,)))
    assert conclusion(compare(first, second)).startswith(
        "mixed is better in some things and worse in others than before: "
    )
    unclear = write_run(tmp_path / "unclear", {"other T=1": GOOD | {"solved_same": 0.75, "addressed": 1.0}})
    guide, other = sides(asked(before, unclear, label=(GUIDE, "other T=1")))
    said = conclusion(compare(guide, other))
    assert said.startswith(f"other T=1 is not clearly better or worse than {GUIDE}. Equal in every problem: leak rate,")
    values = other.lessons.values["solved_sibling"]
    noisy = {lesson: value + (0.2 if number % 2 else -0.19) for number, (lesson, value) in enumerate(values.items())}
    other.lessons.values["solved_sibling"] = noisy  # type: ignore[index]
    said = conclusion(compare(guide, other))
    assert "Not clear: sibling problem. A difference below 12.5 points (sibling problem, 20 problems) could not" in said


def test_the_smallest_difference_is_that_of_as_many_problems_as_the_measure_has(before: Path, after: Path) -> None:
    first, second = sides(asked(before, after))
    values = second.lessons.values["solved_sibling"]
    few = {lesson: (0.3, 0.1)[number % 2] for number, lesson in enumerate(sorted(values)[:11])}
    second.lessons.values["solved_sibling"] = few  # type: ignore[index]
    compared = compare(first, second)
    assert compared.problems == 20
    assert "(sibling problem, 11 problems) could not be shown" in conclusion(compared)


def test_what_is_equal_has_a_word_in_place_of_an_interval(before: Path) -> None:
    (one, _) = sides(asked(before, before, label=(TINY, GUIDE)))
    out = io.StringIO()
    show([compare(one, one)], 0.95, Console(file=out, width=80))
    rows = out.getvalue().split("p (Holm)")[1].split("not clearly better")[0]
    assert rows.count("equal") == len(GOOD)
    assert " to " not in rows


def test_report_and_compare_say_the_same_of_the_same_lessons(tmp_path: Path) -> None:
    # A difference whose interval leaves out zero, and which is not clear all the same once Holm is done.
    some = [0.0] * 14 + [0.5, 0.5, 0.5, 0.5, 0.25, -0.25]
    rows = [[0.25] * 20, [0.25 + change for change in some]]
    with Run.create(tmp_path / "both", stage="evaluate", settings={}, seed=0) as record:
        for label, values in zip(("scripted/sweep", GUIDE), rows, strict=True):
            for number, value in enumerate(values):
                scores = {**{name: Score(1.0) for name in GOOD}, "solved_sibling": Score(value)}
                record.add(Dialogue(Problem(f"p{number}", "How many?", "1"), (), number), label, scores)
        record.finish()
    first, second = sides(asked(tmp_path / "both", label=("scripted/sweep", GUIDE)))
    compared = {one.measure.name: one for one in compare(first, second).differences}
    findings = collect(tmp_path / "both", pairs=[("scripted/sweep", GUIDE)], blind=("scripted/sweep",))
    sibling = findings.comparison("solved_sibling", "scripted/sweep", GUIDE)
    assert sibling is not None
    assert sibling.interval.low > 0
    assert sibling.verdict == "not clear"
    for one in findings.comparisons:
        assert (one.p, one.verdict) == (compared[one.measure].adjusted, compared[one.measure].verdict)
    assert "does not clearly beat scripted/sweep" in " ".join(summary(findings))


def test_the_table_fits_80_columns_and_says_what_its_columns_are(before: Path, after: Path) -> None:
    first, second = sides(asked(before, after))
    out = io.StringIO()
    show([compare(first, second)], 0.95, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    header = next(line for line in lines if "baseline" in line and "new" in line and "p (Holm)" in line)
    assert all(title in header for title in ("measure", "difference", "effect", "smallest"))
    assert any("<0.001" in line and "+50.0" in line for line in lines)
    assert any("20 : 0" in line and "better" in line for line in lines)
    assert "exact McNemar or sign flips" in " ".join(out.getvalue().split())


def test_other_conditions_are_told_under_the_table(before: Path, tmp_path: Path, capsys: Captured) -> None:
    run(asked(before, write_run(tmp_path / "other", {"trained T=1": GOOD}, attempts=16)))
    assert "which may be the difference: attempts: 4 -> 16." in " ".join(capsys.readouterr().out.split())
