"""`diotima train dpo`: direct preference optimisation on pairs of tutor turns.

After EULER (Bonino et al. 2024), by DPO as it stands in Rafailov et al. 2023: a pair is two possible next turns in one
context, and the tutor learns to say the one rather than the other. The history that both share is the prompt, so no
student's word is ever in the loss. EULER's settings are the defaults: sigmoid loss, beta 0.1, all weights trained,
four pairs a step, two epochs, 5e-5 falling along a cosine. Departures:

- Nothing is cut. There a length limit, silently applied, took the instructions off nearly every training prompt; here a
  pair that is too long is left out and counted, or refused.
- The tutor is trained on what it will read. There the chat template was missing in training; here the prompt has the
  very ids that the model reads, the reply those of its text and the end of the turn, and TRL tokenises nothing.
- Weights are loaded in the same precision for sampling, training and evaluation.
- The model remembers which judges chose its pairs (``judges.json``), so that a score by one of them can be told from
  another's opinion.
- The reference is a copy of the model in memory, or its log-probabilities computed beforehand
  (``trl.precompute_ref_log_probs``), which holds one model instead of two. Where an adapter is trained, it is the model
  with the adapter off; for a prefix that is trained on, a copy of the prefix.

    diotima train dpo --model tiny --pairs runs/pairs --out runs/dpo
"""

import copy
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from diotima.classroom.casting import LessonSettings, part_of
from diotima.classroom.judges import remember_judges
from diotima.classroom.roles import Sees
from diotima.corpus.pair_set import SUMMARY, Pair, read_pairs
from diotima.errors import RunError, SettingsError
from diotima.models.folders import model_folder
from diotima.processes import is_first
from diotima.runs.manifest import fingerprint, read_json
from diotima.runs.run import Run
from diotima.settings import did_you_mean
from diotima.training.adapters import AdapterSettings

if TYPE_CHECKING:
    from trl import DPOTrainer

    from diotima.models.local import LocalModel

Row = dict[str, list[int]]


class Settings(AdapterSettings):
    """From which pairs, and how, to learn."""

    obvious_input: ClassVar[str] = "pairs"

    out: Path
    """Folder of the run; the tuned model will be in model/ below it."""
    model: str = "tiny"
    """The model to tune: tiny, a folder or hf/NAME."""
    pairs: Path
    """The pairs: a folder that diotima pairs has written, or a .jsonl or .parquet file in TRL's conversational form."""
    long: Literal["drop", "refuse"] = "drop"
    """What becomes of pairs of which a turn with its prompt has more than trl.max_length tokens; none is ever cut."""
    nll: NonNegativeFloat = 0.0
    """Weight of the chosen turns' negative log-likelihood, a mean over tokens, added to the loss."""
    tutor_prompt: str | None = None
    """The prompt that the tuned model will play with; by default the one of the pairs, else the model's own."""
    tutor_sees: Sees | None = None
    """How much of the problem that prompt may contain: question, answer or solution; by default as there."""
    seed: int = 0
    """Seed of the order of pairs."""
    threads: PositiveInt | None = None
    """Processor threads; by default torch's own choice."""
    trl: dict[str, Any] = {}
    """Any fields of TRL's DPOConfig, by their own names."""


DEFAULTS: dict[str, Any] = {
    "beta": 0.1,
    "loss_type": ["sigmoid"],
    "learning_rate": 5e-5,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.05,
    "max_grad_norm": 0.3,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 4,
    "num_train_epochs": 2,
    "max_length": 4096,
    "save_steps": 100,
    "save_total_limit": 2,
    "logging_steps": 1,
    "report_to": [],
    "disable_tqdm": True,
}


def check(settings: Settings) -> Any:
    """TRL's configuration; a mistake in the settings is told by a SettingsError, before anything is loaded."""
    from trl import DPOConfig

    from diotima.training import adapters, setup

    own = {"output_dir": str(settings.out / "checkpoints"), "seed": settings.seed}
    own |= adapters.check(settings, settings.trl, "train dpo")
    args = setup.trl_config(DPOConfig, DEFAULTS | own, settings.trl, "train dpo")
    # TRL finds out about a misspelt loss in its first step only, and tells the names nowhere but in the field's help.
    losses = re.findall(r"'(\w+)'", DPOConfig.__dataclass_fields__["loss_type"].metadata["help"])
    for name in args.loss_type:
        if name not in losses:
            raise SettingsError(f"train dpo: trl.loss_type = {name} is no loss of TRL's; {did_you_mean(name, losses)}")
    if settings.nll:
        if "sft" in args.loss_type:
            raise SettingsError("train dpo: trl.loss_type has TRL's own term for nll already; give one of the two")
        args.loss_weights = [*(args.loss_weights or [1.0] * len(args.loss_type)), settings.nll]
        args.loss_type = [*args.loss_type, "sft"]
    return args


