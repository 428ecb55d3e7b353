"""`diotima train sft`: supervised fine-tuning, with the loss on the tutor's turns and on solutions only.

The lessons come from a run; which of them are worth learning from is said by their scores, so a tutor can be trained on
the best of its own lessons as well as on another's. Where the tutor kept its tokens, these are what is trained on;
where it did not (a scripted tutor), its turns are tokenised once, piece by piece as they would be sampled.

Questions with solutions and other people's conversations are learned from as well, alone or beside lessons; see
`training.sources` for what is mixed with what, and `training.records` for how they are read.

    diotima train sft --model tiny --lessons runs/lessons --out runs/sft
    diotima train sft --model tiny --records train.jsonl --prompt solve/steps --out runs/sft
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diotima.classroom.casting import LessonSettings, Part, model_role, part_of
from diotima.classroom.judges import remember_judges
from diotima.dialogue import TUTOR, Dialogue, Tokens, raw_reply, stable_seed
from diotima.errors import RunError, SettingsError
from diotima.models.folders import model_folder
from diotima.models.token_model import ids_before
from diotima.processes import is_first
from diotima.runs.records import Record
from diotima.runs.run import Run
from diotima.settings import did_you_mean
from diotima.training.adapters import AdapterSettings
from diotima.training.records import Chat, Row, chat_row, chats
from diotima.training.sources import Source, in_proportion, sources_of

if TYPE_CHECKING:
    from trl import SFTTrainer

    from diotima.models.local import LocalModel


class Settings(Source, LessonSettings, AdapterSettings):
    """From what, and how, to learn."""

    obvious_input: ClassVar[str] = "lessons"

    out: Path
    """Folder of the run; the tuned model will be in model/ below it."""
    model: str = "tiny"
    """The model to tune: tiny, a folder or hf/NAME."""
    mix: tuple[Source, ...] = ()
    """Further lessons and records, each with settings like these, in proportion to their weights."""
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

    from diotima.training import adapters, setup

    sources_of(settings, settings.mix, "train sft")
    own = {"output_dir": str(settings.out / "checkpoints"), "seed": settings.seed}
    own |= adapters.check(settings, settings.trl, "train sft")
    args = setup.trl_config(SFTConfig, DEFAULTS | own, settings.trl, "train sft")
    if args.packing and args.packing_strategy == "wrapped":
        raise SettingsError(
            "train sft: trl.packing_strategy = wrapped cuts lessons in two, and the tutor would learn the second half "
            "without what was said in the first; take bfd"
        )
    return args


def run(settings: Settings) -> Path:
    """Fine-tune; returns the folder of the tuned model."""
    from diotima.training import adapters, setup

    setup.prepare_process(settings.threads)
    args = check(settings)
    setup.refuse_lacking(args, "train sft")
    sources = sources_of(settings, settings.mix, "train sft")
    found = [chosen_lessons(source) if source.lessons else chats(source) for source in sources]
    folder = model_folder(settings.model)
    part = part_of(folder, settings)
    local = adapters.load(folder, settings.model, settings)
    rows = [list(_rows(some, local, part, settings)) for some in found]
    short = [short_rows(some, args.max_length, source) for some, source in zip(rows, sources, strict=True)]
    kept = in_proportion(short, [source.weight for source in sources])
    recorded = settings.model_dump(mode="json", exclude={"out"}) | {"rows_fingerprint": _fingerprint(kept)}
    with Run.create(settings.out, stage="train sft", settings=recorded, seed=settings.seed) as record:
        trainer = make_trainer([row for some in kept for row in some], local, args, settings)
        for name, count in _counts(sources, rows, short, kept).items():
            record.metric(0, name, count)
        packed = len(trainer.train_dataset)
        model = setup.train(trainer, f"train sft on {_told(sources, kept)}", setup.steps(packed, args), record)
    tuned = setup.save_model(model, local.tokenizer, part, settings.out / "model")
    if is_first():
        remember_judges(tuned, [folder])
    return tuned


def short_rows(rows: list[Row], limit: int | None, source: Source) -> list[Row]:
    """The rows of at most ``limit`` tokens; none is cut. Raises RunError if none is as short as that."""
    kept = [row for row in rows if limit is None or len(row["input_ids"]) <= limit]
    if not kept:
        shortest = min(len(row["input_ids"]) for row in rows)
        raise RunError(
            f"{source.place}: none of the {len(rows):,} {_kind(source)} to learn from has at most trl.max_length = "
            f"{limit} tokens, the shortest has {shortest:,}; raise trl.max_length"
        )
    return kept


def make_trainer(rows: Sequence[Row], local: "LocalModel", args: Any, settings: Settings) -> "SFTTrainer":
    """TRL's trainer on rows of ids and labels, with the adapter that the settings ask for."""
    from datasets import Dataset
    from trl import SFTTrainer

    from diotima.training import adapters, setup

    with setup.accepted("train sft"):
        return SFTTrainer(
            local.model,
            args,
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=local.tokenizer,
            peft_config=adapters.new_adapter(settings, local, settings.seed),
        )


