r"""Formulas as plain text, whole and in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.chat.maths import LONGEST, readable, settled


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        (r"So \( x^2 \) it is.", "So x² it is."),
        (r"$\frac{1}{2}$ of $x^{10}$", "1/2 of x¹⁰"),
        (r"\boxed{5}", "[5]"),
        (r"$\boxed{\frac{3}{4}}$", "[3/4]"),
        (r"\[ x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a} \]", "x = (-b ± √(b² - 4ac))/(2a)"),
        (r"$3 \times 4 \div 2 \cdot 1 \le 6$", "3 × 4 ÷ 2 · 1 ≤ 6"),
        (r"$\frac{1}{2}x$, $2\frac{1}{2}$, $\frac12$", "(1/2)x, 2 1/2, 1/2"),
        (r"$\frac{1}{2x}$ and $\frac{1}{ab}$", "1/(2x) and 1/(ab)"),
        (r"$\sqrt[3]{8} = \sqrt4$", "∛8 = √4"),
        (r"$\pi r^2$, $\alpha_1$, $30^\circ$, $e^{-x^2}$, $2^{q}$", "π r², α₁, 30°, e^(-x²), 2^q"),
        (r"$\text{speed} = \frac{\text{distance}}{\text{time}}$", "speed = distance/time"),
        (r"$\left( 1{,}000 \right)$ and $\{1,2\}$", "( 1,000 ) and {1,2}"),
        (r"50\% of \$80", "50% of $80"),
        (r"2^10, x^{12} and \frac{3}{4} cup", "2¹⁰, x¹² and 3/4 cup"),
    ],
)
def test_formulas_become_text(written: str, plain: str) -> None:
    assert readable(written) == plain


@pytest.mark.parametrize(
    "text",
    [
        "You pay $5 and then $7.",
        "between $5-$10 each",
        "it is $5; he had US$ before",
        r"$\begin{pmatrix} 1 \\ 2 \end{pmatrix}$",
        r"\( \unknown{x^2} + \frac{1}{2} \)",
        r"C:\text\file and a^b and ^_^ and snake_case",
        r"\frac{1}{",
        "$ 5",
    ],
)
def test_what_is_not_known_stays_as_it_is(text: str) -> None:
    assert readable(text) == text


def test_half_a_formula_waits_and_a_lone_mark_does_not_wait_for_ever() -> None:
    assert settled(r"So we see \( x^2 + ") == len("So we see ")
    assert settled("one two thr") == len("one two ")
    assert settled(r"a \frac{1 +") == len("a ")
    assert settled("costs $5 and $7 more") == len("costs $5 and ")
    assert settled("costs $5\nand more ") == len("costs $5\nand more ")
    assert settled(r"\( " + "x " * LONGEST) == len(r"\( " + "x " * LONGEST)


_PARTS = ["$", "$$", r"\(", r"\)", r"\[", r"\]", "x^2", "^{10}", r"\frac{1}{2}", r"\frac{a + b}", "{", "}", "\\", " "]
_PARTS += ["\n", "5", "and", r"\times", r"\boxed{5}", "x_1", ",", "US", r"\$", r"\sqrt{x + 1}"]


@given(st.lists(st.sampled_from(_PARTS), max_size=25), st.integers(1, 7))
def test_pieces_read_as_the_whole_does(parts: list[str], size: int) -> None:
    text, shown, pending = "".join(parts), "", ""
    for start in range(0, len(text), size):
        pending += text[start : start + size]
        ready = settled(pending)
        shown, pending = shown + readable(pending[:ready]), pending[ready:]
    assert shown + readable(pending) == readable(text)


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    readable(text)
    assert 0 <= settled(text) <= len(text)


@pytest.mark.parametrize("hostile", [r"\(", "$x ", r"\frac{", "^{", "{" * 50, r"\sqrt["])
def test_long_hostile_texts_stay_as_they_are(hostile: str) -> None:
    text = hostile * (20_000 // len(hostile))  # a quadratic reader would take minutes
    assert readable(text) == text
    assert 0 <= settled(text) <= len(text)
