"""What the figures say, in plain words, generated from the comparisons.

A difference is called one only if it is clear by the rule of `paired.py`; everything else is "not clear", and a tutor
that does not beat the blind sweep (a tutor that never looks at the student) is told so: without that, nothing shows
that it diagnosed anything. Only where a tutor was trained do the words speak of training; any other two are named.
"""

from math import isnan

from diotima.reports.collect import Comparison, Findings
from diotima.reports.paired import EQUAL
from diotima.reports.tables import difference_text, ordered, p_text, percent, points

# By the signs of what is good: gives less away, students learn more.
TRAINED = {
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
ANY_TWO = {
    (1, 1): "{after} gives less away than {before}, and its students learn more.",
    (1, 0): "{after} gives less away than {before}; whether its students learn more is not clear.",
    (1, -1): "{after} gives less away than {before}, but its students learn less.",
    (
        0,
        1,
    ): "The students of {after} learn more than those of {before}; how much is given away does not clearly differ.",
    (0, 0): "No clear difference: these lessons cannot tell {after} from {before}.",
    (
        0,
        -1,
    ): "The students of {after} learn less than those of {before}; how much is given away does not clearly differ.",
    (-1, 1): "The students of {after} learn more than those of {before}, but it gives more away.",
    (-1, 0): "{after} gives more away than {before}, and its students do not clearly learn more.",
    (-1, -1): "{after} gives more away than {before}, and its students learn less.",
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
        return f"{count} tutor{'s' if count > 1 else ''}, {lessons:,} lesson{'s' if lessons > 1 else ''}."
    before, after = findings.pairs[0]
    leaked, sibling = (findings.comparison(name, before, after) for name in ("leaked", "solved_sibling"))
    if leaked is None or sibling is None:
        missing = "leaks" if leaked is None else "sibling problems"
        return f"No verdict: {before} and {after} share no lessons with valid scores of {missing}."
    signs = (-leaked.sign, sibling.sign)
    title = TRAINED[signs] if findings.trained else ANY_TWO[signs].format(before=before, after=after)
    sweep = findings.comparison("solved_sibling", findings.blind, after) if before != findings.blind else None
    return title + (BUT[sweep.sign] if sweep and sibling.sign > 0 else "")


def summary(findings: Findings) -> list[str]:
    """The figures behind the verdict, one sentence each; every one names its interval."""
    if not findings.pairs:
        return _without_a_pair(findings)
    before, after = findings.pairs[0]
    sentences = []
    if leaked := findings.comparison("leaked", before, after):
        rate = "The leak rate went" if findings.trained else "The leak rate is"
        sentences.append(f"{rate} {_means(leaked, findings.trained)} ({_figures(leaked)}).")
    if sibling := findings.comparison("solved_sibling", before, after):
        solved = (
            "Students solved the sibling problem, same structure and other numbers,"
            if findings.trained
            else "Of the sibling problems, same structure and other numbers, students solved"
        )
        sentences.append(f"{solved} {_means(sibling, findings.trained)} ({_figures(sibling)}).")
    if findings.blind and (sweep := findings.comparison("solved_sibling", findings.blind, after)):
        sentences.append(_against_sweep(sweep, "It" if findings.trained else after))
    return sentences


def _means(comparison: Comparison, trained: bool) -> str:
    first, second = percent(comparison.first_mean), percent(comparison.second_mean)
    if trained:
        return f"from {first} before to {second} after"
    return f"{first} with {comparison.first} and {second} with {comparison.second}"


def _figures(comparison: Comparison) -> str:
    many = f"{comparison.interval.n:,} paired lesson{'s' if comparison.interval.n > 1 else ''}"
    if comparison.verdict == EQUAL:
        return f"equal in every problem, {many}"
    how = "" if comparison.sign else ", which may be chance"
    return f"{_difference(comparison)}, {many}{how}"


def _difference(comparison: Comparison) -> str:
    interval = comparison.interval
    limits = "" if isnan(interval.low) else f"95% interval {difference_text(interval)}, "
    return f"{points(interval.mean)} points, {limits}adjusted p {p_text(comparison.p)}"


def _against_sweep(sweep: Comparison, after: str) -> str:
    figures = (
        f"{percent(sweep.second_mean)} against {percent(sweep.first_mean)} of siblings solved, {_difference(sweep)}"
    )
    return {
        1: f"{after} beats {sweep.first}, a tutor that never looks at the student ({figures}): "
        "it has diagnosed something.",
        0: f"{after} does not clearly beat {sweep.first}, a tutor that never looks at the student ({figures}): "
        "nothing here shows that it diagnoses.",
        -1: f"{after} does worse than {sweep.first}, a tutor that never looks at the student ({figures}): "
        "going through the steps blindly would teach more.",
    }[sweep.sign]


def _without_a_pair(findings: Findings) -> list[str]:
    learned = [e for e in ordered(findings.examinations) if "solved_sibling" in e.intervals]
    if not learned:
        return []
    best = max(learned, key=lambda examination: examination.intervals["solved_sibling"].mean)
    interval = best.intervals["solved_sibling"]
    limits = "" if isnan(interval.low) else f" (95% interval {percent(interval.low)} to {percent(interval.high)})"
    control, leaked = best.mean("control_sibling"), best.mean("leaked")
    without = "" if control is None else f", and {percent(control)} of them without any lesson"
    leaks = "" if leaked is None else f"; {best.label} gave the answer away in {percent(leaked)} of its lessons"
    solved = f"The students of {best.label} solved {percent(interval.mean)} of the sibling problems"
    if len(findings.examinations) == 1:
        return [
            f"{solved}{limits}{without}{leaks}.",
            "With one tutor there is nothing to compare: evaluate a second on the same problems.",
        ]
    return [
        f"{solved}{limits}, and those of no other tutor more{leaks}.",
        "There is no before and after to compare; name two of the tutors by --before LABEL --after LABEL.",
    ]
