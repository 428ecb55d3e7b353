"""Is the answer checking right, how much can it not read, and how fast is it?

First the golden set: verdicts against those a person gave. Then MATH-500, if it is there: each reference answer against
itself in other notations, where "unparsed" and "incorrect" are both misses. Then speed: plain checks (numbers and
words) on one thread, symbolic checks on two worker processes, their start not counted.

    python benchmarks/answers.py [MATH500.jsonl]
"""

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from diotima.scoring.marking import Marker
from diotima.scoring.verdict import Verdict

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "scoring" / "golden_answers.jsonl"
MATH500 = ROOT.parent / "shared" / "data" / "math500" / "test.jsonl"

_NO_VALUE = re.compile(r"[,=_$]|\\(?:text|mbox|begin|circ|pm|left|in)|\\\{")

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda answer: answer,
    "in a box": lambda answer: rf"So it is $\boxed{{{answer}}}$.",
    "between $ in prose": lambda answer: f"The answer is ${answer}$.",
    "between \\( \\)": lambda answer: rf"The answer is \({answer}\).",
    r"\dfrac": lambda answer: boxed(answer.replace(r"\frac", r"\dfrac")),
    r"\left( \right)": lambda answer: boxed(sized(answer)),
    "without blanks": lambda answer: boxed(re.sub(r"(?<![A-Za-z\\]) | (?![A-Za-z])", "", answer)),
    "with blanks": lambda answer: boxed(re.sub(r"(?<=[\w)}])([-+=])(?=[\w\\(])", r" \1 ", answer)),
    "plus 0 (of values)": lambda answer: boxed(answer if _NO_VALUE.search(answer) else f"{answer}+0"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("math500", type=Path, nargs="?", default=MATH500)
    path = parser.parse_args().math500
    golden = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]
    pairs = [(pair["given"], pair["expected"]) for pair in golden]
    marker = Marker()
    verdicts, _ = mark(marker, pairs)
    wanted = [pair["verdict"] for pair in golden]
    confusion = Counter(zip(wanted, verdicts, strict=True))
    print(f"golden set: {len(golden)} pairs, {sum(n for (a, b), n in confusion.items() if a == b)} as a person says")
    print(f"{'a person says':>14} | " + " ".join(f"{verdict:>10}" for verdict in Verdict))
    for verdict in sorted(set(wanted)):
        print(f"{verdict:>14} | " + " ".join(f"{confusion[verdict, found]:>10}" for found in Verdict))
    print(f"unparsed: {share(verdicts, Verdict.UNPARSED)} of all, "
          f"{share([v for v, w in zip(verdicts, wanted, strict=True) if w != 'unparsed'], Verdict.UNPARSED)} "
          "of what a person can judge")  # fmt: skip

    if path.is_file():
        answers = [json.loads(line)["answer"] for line in path.read_text("utf-8").splitlines()]
        print(f"\nMATH-500: {len(answers)} reference answers against themselves, rewritten")
        print(f"{'form':>20} | " + " ".join(f"{verdict:>10}" for verdict in Verdict))
        for name, rewrite in FORMS.items():
            found = Counter(mark(marker, [(rewrite(answer), answer) for answer in answers])[0])
            print(f"{name:>20} | " + " ".join(f"{found[verdict]:>10}" for verdict in Verdict))
    else:
        print(f"\nMATH-500 is not there: {path}")
    speed(marker)
    marker.workers.close()


def speed(marker: Marker) -> None:
    """Checks a second: attempts at grade-school problems, and formulas that are not equal as text."""
    plain = [(f"First 12 + {n} = {n + 12}. Then half of it.\nThe answer is {n:,} apples.", "57") for n in range(20_000)]
    _, seconds = mark(marker, plain)
    print(f"\nplain checks: {len(plain) / seconds:,.0f} a second ({len(plain):,} attempts in {seconds:.1f} s)")
    shapes = [
        r"\frac{{{0}\sqrt{{2}}}}{{3}}",
        "x^2+{0}x-1",
        r"({0}, \frac{{\pi}}{{{0}}})",
        r"{0}+2i",
        r"\{{{0}, \sqrt{{3}}\}}",
    ]
    formulas = [shape.format(n) for n in range(2, 82) for shape in shapes]
    checks = [(boxed(given), expected) for expected, given in zip(formulas, formulas[5:] + formulas[:5], strict=True)]
    checks += [(boxed(rf"{expected.replace('+', '+0+')}"), expected) for expected in formulas]
    mark(marker, checks[:2])
    verdicts, seconds = mark(marker, checks)
    print(f"symbolic checks: {len(checks) / seconds:,.0f} a second on {marker.workers.count} workers "
          f"({len(checks)} in {seconds:.1f} s, {share(verdicts, Verdict.TIMEOUT)} timeouts)")  # fmt: skip


def mark(marker: Marker, pairs: list[tuple[str, str]]) -> tuple[list[Verdict], float]:
    """The verdicts, and the seconds they took."""

    async def mark_all() -> list[Verdict]:
        return await asyncio.gather(*(marker.mark(*pair) for pair in pairs))

    start = time.perf_counter()
    return asyncio.run(mark_all()), time.perf_counter() - start


def boxed(answer: str) -> str:
    return rf"\boxed{{{answer}}}"


def sized(answer: str) -> str:
    """The answer with sized brackets, unless they are in braces of a set or a numeral's."""
    bare = answer.replace(r"\left", "").replace(r"\right", "")
    return re.sub(r"(?<!\\)([(\[])", r"\\left\1", re.sub(r"(?<!\\)([)\]])", r"\\right\1", bare))


def share(verdicts: list[Verdict], wanted: Verdict) -> str:
    return f"{sum(verdict == wanted for verdict in verdicts) / len(verdicts):.1%}"


if __name__ == "__main__":
    main()