def _rows(found: Sequence[Dialogue | Chat], local: "LocalModel", part: Part, settings: LessonSettings) -> Iterator[Row]:
    for one in found:
        if isinstance(one, Chat):
            yield chat_row(one, local)
        else:
            yield from labelled_rows([one], local, part, settings)


def _kind(source: Source) -> str:
    return "lessons" if source.lessons else "records"


def _counts(
    sources: Sequence[Source], rows: Sequence[list[Row]], short: Sequence[list[Row]], kept: Sequence[list[Row]]
) -> Counter[str]:
    """How many lessons and records are learned from, and how many were too long."""
    counts = Counter[str]()
    for source, all_rows, some, chosen in zip(sources, rows, short, kept, strict=True):
        counts[_kind(source)] += len(chosen)
        counts[f"{_kind(source)}_too_long"] += len(all_rows) - len(some)
    return counts


def _told(sources: Sequence[Source], kept: Sequence[list[Row]]) -> str:
    """How much is learned from: ``3,500 lessons and 350 records``."""
    counts = _counts(sources, kept, kept, kept)
    return " and ".join(f"{counts[kind]:,} {kind}" for kind in ("lessons", "records") if counts[kind])


def _fingerprint(kept: Sequence[list[Row]]) -> str:
    """What all rows say, for a file may hold other records tomorrow."""
    digest = hashlib.sha256()
    for some in kept:
        for row in some:
            digest.update(array("q", [len(row["labels"]), *row["input_ids"], *row["labels"]]).tobytes())
    return digest.hexdigest()[:16]


def chosen_lessons(settings: Source) -> list[Dialogue]:
    """The lessons whose scores are good enough, in an order drawn by the seed.

    Raises RunError, with a count for each condition, if there are none, and SettingsError for an unknown label.
    """
    chosen, failures, label = [], Counter[str](), settings.label
    with Run.open(settings.place) as run:
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
) -> Iterator[Row]:
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
    opening, _ = ids_before(local.format, role.messages(_before_tutor(dialogue)), role.sampling)
    if all(turn.tokens for turn in dialogue.by(TUTOR)) and _opening(dialogue) == opening:
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


def _unmet(record: Record, settings: Source) -> list[str]:
    """The conditions that a lesson does not meet, in words; a missing score is never good enough."""
    known = {name: score.value for name, score in record.scores.items() if score.value is not None}
    conditions = [(name, "=", wanted) for name, wanted in settings.keep.items()]
    conditions += [(name, ">=", wanted) for name, wanted in settings.least.items()]
    unmet = [] if record.dialogue.by(TUTOR) else ["a turn of the tutor"]
    for name, sign, wanted in conditions:
        if name not in known:
            unmet.append(f"{name} {sign} {wanted:g} (it is missing)")
        elif known[name] < wanted or (sign == "=" and known[name] != wanted):
            unmet.append(f"{name} {sign} {wanted:g}")
    return unmet
