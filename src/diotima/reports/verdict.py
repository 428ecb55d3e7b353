"""What the figures say, in plain words, generated from the intervals.

A difference is called one only if its 95 % interval excludes zero; everything else is "not clear", and a tutor that
does not beat the blind sweep (a tutor that never looks at the student) is told so: without that, nothing shows that
it diagnosed anything.
"""

from diotima.reports.collect import Comparison, Findings
from diotima.reports.tables import difference_text, ordered, percent, points

TITLES = {
    (1, 1): "The trained tutor gives less away, and its students learn more.",
    (1, 0): "The trained tutor gives less away; whether its students learn more is not clear.",
    (1, -1): "The trained tutor gives less away, but its students learn less.",
    (0, 1): "The students of the trained tutor learn more; how much it gives away did not clearly change.",
    (0, 0): "No clear change: these lessons cannot tell the trained tutor from the untrained one.",
    (0, -1): "Training made the tutor worse: its students learn less.",
    (-1, 1): "The students of the trained tutor learn more, but it gives more away.",
    (-1, 0): "Training made the tutor worse: it gives more away, and its students do not clearly learn more.",
    (-1, -1): "Training made the tutor worse: it gives more away, and its students learn less.",
}
BUT = {
    1: "",
    0: " But it does not clearly beat a tutor that never looks at the student.",
    -1: " But a tutor that never looks at the student teaches more.",
}


def verdict(findings: Findings) -> str:
    """One sentence for the top of the page."""
    if not findings.pairs:
        if not findings.examinations:
            return "Training curves, without an examination of the tutor."
        lessons = sum(examination.lessons for examination in findings.examinations)
        count = len(findings.examinations)
        return f"{count} tutor{'s' if count > 1 else ''}, {lessons:,} lessons."
    pair = findings.pairs[0]
    leaked, sibling = (findings.comparison(name, *pair) for name in ("leaked", "solved_sibling"))
    if leaked is None or sibling is None:
        missing = "leaks" if leaked is None else "sibling problems"
        return f"No verdict: {pair[0]} and {pair[1]} share no lessons with valid scores of {missing}."
    sweep = findings.comparison("solved_sibling", findings.blind, pair[1])
    return TITLES[-leaked.sign, sibling.sign] + (BUT[sweep.sign] if sweep and sibling.sign > 0 else "")


def summary(findings: Findings) -> list[str]:
    """The figures behind the verdict, one sentence each; every one names its interval."""
    if not findings.pairs:
        return _without_training(findings)
    before, after = findings.pairs[0]
    sentences = []
    if leaked := findings.comparison("leaked", before, after):
        sentences.append(f"The leak rate went {_from_to(leaked)}.")
    if sibling := findings.comparison("solved_sibling", before, after):
        sentences.append(f"Students solved the sibling problem, same structure and other numbers, {_from_to(sibling)}.")
    if findings.blind and (sweep := findings.comparison("solved_sibling", findings.blind, after)):
        sentences.append(_against_sweep(sweep))
    return sentences


def _from_to(comparison: Comparison) -> str:
    how = "" if comparison.sign else ", which may be chance"
    return (
        f"from {percent(comparison.first_mean)} before to {percent(comparison.second_mean)} after "
        f"({points(comparison.interval.mean)} points, 95% interval {difference_text(comparison.interval)}, "
        f"{comparison.interval.n:,} paired lessons{how})"
    )


def _against_sweep(sweep: Comparison) -> str:
    figures = (
        f"{percent(sweep.second_mean)} against {percent(sweep.first_mean)} of siblings solved, "
        f"{points(sweep.interval.mean)} points, {difference_text(sweep.interval)}"
    )
    return {
        1: f"It beats {sweep.first}, a tutor that never looks at the student ({figures}): it has diagnosed something.",
        0: f"It does not clearly beat {sweep.first}, a tutor that never looks at the student ({figures}): "
        "nothing here shows that it diagnoses.",
        -1: f"It does worse than {sweep.first}, a tutor that never looks at the student ({figures}): "
        "going through the steps blindly would teach more.",
    }[sweep.sign]


def _without_training(findings: Findings) -> list[str]:
    learned = [e for e in ordered(findings.examinations) if "solved_sibling" in e.intervals]
    if not learned:
        return []
    best = max(learned, key=lambda examination: examination.intervals["solved_sibling"].mean)
    interval, leaked = best.intervals["solved_sibling"], best.mean("leaked")
    leaks = "" if leaked is None else f" and {best.label} gave the answer away in {percent(leaked)} of its lessons"
    return [
        f"The students of {best.label} solved most of the sibling problems: {percent(interval.mean)} "
        f"(95% interval {percent(interval.low)} to {percent(interval.high)}){leaks}.",
        "There is no before and after to compare; name the two tutors with the settings before and after.",
    ]
