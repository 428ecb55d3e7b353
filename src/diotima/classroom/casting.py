"""Who plays in a lesson, by name: the settings that all stages with lessons share, and what they mean.

A tutor is ``scripted/NAME`` (a reference tutor), a model (``tiny``, ``hf/FOLDER``, any folder), a model behind an
endpoint (``vllm/NAME``, see `models.services`) or ``package.module:factory``. A student is ``learner``, the simulated
one, or any of these models with a persona; its weights are frozen, whatever happens to the tutor's. A model folder that
diotima has made holds ``tutor.json``, which says with which prompt the tutor was trained and how much of the problem it
saw; that is what it plays with unless the settings say otherwise.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, NonNegativeFloat, PositiveInt

from diotima.classroom.learner import Learner, LearnerParameters
from diotima.classroom.lesson import Classroom, Limits, Opens, Participant
from diotima.classroom.roles import Role, Sees, refuse_beyond
from diotima.classroom.students import ModelStudent, OneOf, Requests, Student
from diotima.classroom.thinking import Thinking, begins, told_to_think
from diotima.classroom.tutors import BLIND, REFERENCE, Scripted, scripted_tutor
from diotima.dialogue import STUDENT, TUTOR
from diotima.errors import ModelError, ProblemFileError, SettingsError
from diotima.models.calls import Calls
from diotima.models.chat import ChatModel, Sampling
from diotima.models.endpoint import EndpointModel
from diotima.models.folders import model_folder
from diotima.models.opening import open_model, use_threads
from diotima.models.services import BESIDE, Endpoint, EndpointSettings, is_elsewhere, without_urls
from diotima.models.weights import weights_fingerprint
from diotima.problems.problem import Problem
from diotima.prompt import Prompt, load_prompt
from diotima.settings import OneOrMore

TUTOR_FILE = "tutor.json"
PARTS = "tutor_parts"
"""In the settings of a run whose dialogues go on from others': who speaks under each label, with which prompt."""
LEARNER = "learner"
SCRIPTED = "scripted/"

Probability = Annotated[float, Field(ge=0, le=1)]


class VoiceSettings(EndpointSettings):
    """What every stage has to know in which a tutor or a student speaks."""

    student_names: tuple[str, ...] = ("Amina", "Bao", "Elif", "Kofi", "Lucia", "Mateo", "Priya", "Yusuf")
    """What students are called in prompts that use {{name}}, one drawn for each lesson; if empty, "the student"."""
    threads: PositiveInt | None = None
    """Processor threads of models in this process; by default torch's own choice. For small models one is best."""


class TutorSettings(VoiceSettings):
    """How tutors speak."""

    tutor_prompt: str | None = None
    """The tutor's prompt: a name such as tutor/socratic, or a file; by default the one the model was trained with."""
    tutor_sees: Sees | None = None
    """How much of the problem the prompt may contain: question, answer or solution; by default as in training."""
    thinking: Thinking | None = None
    """Whether a tutor model thinks before it speaks: off, allowed or forced; by default as in training, else off."""
    tutor_max_tokens: PositiveInt = 120
    """The longest reply of a tutor model, thought included, in tokens."""


class StudentSettings(VoiceSettings):
    """Who learns, or sits an exam."""

    student: str = LEARNER
    """Who is taught: learner, the simulated one, or a model: tiny, a folder, hf/NAME, vllm/NAME, openrouter/NAME ..."""
    student_prompt: OneOrMore = Field(default=("student/cooperative",), min_length=1)
    """The persona of a student model: student/cooperative, student/demanding or a file; of several, each problem draws
    one."""
    student_temperature: NonNegativeFloat = 0.6
    """Temperature of a student model, in lessons and at exams; 0 is greedy, and all attempts are the same."""
    student_max_tokens: PositiveInt = 200
    """The longest turn of a student model, in tokens."""
    solution_max_tokens: PositiveInt = 1024
    """The longest solution of a student model at an exam, in tokens."""
    learner_seed: int = 0
    """Seed of the simulated learner: which skills it lacks on which problem."""
    learner_guided: Probability = LearnerParameters().guided
    """P(learn) of the simulated learner from a question that names a step and its concept."""
    learner_confused: Probability = LearnerParameters().confused
    """P(forget) of the simulated learner when a turn contradicts itself."""


