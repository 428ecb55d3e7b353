import pytest

from diotima.scoring.answers import final_answer, same_answer


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
