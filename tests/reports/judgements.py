"""Judged candidates of several tutors on several test sets, written through the real `Run`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus.judged_runs import BEST, EULER, GOOD, JUDGE, POOR, Labels, add_replies, context

from diotima.classroom.casting import PARTS
from diotima.dialogue import Dialogue, stable_seed
from diotima.runs.calibrations import CALIBRATIONS
from diotima.runs.judgements import keep_rubric
from diotima.runs.run import Run
from diotima.scoring.rubric import rubric_text

CONTEXTS = 24
SETS = ("debugging", "mathdial")
GUIDES: Sequence[Labels] = (BEST, GOOD)
GIVES_AWAY: Sequence[Labels] = (POOR, POOR, GOOD)


def contexts(source: str, first: int = 0) -> list[Dialogue]:
    """The contexts of a test set; ``first``: the number of the first, by which sets differ."""
    made = [context(number) for number in range(first, first + CONTEXTS)]
    return [replace(one, problem=replace(one.problem, id=f"{source}-{one.problem.id}", source=source)) for one in made]


def write_judged(
    folder: Path,
    tutors: Mapping[str, Sequence[Labels]],
    sets: Sequence[str] = SETS,
    judge: str = JUDGE,
    models: Mapping[str, str] | None = None,
    candidates: int = 1,
    first: int = 0,
    calibration: Mapping[str, Any] | None = None,
    stage: str = "score",
) -> Path:
    """What `diotima score` leaves of candidates: each tutor gets its verdicts in turn, ``None`` for an unreadable one.

    ``models``: of the tutors, by label. ``candidates``: of each tutor in each context.
    """
    parts = {label: {"tutor": (models or {}).get(label, "vllm/m")} for label in tutors}
    with Run.create(folder, stage=stage, settings={PARTS: parts, "turns": "last"}, seed=0) as run:
        keep_rubric(folder, "euler", EULER.fingerprint, rubric_text(EULER))
        for label, verdicts in tutors.items():
            for source in sets:
                for number, one in enumerate(contexts(source, first)):
                    said = [verdicts[(number + draw) % len(verdicts)] for draw in range(candidates)]
                    add_replies(
                        run, one, [(f"Reply {draw}?", labels) for draw, labels in enumerate(said)], label, judge
                    )
        run.finish()
    (folder / CALIBRATIONS).write_text(json.dumps({judge: calibration}), encoding="utf-8")
    return folder


def write_pairs(folder: Path, tutor: str, source: str, first: int = 0) -> Path:
    """A set of one pair, from the first context of a test set, as `diotima pairs` leaves it."""
    folder.mkdir(parents=True)
    one = contexts(source, first)[0]
    row = {"chosen_tutor": tutor, "problem_id": one.problem.id, "chosen_seed": stable_seed("candidate", one.seed, 0)}
    (folder / "pairs.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    summary = {
        "rubric": "euler",
        "measure": "score",
        "above": "4/5",
        "tutors": {tutor: "tiny"},
        "cautions": ["the judge <i>is</i> the tutor"],
        "contexts": 9,
        "candidates": 45,
        "valid": 40,
        "validity": 40 / 45,
        "cut_or_malformed": 2,
        "pairs": 7,
        "dropped": {"with no candidate that is good enough": 2},
        "scores": {"1/10": 20, "4/5": 8, "1": 12},
        "chosen_score": 0.95,
        "rejected_score": 0.2,
        "margin": 0.75,
        "chosen_words": 12.5,
        "rejected_words": 4.25,
        "chosen_longer": 0.8,
        "sources": {source: 7},
        "judges": [JUDGE],
    }
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder
