"""A case as a judge gets to read it: fenced, so that nothing inside can pass for an instruction or for the fence.

The fence is a pair of tags with a nonce that stands in the prompt exactly twice. It is a hash of what it encloses, not
a random number: the same case makes the same prompt in every process, so its answer is found in the ledger again, and
yet nobody inside can write it, for every letter that is added changes it. Whatever in the material looks like one of
the tags, or like a mark by which models tell speakers and thoughts apart, loses its opening bracket.

Only what could be heard is shown (``turn.text``), never a thought.
"""

import hashlib
import itertools
import re
from collections.abc import Sequence

from diotima.dialogue import STUDENT, TUTOR, Turn
from diotima.prompt import shipped_prompt
from diotima.score import WHOLE
from diotima.scoring.case import Case
from diotima.scoring.rubric import Rubric

_TAGS = "material|question|answer|solution|student|tutor|judged|turn_[ab]|think|end_of_conversation"
_MARKS = r"(?:start|end)_of_turn\b|(?:bos|eos|s)>|[|｜]"  # by which chat templates tell speakers apart
_BLANK = r"[\s\u200b-\u200f\u2060\ufeff]*"
_TAG = re.compile(rf"[<＜](?={_BLANK}/?{_BLANK}(?:(?:{_TAGS})\b|{_MARKS}))", re.IGNORECASE)


def render(case: Case, rubric: Rubric) -> str:
    """What the judge sees of a case: of the problem and the talk what the rubric allows, and what is to be judged."""
    turns, problem = case.dialogue.turns, case.dialogue.problem
    known = {"question": problem.question, "answer": problem.answer, "solution": problem.solution}
    parts = [_tagged(name, text) for name, text in known.items() if name in rubric.sees and text.strip()]
    if case.position == WHOLE:
        parts += _spoken(turns)
    else:
        if "history" in rubric.sees:
            parts += _spoken(turns[: case.position])
        own = turns[case.position]
        if case.other is None:
            parts.append(_tagged("judged", own.text))
        else:
            pair = (own, case.other) if case.order == "first" else (case.other, own)
            parts += [_tagged(name, turn.text) for name, turn in zip(("turn_A", "turn_B"), pair, strict=True)]
    inside = "\n".join(parts)
    code = _code(inside, rubric.prompt.text)
    fenced = f"<material {code}>\n{inside}\n</material {code}>"
    return shipped_prompt("judge/material").fill(material=fenced)


def _spoken(turns: Sequence[Turn]) -> list[str]:
    return [_tagged(TUTOR if turn.speaker == TUTOR else STUDENT, turn.text) for turn in turns]


def _tagged(name: str, text: str) -> str:
    return f"<{name}>\n{_TAG.sub('&lt;', text)}\n</{name}>"


def _code(*texts: str) -> str:
    """A code that does not occur in the texts, the same for the same texts."""
    for number in itertools.count():
        code = _digest(f"{number}\n{texts[0]}")
        if not any(code in text for text in texts):
            return code
    raise AssertionError("there is always another number")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
