"""Who judges, by name: the settings that all stages with judges share, and what is to be known of a judge beforehand.

A judge is any model that could also be a tutor (``openai/gpt-4o``, ``vllm/NAME``, ``hf/NAME``, a folder,
``package.module:factory``), asked under a rubric; or ``scripted/yardstick``, a program (see `yardstick`).

A model that judges what it said itself, or what was trained to please it, is not forbidden, but it is told: in EULER
(Bonino et al. 2024) one model chose the training pairs and then graded the tutor that had been made of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, PositiveInt

from diotima.classroom import yardstick
from diotima.classroom.casting import SCRIPTED, as_recorded, open_voice, weights_of
from diotima.errors import ModelError, SettingsError
from diotima.models.calls import Calls
from diotima.models.chat import ChatModel
from diotima.models.folders import TINY
from diotima.models.scripted import SCRIPTS
from diotima.models.services import EndpointSettings, without_urls
from diotima.runs.manifest import read_json, write_json
from diotima.scoring.judge import Judge, ModelJudge
from diotima.scoring.rubric import Rubric
from diotima.settings import OneOrMore, did_you_mean

JUDGES_FILE = "judges.json"
"""Beside a model's weights: ``{"judges": [...]}``, the judges that chose what it was trained on."""


class JudgeSettings(EndpointSettings):
    """Who judges, and how it is asked."""

    judge: OneOrMore = ()
    """Who judges: openai/NAME, vllm/NAME, hf/NAME, a folder, scripted/yardstick ...; may be given several times."""
    samples: PositiveInt | None = None
    """How often each judge is asked about each case; by default as the rubric says."""
    judge_temperature: NonNegativeFloat | None = None
    """Temperature of the judges, 0 is greedy; by default as the rubric says."""
    judge_max_tokens: PositiveInt | None = None
    """The longest verdict in tokens, thought included; by default as the rubric says."""
    threads: PositiveInt | None = None
    """Processor threads of models in this process; by default torch's own choice. For small models one is best."""


def cast_judge(name: str, settings: JudgeSettings, calls: Calls, rubric: Rubric) -> Judge:
    """The judge of that name, for this rubric. Raises SettingsError or ModelError if there is none."""
    if name == yardstick.NAME:
        yardstick.refuse_unless_like_euler(rubric)
        return yardstick.Yardstick()
    return ModelJudge(
        _open(name, settings, calls, settings.judge_max_tokens or rubric.max_tokens),
        without_urls(name, settings.endpoints),
        temperature=settings.judge_temperature,
        max_tokens=settings.judge_max_tokens,
    )


def judge_names(settings: JudgeSettings) -> tuple[str, ...]:
    """What the judges are called wherever they are served. Raises SettingsError if two are the same."""
    names = tuple(without_urls(name, settings.endpoints) for name in settings.judge)
    if len(set(names)) < len(names):
        raise SettingsError(
            f"judge = {', '.join(names)}: one judge stands there twice; ask it for more --samples instead"
        )
    return names


def judges_recorded(settings: JudgeSettings, rubric: Rubric, calls: Calls) -> dict[str, Any]:
    """What decides the verdicts beside the cases, as a run's manifest holds it."""
    asked: dict[str, Any] = {
        "rubric": rubric.name,
        "rubric_fingerprint": rubric.fingerprint,
        "judge": list(judge_names(settings)),
        "samples": settings.samples or rubric.samples,
        "judge_temperature": rubric.temperature if settings.judge_temperature is None else settings.judge_temperature,
        "judge_max_tokens": settings.judge_max_tokens or rubric.max_tokens,
        "judge_weights": weights_of(settings.judge, settings, calls),
    }
    return as_recorded(settings, asked)


def cautions(judges: Iterable[str], tutors: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each judge that is no neutral one: it judges itself, or what was trained on what it chose.

    ``judges`` and the values of ``tutors`` are names of models, as in settings; the keys of ``tutors`` are labels.
    """
    for judge in judges:
        own = [label for label, tutor in tutors.items() if _same(judge, tutor)]
        if own:
            yield (
                f"{_plain(judge)} judges itself: it is the tutor {', '.join(own)}, too. Models favour what they said; "
                "do not compare others with it by these scores"
            )
        pupils = [label for label, tutor in tutors.items() if any(_same(judge, one) for one in _chose_for(tutor))]
        if pupils:
            yield (
                f"{_plain(judge)} judges its pupil: it chose what {', '.join(pupils)} learned from, so that a better "
                "score may only say that the tutor pleases it; let another judge confirm it"
            )


def remember_judges(model: Path, made_from: Iterable[Path], chose: Mapping[str, Any] | None = None) -> None:
    """Write beside a model who chose what it was trained on: ``chose``, and all who did for the models before it.

    ``made_from``: their folders. ``chose``: ``judges``, and more that is told of them; the latest counts.
    """
    known = [path for folder in made_from if (path := folder / JUDGES_FILE).is_file()]
    told: dict[str, Any] = {}
    everybody: dict[str, None] = {}
    for one in [*map(read_json, known), *([chose] if chose else [])]:
        told |= one
        everybody |= dict.fromkeys(one.get("judges") or ())
    if everybody:
        write_json(model / JUDGES_FILE, told | {"judges": [*everybody]})


def _chose_for(tutor: str) -> list[str]:
    """The judges that chose what a tutor in a folder was trained on."""
    path = Path(tutor.removeprefix("hf/")) / JUDGES_FILE
    return list(read_json(path).get("judges") or []) if path.is_file() else []


def _same(first: str, second: str) -> bool:
    return _plain(first) == _plain(second)


def _plain(name: str) -> str:
    """A model's name without address; the same for all names of one folder."""
    plain = name.partition("@http")[0]
    folder = TINY if plain == "tiny" else Path(plain.removeprefix("hf/"))
    return str(folder.resolve()) if plain and folder.is_dir() else plain


def _open(name: str, settings: JudgeSettings, calls: Calls, longest: int) -> ChatModel:
    if name.startswith(SCRIPTED) and name.removeprefix(SCRIPTED) not in SCRIPTS:
        known = [yardstick.NAME, *(f"{SCRIPTED}{script}" for script in SCRIPTS)]
        raise SettingsError(f"there is no judge {name}; {did_you_mean(name, known)}")
    with _explained(name, settings):
        return open_voice(name, settings, settings.threads, calls, longest, "judge_max_tokens")


@contextmanager
def _explained(name: str, settings: JudgeSettings) -> Iterator[None]:
    """Say that it is the judge which cannot be had."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"judge = {without_urls(name, settings.endpoints)}: {error}") from None
