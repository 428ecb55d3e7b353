"""Recipes: several stages in order, each in a subfolder of the run, and playing them.

    name: demo
    seed: 0
    stages:
      - {name: sft, run: train sft, steps: 200}
      - {name: after, run: evaluate, from: {tutor: sft}}
      - {name: report, run: report, from: .}

``run`` is a command of the command line, or any module with ``Settings`` and ``run(settings) -> Path``. ``from:
{setting: STAGE}`` sets that setting to what the stage returned; ``from: STAGE`` does so for the setting that the
stage's Settings call their obvious input; ``.`` stands for the whole run's folder. All settings are validated before
the first stage starts, also by the module's ``check(settings)`` where it has one (the inputs from other stages are not
there yet). A finished stage leaves ``done.json``, written last, so the same command goes on where it was.
"""

import gc
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pydantic

from diotima.errors import RunError, SettingsError
from diotima.models.services import BESIDE
from diotima.runs import lock
from diotima.runs.lock import WriterLock
from diotima.runs.manifest import differences, fingerprint, read_json, timestamp, versions, write_json
from diotima.settings import Settings as BaseSettings
from diotima.settings import did_you_mean, load_settings, parse_override, set_key

RECIPE_FILE = "recipe.json"
DONE_FILE = "done.json"
SUMMARY_FILE = "summary.json"
WHOLE_RUN = "."


class Settings(BaseSettings):
    """What to play, and where."""

    recipe: str
    """A recipe's YAML file, or the name of one that comes with diotima."""
    out: Path | None = None
    """The folder of the run; by default runs/ and the recipe's name."""
    seed: int | None = None
    """The seed of all random choices, instead of the recipe's own."""
    set: tuple[str, ...] = ()
    """Changes to single settings, as stage.key=value."""
    fresh: bool = False
    """Play every stage anew, removing what this folder's earlier run left."""


class _Entry(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="allow")

    name: str
    run: str
    from_: str | dict[str, str] = pydantic.Field(default_factory=dict, alias="from")


class _File(BaseSettings):
    name: str
    title: str = ""
    seed: int = 0
    stages: tuple[_Entry, ...] = pydantic.Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: the module that plays it, its settings as written, and which of them other stages fill.

    ``inputs``: setting to stage name, or to ``.`` for the whole run's folder.
    """

    name: str
    command: str
    module: ModuleType
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe whose stages exist and whose references point backwards; its settings are not validated yet."""

    name: str
    title: str
    seed: int
    stages: tuple[Stage, ...]
    source: str


def run(settings: Settings, commands: Mapping[str, str]) -> Path:
    """Play a recipe; ``commands`` maps each stage's command to its module. Returns the run's folder."""
    recipe = load_recipe(find_recipe(settings.recipe), commands, settings.seed, settings.set)
    return play(recipe, settings.out or Path("runs") / recipe.name, fresh=settings.fresh)


def find_recipe(name: str) -> Path:
    """The path of a recipe given by file or by the name of a shipped one. Raises SettingsError."""
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        return Path(name)
    package = Path(__file__).parent
    # An installed package carries the recipes inside; in a source tree they lie at the repository's root.
    folder = next((f for f in (package / "recipes", package.parents[1] / "recipes") if f.is_dir()), package)
    if not (folder / f"{name}.yaml").is_file():
        raise SettingsError(f"there is no recipe {name}; {did_you_mean(name, (p.stem for p in folder.glob('*.yaml')))}")
    return folder / f"{name}.yaml"


def load_recipe(
    path: Path, commands: Mapping[str, str], seed: int | None = None, changes: Sequence[str] = ()
) -> Recipe:
    """Read a recipe; ``seed`` and ``changes`` (``stage.key=value``) go over what it says. Raises SettingsError."""
    file = load_settings(_File, path)
    names = [entry.name for entry in file.stages]
    changed: dict[str, dict[str, Any]] = {name: {} for name in names}
    for change in changes:
        key, value = parse_override(change)
        name, _, setting = key.partition(".")
        if name not in changed or not setting:
            raise SettingsError(f"--set {change}: {name} is not a stage of {path}; {did_you_mean(name, names)}")
        changed[name][setting] = value
    recipe_seed = file.seed if seed is None else seed
    stages = tuple(
        _stage(entry, names[:index], changed[entry.name], recipe_seed, commands, f"{path}, stage {entry.name}")
        for index, entry in enumerate(file.stages)
    )
    return Recipe(file.name, file.title or file.name, recipe_seed, stages, str(path))


