"""Read a run, or a folder of runs, into the few small values that tables, charts and sentences are made of.

A run folder may be one stage or hold one subfolder per stage of a recipe. Stages that train (manifest stage
``train ...``) give curves; those that only hold lessons (``teach``) or single turns (``candidates``) are material;
every other stage gives one examination per label, a label being the tutor that taught. What judges said is no
examination: `judged_sets.py` reads it.
All tutors teach the same lessons, so two of them are compared lesson by lesson, and every interval resamples whole
problems: lessons about one problem are not independent of each other. Whether a difference is clear `paired.py` says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from diotima.classroom.casting import SCRIPTED
from diotima.dialogue import Dialogue, stable_seed
from diotima.errors import RunError
from diotima.reports.measures import GAIN, MEASURES, Lesson, Measure, Values
from diotima.reports.paired import EQUAL, NOT_CLEAR, PRIMARY, judge, paired
from diotima.runs import store
from diotima.runs.run import Run
from diotima.score import Score
from diotima.statistics import Interval, mean_interval, paired_interval, wilson_interval

TRAINING = "train"  # how the names of stages begin that train
KEPT = 20  # steps of a training of which a lesson is shown, at most

Role = Literal["before", "after", "blind", "reference"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the recipe, as its manifest tells it. ``finished`` is "" if it was cut off.

    ``rubrics``: under which judges spoke in it, as (name, fingerprint).
    """

    name: str
    what: str
    seed: int | None
    settings: Mapping[str, Any]
    versions: Mapping[str, Any]
    started: str
    finished: str
    rubrics: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Examination:
    """What one tutor's lessons came to: an interval for each measure that has at least one valid value.

    ``lessons`` counts all lessons, an interval's ``n`` only those with a valid score. ``normalised_gain`` is
    (sibling - control) / (1 - control) of the means (Hake 1998), None where the control leaves nothing to learn.
    """

    label: str
    stage: str
    role: Role
    lessons: int
    intervals: Mapping[str, Interval]
    normalised_gain: float | None

    def mean(self, measure: str) -> float | None:
        """The mean of a measure, None if no lesson has a valid score."""
        interval = self.intervals.get(measure)
        return interval.mean if interval else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two tutors on the lessons that both have a valid score for: ``interval`` is that of second - first.

    ``p``, adjusted by Holm, and ``verdict``: as `paired.judge` has them.
    """

    measure: str
    first: str
    second: str
    first_mean: float
    second_mean: float
    interval: Interval
    p: float
    verdict: str

    @property
    def sign(self) -> int:
        """1 or -1 where the difference is clear, else 0."""
        if self.verdict in (NOT_CLEAR, EQUAL):
            return 0
        return 1 if self.interval.mean > 0 else -1


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of a training stage: (step, value), in the order of the steps."""

    stage: str
    name: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Taught:
    """One lesson with its scores."""

    label: str
    dialogue: Dialogue
    scores: Mapping[str, Score]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The same lesson, same problem and same student, by two tutors."""

    before: Taught
    after: Taught


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything a report says, before it is put into words. The headline is about the first of ``pairs``.

    ``kept``: lessons out of training, by stage, in the order of its steps. ``trained``: whether these are a tutor
    before and after training, and not any two. ``notes``: what a reader has to know before trusting the figures.
    """

    stages: tuple[Stage, ...]
    examinations: tuple[Examination, ...]
    pairs: tuple[tuple[str, str], ...]
    blind: str
    comparisons: tuple[Comparison, ...]
    curves: tuple[Curve, ...]
    side_by_side: tuple[SideBySide, ...]
    kept: Mapping[str, tuple[Taught, ...]]
    trained: bool
    notes: tuple[str, ...]

    def comparison(self, measure: str, first: str, second: str) -> Comparison | None:
        """The comparison of two tutors in one measure, None if they share no lesson."""
        wanted = (measure, first, second)
        return next((c for c in self.comparisons if (c.measure, c.first, c.second) == wanted), None)


@dataclass(frozen=True, slots=True)
class Lessons:
    """What one tutor's lessons were scored: ``values`` by measure and lesson, the valid ones only.

    ``lessons``: all of them as (problem, seed). ``folder`` and ``label``: where they lie, and under which label.
    ``scripted``: whether the tutor is a program of ours.
    """

    folder: Path
    label: str
    lessons: AbstractSet[Lesson]
    values: Mapping[str, Values]
    scripted: bool = False


