"""`diotima export hub`: a tutor with its model card on the Hugging Face hub.

    diotima export hub runs/grpo/model --name ORG/NAME --scores runs/after --dry-run
    diotima export hub runs/grpo/model --name ORG/NAME --scores runs/after/report.json --licence apache-2.0

A dry run writes the card, into the model's folder, and uploads nothing. The repository is private unless it is asked
to be public. Where a licence of the training data is unknown, or forbids such a model to be passed on, nothing is
uploaded until somebody says that they have looked (``--checked``). The token is the hub's own: `hf auth login`, or
HF_TOKEN in the environment.
"""

import glob
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import pydantic

from diotima import settings as base
from diotima.classroom.casting import TutorSettings, part_of
from diotima.delivery.model_card import MARK, Facts, card
from diotima.delivery.provenance import Data, provenance
from diotima.errors import ModelError, RunError, SettingsError
from diotima.models.folders import TINY
from diotima.reports.collect import collect
from diotima.reports.tables import plain
from diotima.runs.durable import write_text
from diotima.runs.manifest import read_json
from diotima.training.merging import adapter_config
from diotima.training.weight_folder import WeightFolder, open_folder

CARD = "README.md"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Settings(base.Settings):
    """What is uploaded, and what its card says."""

    model: str
    """The tutor: a folder, of a whole model or of an adapter."""
    name: str
    """Its name on the hub: ORG/NAME."""
    run: Path | None = None
    """The run that trained it; by default the one in whose folder it lies."""
    scores: base.OneOrMore = ()
    """Runs of examinations, or report.json files, whose figures the card shows; may be given several times."""
    licence: str = ""
    """The model's licence, as the hub calls it: apache-2.0, mit, cc-by-4.0 ...; mind that of its base."""
    data: base.OneOrMore = ()
    """Sets it was trained on that its run does not tell: gsm8k, mathdial, or any name; may be given several times."""
    card: Path | None = None
    """Where the card is written; by default README.md in the model's folder."""
    public: bool = False
    """Everybody can see it; else only its organisation can."""
    checked: bool = False
    """You have looked at the licences that are unknown or forbid it, and may upload it."""
    dry_run: bool = False
    """Write the card, and upload nothing."""


class _Interval(pydantic.BaseModel):
    n: int
    mean: float | None
    low: float | None = None
    high: float | None = None


class _Tutor(pydantic.BaseModel):
    tutor: str
    lessons: int
    measures: dict[str, _Interval]


class _Report(pydantic.BaseModel):
    """What a card needs of report.json, which may have been written by hand."""

    tutors: Annotated[list[_Tutor], pydantic.Field(min_length=1)]


class Hub(Protocol):
    """What is used of huggingface_hub's HfApi."""

    def whoami(self) -> Any:
        """Who is logged in; raises if nobody is."""
        ...

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any:
        """Make a repository."""
        ...

    def repo_info(self, repo_id: str) -> Any:
        """What there is to know of a repository; ``private``: whether only its organisation sees it."""
        ...

    def upload_file(self, *, path_or_fileobj: str, path_in_repo: str, repo_id: str, commit_message: str) -> Any:
        """Upload one file."""
        ...

    def upload_folder(self, *, folder_path: str, repo_id: str, allow_patterns: list[str], commit_message: str) -> Any:
        """Upload the files of a folder."""
        ...


