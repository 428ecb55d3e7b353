"""Where a trained tutor comes from: the stages that made it, on which data, from which base.

A trained model lies in its run's folder, and that run names the model it began with, which may lie in another run's
folder. So the chain is walked back to a model that no run here has made. What cannot be found any more (a run that was
moved, a set that is read over the network) is said to be unknown, and never left out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diotima.corpus.pair_set import SUMMARY
from diotima.errors import DiotimaError
from diotima.models.folders import model_folder
from diotima.problems.source import SourceSettings
from diotima.runs.card import TERMS, UNKNOWN
from diotima.runs.manifest import FILE, read_json
from diotima.runs.run import Run

NOT_TOLD = ""
_RESTRICTS = frozenset({"nc", "sa", "nd"})
_FORBIDS = ("no", "ask")


@dataclass(frozen=True, slots=True)
class Data:
    """What a stage learned from. ``source``: a name in `TERMS`, or what the set is called; ``count``: None if unknown.

    ``words_of``: the models whose words they are, by their names.
    """

    source: str
    count: int | None = None
    unit: str = "problems"
    words_of: tuple[str, ...] = ()

    @property
    def licence(self) -> str:
        """The licence, or that it is not known."""
        return TERMS[self.source].told if self.source in TERMS else UNKNOWN

    @property
    def training(self) -> str:
        """Whether models may be trained on it and passed on, as we read the licence."""
        return TERMS[self.source].training if self.source in TERMS else "look at its own page"


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of training: its manifest and what it learned from."""

    manifest: Mapping[str, Any]
    data: tuple[Data, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """``base``: the model that no run here has made; ``steps``: what was done to it, the first one first."""

    base: str
    steps: tuple[Step, ...]

    @property
    def data(self) -> tuple[Data, ...]:
        """All that it was trained on, what stands in two steps once."""
        return tuple(dict.fromkeys(one for step in self.steps for one in step.data))

    @property
    def base_is_public(self) -> bool:
        """Whether others can have the base by its name: the package's own, or one on the hub."""
        place = self.base.removeprefix("hf/")
        return self.base == "tiny" or (place != self.base and not _is_place(place))

    def concerns(self, more: tuple[Data, ...] = ()) -> Iterator[str]:
        """A sentence for all that it learned from whose licence forbids to pass it on, or is not known."""
        if not self.steps and not more:
            yield "no run tells on what it was trained: name the run with --run, or its sets with --data"
        if self.steps and not self.base_is_public:
            yield f"no run tells on what {self.base or 'its base'} was trained"
        for source in dict.fromkeys(one.source for one in (*self.data, *more)):
            one = Data(source)
            words = one.licence.lower().replace("-", " ").split()
            if one.licence == UNKNOWN:
                yield f"the licence of {source or 'some of the training data'} is not known"
            elif _RESTRICTS & set(words) or one.training.startswith(_FORBIDS):
                yield (
                    f"{TERMS[source].name} is under {one.licence}; may models trained on it be passed on? "
                    f"{one.training}"
                )


def provenance(model: str, run: Path | None = None) -> Provenance:
    """Walk back from a model. ``run``: the run that made it, where the model does not lie in it. Raises RunError."""
    steps: list[Step] = []
    name, made, seen = model, run or made_by(model), set[Path]()
    while made is not None and made not in seen:  # a name may mean another folder by now
        seen.add(made)
        manifest = read_json(made / FILE)
        steps.append(Step(manifest, tuple(_data(manifest["settings"]))))
        name = str(manifest["settings"].get("model") or NOT_TOLD)
        made = made_by(name)
    return Provenance(name, tuple(reversed(steps)))


def made_by(model: str) -> Path | None:
    """The run in whose folder a model lies, None if it lies in none."""
    try:
        place = model.removeprefix("hf/") if model.startswith("hf/") else str(model_folder(model))
        above = Path(place).expanduser().resolve().parent if _is_place(place) else None
    except DiotimaError:
        return None
    return above if above is not None and (above / FILE).is_file() else None


def _is_place(name: str) -> bool:
    """Whether this is a folder's name, and none on the hub."""
    return name.startswith((".", "/", "~")) or Path(name).is_dir()


def _data(settings: Mapping[str, Any]) -> Iterator[Data]:
    """What a stage with these settings has read, by the settings that name it; a mix has several sources."""
    named = False
    for source in (settings, *(settings.get("mix") or ())):
        if lessons := source.get("lessons"):
            yield from _of_lessons(Path(str(lessons)), source.get("label"))
        if pairs := source.get("pairs"):
            yield from _of_pairs(Path(str(pairs)))
        if records := source.get("records"):
            yield from _of_problems({"problems": str(records), "columns": source.get("columns")}, "records")
        if source.get("problems"):
            yield from _of_problems(source, "problems")
        named = named or any(source.get(name) for name in ("lessons", "pairs", "records", "problems"))
    if not named:
        yield Data(NOT_TOLD)


def _of_lessons(folder: Path, label: str | None) -> Iterator[Data]:
    try:
        with Run.open(folder) as run:
            counted = Counter(record.dialogue.problem.source for record in run.records(label))
            manifest = run.manifest["settings"]
    except DiotimaError:
        yield Data(str(folder.name))
        return
    tutors = manifest.get("tutor") or ()
    speakers = ([tutors] if isinstance(tutors, str) else list(tutors)) + [manifest.get("student") or "learner"]
    for source, count in counted.most_common():
        yield Data(source, count, "lessons to choose from", tuple(map(str, speakers)))


def _of_pairs(path: Path) -> Iterator[Data]:
    try:
        summary = read_json(path / SUMMARY)
        tutors, judges = summary["tutors"].values(), summary["judges"]
        for source, count in summary["sources"].items():
            yield Data(source, count, "pairs", tuple(map(str, [*tutors, *judges])))
    except (DiotimaError, KeyError, AttributeError, TypeError):
        yield Data(path.name)


def _of_problems(settings: Mapping[str, Any], unit: str) -> Iterator[Data]:
    named = {name: settings[name] for name in ("problems", "split", "columns") if settings.get(name)}
    # Over the network nothing is read for a card, and a file has no splits.
    if not Path(told := str(named["problems"])).exists():
        yield Data(Path(told).name if _is_place(told) else told)
        return
    if Path(named["problems"]).is_file():
        named.pop("split", None)
    try:
        read = SourceSettings(**named).read()
    except DiotimaError:
        yield Data(Path(named["problems"]).name)
        return
    for source, count in Counter(problem.source for problem in read.problems).most_common():
        yield Data(source, count, unit)
