from pathlib import Path
from xml.etree import ElementTree

from reports.judgements import contexts, write_pairs

from diotima.dialogue import stable_seed
from diotima.reports.pair_sets import pair_figure, pair_sets


def test_sets_are_found_by_their_pairs_and_summary(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", "tiny", "mathdial")
    (write_pairs(tmp_path / "theirs", "tiny", "mathdial") / "summary.json").unlink()
    (found,) = pair_sets(tmp_path)
    one = contexts("mathdial")[0]
    assert found.name == "pairs"
    assert found.candidate == ("tiny", "mathdial-p0", stable_seed("candidate", one.seed, 0))


def test_the_figure_says_what_there_was_what_was_dropped_and_what_tells_the_sides_apart(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", "tiny", "mathdial")
    (found,) = pair_sets(tmp_path)
    figure = pair_figure(found)
    (chart,) = figure.charts
    assert ElementTree.fromstring(chart.svg).get("aria-label") == chart.alt
    assert chart.alt == "Candidates by score: 12 of 40 with a verdict are above 4/5."  # those of 4/5 are not above it
    assert "(of the other contexts 2 with no candidate that is good enough)" in figure.note
    assert figure.cautions == ("the judge <i>is</i> the tutor",)
    rows = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for table in figure.tables for row in table.rows}
    assert rows["of which with a verdict"] == ["40 (88.9%)"]
    assert rows["chosen"] == ["0.950", "12.5"]
    assert rows["rejected"] == ["0.200", "4.2"]
    assert rows["4/5"] == ["0.8", "8"]
    assert figure.tables[1].caption.endswith("the chosen turn has more words in 80.0% of the pairs")
