import re
from xml.etree import ElementTree

import pytest

from diotima.reports.charts import VARIABLES, Chart, bar_charts, transfer_chart
from diotima.reports.collect import Curve, Examination
from diotima.reports.curve_charts import curve_charts
from diotima.statistics import Interval

STRANGE = 'a <b> & "$x_1$"'


def examined(label: str, role: str, share: float) -> Examination:
    names = ("leaked", "solved_same", "solved_sibling", "control_sibling")
    interval = Interval(share, share - 0.05, share + 0.05, 100)
    return Examination(label, "exam", role, 100, dict.fromkeys(names, interval), None)  # type: ignore[arg-type]


TUTORS = [examined(STRANGE, "before", 0.4), examined("trained", "after", 0.6), examined("sweep", "blind", 0.3)]
CURVES = [
    Curve("grpo", name, tuple((step, step / 40) for step in range(40)))
    for name in ("reward", "leaked", "solved", "solved_sibling", "well_formed", "loss", "learning_rate")
]


def all_charts() -> list[Chart]:
    transfer = transfer_chart(TUTORS)
    assert transfer is not None
    return [*curve_charts(CURVES), *bar_charts(TUTORS), transfer]


@pytest.fixture(scope="module")
def charts() -> list[Chart]:
    return all_charts()


def test_every_chart_is_well_formed_and_says_in_words_what_it_shows(charts: list[Chart]) -> None:
    for chart in charts:
        root = ElementTree.fromstring(chart.svg)
        assert root.get("role") == "img"
        assert root.get("aria-label") == chart.alt
        assert len(chart.alt) > 30
    assert f"{STRANGE} 40.0%" in charts[-2].alt


def test_labels_are_shown_as_they_are(charts: list[Chart]) -> None:
    shown = "".join(ElementTree.fromstring(charts[-1].svg).itertext())
    assert STRANGE in shown


def test_the_same_figures_give_the_same_bytes(charts: list[Chart]) -> None:
    assert all_charts() == charts
    assert not any("<dc:date" in chart.svg for chart in charts)


def test_ids_are_unique_over_all_charts_of_a_page(charts: list[Chart]) -> None:
    ids = [name for chart in charts for name in re.findall(r'\bid="([^"]+)"', chart.svg)]
    assert len(ids) == len(set(ids))
    for chart in charts:
        own = set(re.findall(r'\bid="([^"]+)"', chart.svg))
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', chart.svg)) <= own


def test_the_page_decides_over_every_colour(charts: list[Chart]) -> None:
    for chart in charts:
        rest = re.sub(r"var\(--\w+, #[0-9a-f]{6}\)", "", chart.svg)
        assert re.findall(r"(?:fill|stroke): #(?!ffffff)[0-9a-f]{6}", rest) == []
    assert "var(--after," in charts[0].svg
    assert len(set(VARIABLES.values())) == len(VARIABLES)


def test_without_the_measures_there_is_no_chart() -> None:
    bare = Examination("x", "exam", "reference", 3, {}, None)
    assert bar_charts([bare]) == ()
    assert transfer_chart([bare]) is None
