"""A rubric says what a judge looks at, what it may answer, and which numbers follow from its answers.

It is one text file with front matter; a new one takes no code:

    ---
    judges: turn                  # what one case is: a tutor's turn, a whole dialogue, or a comparison of two turns
    sees: [history]               # what is shown beside it; also question, answer, solution
    criteria:                     # what the judge answers: a label (and its credit), a whole number, or a text
      questions:
        labels: {'yes': 1, 'no': 0}
        about: does the turn ask the student something?
      helpful:
        scale: [1, 5]             # credit (x - 1) / 4; with zero: 0 it is x / 5
        about: does it help the student to find the solution alone?
    measures:                     # numbers that follow; a criterion that none is made of has its own
      score: {weights: {questions: 1/2, helpful: 1/2}}
    ---
    You judge one turn of a tutor. ... {{transcript}} ... {{form}}

The judge is asked once; measures are arithmetic on what it said, so a new weighting of stored judgements asks nothing
again. ``like: euler`` takes over from another rubric all that is not said anew. docs/judges.md lists every key.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from diotima.errors import PromptError
from diotima.prompt import PROMPTS, Prompt, load_prompt
from diotima.scoring.criteria import Criterion, Labels, Measure, describe
from diotima.scoring.front_matter import (
    Combine,
    Judges,
    MeasureFields,
    Sees,
    measure_from,
    read_front_matter,
    refuse_booleans,
)
from diotima.settings import did_you_mean


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a judge looks at.

    ``prompt``: the text, and the whole front matter in ``meta``. ``fingerprint``: the first 12 hexadecimal digits of
    the SHA-256 of all that the file says and all that a judge is told beside the case. ``combine``: what several
    samples or judges come to, see `panel`. ``leaks``: the labels, all of them, by which a judge says that the answer
    was given away; empty where the rubric does not ask about that. ``lenient``: a label or a number that is not on
    offer is kept, not refused. ``samples``, ``temperature``, ``max_tokens``: how often and how a judge is asked.
    """

    name: str
    prompt: Prompt
    fingerprint: str
    judges: Judges
    sees: frozenset[Sees]
    criteria: tuple[Criterion, ...]
    measures: tuple[Measure, ...]
    leaks: Mapping[str, str]
    combine: Combine
    samples: int
    temperature: float
    max_tokens: int
    lenient: bool

    @property
    def headline(self) -> Measure:
        """The measure that stands for all of them: the first."""
        return self.measures[0]

    @property
    def by_name(self) -> dict[str, Criterion]:
        """Its criteria by their names."""
        return {criterion.name: criterion for criterion in self.criteria}

    def measure(self, name: str) -> Measure:
        """The measure of that name. Raises PromptError if there is none."""
        measures = {measure.name: measure for measure in self.measures}
        if name not in measures:
            raise PromptError(f"rubric {self.name} has no measure {name}; {did_you_mean(name, measures)}")
        return measures[name]


def measure_values(rubric: Rubric, labels: Labels) -> dict[str, Fraction | None]:
    """Every measure of one judgement, exactly; None where it does not apply.

    Raises PromptError if the labels are not what this rubric's judge can have said.
    """
    criteria = rubric.by_name
    for name, criterion in criteria.items():
        said = labels.get(name)
        if not criterion.text and not criterion.allows(said, rubric.lenient):
            raise PromptError(
                f"the judgement does not fit rubric {rubric.name}: {name} is {said!r}; use the rubric of its time"
            )
    return {measure.name: measure.value(criteria, labels) for measure in rubric.measures}


def measure_bounds(rubric: Rubric, name: str) -> tuple[Fraction, Fraction]:
    """The worst and the best value that a measure can have, in this order. Raises PromptError for an unknown name."""
    return rubric.measure(name).bounds(rubric.by_name)


def reweighted(rubric: Rubric, weights: Mapping[str, Any], name: str = "weighted") -> Rubric:
    """The rubric with another headline: a measure with these weights of credits ("1/2", 0.5 or 1), before the others.

    Nothing that was judged changes by it, nor does the fingerprint. Raises PromptError.
    """
    first = measure_from(name, MeasureFields(weights=dict(weights)), rubric.by_name, f"rubric {rubric.name}")
    return replace(rubric, measures=(first, *(measure for measure in rubric.measures if measure.name != name)))


def rubric_names() -> list[str]:
    """The rubrics that come with the package."""
    return sorted(path.stem for path in (PROMPTS / "rubric").glob("*.md"))


def load_rubric(name: str) -> Rubric:
    """The rubric of that name (``euler`` is ``prompts/rubric/euler.md``), or in a file.

    Raises PromptError with one sentence that names the file, what is wrong with it, and the remedy.
    """
    prompt, where = _whole(name, ())
    front = read_front_matter(prompt.meta, where)
    if wrong := {"transcript", "form"} ^ prompt.placeholders:
        raise PromptError(
            f"{where}: the text needs {{{{transcript}}}} and {{{{form}}}}, and no other placeholder "
            f"({', '.join(sorted(wrong))})"
        )
    criteria, measures = front.parts(where)
    says = {key: value for key, value in prompt.meta.items() if key != "name"}
    all_of_it = json.dumps([says, prompt.text, describe(criteria), load_prompt("judge/material").text])
    return Rubric(
        name=front.name or Path(name).stem,
        prompt=prompt,
        fingerprint=hashlib.sha256(all_of_it.encode()).hexdigest()[:12],
        judges=front.judges,
        sees=frozenset(front.sees),
        criteria=criteria,
        measures=measures,
        leaks=front.leaks,
        combine=front.combine,
        samples=front.samples,
        temperature=front.temperature,
        max_tokens=front.max_tokens,
        lenient=front.lenient,
    )


def rubric_text(rubric: Rubric) -> str:
    """A rubric as a file that needs no other: loaded again, it has the same name and the same fingerprint."""
    import yaml

    front = {"name": rubric.name, **{key: value for key, value in rubric.prompt.meta.items() if key != "name"}}
    matter = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{matter}---\n{rubric.prompt.text}\n"


def _whole(name: str, below: tuple[str, ...]) -> tuple[Prompt, str]:
    """The prompt with all that it takes over from others, and how messages name it."""
    if name in below:
        raise PromptError(f"rubric {name} is like itself, by way of {', '.join(below)}")
    shipped = name in rubric_names()
    if not shipped and not Path(name).is_file():
        raise PromptError(f"there is no rubric {name}: it is no file; {did_you_mean(name, rubric_names())}")
    prompt = load_prompt(f"rubric/{name}" if shipped else name)
    where = f"rubric {name}" if shipped else name
    refuse_booleans(prompt.meta, where)
    meta = dict(prompt.meta)
    if (like := meta.pop("like", None)) is not None:
        model, _ = _whole(str(like), (*below, name))
        inherited = {key: value for key, value in model.meta.items() if key != "name"}
        meta, text = {**inherited, **meta}, prompt.text or model.text
        prompt = replace(prompt, meta=meta, text=text)
    return prompt, where