def run(settings: Settings) -> Path:
    """Train on the pairs; returns the folder of the tuned model."""
    from diotima.training import adapters, setup

    setup.prepare_process(settings.threads)
    args = check(settings)
    setup.refuse_lacking(args, "train dpo")
    folder = model_folder(settings.model)
    summary = summary_of(settings.pairs)
    part = part_of(folder, played_with(settings, summary))
    pairs = read_pairs(settings.pairs)
    local = adapters.load(folder, settings.model, settings)
    rows = preference_rows(pairs, local)
    kept = short_rows(rows, args.max_length, settings)
    recorded = {**settings.model_dump(mode="json", exclude={"out"}), "pairs_fingerprint": fingerprint({"rows": rows})}
    with Run.create(settings.out, stage="train dpo", settings=recorded, seed=settings.seed) as record:
        trainer = make_trainer(kept, local, args, settings)
        record.metric(0, "pairs", len(kept))
        record.metric(0, "pairs_too_long", len(rows) - len(kept))
        model = setup.train(trainer, f"train dpo on {len(kept):,} pairs", setup.steps(len(kept), args), record)
    tuned = setup.save_model(model, local.tokenizer, part, settings.out / "model")
    if is_first():
        remember_judges(tuned, [folder], _who_chose(settings.pairs, summary))
    return tuned


def _who_chose(pairs: Path, summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which judges chose the pairs, and by what; None for others' pairs, of which nothing is known."""
    if not summary.get("judges"):
        return None
    return {name: summary.get(name) for name in ("judges", "rubric", "rubric_fingerprint", "measure")} | {
        "pairs": str(pairs)
    }


def summary_of(pairs: Path) -> dict[str, Any]:
    """What ``diotima pairs`` wrote about a set: who judged, which prompt was read; of others' sets nothing is known."""
    path = pairs / SUMMARY
    return read_json(path) if path.is_file() else {}


def played_with(settings: Settings, summary: Mapping[str, Any]) -> LessonSettings:
    """The prompt with which the tuned model will play: as the settings say, else the one that its pairs begin with."""
    told = summary.get("prompt") or {}
    return LessonSettings(
        tutor_prompt=settings.tutor_prompt or told.get("name"), tutor_sees=settings.tutor_sees or told.get("sees")
    )


def preference_rows(pairs: Sequence[Pair], local: "LocalModel") -> list[Row]:
    """``prompt_ids``, ``chosen_ids`` and ``rejected_ids`` of each pair: what the tutor reads, and would sample."""
    return [
        {
            "prompt_ids": list(local.format.context(pair.prompt)),
            "chosen_ids": list(local.format.reply(pair.chosen)),
            "rejected_ids": list(local.format.reply(pair.rejected)),
        }
        for pair in pairs
    ]


def short_rows(rows: Sequence[Row], limit: int | None, settings: Settings) -> list[Row]:
    """The rows that fit into ``limit`` tokens with either turn; how many do not is told on standard error.

    Raises RunError if none does, or if one does not and ``settings.long`` is "refuse".
    """
    lengths = [_length(row) for row in rows]
    kept = [row for row, length in zip(rows, lengths, strict=True) if limit is None or length <= limit]
    if len(kept) == len(rows):
        return kept
    over = f"{settings.pairs}: {len(rows) - len(kept):,} of {len(rows):,} pairs have more than trl.max_length = {limit}"
    if not kept:
        raise RunError(f"{over} tokens, the shortest has {min(lengths):,}; raise trl.max_length")
    if settings.long == "refuse":
        raise RunError(f"{over} tokens, the longest has {max(lengths):,}; raise trl.max_length, or take long: drop")
    if is_first():
        print(f"{over} tokens and are left out; the longest has {max(lengths):,}", file=sys.stderr)
    return kept


def make_trainer(rows: Sequence[Row], local: "LocalModel", args: Any, settings: Settings) -> "DPOTrainer":
    """TRL's trainer on rows of ids, with the model as it is now for its reference."""
    from datasets import Dataset
    from trl import DPOTrainer

    from diotima.training import adapters, setup

    class PairTrainer(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
            return dataset  # TRL would tokenise; these are the ids already

    whole = settings.adapter == "none" and not args.precompute_ref_log_probs
    with setup.accepted("train dpo"):
        return PairTrainer(
            local.model,
            copy.deepcopy(local.model) if whole else None,
            args,
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=local.tokenizer,
            peft_config=adapters.new_adapter(settings, local, settings.seed),
        )


def _length(row: Row) -> int:
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
