"""Who plays in a lesson, by name: the settings that all stages with lessons share, and what they mean.

A tutor is ``scripted/NAME`` (a reference tutor), a model (``tiny``, ``hf/FOLDER``, any folder) or
``package.module:factory``. A model folder that diotima has made holds ``tutor.json``, which says with which prompt the
tutor was trained and how much of the problem it saw; that is what it plays with unless the settings say otherwise.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import PositiveInt

from diotima.classroom.learner import Learner, LearnerParameters
from diotima.classroom.lesson import Classroom, Limits, Participant
from diotima.classroom.roles import Role, Sees
from diotima.classroom.tutors import BLIND, REFERENCE, scripted_tutor
from diotima.dialogue import STUDENT, TUTOR
from diotima.errors import ModelError, SettingsError
from diotima.models.chat import ChatModel, Sampling
from diotima.models.opening import model_folder, open_model, use_threads
from diotima.prompt import load_prompt
from diotima.settings import Settings

TUTOR_FILE = "tutor.json"


class LessonSettings(Settings):
    """What every stage with lessons has to know about them."""

    tutor_prompt: str | None = None
    """The tutor's prompt: a name such as tutor/socratic, or a file; by default the one the model was trained with."""
    tutor_sees: Sees | None = None
    """How much of the problem the prompt may contain: question, answer or solution; by default as in training."""
    max_tokens: PositiveInt = 120
    """The longest reply of a tutor model, thought included, in tokens."""
    student: Literal["learner"] = "learner"
    """Who is taught: the simulated learner."""
    learner_seed: int = 0
    """Seed of the simulated learner: which skills it lacks on which problem."""
    learner_guided: float = LearnerParameters().guided
    """P(learn) of the simulated learner from a question that names a step and its concept."""
    learner_confused: float = LearnerParameters().confused
    """P(forget) of the simulated learner when a turn contradicts itself."""
    opens: Literal["tutor", "student"] = STUDENT
    """Who speaks first; the student opens with an attempt of its own."""
    tutor_turns: PositiveInt = 8
    """The most turns a tutor gets; the simulated learner leaves after one more than it has gaps."""
    most_tokens: PositiveInt | None = None
    """The longest dialogue, in tokens of a model in this process."""
    most_words: PositiveInt | None = None
    """The longest dialogue, in words spoken by both."""
    threads: PositiveInt | None = None
    """Processor threads of models in this process; by default torch's own choice. For small models one is best."""


@dataclass(frozen=True, slots=True)
class Part:
    """How a tutor model plays: the name of its prompt and what it sees."""

    prompt: str = "tutor/socratic"
    sees: Sees = "question"


def part_of(folder: Path | None, settings: LessonSettings) -> Part:
    """The part as the settings say, else as the model's folder says, else the default."""
    known = Part()
    if folder is not None and (folder / TUTOR_FILE).is_file():
        try:
            known = Part(**json.loads((folder / TUTOR_FILE).read_text(encoding="utf-8")))
            if known.sees not in get_args(Sees):
                raise ValueError(f"sees is {known.sees}, not one of {', '.join(get_args(Sees))}")
        except (ValueError, TypeError) as error:
            raise ModelError(f"{folder / TUTOR_FILE} cannot be read ({error}); delete it or mend it") from None
    return Part(settings.tutor_prompt or known.prompt, settings.tutor_sees or known.sees)


def remember_part(folder: Path, part: Part) -> None:
    """Write beside a model how it plays."""
    (folder / TUTOR_FILE).write_text(json.dumps(asdict(part)) + "\n", encoding="utf-8")


def cast_tutor(name: str, settings: LessonSettings, temperature: float) -> Participant:
    """The tutor of that name. Raises SettingsError or ModelError if there is none."""
    kind, _, script = name.partition("/")
    if kind == "scripted":
        tutor = scripted_tutor(script)
        if tutor is None:
            raise SettingsError(f"there is no tutor {name}; scripted tutors are {', '.join([*REFERENCE, *BLIND])}")
        return tutor
    folder = model_folder(name) if ":" not in name else None
    model = open_model(name)
    if settings.threads is not None:
        use_threads(settings.threads)
    return model_role(model, part_of(folder, settings), settings, temperature)


def model_role(model: ChatModel, part: Part, settings: LessonSettings, temperature: float) -> Role:
    """A model in the tutor's role."""
    sampling = Sampling(temperature=temperature, max_tokens=settings.max_tokens)
    return Role(TUTOR, model, load_prompt(part.prompt), sampling, part.sees)


def cast_student(settings: LessonSettings) -> Learner:
    """The student."""
    parameters = LearnerParameters(guided=settings.learner_guided, confused=settings.learner_confused)
    return Learner(settings.learner_seed, parameters)


def furnish(tutor: Participant, student: Participant, settings: LessonSettings) -> Classroom:
    """The classroom for these two."""
    limits = Limits(settings.tutor_turns, settings.most_tokens, settings.most_words)
    return Classroom(tutor, student, limits, settings.opens)
