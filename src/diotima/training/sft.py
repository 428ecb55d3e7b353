"""`diotima train sft`: supervised fine-tuning on lessons, with the loss on the tutor's turns only.

The lessons come from a run; which of them are worth learning from is said by their scores, so a tutor can be trained on
the best of its own lessons as well as on another's. Where the tutor kept its tokens, these are what is trained on;
where it did not (a scripted tutor), its turns are tokenised once, piece by piece as they would be sampled.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from diotima.classroom.casting import LessonSettings, Part, model_role, part_of
from diotima.dialogue import TUTOR, Dialogue, Tokens, raw_reply, stable_seed
from diotima.errors import RunError, SettingsError
from diotima.models.opening import model_folder
from diotima.runs.records import Record
from diotima.runs.run import Run
from diotima.settings import did_you_mean

if TYPE_CHECKING:
    from diotima.models.local import LocalModel


class Settings(LessonSettings):
    """From what, and how, to learn."""

    obvious_input: ClassVar[str] = "lessons"

    out: Path
    """Folder of the run; the tuned model will be in model/ below it."""
    model: str = "tiny"
    """The model to tune: tiny, a folder or hf/NAME."""
    lessons: Path
    """The run whose lessons to learn from."""
    label: str | None = None
    """Use only the lessons under this label."""
    keep: dict[str, float] = {"leaked": 0.0, "well_formed": 1.0}
    """Keep lessons with exactly these scores."""
    least: dict[str, float] = {"solved_sibling": 0.5}
    """Keep lessons with at least these scores."""
    most_lessons: PositiveInt | None = None
    """Use only so many lessons, drawn by the seed."""
    seed: int = 0
    """Seed of the choice of lessons and of their order."""
    trl: dict[str, Any] = {}
    """Any fields of TRL's SFTConfig, by their own names."""


DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-4,
    "lr_scheduler_type": "linear",
    "per_device_train_batch_size": 16,
    "num_train_epochs": 1,
    "max_length": 2048,
    "save_steps": 100,
    "save_total_limit": 2,
    "logging_steps": 1,
    "report_to": [],
    "disable_tqdm": True,
}


def check(settings: Settings) -> Any:
    """TRL's configuration; a mistake in the settings is told by a SettingsError, before anything is loaded."""
    from trl import SFTConfig

    from diotima.training import setup

    own = {"output_dir": str(settings.out / "checkpoints"), "seed": settings.seed}
    return setup.trl_config(SFTConfig, DEFAULTS | own, settings.trl, "train sft")


def run(settings: Settings) -> Path:
    """Fine-tune; returns the folder of the tuned model."""
    from datasets import Dataset
    from trl import SFTTrainer

    from diotima.models.local import load_local
    from diotima.training import setup

    setup.prepare_process(settings.threads)
    args = check(settings)
    chosen = chosen_lessons(settings)
    folder = model_folder(settings.model)
    part = part_of(folder, settings)
    local = load_local(folder, settings.model)
    rows = list(labelled_rows(chosen, local, part, settings))
    kept = [row for row in rows if len(row["input_ids"]) <= (args.max_length or len(row["input_ids"]))]
    if not kept:
        shortest = min(len(row["input_ids"]) for row in rows)
        raise RunError(
            f"{settings.lessons}: none of the {len(rows):,} lessons to learn from has at most trl.max_length = "
            f"{args.max_length} tokens, the shortest has {shortest:,}; raise trl.max_length"
        )
    recorded = settings.model_dump(mode="json", exclude={"out"})
    with Run.create(settings.out, stage="train sft", settings=recorded, seed=settings.seed) as record:
        record.metric(0, "lessons", len(kept))
        record.metric(0, "lessons_too_long", len(rows) - len(kept))
        data = Dataset.from_list(kept)
        with setup.accepted("train sft"):
            trainer = SFTTrainer(local.model, args, train_dataset=data, processing_class=local.tokenizer)
        model = setup.train(trainer, f"train sft on {len(kept)} lessons", setup.steps(len(kept), args), record)
    return setup.save_model(model, local.tokenizer, part, settings.out / "model")