class LessonSettings(TutorSettings, StudentSettings):
    """What every stage with lessons has to know about them."""

    opens: Opens = STUDENT
    """Who speaks first: tutor, student (with an attempt of its own), or both, about half the problems each."""
    tutor_turns: PositiveInt = 8
    """The most turns a tutor gets; the simulated learner leaves after one more than it has gaps, a model never."""
    most_tokens: PositiveInt | None = None
    """The longest dialogue, in tokens of a model in this process."""
    most_words: PositiveInt | None = None
    """The longest dialogue, in words spoken by both."""


@dataclass(frozen=True, slots=True)
class Part:
    """How a tutor model plays: the name of its prompt, what it sees, and whether it thinks."""

    prompt: str = "tutor/socratic"
    sees: Sees = "question"
    thinking: Thinking = "off"

    def load(self) -> Prompt:
        """The whole prompt. Raises PromptError if there is none of that name."""
        return told_to_think(load_prompt(self.prompt), self.thinking)


def part_of(folder: Path | None, settings: TutorSettings) -> Part:
    """The part as the settings say, else as the model's folder says, else the default."""
    known = Part()
    if folder is not None and (folder / TUTOR_FILE).is_file():
        try:
            known = Part(**json.loads((folder / TUTOR_FILE).read_text(encoding="utf-8")))
            if known.sees not in get_args(Sees) or not isinstance(known.prompt, str):
                raise ValueError(f"prompt must be a name, and sees one of {', '.join(get_args(Sees))}")
            if known.thinking not in get_args(Thinking):
                raise ValueError(f"thinking must be one of {', '.join(get_args(Thinking))}")
        except (ValueError, TypeError) as error:
            raise ModelError(f"{folder / TUTOR_FILE} cannot be read ({error}); delete it or mend it") from None
    return Part(
        settings.tutor_prompt or known.prompt, settings.tutor_sees or known.sees, settings.thinking or known.thinking
    )


def part_of_tutor(name: str, settings: TutorSettings) -> Part | None:
    """How the tutor of that name plays, before it is opened; None for a scripted one, which needs no prompt."""
    return None if name.startswith(SCRIPTED) else part_of(_folder(name, settings), settings)


def remember_part(folder: Path, part: Part) -> None:
    """Write beside a model how it plays."""
    (folder / TUTOR_FILE).write_text(json.dumps(asdict(part)) + "\n", encoding="utf-8")


def cast_tutor(name: str, settings: TutorSettings, temperature: float, calls: Calls | None = None) -> Participant:
    """The tutor of that name. Raises SettingsError or ModelError if there is none."""
    scripted = _scripted(name)
    if scripted is not None:
        return scripted
    part = part_of(_folder(name, settings), settings)
    return model_role(
        open_voice(name, settings, settings.threads, calls, settings.tutor_max_tokens, _LENGTHS),
        part,
        settings,
        temperature,
    )


def cast_early(
    name: str,
    settings: TutorSettings,
    temperature: float,
    problems: Sequence[Problem],
    calls: Calls | None = None,
) -> Participant | None:
    """The tutor before there is a run, or None where weights are to be loaded for it; see `cast_tutor`.

    Raises what can be known by now: no such tutor, a prompt that it may not have (PromptError), or problems without
    the steps that it goes by (ProblemFileError).
    """
    if tutor := _scripted(name):
        without = [problem for problem in problems if tutor.by_steps and not problem.steps]
        if without:
            every = {SCRIPTED + other: scripted_tutor(other) for other in (*REFERENCE, *BLIND)}
            free = [other for other, script in every.items() if script and not script.by_steps]
            raise ProblemFileError(
                f"{len(without):,} of {len(problems):,} problems have no steps, which {name} goes by, the first is "
                f"{without[0].id}; take problems with steps, or a tutor that needs none: a model, {', '.join(free)}"
            )
        return tutor
    folder = _folder(name, settings)
    part = part_of(folder, settings)
    refuse_beyond(part.load(), part.sees, TUTOR)
    return None if folder else cast_tutor(name, settings, temperature, calls)


