"""MRBench V2: conversations with replies of eight or nine tutors, each labelled by people on eight dimensions.

Maurya et al., "Unifying AI Tutor Evaluation", NAACL 2025; MRBench_V2.json of kaushal0494/UnifyingAITutorEvaluation.
145 conversations are MathDial's, with the problem in the tutor's first turn and a reference solution; 55 are Bridge's,
with neither, and only these have a reply of the Novice. Five of Bridge's stand there twice: six replies were rated a
second time, the others are new. Labels are kept in the official words and spelling, and replies as they were rated,
quotes and all, without the white space around them. Neighbouring turns of one speaker are one turn.

The official use: a tutor's DAMR, the share of its replies with the desired label. Dimensions, labels and which of them
is desired stand in the rubric ``mrbench``, and only there.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from diotima.corpus.conversations import (
    context_of,
    merged,
    read_items,
    spoken,
    tidy,
    turn_of,
    with_text_seed,
)
from diotima.corpus.rated import Rated
from diotima.dialogue import STUDENT, TUTOR, Dialogue
from diotima.errors import ProblemFileError
from diotima.problems.formats import content_id, form_of, text_of
from diotima.problems.problem import Problem
from diotima.scoring.criteria import Criterion
from diotima.scoring.rubric import load_rubric

COLUMNS: Final = ("conversation_history", "anno_llm_responses")

_QUESTION = re.compile(r"The question is:\s*(?P<question>.+)", re.DOTALL)
_NONE = "Not Available"

Counts = Mapping[str, Mapping[str, Counter[str]]]
"""Tutor -> dimension -> label -> how often."""


def read_conversations(path: Path) -> list[Dialogue]:
    """Every conversation without the replies; six end with a tutor's turn. Raises ProblemFileError."""
    return [conversation for conversation, _ in read_items(path, _item)]


def read_mrbench(path: Path) -> list[Rated]:
    """Every reply with its eight labels. Raises ProblemFileError with the item's number and the field."""
    return [rated for _, replies in read_items(path, _item) for rated in replies]


def mrbench_counts(rated: Iterable[Rated]) -> Counts:
    """How often each tutor's replies got each label of each dimension; tutors in alphabetical order."""
    counts: dict[str, dict[str, Counter[str]]] = {}
    for one in rated:
        by_dimension = counts.setdefault(one.tutor, {name: Counter() for name in dimensions()})
        for name, label in one.labels.items():
            by_dimension[name][str(label)] += 1
    return dict(sorted(counts.items()))


@lru_cache(maxsize=1)
def dimensions() -> Mapping[str, Criterion]:
    """The eight dimensions by the names of the file."""
    return load_rubric("mrbench").by_name


def damr(counts: Counter[str], dimension: str) -> float:
    """The share of labels that are the desired one; at least one label must have been counted."""
    credit = dimensions()[dimension].credit
    return float(sum(credit(label) * count for label, count in counts.items()) / counts.total())


def _item(item: Any) -> tuple[Dialogue, list[Rated]]:
    if not isinstance(item, dict) or not isinstance(item.get("anno_llm_responses"), dict):
        raise ProblemFileError(f"must be an object with {' and '.join(COLUMNS)}, as MRBench V2 has")
    turns = merged(spoken(text_of(item, "conversation_history")))
    problem = _problem(item, turns[0].text)
    if turns[-1].speaker == STUDENT:
        conversation = context_of(problem, turns)
    else:
        conversation = with_text_seed(Dialogue(problem, turns))
    return conversation, [_rated(conversation, tutor, reply) for tutor, reply in item["anno_llm_responses"].items()]


def _problem(item: Mapping[str, Any], opening: str) -> Problem:
    solution, asked = text_of(item, "Ground_Truth_Solution"), _QUESTION.search(opening)
    if solution == _NONE or asked is None:
        return Problem(content_id("bridge", opening), "", "", source="bridge")
    columns = {"question": tidy(asked["question"]), "ground_truth": tidy(solution), "conversation": ""}
    return form_of(columns, {}, "").problem(columns)


def _rated(conversation: Dialogue, tutor: str, reply: Any) -> Rated:
    if not isinstance(reply, dict) or not isinstance(reply.get("annotation"), dict):
        raise ProblemFileError(f"the reply of {tutor} must be an object with response and annotation")
    for name, label in reply["annotation"].items():
        if name not in dimensions() or not dimensions()[name].allows(label, lenient=False):
            raise ProblemFileError(f"the reply of {tutor}: {name} = {label!r} is no label of MRBench V2")
    turn = turn_of(TUTOR, text_of(reply, "response"))
    return Rated(with_text_seed(conversation.then(turn).stopped("")), tutor, dict(reply["annotation"]))