def play(recipe: Recipe, out: Path, fresh: bool = False) -> Path:
    """Play all stages that are not finished yet, each in ``out/<name>``; returns ``out``.

    Raises SettingsError before anything is played if any stage's settings are not valid, RunError if a finished stage
    was played with other settings, or on what an earlier stage no longer holds, or ``out`` holds something else.
    """
    settings = {stage.name: _placeless_settings(recipe, stage) for stage in recipe.stages}
    identities = {stage.name: _identity(stage, settings[stage.name]) for stage in recipe.stages}
    _claim(out)
    with WriterLock(out):
        if fresh:
            _remove_earlier(recipe, out)
        finished: dict[str, dict[str, Any]] = {}
        for stage in recipe.stages:
            if _is_up_to_date(recipe, stage, finished, out):
                done = _finished(out / stage.name, identities[stage.name])
                finished |= {stage.name: done} if done else {}
            if stage.name not in finished and hasattr(stage.module, "check"):
                stage.module.check(settings[stage.name])
        _write_recipe(recipe, identities, out)
        results: dict[str, Path | None] = {}
        for number, stage in enumerate(recipe.stages, 1):
            heading = f"[{number}/{len(recipe.stages)}] {stage.name}"
            if stage.name in finished:
                _tell(f"{heading}: finished before")
            else:
                _tell(f"{heading}: {stage.command}")
                finished[stage.name] = _play_stage(recipe, stage, identities[stage.name], out, results)
            results[stage.name] = _located(finished[stage.name]["path"], out)
        write_json(out / SUMMARY_FILE, _summary(recipe, finished, results))
    return out


def stage_settings(recipe: Recipe, stage: Stage, out: Path, results: Mapping[str, Path | None]) -> BaseSettings:
    """The validated settings of a stage whose inputs lie where ``results`` says. Raises SettingsError."""
    values: dict[str, Any] = {"out": out / stage.name} | dict(stage.settings)
    where = f"{recipe.source}, stage {stage.name}"
    for key, source in stage.inputs.items():
        path = out if source == WHOLE_RUN else results[source]
        if path is None:
            raise SettingsError(f"{where}: {key} cannot come from {source}, which returns nothing")
        set_key(values, key, _as_expected(stage.module.Settings, key, path), where)
    settings: BaseSettings = load_settings(stage.module.Settings, None, values, where)
    return settings


def _stage(
    entry: _Entry,
    earlier: Sequence[str],
    changes: Mapping[str, Any],
    seed: int,
    commands: Mapping[str, str],
    where: str,
) -> Stage:
    if not re.fullmatch(r"\w[\w.-]*", entry.name):
        raise SettingsError(f"{where}: a stage's name becomes a folder, so it may hold letters, digits, - and _ only")
    if entry.name in earlier:
        raise SettingsError(f"{where}: there are two stages of this name")
    if entry.run not in commands and "." not in entry.run:
        raise SettingsError(f"{where}: {entry.run} is not a stage; {did_you_mean(entry.run, commands)}")
    place = commands.get(entry.run, entry.run)
    try:
        module = import_module(place)
    except ModuleNotFoundError as error:
        if not f"{place}.".startswith(f"{error.name}."):
            raise
        raise SettingsError(f"{where}: there is no module {place} to run") from None
    if not hasattr(module, "Settings") or not hasattr(module, "run"):
        raise SettingsError(f"{where}: {place} is not a stage, it has no Settings and run")
    inputs = _inputs(entry, module.Settings, where)
    for source in inputs.values():
        if source not in earlier and source != WHOLE_RUN:
            raise SettingsError(f"{where}: {source} is not an earlier stage; {did_you_mean(source, earlier)}")
    settings: dict[str, Any] = dict(entry.model_extra or {})
    if "seed" in module.Settings.model_fields:
        settings.setdefault("seed", seed)
    for key, value in changes.items():
        set_key(settings, key, value, f"--set {where}")
    return Stage(entry.name, entry.run, module, settings, {k: v for k, v in inputs.items() if k not in changes})


def _inputs(entry: _Entry, cls: type[BaseSettings], where: str) -> dict[str, str]:
    if not isinstance(entry.from_, str):
        return entry.from_
    if not cls.obvious_input:
        raise SettingsError(f"{where}: {entry.run} has no obvious input; write from: {{setting: {entry.from_}}}")
    return {cls.obvious_input: entry.from_}


def _as_expected(cls: type[BaseSettings], key: str, path: Path) -> Path | str:
    field = cls.model_fields.get(key)
    return str(path) if field is None or field.annotation in (str, str | None) else path