def _scripted(name: str) -> Scripted | None:
    """The scripted tutor of that name, or None for a model's. Raises SettingsError if there is none."""
    if not name.startswith(SCRIPTED):
        return None
    tutor = scripted_tutor(name.removeprefix(SCRIPTED))
    if tutor is None:
        raise SettingsError(f"there is no tutor {name}; scripted tutors are {', '.join([*REFERENCE, *BLIND])}")
    return tutor


def model_role(model: ChatModel, part: Part, settings: TutorSettings, temperature: float) -> Role:
    """A model in the tutor's role. Raises SettingsError if it is to be made to think where nobody can make it."""
    if part.thinking == "forced" and isinstance(model, EndpointModel):
        raise SettingsError(
            f"thinking = forced: {model.line.address.name} is behind an endpoint, and a thought can be begun for "
            "models in this process only; take thinking = allowed"
        )
    sampling = Sampling(temperature, max_tokens=settings.tutor_max_tokens, begins=begins(part.thinking))
    return Role(TUTOR, model, part.load(), sampling, part.sees, settings.student_names)


def cast_student(settings: StudentSettings, calls: Calls | None = None) -> Student:
    """The student: simulated, or played by a model. Raises ModelError or PromptError if there is none of that name.

    Weights are shared with a tutor of the same name, but only while one of them is held on to.
    """
    if settings.student == LEARNER:
        return cast_learner(settings)
    personas = [load_prompt(name) for name in settings.student_prompt]
    speaking = Sampling(temperature=settings.student_temperature, max_tokens=settings.student_max_tokens)
    solving = replace(speaking, max_tokens=settings.solution_max_tokens)
    with _explained(settings):
        longest = max(speaking.max_tokens, solving.max_tokens)
        model = open_voice(settings.student, settings, settings.threads, calls, longest, _LENGTHS)
    students = [ModelStudent(model, persona, speaking, solving, settings.student_names) for persona in personas]
    return students[0] if len(students) == 1 else OneOf(students)


def cast_learner(settings: StudentSettings) -> Learner:
    """The simulated learner, for what nobody else can do. Raises SettingsError if the student is another."""
    if settings.student != LEARNER:
        raise SettingsError(f"student = {settings.student}: this needs the simulated student, which is called learner")
    parameters = LearnerParameters(guided=settings.learner_guided, confused=settings.learner_confused)
    return Learner(settings.learner_seed, parameters)


def cast_fingerprints(settings: LessonSettings, *tutors: str, calls: Calls | None = None) -> dict[str, dict[str, str]]:
    """What names alone do not tell about who plays: the ``weights`` of every model, and all ``prompts``.

    A folder may hold another model tomorrow, and a prompt be edited. Raises ModelError or PromptError for a name
    that is none, before anything is loaded.
    """
    mine = tutor_fingerprints(settings, *tutors, calls=calls)
    return {kind: mine[kind] | of_student for kind, of_student in student_fingerprints(settings, calls).items()}


def tutor_fingerprints(settings: TutorSettings, *tutors: str, calls: Calls | None = None) -> dict[str, dict[str, str]]:
    """The same of the tutors alone, see `cast_fingerprints`."""
    parts = {name: part_of_tutor(name, settings) for name in tutors}
    prompts = [part.load() for part in parts.values() if part]
    return _fingerprints([name for name, part in parts.items() if part], prompts, settings, calls)


def student_fingerprints(settings: StudentSettings, calls: Calls | None = None) -> dict[str, dict[str, str]]:
    """The same of the student alone, see `cast_fingerprints`."""
    if settings.student == LEARNER:
        return _fingerprints([], [], settings, calls)
    requests = Requests()
    personas = [load_prompt(name) for name in settings.student_prompt]
    prompts = [*personas, requests.attempt, requests.solution, requests.sibling]
    with _explained(settings):
        return _fingerprints([settings.student], prompts, settings, calls)


def _fingerprints(
    models: Iterable[str], prompts: Iterable[Prompt], settings: EndpointSettings, calls: Calls | None
) -> dict[str, dict[str, str]]:
    return {
        "weights": weights_of(models, settings, calls),
        "prompts": {prompt.name: prompt.fingerprint for prompt in prompts},
    }