def collect(
    folder: Path,
    *,
    pairs: Sequence[tuple[str, str]],
    blind: Sequence[str] = (),
    lessons: int = 3,
    seed: int = 0,
    turns: bool = True,
) -> Findings:
    """Read a run or a folder of stages.

    ``pairs``: (before, after) labels; those that are not there are left out. ``blind``: tutors that never look at the
    student; the first that is there is what an after tutor has to beat. ``lessons``: how many to show side by side.
    ``turns``: see `read_lessons`. Raises `RunError` if nothing in the folder can be reported.
    """
    stages: list[Stage] = []
    curves: list[Curve] = []
    kept: dict[str, tuple[Taught, ...]] = {}
    notes: list[str] = []
    taught = read_lessons(folder, turns)
    for path in stage_folders(folder):
        with Run.open(path) as run:
            stage = _stage(path, run)
            stages.append(stage)
            notes += [] if stage.finished else [_unfinished(stage, run)]
            for name, metric in run.metrics().items():
                points = tuple((step, value) for step, value in metric if isfinite(value))
                curves += [Curve(stage.name, name, points)] if points else []
            if stage.what.startswith(TRAINING) and (taught_there := tuple(_kept(run))):
                kept[stage.name] = taught_there
    if not taught and not curves and not any(stage.rubrics for stage in stages):
        raise RunError(
            f"{folder} holds no scored lessons, no verdicts of judges and no training metrics to report; "
            "give the folder of a finished evaluation, of a training stage, or of a recipe"
        )
    present = tuple(pair for pair in pairs if pair[0] in taught and pair[1] in taught)
    sweep = next((name for name in blind if name in taught), "")
    against = dict.fromkeys([*present, *((sweep, after) for _, after in present if sweep and after != sweep)])
    learned = any(stage.what.startswith(TRAINING) for stage in stages)
    roles: dict[str, Role] = dict.fromkeys(blind, "blind")
    for before, after in pairs:
        roles |= {before: "before", after: "after"}
    return Findings(
        tuple(sorted(stages, key=lambda stage: stage.started)),
        tuple(_examine(name, found, roles.get(name, "reference"), seed) for name, found in taught.items()),
        present,
        sweep,
        tuple(_compare(taught, against, seed)),
        tuple(curves),
        _side_by_side(taught, present[0], lessons) if present else (),
        kept,
        learned and bool(present) and not any(taught[name].scripted for name in present[0]),
        tuple(notes),
    )


def read_lessons(folder: Path, turns: bool = True) -> dict[str, Lessons]:
    """The scored lessons in a run or a folder of stages, by the name of their tutor. Raises `RunError` without a run.

    A tutor is called by its label, with the stage behind it where an earlier stage has the same label. ``turns``: where
    the folder is a single run, take single turns (candidates) too; within a recipe they never are lessons.
    """
    taught: dict[str, Lessons] = {}
    for path in stage_folders(folder):
        with Run.open(path) as run:
            what, alone = str(run.manifest.get("stage", "")), path == folder
            # Within a recipe, lessons that were held to learn from are no examination.
            held = not what.startswith(TRAINING) and (alone or not what.startswith("teach"))
            if held and ((alone and turns) or not _of_single_turns(run.manifest)):
                for name, found in _labels(run, path):
                    taught[f"{name} ({path.name})" if name in taught else name] = found
    return taught


def stage_folders(folder: Path) -> list[Path]:
    """The folder itself if it is a run, else its subfolders that are."""
    if not folder.is_dir():
        raise RunError(f"There is no run in {folder}; give the folder that a stage or a recipe wrote")
    if (folder / store.FILE).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{store.FILE}"))
    if not found:
        raise RunError(f"{folder} holds no run (no {store.FILE}); give the folder that a stage or a recipe wrote")
    return found


def _of_single_turns(manifest: Mapping[str, Any]) -> bool:
    settings = manifest.get("settings") or {}
    return manifest.get("stage") == "candidates" or settings.get("turns") == "last"


def _stage(path: Path, run: Run) -> Stage:
    manifest = run.manifest
    return Stage(
        path.name,
        str(manifest.get("stage", "")),
        manifest.get("seed"),
        manifest.get("settings") or {},
        {**(manifest.get("versions") or {}), "commit": manifest.get("commit")},
        str(manifest.get("started") or ""),
        str(manifest.get("finished") or ""),
        tuple(run.rubrics()),
    )


