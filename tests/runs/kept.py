"""Runs as stages leave them, for the tests of commands that look at them: lessons, scores, calls in the books."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import apsw

from diotima.dialogue import Dialogue, Message, Turn
from diotima.problems.problem import Problem
from diotima.runs.books import exam_sample, turn_sample
from diotima.runs.ledger import Intent, Ledger, Outcome, Used
from diotima.runs.run import Run
from diotima.score import Score

MODEL = "vllm/tutor"
SETTINGS = {
    "tutor": [f"{MODEL}@http://me:secret-password@gpu1:8000/v1", "scripted/guide"],
    "label": ["ours", "guide"],
    "student": "ollama/student",
    "problems": "set.jsonl",
    "attempts": 1,
}
ATTACK = "\x1b[31mred\x1b[0m [bold]not bold[/bold] \u202eevil\r"


def lessons(count: int) -> Iterator[Dialogue]:
    for number in range(count):
        sibling = Problem(f"p{number}s", "And now?", "8")
        problem = Problem(
            f"p{number}", f"How many? {ATTACK}", "7", source="gsm8k", sibling=sibling if number % 2 else None
        )
        turns = (
            Turn("student", f"My answer is {number}. {ATTACK}"),
            Turn("tutor", "Look again.", thought=f"He is wrong. {ATTACK}", cut=True),
            Turn("student", "7", ends=True),
        )
        yield Dialogue(problem, turns, seed=100 + number, stop="student ended")


def make_run(folder: Path, count: int = 3, *, finish: bool = True, stage: str = "evaluate") -> None:
    """``count`` lessons under each label, and the calls that those of ``ours`` and all students needed."""
    with Run.create(folder, stage=stage, settings=SETTINGS, seed=7) as run:
        asyncio.run(_hold(run, count))
        if finish:
            run.finish()


async def _hold(run: Run, count: int) -> None:
    calls = []
    for label in ("ours", "guide"):
        for dialogue in lessons(count):
            for turn, spoken in enumerate(dialogue.turns):
                if label == "ours" or spoken.speaker == "student":
                    model = MODEL if spoken.speaker == "tutor" else "ollama/student"
                    sample = turn_sample(dialogue.seed, dialogue.problem.id, spoken.speaker, turn)
                    calls.append(call(run.ledger, model, sample, f"{label} {spoken.text}"))
            scores = {"solved": Score(1.0), "judge": Score.missing(f"no verdict {ATTACK}", "refused")}
            run.add(dialogue, label, scores)
    await asyncio.gather(*calls)
    exam = exam_sample(100, "p0", 0)
    await call(run.ledger, "ollama/student", exam, "an exam", Outcome("failed", 500, cost=0, reason=ATTACK))
    await call(run.ledger, "ollama/student", exam, "an exam")


async def call(ledger: Ledger, model: str, sample: int, text: str, outcome: Outcome | None = None) -> None:
    chat = [Message("system", "Be kind."), Message("user", text)]
    key = hashlib.sha256(f"{model} {sample} {text}".encode()).digest()
    row = await ledger.intend(Intent(key, model, "served", sample, chat, '{"temperature":1}', 900, 70))
    answered = Outcome("answered", 200, "id-1", Used(10, 0, 5, None), 1_000, "", '{"said": "½"}'.encode())
    await ledger.settle(row, outcome or answered)


def tamper(folder: Path, statement: str) -> None:
    db = apsw.Connection(str(folder / "run.db"))
    db.pragma("foreign_keys", False)
    db.execute(statement)
    db.close()
