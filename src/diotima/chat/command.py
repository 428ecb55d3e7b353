"""`diotima chat`: talk to a tutor as its student, in a terminal or over a pipe.

    diotima chat --tutor openai/gpt-4o --problem "What is 3/4 of 20?" --answer 15
    diotima chat --tutor runs/dpo/model --problems problems/test.jsonl --problem 7 --out runs/my-chat
    printf 'Is it 57?\n/leak\n' | diotima chat --tutor scripted/guide --problems problems/test.jsonl

The tutor plays as in lessons, with the prompt and the sight of the problem that it was trained with; the person is the
student. A conversation is a run like any other (stage ``chat``, one dialogue): show it, score it, export it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeFloat

from diotima.chat.problem import AboutSettings, lacking, problem_of
from diotima.chat.screen import Screen
from diotima.chat.session import Chat, Judging, Keeping, ended
from diotima.classroom.casting import TutorSettings, as_recorded, cast_early, cast_tutor, tutor_fingerprints
from diotima.classroom.judges import JudgeSettings, cast_judge, cautions
from diotima.classroom.syllabus import problems_fingerprint
from diotima.dialogue import STUDENT, TUTOR, Dialogue, stable_seed
from diotima.errors import SettingsError
from diotima.models.calls import Calls
from diotima.models.services import without_urls
from diotima.problems.problem import Problem
from diotima.runs.run import Run
from diotima.score import Judgement
from diotima.scoring.case import cases_of
from diotima.scoring.judge import ask
from diotima.scoring.rubric import Rubric, load_rubric

_DECIDES = {"tutor", "temperature", "tutor_prompt", "tutor_sees", "tutor_max_tokens", "student_names"}


class Settings(AboutSettings, JudgeSettings, TutorSettings):
    """Who talks to whom, and how it is shown."""

    tutor: str
    """The tutor: tiny, a model's folder, hf/NAME, vllm/NAME, openrouter/NAME, scripted/guide ..."""
    temperature: NonNegativeFloat = 1.0
    """Temperature of a model's replies, 0 is greedy."""
    opens: Literal["tutor", "student"] = STUDENT
    """Who speaks first: you are the student."""
    rubric: str = "euler"
    """What /score goes by: a rubric's name, or a file."""
    thoughts: bool = False
    """Show what the tutor thinks, too."""
    plain: bool = False
    """Show formulas as they are written, LaTeX and all."""
    seed: int = 0
    """Seed of the conversation; the same words to the same model get the same replies, where the seed is honoured."""


def run(settings: Settings) -> Path | None:
    """Hold a chat; returns the folder of the run it is kept in, if it is."""
    screen = Screen(settings.plain)
    problem = problem_of(settings, screen.ask)
    calls = Calls(settings, tell=screen.complain)
    tutor = cast_early(settings.tutor, settings, settings.temperature, [problem], calls) or cast_tutor(
        settings.tutor, settings, settings.temperature, calls
    )
    for warning in (*lacking(tutor, problem), *cautions(settings.judge, {_label(settings): settings.tutor})):
        screen.complain(warning)
    dialogue = Dialogue(problem, seed=stable_seed("chat", settings.seed))
    with _kept(settings, dialogue, calls) as (dialogue, keeping):
        screen.aside(f"{problem.question}\n", "bold")
        screen.remember(turn.text for turn in dialogue.by(STUDENT))
        if dialogue.turns:
            screen.aside("(The conversation goes on; /history shows what has been said.)")
        screen.aside(f"(You are the student of {_label(settings)}. /help lists the commands, Ctrl-D ends the chat.)")
        judging = _judging(settings, calls)
        chat = Chat(dialogue, tutor, calls, screen, keeping, judging, settings.rubric, settings.thoughts)
        chat.hold(tutor_opens=settings.opens == TUTOR)
        if chat.dialogue.turns:
            keeping.keep(ended(chat.dialogue))
    return settings.out


@contextmanager
def _kept(settings: Settings, dialogue: Dialogue, calls: Calls) -> Iterator[tuple[Dialogue, Keeping]]:
    """The conversation, which goes on if one lies in the settings' folder, and where it is kept."""

    def copy(dialogue: Dialogue, folder: Path) -> None:
        with _begin(settings, dialogue.problem, calls, folder) as record:
            record.replace(ended(dialogue), _label(settings))
            record.finish()

    if settings.out is None:
        yield dialogue, Keeping(None, lambda _: None, copy)
        return
    with _begin(settings, dialogue.problem, calls, settings.out) as record:
        calls.keep_books_in(record)
        earlier = next((one.dialogue for one in record.records(_label(settings))), dialogue)
        yield (
            replace(earlier, stop=""),
            Keeping(settings.out, lambda dialogue: record.replace(dialogue, _label(settings)), copy),
        )
        record.finish()


def _begin(settings: Settings, problem: Problem, calls: Calls, folder: Path) -> Run:
    """The run of this conversation in a folder; another tutor or problem is another conversation."""
    made_of = {
        **as_recorded(settings, settings.model_dump(mode="json", include=_DECIDES)),
        "student": "a person",
        "problems_fingerprint": problems_fingerprint([problem]),
        **tutor_fingerprints(settings, settings.tutor, calls=calls),
    }
    return Run.create(folder, stage="chat", settings=made_of, seed=settings.seed)


def _judging(settings: Settings, calls: Calls) -> Judging:
    """Judging the tutor's last turn, or the whole conversation, as the rubric says."""

    def judged(dialogue: Dialogue, name: str) -> tuple[Rubric, list[Judgement]]:
        rubric = load_rubric(name)
        if not settings.judge:
            raise SettingsError("nobody judges in this chat: name a judge with --judge, such as scripted/yardstick")
        if rubric.judges == "comparison":
            raise SettingsError(f"rubric {rubric.name} compares two turns, and here is one; /score euler judges one")
        judges = [cast_judge(judge, settings, calls, rubric) for judge in settings.judge]
        cases = cases_of(dialogue, rubric, turns="last")
        return rubric, calls.conduct(ask(judges, cases, rubric, settings.samples or rubric.samples))

    return judged


def _label(settings: Settings) -> str:
    return without_urls(settings.tutor, settings.endpoints)
