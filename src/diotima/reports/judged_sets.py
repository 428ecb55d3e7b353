"""What judges said in a run or a recipe, by rubric and by test set.

A test set is what its problems say they come from (``Problem.source``: mathdial, gsm8k, sandbox, the name of a file),
which every candidate and every lesson carries with it: so the figures need no other run, and folders may be moved.
What pairs were chosen from is no test, and is left out where anything else was judged; lessons that a tutor was trained
in are none either. Two tutors are compared on the
contexts that both replied to.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diotima.classroom.casting import PARTS
from diotima.classroom.judges import JUDGES_FILE, cautions
from diotima.errors import RunError
from diotima.reports.calibrated import on_trust
from diotima.reports.collect import TRAINING, Comparison, Role, compared, stage_folders
from diotima.reports.judged import Judged, Said, judged, measure_of, notes_on
from diotima.reports.measures import Measure
from diotima.reports.pair_sets import PairSet
from diotima.runs.calibrations import calibrations_in
from diotima.runs.judgements import kept_rubric
from diotima.runs.manifest import read_json
from diotima.runs.run import Run
from diotima.scoring.rubric import Rubric, load_rubric

NOT_NAMED = "not named"

Key = tuple[str, str]  # a rubric's name and fingerprint


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """One test set: every tutor's figures, in the order in which they are shown, and the differences of some."""

    name: str
    tutors: tuple[Judged, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class UnderRubric:
    """All that was judged under one rubric.

    ``roles``: of the tutors that have one, by label. ``trained_on``: the pairs that a tutor was made of, by label,
    where that is known. ``calibrations``: of its judges, None where there is none. ``cautions``: on judges that are not
    neutral; ``notes``: what else to know of the verdicts.
    """

    rubric: Rubric
    sets: tuple[JudgedSet, ...]
    roles: Mapping[str, Role]
    trained_on: Mapping[str, str]
    calibrations: Mapping[str, Mapping[str, Any] | None]
    cautions: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> Measure:
        """The measure that stands for all of them."""
        return measure_of(self.rubric, self.rubric.headline.name)

    @property
    def labels(self) -> list[str]:
        """All tutors, each once."""
        return list(dict.fromkeys(one.label for test_set in self.sets for one in test_set.tutors))


@dataclass(frozen=True, slots=True)
class _Stage:
    """One judged run: what was said under one rubric, by label and test set."""

    folder: Path
    started: str
    said: Mapping[str, Mapping[str, Sequence[Said]]]
    tutors: Mapping[str, str]


def judged_sets(
    folder: Path, pairs: Sequence[tuple[str, str]], chosen: Iterable[PairSet] = (), seed: int = 0
) -> tuple[UnderRubric, ...]:
    """What was judged in a run or in the stages of a folder, each rubric by itself.

    ``pairs``: (before, after) labels, which are compared; where none of them is there, all others with the first.
    ``chosen``: the sets of pairs in the folder. Raises `RunError` if the text of a rubric is lost.
    """
    folders: dict[Key, list[Path]] = defaultdict(list)
    feeding: set[Path] = set()
    for path in stage_folders(folder):
        with Run.open(path) as run:
            if str(run.manifest["stage"]).startswith(TRAINING):
                continue
            for key in run.rubrics():
                folders[key].append(path)
            if any(run.has(*pair_set.candidate) for pair_set in chosen):
                feeding.add(path)
    if set().union(*map(set, folders.values())) - feeding:
        folders = {key: [path for path in paths if path not in feeding] for key, paths in folders.items()}
    sources = {one.name: one.summary["sources"] for one in chosen}
    return tuple(_under(key, paths, folder, pairs, sources, seed) for key, paths in sorted(folders.items()) if paths)


def _under(
    key: Key,
    paths: Sequence[Path],
    folder: Path,
    pairs: Sequence[tuple[str, str]],
    sources: Mapping[str, Mapping[str, int]],
    seed: int,
) -> UnderRubric:
    rubric = _rubric(key, paths)
    stages = sorted((_read(path, key, folder) for path in paths), key=lambda stage: stage.started)
    names = _names(stages)
    by_set: dict[str, dict[str, Sequence[Said]]] = defaultdict(dict)
    tutors: dict[str, str] = {}
    for stage in stages:
        for label, sets in stage.said.items():
            name = names[stage.folder, label]
            tutors[name] = stage.tutors[label]
            for source, said in sets.items():
                by_set[source][name] = said
    shown = list(dict.fromkeys([*(name for pair in pairs for name in pair if name in tutors), *tutors]))
    found = tuple(
        _test_set(name, rubric, {label: said[label] for label in shown if label in said}, pairs, seed)
        for name, said in sorted(by_set.items())
    )
    judges = sorted({judge for test_set in found for one in test_set.tutors for judge in one.judges})
    trained = {label: told for label, tutor in tutors.items() if (told := _trained_on(tutor, sources))}
    roles: dict[str, Role] = {}
    for before, after in pairs:
        roles |= {before: "before", after: "after"}
    notes = [sentence for path in paths for sentence in on_trust(path)]
    for test_set in found:
        several = f" on {test_set.name}" if len(found) > 1 else ""
        notes += notes_on([replace(one, label=f"{one.label}{several}") for one in test_set.tutors])
    known = {judge: told for path in paths for judge, told in calibrations_in(path).items()}
    partial = tuple(cautions(judges, tutors))
    return UnderRubric(rubric, found, roles, trained, known, partial, tuple(dict.fromkeys(notes)))


def _rubric(key: Key, paths: Sequence[Path]) -> Rubric:
    for path in paths:
        if kept := kept_rubric(path, *key):
            return load_rubric(str(kept))
    raise RunError(f"{paths[0]} has lost the text of its rubric {key[0]} ({key[1]}), without which nothing is counted")


def _read(path: Path, key: Key, folder: Path) -> _Stage:
    """One pass over a run, for only the dialogues know their test sets."""
    said: dict[str, dict[str, list[Said]]] = {}
    with Run.open(path) as run:
        parts, started = run.manifest["settings"].get(PARTS, {}), str(run.manifest["started"])
        for label in run.labels():
            for record in run.records(label):
                problem, seed = record.dialogue.problem, record.dialogue.seed
                rows = [
                    (problem.id, seed, one) for one in record.judgements if (one.rubric, one.rubric_fingerprint) == key
                ]
                if rows:
                    said.setdefault(label, defaultdict(list))[problem.source or NOT_NAMED].extend(rows)
    tutors = {label: _here(parts.get(label, {}).get("tutor", label), folder) for label in said}
    return _Stage(path, started, said, tutors)


def _here(tutor: str, folder: Path) -> str:
    """The name of a tutor; a model made by a stage of this folder is found in it although the folder was moved."""
    moved = folder.joinpath(*Path(tutor).parts[-2:])
    return str(moved) if (moved / JUDGES_FILE).is_file() else tutor


def _names(stages: Iterable[_Stage]) -> dict[tuple[Path, str], str]:
    """What each label of each run is called: with its stage behind it where one before has it on the same test set."""
    names, taken = {}, set[tuple[str, str]]()
    for stage in stages:
        for label, sets in stage.said.items():
            plain = label or stage.folder.name
            name = f"{plain} ({stage.folder.name})" if any((plain, one) in taken for one in sets) else plain
            names[stage.folder, label] = name
            taken |= {(name, one) for one in sets}
    return names


def _test_set(
    name: str, rubric: Rubric, said: Mapping[str, Sequence[Said]], pairs: Sequence[tuple[str, str]], seed: int
) -> JudgedSet:
    tutors = {label: judged(label, rubric, rows, seed) for label, rows in said.items()}
    present = [pair for pair in pairs if pair[0] in tutors and pair[1] in tutors]
    first, *others = tutors
    measures = [measure_of(rubric, one.name) for one in rubric.measures]
    found = [
        comparison
        for before, after in present or [(first, other) for other in others]
        for comparison in compared(measures, (before, tutors[before].values), (after, tutors[after].values), seed)
    ]
    return JudgedSet(name, tuple(tutors.values()), tuple(found))


def _trained_on(tutor: str, sources: Mapping[str, Mapping[str, int]]) -> str:
    """The problems of the pairs that a model was made of, and how many pairs; "" where that is not known."""
    path = Path(tutor.removeprefix("hf/")) / JUDGES_FILE
    pairs = Path(read_json(path).get("pairs", "")).name if path.is_file() else ""
    if pairs not in sources:
        return pairs
    count = sum(sources[pairs].values())
    return f"{', '.join(one or NOT_NAMED for one in sources[pairs])} ({count:,} pairs)"