def _kept(run: Run) -> Iterator[Taught]:
    """The first lesson that was kept of each step, of many steps only some, the last among them."""
    steps = {int(number): label for label in run.labels() if (number := label.removeprefix("step ")).isdecimal()}
    labels = [label for _, label in sorted(steps.items())]
    shown = min(KEPT, len(labels))
    for place in range(1, shown + 1):
        for record in islice(run.records(labels[place * len(labels) // shown - 1]), 1):
            yield Taught(record.label, record.dialogue, record.scores)


def _unfinished(stage: Stage, run: Run) -> str:
    if stage.what.startswith(TRAINING):
        return f"{stage.name} is not finished"
    labels = run.labels()
    absent = [
        name for name in _tutors(stage.settings) if not any(f"{label} T=".startswith(f"{name} T=") for label in labels)
    ]
    lessons = sum(map(run.count, labels))
    none = f", none of {', '.join(absent)}" if absent else ""
    return f"{stage.name} is not finished ({lessons:,} lesson{'' if lessons == 1 else 's'} so far{none})"


def _tutors(settings: Mapping[str, Any]) -> dict[str, str]:
    """The tutors of a stage by their labels, which go on with the temperature where there is one."""
    tutors = settings.get("tutor") or []
    tutors = [tutors] if isinstance(tutors, str) else tutors
    return dict(zip(settings.get("label") or tutors, tutors, strict=False))


def _labels(run: Run, folder: Path) -> Iterator[tuple[str, Lessons]]:
    tutors = _tutors(run.manifest.get("settings") or {})
    for label in run.labels():
        lessons: set[Lesson] = set()
        values: dict[str, Values] = {}
        for measure in MEASURES:
            table = run.score_table(measure, label)
            lessons |= {(problem, seed) for problem, seed, _ in table}
            values[measure] = {
                (problem, seed): score.value for problem, seed, score in table if score.value is not None
            }
        sibling, control = values["solved_sibling"], values["control_sibling"]
        values[GAIN] = {lesson: sibling[lesson] - control[lesson] for lesson in sibling if lesson in control}
        if lessons:
            # Lessons that were only scored in this run have labels here and tutors in another.
            scripted = tutors.get(label, label).startswith(SCRIPTED)
            yield label or folder.name, Lessons(folder, label, lessons, values, scripted)


def _examine(name: str, found: Lessons, role: Role, seed: int) -> Examination:
    intervals = {
        measure: interval_of(values, binary=measure == "leaked", seed=stable_seed("interval", seed, measure))
        for measure, values in found.values.items()
        if values
    }
    controls = [found.values["control_sibling"][lesson] for lesson in found.values[GAIN]]
    room = 1 - sum(controls) / len(controls) if controls else 0
    normalised = intervals[GAIN].mean / room if room > 0 else None
    return Examination(name, found.folder.name, role, len(found.lessons), intervals, normalised)


def interval_of(values: Values, binary: bool, seed: int) -> Interval:
    """The mean with its interval over problems; ``binary``: every value is yes or no."""
    lessons = sorted(values)
    clusters = [problem for problem, _ in lessons]
    interval = mean_interval([values[lesson] for lesson in lessons], clusters=clusters, seed=seed)
    if binary and interval.mean in (0.0, 1.0):
        # Resampling cannot show that what never happened in these lessons may happen in others.
        problems = len(set(clusters))
        return replace(wilson_interval(round(interval.mean) * problems, problems), n=interval.n)
    return interval


def _compare(taught: Mapping[str, Lessons], pairs: Iterable[tuple[str, str]], seed: int) -> Iterator[Comparison]:
    measures = [MEASURES[name] for name in PRIMARY]
    for first, second in pairs:
        yield from compared(measures, (first, taught[first].values), (second, taught[second].values), seed)


def compared(
    measures: Sequence[Measure],
    first: tuple[str, Mapping[str, Values]],
    second: tuple[str, Mapping[str, Values]],
    seed: int,
) -> Iterator[Comparison]:
    """Two tutors in all of these measures, which are tested together; each as its label and its values by measure."""
    both = {measure: (first[1][measure.name], second[1][measure.name]) for measure in measures}
    found = (paired(measure, *values) for measure, values in both.items())
    judgements = judge((one for one in found if one), seed=seed, primary=[measure.name for measure in measures])
    for measure, (before, after) in both.items():
        shared = sorted(before.keys() & after.keys())
        if not shared:
            continue
        old, new = [before[lesson] for lesson in shared], [after[lesson] for lesson in shared]
        judgement = judgements[measure.name]
        clusters = [problem for problem, _ in shared]
        interval = paired_interval(old, new, clusters=clusters, seed=stable_seed("pair", seed, measure.name))
        means = sum(old) / len(old), sum(new) / len(new)
        names = measure.name, first[0], second[0]
        yield Comparison(*names, *means, interval, judgement.adjusted, judgement.verdict)


def _side_by_side(taught: Mapping[str, Lessons], pair: tuple[str, str], count: int) -> tuple[SideBySide, ...]:
    """A draw by hash among the shared lessons, first those whose student could not solve the problem beforehand.

    The rule looks at nothing that happened in or after the lesson, so no tutor's good or bad days are picked.
    """
    before, after = (taught[name] for name in pair)
    alone = before.values["solved_before"]
    shared = sorted(
        before.lessons & after.lessons,
        key=lambda lesson: (alone.get(lesson, 1.0) >= 0.5, stable_seed("shown", *lesson)),
    )
    one_a_problem: dict[str, Lesson] = {}
    for lesson in shared:
        one_a_problem.setdefault(lesson[0], lesson)
    chosen = list(one_a_problem.values())[:count]
    first, second = (_read(name, taught[name], set(chosen)) for name in pair)
    return tuple(SideBySide(first[lesson], second[lesson]) for lesson in chosen)


def _read(name: str, found: Lessons, wanted: set[Lesson]) -> dict[Lesson, Taught]:
    lessons: dict[Lesson, Taught] = {}
    with Run.open(found.folder) as run:
        for record in run.records(found.label):
            lesson = (record.dialogue.problem.id, record.dialogue.seed)
            if lesson in wanted:
                lessons[lesson] = Taught(name, record.dialogue, record.scores)
                if len(lessons) == len(wanted):
                    break
    return lessons
