import pytest

from diotima.scoring.answers import final_answer, final_formula, final_quantity, final_words, same_answer
from diotima.scoring.choices import final_choice


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{1}, no: \boxed{\frac{1}{2}}, the answer is 9", r"\frac{1}{2}"),
        (r"cut off \boxed{12", "12"),
        ("The answer is 57. I used 12 and 19.", "57"),
        ("The answer is 3. Wait, the answer is 4. There are 9 left.", "4"),
        ("Answer: 5 + 7 = 12, done", "12"),
        ("The answer is **$1,000**.", "$1,000"),
        ("The answer to the question is 12 apples because 3 are gone", "12"),
        ("The answer is not 5. I get 6", "6"),
        ("work\n#### 18", "18"),
        ("The answer is blue.", "blue"),
        (r"The answer is 2\sqrt{3}.", r"2\sqrt{3}"),
        ("First 3, and then 4", "4"),
        ("In step 2 I am lost", None),
        ("", None),
    ],
)
def test_final_answer(text: str, expected: str | None) -> None:
    assert final_answer(text) == expected


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        ("57", "57.0", True),
        ("57 apples", "$57", True),
        ("half", r"\frac{1}{2}", True),
        ("58", "57", False),
        ("0.33", "1/3", False),
        ("Blue.", "blue", True),
        ("red", "blue", False),
        ("5", "blue", False),
        ("x + 1", "x  + 1", True),
        ("1 + x", "x + 1", None),
        ("I do not know", "57", None),
        ("", "57", None),
        ("", "blue", None),
    ],
)
def test_same_answer(given: str, expected: str, same: bool | None) -> None:
    assert same_answer(given, expected) is same


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is 5 km.", "5 km"),
        ("The answer is 12 apples because 3 are gone", "12"),
        ("The answer is 1.5 million", "1.5 million"),
        ("The answer is 3 hours 20 minutes.", "3 hours 20 minutes"),
        ("The answer is 6 - 5i", "6 - 5i"),
        ("Answer: 5 + 7 = 12", "12"),
        ("The answer is $5 and not $6", "$5"),
        (r"The answer is $\$32,\!348$.", r"\$32,\!348"),
        (r"\boxed{Ann has 57 apples}", "57 apples"),
        ("So it is 7", "7"),
        ("no number", None),
    ],
)
def test_final_quantity(text: str, expected: str | None) -> None:
    assert final_quantity(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is 1, -2.", "1, -2"),
        ("The answer is (6, 31, -1). I used 5.", "(6, 31, -1)"),
        (r"Since $x^2=2$, we get $\sqrt{2}$ in the end", r"\sqrt{2}"),
        ("The answer is y = 2x + 3.", "y = 2x + 3"),
        (r"\frac{\pi}{2}", r"\frac{\pi}{2}"),
        ("She pays $5 and he pays $6 today", None),
        ("I am lost", None),
    ],
)
def test_final_formula(text: str, expected: str | None) -> None:
    assert final_formula(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Evelyn", "Evelyn"),
        ("The answer is Evelyn.", "Evelyn"),
        ("Evelyn was fast, 4 times", "Evelyn was fast"),
        ("Let me think about this", None),
        ("", ""),
    ],
)
def test_final_words(text: str, expected: str | None) -> None:
    assert final_words(text, "Evelyn") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is (B) 12.", "B"),
        ("It is not (B). I choose (A).", "A"),
        ("(A) is too small. (C) fits.", "C"),
        ("B. because it is larger than (C)", "B"),
        ("the answer is a small number", None),
        ("A dog", None),
    ],
)
def test_final_choice(text: str, expected: str | None) -> None:
    assert final_choice(text) == expected