def chosen_lessons(settings: Settings) -> list[Dialogue]:
    """The lessons whose scores are good enough, in an order drawn by the seed.

    Raises RunError, with a count for each condition, if there are none, and SettingsError for an unknown label.
    """
    chosen, failures, label = [], Counter[str](), settings.label
    with Run.open(settings.lessons) as run:
        labels = run.labels()
        if label is not None and label not in labels:
            raise SettingsError(f"label = {label}: {settings.lessons} has none; {did_you_mean(label, labels)}")
        for record in run.records(label):
            unmet = _unmet(record, settings)
            failures.update(unmet)
            if not unmet:
                chosen.append(record.dialogue)
        count = sum(map(run.count, labels if label is None else [label]))
    if not chosen:
        reasons = ", ".join(f"{number:,} lack {condition}" for condition, number in failures.items())
        raise RunError(
            f"{settings.lessons}: none of its {count:,} lessons can be learned from: {reasons}; relax keep or least"
            if count
            else f"{settings.lessons} has no lessons; hold some with diotima teach"
        )
    chosen.sort(key=lambda dialogue: stable_seed("sft", settings.seed, dialogue.problem.id, dialogue.seed))
    return chosen[: settings.most_lessons]


def labelled_rows(
    dialogues: list[Dialogue], local: "LocalModel", part: Part, settings: LessonSettings
) -> Iterator[dict[str, list[int]]]:
    """``input_ids`` and ``labels`` of each lesson; -100 wherever the tutor did not speak."""
    from diotima.training.rows import training_row

    for dialogue in dialogues:
        row = training_row(with_tokens(dialogue, local, part, settings), local.format.end_ids)
        labels = [token if mask else -100 for token, mask in zip(row.completion_ids, row.mask, strict=True)]
        yield {
            "input_ids": [*row.prompt_ids, *row.completion_ids],
            "labels": [-100] * len(row.prompt_ids) + labels,
        }


def with_tokens(dialogue: Dialogue, local: "LocalModel", part: Part, settings: LessonSettings) -> Dialogue:
    """The dialogue with tokens on every tutor turn, as this model would have read and sampled them.

    Tokens that are there are kept if this model would have read the same opening; else they are another model's.
    """
    role = model_role(local, part, settings, 1.0)
    if all(turn.tokens for turn in dialogue.by(TUTOR)) and _opening(dialogue) == local.format.context(
        role.messages(_before_tutor(dialogue))
    ):
        return dialogue
    grown = Dialogue(dialogue.problem, seed=dialogue.seed)
    for turn in dialogue.turns:
        if turn.speaker == TUTOR:
            prompt_ids = local.format.context(role.messages(grown))
            reply_ids = local.format.reply(raw_reply(turn))
            turn = replace(turn, tokens=Tokens(prompt_ids, reply_ids, (0.0,) * len(reply_ids)))
        grown = grown.then(turn)
    return grown


def _opening(dialogue: Dialogue) -> tuple[int, ...] | None:
    first = next((turn.tokens for turn in dialogue.by(TUTOR)), None)
    return first.prompt_ids if first else None


def _before_tutor(dialogue: Dialogue) -> Dialogue:
    until = next((index for index, turn in enumerate(dialogue.turns) if turn.speaker == TUTOR), len(dialogue.turns))
    return replace(dialogue, turns=dialogue.turns[:until])


def _unmet(record: Record, settings: Settings) -> list[str]:
    """The conditions that a lesson does not meet, in words; a missing score is never good enough."""
    known = {name: score.value for name, score in record.scores.items() if score.value is not None}
    conditions = [(name, "=", wanted) for name, wanted in settings.keep.items()]
    conditions += [(name, ">=", wanted) for name, wanted in settings.least.items()]
    unmet = []
    for name, sign, wanted in conditions:
        if name not in known:
            unmet.append(f"{name} {sign} {wanted:g} (it is missing)")
        elif known[name] < wanted or (sign == "=" and known[name] != wanted):
            unmet.append(f"{name} {sign} {wanted:g}")
    return unmet
