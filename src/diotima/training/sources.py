"""Where the rows of supervised fine-tuning come from: lessons of a run, records of a file, or several of both in a mix.

A model that learns to tutor alone forgets how to solve. SocraticLM (Liu et al. 2024) names three ways to keep both, and
each is a setting here:

- separate training: a second stage on a small sample of solving records, about one for ten dialogues
  (``most_records``; another stage of a recipe). It found that better than one mix;
- instruction tuning: another instruction for each task (``prompt``; several are drawn from);
- mixed prompts: some solving records with a worked example before them, a tenth as many as without (``one_shot``).

A mix holds all rows of its sources; of those that have weights, as many as there are in that proportion, none twice.
"""

from collections.abc import Sequence
from math import floor
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt

from diotima.errors import SettingsError
from diotima.settings import OneOrMore
from diotima.settings import Settings as BaseSettings

T = TypeVar("T")
OF_LESSONS = ("label", "keep", "least", "most_lessons")
OF_RECORDS = ("prompt", "one_shot", "most_records", "columns")
"""Settings that do something for sources of this kind only."""


class Source(BaseSettings):
    """Lessons or records, which of them, and how records are put."""

    lessons: Path | None = None
    """The run whose lessons to learn from."""
    label: str | None = None
    """Use only the lessons under this label."""
    keep: dict[str, float] = {"leaked": 0.0, "well_formed": 1.0}
    """Keep lessons with exactly these scores."""
    least: dict[str, float] = {"solved_sibling": 0.5}
    """Keep lessons with at least these scores."""
    most_lessons: PositiveInt | None = None
    """Use only so many lessons, drawn by the seed."""
    records: Path | None = None
    """A file of records to learn from: questions with solutions, or conversations (a column of chat messages)."""
    columns: dict[str, str] = {}
    """Which columns hold the question and the solution, or the messages, where their names do not tell."""
    prompt: OneOrMore = ()
    """What the model is told before a record: a name such as solve/steps, or a file; of several, one is drawn for each.
    A prompt with {{question}} takes the question's place; other placeholders are columns."""
    one_shot: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of questions that come with another of the file before them, already solved."""
    most_records: PositiveInt | None = None
    """Use only so many records, drawn by the seed."""
    weight: PositiveFloat | None = None
    """How many rows of a mix are from here, in proportion to other sources' weights; by default all that there are."""
    seed: int = 0
    """Seed of the choice of lessons and records, and of their order."""

    @property
    def place(self) -> Path:
        """The run or the file."""
        place = self.lessons or self.records
        assert place is not None
        return place


def sources_of(own: Source, mix: Sequence[Source], where: str) -> list[Source]:
    """All sources: the settings' own and those of the mix, which share its seed unless they have one.

    Raises SettingsError if there is none, if one of them is no source or two, and for what would do nothing.
    """
    shared = (one if "seed" in one.model_fields_set else one.model_copy(update={"seed": own.seed}) for one in mix)
    sources = [*([own] if own.lessons or own.records else []), *shared]
    if not sources:
        raise SettingsError(f"{where}: there is nothing to learn from; give lessons, records or a mix of them")
    if not own.lessons and not own.records and (idle := _given(own, (*OF_LESSONS, *OF_RECORDS, "weight"))):
        raise SettingsError(
            f"{where}: {' and '.join(idle)} would do nothing, for there are neither lessons nor records beside it, and "
            "sources of a mix have settings of their own; move it there"
        )
    for source in sources:
        if bool(source.lessons) == bool(source.records):
            raise SettingsError(f"{where}: a source has either lessons or records; list several under mix")
        if source.lessons and _given(source, OF_RECORDS):
            raise SettingsError(
                f"{where}: prompt, one_shot, most_records and columns are for records, and {source.lessons} is a run; "
                "lessons are told with the tutor's prompt (tutor_prompt)"
            )
        if source.records and _given(source, OF_LESSONS):
            raise SettingsError(
                f"{where}: label, keep, least and most_lessons are for the lessons of a run, and {source.records} is a "
                "file of records; all of them are learned from, or most_records"
            )
    return sources


def _given(source: Source, names: Sequence[str]) -> list[str]:
    """Those settings that are not what they are by themselves."""
    return [name for name in names if getattr(source, name) != Source.model_fields[name].default]


def in_proportion(rows: Sequence[list[T]], weights: Sequence[float | None]) -> list[list[T]]:
    """From the beginning of each source as many rows as keep the proportion, without any row twice; None: all."""
    pairs = list(zip(rows, weights, strict=True))
    most = min((len(some) / weight for some, weight in pairs if weight), default=0.0)
    return [some[: max(1, floor(most * weight + 1e-9))] if weight else some for some, weight in pairs]