def _claim(out: Path) -> None:
    if out.is_file():
        raise RunError(f"{out} is a file: choose another --out")
    if out.exists() and not (out / RECIPE_FILE).exists() and {path.name for path in out.iterdir()} - {lock.FILE}:
        raise RunError(f"{out} holds something that is not the run of a recipe: choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} cannot be made ({error.strerror}): choose another --out") from None


def _remove_earlier(recipe: Recipe, out: Path) -> None:
    earlier = read_json(out / RECIPE_FILE)["stages"] if (out / RECIPE_FILE).exists() else []
    for name in {stage["name"] for stage in earlier} | {stage.name for stage in recipe.stages}:
        if (out / name).exists():
            shutil.rmtree(out / name)


def _placeless_settings(recipe: Recipe, stage: Stage) -> BaseSettings:
    """A stage's settings wherever the run lies; so a mistake in the last stage is found before the first one starts."""
    return stage_settings(recipe, stage, Path(WHOLE_RUN), {other.name: Path(other.name) for other in recipe.stages})


def _identity(stage: Stage, settings: BaseSettings) -> dict[str, Any]:
    """What decides whether a finished stage is still the same."""
    return {"run": stage.command, "settings": settings.model_dump(mode="json", exclude=set(BESIDE))}


def _is_up_to_date(recipe: Recipe, stage: Stage, finished: Mapping[str, Any], out: Path) -> bool:
    """Whether all that a stage takes is finished; one that looks at the whole run has to look again if not.

    Raises RunError if the stage was begun on what an earlier stage no longer holds.
    """
    earlier = [other.name for other in recipe.stages[: recipe.stages.index(stage)]]
    taken = {source for source in stage.inputs.values() if source != WHOLE_RUN}
    for source in sorted(taken - set(finished)):
        if (out / stage.name).exists():
            raise RunError(
                f"{out / stage.name} was played on what {source} gave then, and {source} is to be played anew: "
                f"remove {out / stage.name} too, or play all anew with --fresh"
            )
    return WHOLE_RUN not in stage.inputs.values() or set(earlier) <= set(finished)


def _finished(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    if not (folder / DONE_FILE).exists():
        return None
    done = read_json(folder / DONE_FILE)
    if done["fingerprint"] != fingerprint(identity):
        changes = "; ".join(differences(done["identity"], identity))
        raise RunError(
            f"{folder} was finished with other settings ({changes}): "
            "choose another --out, or play all anew with --fresh"
        )
    return done


def _play_stage(
    recipe: Recipe, stage: Stage, identity: Mapping[str, Any], out: Path, results: Mapping[str, Path | None]
) -> dict[str, Any]:
    settings = stage_settings(recipe, stage, out, results)
    if getattr(settings, "dry_run", False):
        raise SettingsError(f"{stage.name}: dry_run is for a command by itself: diotima {stage.command} --dry-run ...")
    started = time.monotonic()
    path: Path | None = stage.module.run(settings)
    gc.collect()  # a stage's models and trainers are circles, and would be there beside the next stage's
    done = {
        "path": None if path is None else _relative(path, out),
        "fingerprint": fingerprint(identity),
        "identity": identity,
        "seconds": round(time.monotonic() - started, 1),
        "finished": timestamp(),
    }
    (out / stage.name).mkdir(exist_ok=True)
    write_json(out / stage.name / DONE_FILE, done)
    return done


def _write_recipe(recipe: Recipe, identities: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    path = out / RECIPE_FILE
    started = read_json(path)["started"] if path.exists() else timestamp()
    stages = [{"name": name, **identity} for name, identity in identities.items()]
    values = {"name": recipe.name, "title": recipe.title, "seed": recipe.seed, "source": recipe.source}
    write_json(path, {**values, "stages": stages, "versions": versions(), "started": started})


def _summary(
    recipe: Recipe, finished: Mapping[str, Mapping[str, Any]], results: Mapping[str, Path | None]
) -> dict[str, Any]:
    stages = {
        name: {"path": done["path"], "seconds": done["seconds"], "summary": read_summary(results[name])}
        for name, done in finished.items()
    }
    return {"recipe": recipe.name, "seed": recipe.seed, "stages": stages}


def read_summary(result: Path | None) -> dict[str, Any] | None:
    """The figures beside a stage's result, or None: ``summary.json`` in a folder, ``report.json`` for report.html."""
    if result is None:
        return None
    path = result / SUMMARY_FILE if result.is_dir() else result.with_suffix(".json")
    return read_json(path) if path.is_file() and path != result else None


def _relative(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else str(path.resolve())


def _located(path: str | None, out: Path) -> Path | None:
    return None if path is None else out / path


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
