import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from corpus.judged_runs import BEST, JUDGE, POOR
from reports.judgements import CONTEXTS, GIVES_AWAY, GUIDES, write_judged, write_pairs
from reports.lessons import AFTER, BEFORE, write_evaluation

from diotima.errors import SettingsError
from diotima.reports.collect import collect
from diotima.reports.judged_charts import judged_chart
from diotima.reports.judged_figures import cross_table, judged_figures, judged_verdict
from diotima.reports.judged_sets import UnderRubric, judged_sets
from diotima.reports.report import Settings, run
from diotima.reports.tables import plain
from diotima.runs.run import Run

PAIR = [("base", "tuned")]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a recipe leaves: an examination, candidates for training, their pairs, DPO, and judged test sets."""
    tmp_path = tmp_path_factory.mktemp("recipe")
    write_evaluation(tmp_path / "exam", {"base": BEFORE, "tuned": AFTER})
    write_judged(tmp_path / "judged", {"tiny": GUIDES}, sets=("mathdial",), candidates=3, first=50)
    write_pairs(tmp_path / "pairs", "tiny", "mathdial", first=50)
    write_judged(tmp_path / "test", {"base": GIVES_AWAY, "tuned": [BEST, BEST, None]})
    with Run.create(tmp_path / "dpo", stage="train dpo", settings={}, seed=0) as dpo:
        dpo.metric(0, "pairs", 7)
        dpo.metric(0, "pairs_too_long", 2)
        for step in range(1, 30):
            for name in ("rewards/margins", "rewards/accuracies", "loss", "reward/x"):
                dpo.metric(step, name, step / 30)
    return tmp_path


def report(folder: Path, **values: Any) -> tuple[str, dict[str, Any]]:
    page = run(Settings(run=folder, **({"before": ("base",), "after": ("tuned",)} | values)))
    return page.read_text(encoding="utf-8"), json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def told(recipe: Path) -> tuple[str, dict[str, Any]]:
    """Its page, and its figures as JSON."""
    return report(recipe)


def under(folder: Path) -> UnderRubric:
    (found,) = judged_sets(folder, PAIR)
    return found


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>([^<]+)</h2>\n<p>", text)


def test_a_recipe_shows_exam_judges_pairs_and_curves(told: tuple[str, dict[str, Any]]) -> None:
    text, figures = told
    assert headings(text)[3:] == [
        "Rubric euler: score",
        "Rubric euler: measure by measure",
        "Rubric euler: differences",
        "Preference pairs: pairs",
        "Learning curves: dpo",
        "3 lessons, before and after",
    ]
    assert "Trained on 7 pairs; 2 were too long and left out." in text
    assert "45 candidates in 9 contexts, 88.9% of them with a verdict, gave 7 pairs" in text
    assert "the judge &lt;i&gt;is&lt;/i&gt; the tutor." in text
    assert [one["tutor"] for one in figures["tutors"]] == ["base", "tuned"]  # single turns are no lessons
    (judged,) = figures["judged"]
    assert [one["name"] for one in judged["sets"]] == ["debugging", "mathdial"]
    tuned = judged["sets"][0]["tutors"][1]["measures"]["score"]
    assert (tuned["mean"], tuned["valid"], tuned["cases"]) == (1.0, 2 * CONTEXTS // 3, CONTEXTS)
    assert tuned["worst"] == pytest.approx((2 + 0.1) / 3)
    assert figures["pairs"][0]["stage"] == "pairs"
    assert figures["pairs"][0]["pairs"] == 7


def test_the_examination_is_what_it_is_without_judges(recipe: Path, told: tuple[str, dict[str, Any]]) -> None:
    _, whole = told
    exam = plain(collect(recipe / "exam", pairs=PAIR))
    assert (whole["tutors"], whole["comparisons"]) == (exam["tutors"], exam["comparisons"])
    assert whole["verdict"] == "The trained tutor gives less away, and its students learn more."


def test_a_judged_run_alone_is_a_page_about_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_judged(tmp_path / "r", {"base": GIVES_AWAY, "tuned": GUIDES})
    text, figures = report(tmp_path / "r")
    assert "<h1>By euler&#39;s score, tuned is better than base on debugging, mathdial.</h1>" in text
    assert "The tutors</h2>" not in text
    assert figures["tutors"] == []
    printed = capsys.readouterr().out
    assert "euler's score, tuned is better than base on debugging, mathdial." in printed
    assert "score by tutor and test set" in printed
    assert figures["summary"][0].startswith(
        f"On debugging, {JUDGE} gave base a mean score of 36.7% and tuned 95.0% (+58.3"
    )


def test_the_verdict_tells_test_sets_apart(tmp_path: Path) -> None:
    write_judged(tmp_path / "a", {"base": [POOR], "tuned": [BEST]}, sets=("mathdial",))
    write_judged(tmp_path / "b", {"base": GUIDES, "tuned": GUIDES}, sets=("debugging",))
    assert judged_verdict(under(tmp_path)) == (
        "By euler's score, tuned is not clearly different from base on debugging; better than base on mathdial."
    )
    write_judged(tmp_path / "alone" / "r", {"base": [POOR]}, sets=("mathdial",))
    assert (
        judged_verdict(under(tmp_path / "alone"))
        == f"{CONTEXTS} turns judged by euler, {CONTEXTS} of them with a verdict."
    )


def test_the_cross_table_has_a_row_a_tutor_and_a_column_a_test_set(tmp_path: Path) -> None:
    write_judged(tmp_path / "a", {"base": [POOR]})
    write_judged(tmp_path / "b", {"tuned": [BEST, None]}, sets=("debugging",))
    table = cross_table(under(tmp_path))
    assert [title for title, _ in table.columns] == ["tutor", "debugging", "mathdial"]
    base, tuned = table.rows
    assert [cell.text for cell in base.cells] == ["base", "10.0%", "10.0%"]
    assert [cell.text for cell in tuned.cells] == ["tuned", "100.0%", "–"]
    assert tuned.cells[1].detail.split("\n")[1:] == [
        f"{CONTEXTS // 2} of {CONTEXTS} valid",
        "bounds 55.0% to 100.0%",
    ]
    assert (base.role, tuned.role) == ("before", "after")


def test_every_chart_has_its_tables_and_ids_of_its_own(tmp_path: Path) -> None:
    write_judged(tmp_path / "r", {"base": GIVES_AWAY, "tuned": GUIDES})
    headline, parts, differences = judged_figures(under(tmp_path / "r"))
    assert [chart.title for chart in (*headline.charts, *parts.charts)] == ["debugging", "mathdial"] * 2
    assert [len(one.tables) for one in (headline, parts, differences)] == [1, 4, 2]
    assert parts.tables[0].caption.startswith("debugging. base: euler")
    names = {chart.name for chart in (*headline.charts, *parts.charts)}
    assert len(names) == 4
    for chart in (*headline.charts, *parts.charts):
        assert ElementTree.fromstring(chart.svg).get("aria-label") == chart.alt
    assert "score: base 36.7%, tuned 95.0%." in headline.charts[0].alt
    assert "reveal answer (lower is better): base 66.7%, tuned 0.0%." in parts.charts[0].alt


def test_a_tutor_without_any_verdict_has_a_row_and_no_bar(tmp_path: Path) -> None:
    write_judged(tmp_path / "r", {"base": [None], "tuned": GUIDES}, sets=("mathdial",))
    found = under(tmp_path / "r")
    chart = judged_chart("x", "mathdial", found.sets[0].tutors, [found.headline], found.roles)
    assert "score: base no verdict, tuned 95.0%." in chart.alt
    assert "no verdict" in "".join(ElementTree.fromstring(chart.svg).itertext())
    assert cross_table(found).rows[0].cells[1].text == "–"
    assert found.sets[0].comparisons == ()


def test_the_calibration_of_a_judge_stands_beside_its_scores(tmp_path: Path) -> None:
    topic = {
        "name": "helpful",
        "kind": "labels",
        "prevalence": [[1, 0.5], [5, 0.5]],
        "raters": [{"rater": "judge", "n": 30, "figures": {"kappa": {"mean": 0.8, "low": 0.7, "high": 0.9, "n": 30}}}],
        "verdict": {"sentence": "On helpful it is better than trivial raters."},
        "identical": None,
        "self_alpha": None,
        "length_bias": None,
    }
    calibration = {
        "judge": JUDGE,
        "rubric": "euler",
        "headline": "score",
        "summary": "kappa 0.80 to people on helpful",
        "human": {"file": "ours.csv"},
        "cases": 30,
        "problems": 30,
        "samples": 1,
        "judgements": {"n": 30, "valid": 30, "invalid": 0, "refused": 0, "error": 0},
        "topics": [topic],
        "order_flips": None,
        "attacks": [],
        "rises_by_chance": {"mean": None, "low": 0.0, "high": 1.0, "n": 0},
    }
    write_judged(tmp_path / "r", {"base": [POOR]}, calibration=calibration)
    text, figures = report(tmp_path / "r", before=(), after=())
    assert '<p class="caveat">kappa 0.80 to people on helpful.</p>' in text
    assert f"<h2>How far {JUDGE} agrees with people</h2>" in text
    assert "helpful: agreement with people, who said 1 50%, 5 50%" in text
    assert figures["judged"][0]["calibrations"] == {JUDGE: calibration}


def test_a_pair_that_nobody_judged_is_an_error(recipe: Path) -> None:
    with pytest.raises(SettingsError, match=r"its tutors are: base, tuned$"):
        report(recipe, before=("base",), after=("nobody",))


def test_the_same_judgements_give_the_same_figures(tmp_path: Path) -> None:
    write_judged(tmp_path / "r", {"base": GIVES_AWAY, "tuned": GUIDES}, sets=("mathdial",))
    assert list(judged_figures(under(tmp_path / "r"))) == list(judged_figures(under(tmp_path / "r")))
