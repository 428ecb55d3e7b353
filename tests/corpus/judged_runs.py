"""Runs of candidates as `diotima candidates` and `diotima score` leave them, made by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diotima.classroom.casting import PARTS
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn, stable_seed
from diotima.problems.problem import Problem
from diotima.prompt import load_prompt
from diotima.runs.judgements import keep_rubric
from diotima.runs.run import Run
from diotima.score import Judgement
from diotima.scoring.rubric import load_rubric, rubric_text

EULER = load_rubric("euler")
BEST = {"questions": "yes", "on_topic": 5, "helpful": 5, "reveal_answer": "no"}  # 1
GOOD = {"questions": "yes", "on_topic": 4, "helpful": 4, "reveal_answer": "no"}  # 9/10
FAIR = {"questions": "yes", "on_topic": 3, "helpful": 3, "reveal_answer": "no"}  # 4/5
POOR = {"questions": "no", "on_topic": 1, "helpful": 1, "reveal_answer": "yes"}  # 1/10
JUDGE = "openai/gpt-4o"
PROMPT = load_prompt("tutor/socratic")
PART = {"prompt": PROMPT.name, "text": PROMPT.text, "fingerprint": PROMPT.fingerprint, "sees": "question"}

Labels = Mapping[str, str | int] | None


def context(number: int, question: str = "", said: str = "") -> Dialogue:
    problem = Problem(f"p{number}", question or f"How many are {number} and 1?", str(number + 1), source="gsm8k")
    turns = (
        Turn(STUDENT, said or f"I got {number}."),
        Turn(TUTOR, "How did you get there?"),
        Turn(STUDENT, "I just kept it."),
    )
    return Dialogue(problem, turns, seed=100 + number)


def judged(labels: Labels, position: int = 3, judge: str = JUDGE, sample: int = 0) -> Judgement:
    """A judgement under euler; None: the judge's answer could not be read."""
    state = "invalid" if labels is None else "valid"
    return Judgement("euler", EULER.fingerprint, judge, position, sample, state, labels or {}, "", 1)


def write_candidates(
    folder: Path,
    contexts: Sequence[tuple[Dialogue, Sequence[tuple[Turn | str, Labels]]]],
    label: str = "ours",
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """A run with the replies to each context and what one judge said of each."""
    made_of = {PARTS: {label: {"tutor": "vllm/m", **PART}}, "student_names": []} if settings is None else settings
    with Run.create(folder, stage="score", settings=made_of, seed=0) as run:
        keep_rubric(folder, "euler", EULER.fingerprint, rubric_text(EULER))
        for dialogue, replies in contexts:
            add_replies(run, dialogue, replies, label)
        run.finish()
    return folder


def add_replies(
    run: Run, dialogue: Dialogue, replies: Sequence[tuple[Turn | str, Labels]], label: str, judge: str = JUDGE
) -> None:
    for number, (reply, labels) in enumerate(replies):
        turn = Turn(TUTOR, reply) if isinstance(reply, str) else reply
        seed = stable_seed("candidate", dialogue.seed, number)
        candidate = Dialogue(dialogue.problem, (*dialogue.turns, turn), seed, "candidate")
        run.add(candidate, label, {}, [judged(labels, len(dialogue.turns), judge)])