def run(settings: Settings) -> dict[str, Any]:
    """Write the card and upload; returns what was done.

    Raises SettingsError where a licence is in doubt, ModelError if there is no such model or the hub does not take it.
    """
    if not _NAME.fullmatch(settings.name):
        raise SettingsError(f"name = {settings.name}: a model's name on the hub is ORG/NAME")
    folder = open_folder(settings.model)
    origin, more = provenance(settings.model, settings.run), tuple(Data(name) for name in settings.data)
    files = tuple(sorted({*folder.weights, *folder.others} - {CARD}))
    part = part_of(folder.path, TutorSettings())
    scores = [Path(path) for path in settings.scores]
    tutors = [tutor for path in scores for tutor in figures_of(path)]
    measured = tuple((path if path.is_dir() else path.parent).resolve().name for path in scores)
    facts = Facts(settings.name, origin, part, settings.licence, more, tutors, measured, folder.is_adapter)
    path = _card_path(settings, folder)
    write_text(path, card(facts))
    concerns = [*origin.concerns(more), *_of_model(facts, folder)]
    for concern in concerns:
        print(f"diotima: beware: {concern}", file=sys.stderr)
    told = {"name": settings.name, "card": str(path), "files": list(files), "concerns": concerns, "uploaded": False}
    if settings.dry_run:
        print(f"{path}: the card; nothing was uploaded. It would go to {settings.name} with {len(files)} files.")
        return told
    if concerns and not settings.checked:
        raise SettingsError(
            f"{settings.name} is not uploaded: {concerns[0]}{f', and {len(concerns) - 1} more' * bool(concerns[1:])}; "
            "give --checked once you have looked"
        )
    from huggingface_hub import HfApi

    publish(HfApi(), settings.name, folder.path, path, files, private=not settings.public)
    print(f"https://huggingface.co/{settings.name}")
    return told | {"uploaded": True}


def publish(hub: Hub, name: str, folder: Path, card: Path, files: Sequence[str], private: bool) -> None:
    """Upload the card and then the files, so that no weights stand anywhere without it. Raises ModelError."""
    import httpx2
    from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError

    try:
        hub.whoami()
        hub.create_repo(name, private=private, exist_ok=True)
        if private and not hub.repo_info(name).private:  # one that is there already stays as it is
            raise ModelError(f"{name} is there already and everybody can see it: give --public, or another --name")
        hub.upload_file(path_or_fileobj=str(card), path_in_repo=CARD, repo_id=name, commit_message="Model card")
        hub.upload_folder(
            folder_path=str(folder),
            repo_id=name,
            allow_patterns=[glob.escape(file) for file in files],
            commit_message="Weights and tokenizer",
        )
    except LocalTokenNotFoundError:
        raise ModelError("nobody is logged in to the hub: hf auth login, or set HF_TOKEN in the environment") from None
    except (httpx2.HTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"{name}: the hub does not take it ({reason}); the same command goes on") from None


def figures_of(path: Path) -> list[Mapping[str, Any]]:
    """The figures of every tutor of a run, a folder of runs or a report.json. Raises RunError if there are none."""
    told = plain(collect(path, pairs=())) if path.is_dir() else read_json(path)
    try:
        _Report.model_validate(told)
    except pydantic.ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise RunError(
            f"scores = {path}: there are no figures of tutors in it ({where}); give a run, or report.json"
        ) from None
    tutors: list[Mapping[str, Any]] = told["tutors"]
    return tutors


def _of_model(facts: Facts, folder: WeightFolder) -> Iterator[str]:
    if not facts.licence:
        yield f"no licence is given for the model (its base, {facts.origin.base}, has one of its own): --licence ID"
    if not folder.is_adapter:
        return
    base = adapter_config(folder.path)["base_model_name_or_path"]
    if not base or not isinstance(base, str):
        yield "it is an adapter that does not say over which model"
    elif base != "tiny" and Path(base).is_dir():
        yield f"it is an adapter over {base}, which others do not have; merge the two: diotima weights merge"


def _card_path(settings: Settings, folder: WeightFolder) -> Path:
    """Where the card goes. Raises RunError if somebody else's README stands there."""
    path = settings.card or folder.path / CARD
    theirs = path.is_file() and MARK not in path.read_text(encoding="utf-8", errors="replace")
    if theirs or (folder.path == TINY and settings.card is None):
        raise RunError(f"{path} was not written by this command; choose another place for the card: --card FILE")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
