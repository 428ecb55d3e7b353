import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reports.lessons import AFTER, BEFORE, DEMO, SWEEP, lesson, write_evaluation

from diotima.errors import RunError, SettingsError
from diotima.reports.report import Settings, run
from diotima.runs.run import Run
from diotima.score import Score

VOID = {"meta", "br", "wbr", "hr", "img", "link", "input"}


class Balance(HTMLParser):
    """Collects tags that are closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_one_small_file_that_needs_nothing_else(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = run(Settings(run=demo, out=demo / "report"))
    text = page.read_text(encoding="utf-8")
    assert page == demo / "report" / "report.html"
    assert page.stat().st_size < 2_000_000
    assert "<script" not in text
    assert set(re.findall(r'https?://[^"\s<]+', text)) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r'\b(src|href)="(?!#)', text.replace("xlink:href", "href"))
    assert {path.name for path in page.parent.iterdir()} == {"report.html", "report.json"}
    balance = Balance()
    balance.feed(text)
    assert (balance.wrong, balance.open) == ([], [])
    printed = capsys.readouterr().out
    assert "The trained tutor gives less away, and its students learn more." in printed
    assert "sibling" in printed


def test_it_says_the_verdict_the_figures_the_caveat_and_how_it_was_made(demo: Path) -> None:
    text = run(Settings(run=demo, title="The <demo>")).read_text(encoding="utf-8")
    assert "<h1>The trained tutor gives less away, and its students learn more.</h1>" in text
    assert "from 25.0% before to 75.0% after" in text
    assert "It beats scripted/sweep" in text
    assert "The &lt;demo&gt;" in text
    assert "What is measured is what these students learned in these lessons: no proof\nthat children would" in text
    assert "share one reader" in text
    assert "learning_rate" in text
    assert "not finished" in text
    assert len(re.findall(r"<article>", text)) == 3
    assert text.count("gives the answer away") == 3
    assert "prefers-color-scheme: dark" in text


def test_nothing_that_was_said_becomes_markup(demo: Path) -> None:
    text = run(Settings(run=demo)).read_text(encoding="utf-8")
    assert "Mina has &lt;b&gt;3&lt;/b&gt; pens &amp; $4." in text
    assert "Gain or &lt;i&gt;loss&lt;/i&gt;?" in text
    assert "<b>3</b>" not in text
    assert "<i>" not in text


def test_lessons_out_of_the_training_are_folded_away_but_for_the_last(demo: Path) -> None:
    with Run.create(demo / "grpo", stage="train grpo", settings={"learning_rate": 1e-4}, seed=3) as record:
        scores = {"leak.accepted": Score(0.0), "pedagogy.accepted": Score.missing("unreadable")}
        record.add(lesson(0, 1, leaks=False), "step 2", scores)
    page = run(Settings(run=demo)).read_text(encoding="utf-8")
    section = page[page.index("Lessons out of the training: grpo") :]
    assert section.index("<summary>step 1: Mina has") < section.index("<details open><summary>step 2: Mina has")
    assert "answer given away <b>yes</b>" in section
    assert "judged by leak <b>rejected</b>" in section
    assert "judged by pedagogy" not in section
    assert section.count("it multiplied") == 0


def test_private_thoughts_are_shown_only_on_request_and_folded(demo: Path) -> None:
    assert "it multiplied" not in run(Settings(run=demo)).read_text(encoding="utf-8")
    shown = run(Settings(run=demo, thoughts=True)).read_text(encoding="utf-8")
    assert '<details class="thought"><summary>thought</summary><p>it multiplied</p></details>' in shown


def test_the_figures_lie_beside_the_page_as_json(demo: Path) -> None:
    figures = json.loads((run(Settings(run=demo)).with_suffix(".json")).read_text(encoding="utf-8"))
    assert figures["verdict"].startswith("The trained tutor")
    sibling = next(c for c in figures["comparisons"] if (c["measure"], c["first"]) == ("solved_sibling", "tiny T=1"))
    assert (sibling["difference"]["mean"], sibling["verdict"]) == (0.5, "better")


def test_a_tutor_that_the_sweep_outdoes_is_not_praised(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "exam", DEMO | {"scripted/sweep": SWEEP | {"solved_sibling": 1.0}})
    text = run(Settings(run=tmp_path)).read_text(encoding="utf-8")
    assert "trained T=1 does worse than scripted/sweep, a tutor that never looks at the student" in text
    assert "beats" not in text


def test_the_same_run_gives_the_same_page(demo: Path) -> None:
    first = run(Settings(run=demo, out=demo / "one")).read_bytes()
    assert run(Settings(run=demo, out=demo / "two")).read_bytes() == first


def test_an_examination_of_other_tutors_is_reported_without_before_and_after(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "exam", {"scripted/guide": AFTER, "scripted/sweep": SWEEP})
    text = run(Settings(run=tmp_path / "exam")).read_text(encoding="utf-8")
    assert "<h1>2 tutors, 48 lessons.</h1>" in text
    assert "before and after</h2>" not in text
    assert "the tutor before training" not in text


def test_two_tutors_that_were_not_trained_here_are_named(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "exam", {"scripted/leaker": BEFORE, "scripted/guide": AFTER})
    text = run(Settings(run=folder, before=("scripted/leaker",), after=("scripted/guide",))).read_text(encoding="utf-8")
    assert "<h1>scripted/guide gives less away than scripted/leaker, and its students learn more.</h1>" in text
    assert "Orange is scripted/leaker, blue scripted/guide" in text
    assert "each by both tutors</h2>" in text
    assert "trained tutor" not in text


def test_an_unfinished_run_says_so(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = run(Settings(run=demo))
    assert "Grpo is not finished." in page.read_text(encoding="utf-8")
    assert "Note: grpo is not finished." in capsys.readouterr().out
    assert json.loads(page.with_suffix(".json").read_text())["notes"] == ["grpo is not finished"]


def test_a_pair_that_was_asked_for_and_is_not_there_is_an_error_that_names_the_tutors(demo: Path) -> None:
    with pytest.raises(SettingsError, match=r"its tutors are: tiny T=1, trained T=1, scripted/sweep"):
        run(Settings(run=demo, before=("nobody",), after=("trained T=1",)))
    with pytest.raises(SettingsError, match="before names 1 tutors but after 2"):
        run(Settings(run=demo, before=("tiny T=1",)))


def test_a_page_that_cannot_be_written_leaves_the_old_one(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = run(Settings(run=demo))
    before, there = page.read_bytes(), sorted(page.parent.iterdir())

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match="No space left on device"):
        run(Settings(run=demo, thoughts=True))
    assert page.read_bytes() == before
    assert sorted(page.parent.iterdir()) == there


def test_a_folder_without_runs_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        run(Settings(run=tmp_path))