def weights_of(models: Iterable[str], settings: EndpointSettings, calls: Calls | None) -> dict[str, str]:
    """What each of these models is beside its name: a fingerprint of its weights, or of what its server says it is.

    Models that are functions have none. Raises ModelError for a name that is none.
    """
    weights: dict[str, str] = {}
    for name in models:
        if is_elsewhere(name, settings.endpoints):
            line = (calls or Calls(settings)).line(name)
            known = weights.get(line.address.name, line.served.fingerprint)
            both = sorted({*known.split(" and "), line.served.fingerprint})  # a tutor and a student at two addresses
            weights[line.address.name] = " and ".join(both)
        elif folder := _folder(name, settings):
            weights[name] = weights_fingerprint(folder)
    return weights


def as_recorded(settings: EndpointSettings, values: dict[str, Any]) -> dict[str, Any]:
    """A stage's settings as they go into its run: without how calls are made, and models called the same everywhere.

    What is laid over requests stays, and which service an endpoint is like, since they decide what is answered.
    """
    kept = {name: value for name, value in values.items() if name not in BESIDE}
    for name in ("tutor", "student"):
        if isinstance(value := kept.get(name), str):
            kept[name] = without_urls(value, settings.endpoints)
        elif isinstance(value, list):
            kept[name] = [without_urls(one, settings.endpoints) for one in value]
    if extra := {name: endpoint.extra for name, endpoint in settings.endpoints.items() if endpoint.extra}:
        kept["extra"] = extra
    if kinds := {name: endpoint.kind for name, endpoint in settings.endpoints.items() if endpoint.kind}:
        kept["kind"] = kinds
    return kept


def labels_of(tutors: Sequence[str], given: Sequence[str], endpoints: Mapping[str, Endpoint]) -> tuple[str, ...]:
    """What tutors are called in tables: what they were ``given``, else their names. Raises SettingsError if it does not
    tell them apart.
    """
    labels = tuple(given) or tuple(without_urls(name, endpoints) for name in tutors)
    if len(labels) != len(tutors):
        raise SettingsError(f"there are {len(tutors)} tutors but {len(labels)} labels")
    if len(set(labels)) < len(labels):
        raise SettingsError(f"two tutors cannot share a label, and the labels are {', '.join(labels)}; give others")
    return labels


def _folder(name: str, settings: EndpointSettings) -> Path | None:
    """The folder of a model, or None for one that is elsewhere or made by a function."""
    if name.startswith(SCRIPTED) or is_elsewhere(name, settings.endpoints) or ":" in name:
        return None
    return model_folder(name)


_LENGTHS = "tutor_max_tokens, student_max_tokens or solution_max_tokens"


def open_voice(
    name: str, settings: EndpointSettings, threads: int | None, calls: Calls | None, longest: int, lower: str
) -> ChatModel:
    """The model of that name, which will write ``longest`` tokens at most; ``lower``: the settings that say so.

    Raises ModelError if there is none, SettingsError if it cannot write so much.
    """
    if is_elsewhere(name, settings.endpoints):
        desk = calls or Calls(settings)
        line = desk.line(name)
        if line.served.context is not None and longest >= line.served.context:
            raise SettingsError(
                f"{line.address.name} reads and writes {line.served.context:,} tokens in all, and a reply may have "
                f"{longest:,}; lower {lower}"
            )
        return EndpointModel(desk, line)
    model = open_model(name)
    if threads is not None:
        use_threads(threads)
    return model


@contextmanager
def _explained(settings: StudentSettings) -> Iterator[None]:
    """Say that it is the student's model which cannot be had."""
    try:
        yield
    except ModelError as error:
        name = without_urls(settings.student, settings.endpoints)  # an address may hold a password
        raise ModelError(f"student = {name}: {error} (the simulated student is called learner)") from None


def furnish(tutor: Participant, student: Participant, settings: LessonSettings) -> Classroom:
    """The classroom for these two."""
    limits = Limits(settings.tutor_turns, settings.most_tokens, settings.most_words)
    return Classroom(tutor, student, limits, settings.opens)
