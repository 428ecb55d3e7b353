"""What SFT, DPO and GRPO share: TRL's settings from ours, checkpoints that can be trusted, metrics, saving.

Keys under ``trl:`` are TRL's own, any of them; a misspelt one is refused before anything is loaded. A checkpoint counts
only once a file named ``complete`` stands in it, which is written last: a run killed inside a checkpoint goes on from
the one before.
"""

import atexit
import dataclasses
import gc
import logging
import math
import shutil
import typing
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from diotima.classroom.casting import Part, remember_part
from diotima.errors import RunError, SettingsError, TrainingError
from diotima.models.adapted import save_adapter
from diotima.processes import count, is_first
from diotima.progress import Progress
from diotima.runs.durable import PART, sync, sync_folder
from diotima.runs.run import Run
from diotima.settings import did_you_mean
from diotima.training.stopping import COMPLETE, last_step_kept, refuse_bad_gradient

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback

_OURS = {
    "output_dir": "checkpoints lie in the run's folder, out",
    "resume_from_checkpoint": "the same command goes on from the last whole checkpoint by itself",
}
"""Fields of TRL's that are decided here, and how."""

_COUNTS = (
    "per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "generation_batch_size",
    "num_generations", "num_iterations", "max_length", "vllm_max_model_length",
)  # fmt: skip
"""Fields of TRL's that count something; none of it makes no sense, and TRL finds out late or never."""

LEFT_OUT = 50
"""Steps in a row without a gradient after which fp16's scale, which halves each time, is no excuse any more."""


def trl_config(cls: type, defaults: Mapping[str, Any], chosen: Mapping[str, Any], where: str) -> Any:
    """A TRL configuration: ``chosen`` over ``defaults``, and both over what the machine asks for.

    Raises SettingsError for a key that TRL does not know and a value of the wrong kind.
    """
    # TRL sets the field by its old name, and transformers says so at every start.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*is deprecated", category=FutureWarning)
    typed = trl_fields(cls, chosen, where)
    with accepted(where):
        args = cls(**{**_hardware(), **defaults, **typed})
    if not 0 <= args.learning_rate < math.inf:
        raise SettingsError(f"{where}: trl.learning_rate = {args.learning_rate:g} must be a number of at least 0")
    return args


def trl_fields(cls: type, chosen: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fields of a TRL configuration as values of their kinds. Raises SettingsError, see `trl_config`."""
    known = [field.name for field in dataclasses.fields(cls)]
    kinds = typing.get_type_hints(cls)
    typed = {}
    for key, value in chosen.items():
        if key not in known:
            raise SettingsError(
                f"{where}: trl.{key} is not a field of TRL's {cls.__name__}; {did_you_mean(key, known)}"
            )
        if key in _OURS:
            raise SettingsError(f"{where}: trl.{key} does nothing here: {_OURS[key]}; leave it out")
        if isinstance(value, str) and typing.get_origin(kinds[key]) is list:
            value = [value]  # as TRL itself reads one loss
        try:
            typed[key] = pydantic.TypeAdapter(kinds[key]).validate_python(value)
        except pydantic.ValidationError as error:
            raise SettingsError(f"{where}: trl.{key} = {value!r}: {error.errors()[0]['msg']}") from None
    for key in _COUNTS:
        if (number := typed.get(key)) is not None and number < 1:
            raise SettingsError(f"{where}: trl.{key} must be at least 1")
    if not 0 < typed.get("vllm_gpu_memory_utilization", 1.0) <= 1:
        raise SettingsError(f"{where}: trl.vllm_gpu_memory_utilization is a share of the GPU: above 0, and 1 at most")
    if typed.get("save_total_limit") == 1:
        raise SettingsError(
            f"{where}: trl.save_total_limit = 1 would take the old checkpoint away before the new one is whole, and a "
            "kill between the two would lose the training; make it at least 2"
        )
    return typed


def refuse_lacking(args: Any, where: str) -> None:
    """Raise SettingsError if the optimizer, or whoever gets reports, needs a package that is not here.

    Transformers notices when it trains already. A configuration alone asks for none: it may be for another machine.
    """
    from transformers import Trainer
    from transformers.integrations.integration_utils import get_available_reporting_integrations

    # The others ask for a model's layers before they can be looked for.
    if not any(kind in args.optim for kind in ("galore", "apollo", "lomo")):
        with accepted(where):
            Trainer.get_optimizer_cls_and_kwargs(args)
    here = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    for name in args.report_to:
        if name not in (*here, "azure_ml", "flyte"):  # these two are in its list at times or never
            raise SettingsError(f"{where}: trl.report_to = {name} is not installed here; leave it out, or install it")


@contextmanager
def accepted(where: str) -> Iterator[None]:
    """Tell what TRL has against the settings in one sentence of SettingsError."""
    try:
        yield
    except (ValueError, TypeError, ImportError) as error:
        raise SettingsError(f"{where}: TRL does not accept these settings ({' '.join(str(error).split())})") from None


def _hardware() -> dict[str, Any]:
    """TRL's fields that depend on the machine."""
    import torch

    if torch.cuda.is_available():
        return {"bf16": True}
    return {"bf16": False, "use_cpu": True, "gradient_checkpointing": False, "dataloader_pin_memory": False}


def prepare_process(threads: int | None) -> None:
    """Let torch use so many processor threads (None: its own choice), and keep others' progress bars off the screen."""
    import datasets
    import torch

    datasets.disable_progress_bars()
    if threads is not None:
        torch.set_num_threads(threads)


def steps(rows: int, args: Any) -> int:
    """How many optimizer steps a training on so many rows takes."""
    if args.max_steps > 0:
        return int(args.max_steps)
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    return int(-(-rows // per_step) * args.num_train_epochs)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; removes newer ones that a kill has left unfinished."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in folder.glob("checkpoint-*")}
    numbered = [path for path, step in steps.items() if step.isdecimal()]  # a person's copy is none of ours
    for path in sorted(numbered, key=lambda path: int(steps[path]), reverse=True):
        if (path / COMPLETE).is_file():
            return path
        shutil.rmtree(path)
    return None


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training leaves: the model, and its ``weights`` where each process has held only a part of them."""

    model: "PreTrainedModel"
    weights: dict[str, "torch.Tensor"] | None = None


def train(trainer: "Trainer", title: str, steps: int, record: Run) -> Trained:
    """Train to the end, from the last complete checkpoint if there is one; returns the trained model."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    checkpoints = Path(str(trainer.args.output_dir))
    # With tied weights there is no lm_head to miss; transformers misses it all the same at every resume.
    noise = "missing keys in the checkpoint model loaded: ['lm_head.weight']"
    logging.getLogger("transformers.trainer").addFilter(lambda message: noise not in message.getMessage())
    with trainer.args.main_process_first(local=False):  # the first removes what is not whole
        checkpoint = last_checkpoint(checkpoints)
    with Progress(title, steps) as progress, _explained(checkpoints):
        trainer.add_callback(_recorder(record, progress))
        with last_step_kept(trainer):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    record.finish()
    model = trainer.accelerator.unwrap_model(trainer.model)
    return Trained(model, trainer.accelerator.get_state_dict(trainer.model_wrapped) if in_parts(model) else None)


def in_parts(model: "torch.nn.Module") -> bool:
    """Whether no process holds all of the model's weights, as with FSDP2 and DeepSpeed's ZeRO-3."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(weight, DTensor) or hasattr(weight, "ds_id") for weight in model.parameters())


def _recorder(record: Run, progress: Progress) -> "TrainerCallback":
    """Progress for people, metrics for the run, and the mark of a complete checkpoint."""
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        left_out = 0  # steps in a row

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.resume(state.global_step)

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            try:
                refuse_bad_gradient(others["model"], state.global_step)
                self.left_out = 0
            except TrainingError:
                self.left_out += 1
                # In fp16 gradients are too large at first, and such steps are left out while their scale is lowered.
                if not args.fp16 or self.left_out > LEFT_OUT:
                    raise

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.advance()

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
            for name, value in (logs or {}).items() if is_first() else ():
                if isinstance(value, int | float) and not name.startswith(("train_", "total_")) and value == value:
                    record.metric(state.global_step, name, float(value))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            record.flush()
            args.distributed_state.wait_for_everyone()  # each has written its part
            if is_first():
                mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    return Recorder()


def mark_complete(checkpoint: Path) -> None:
    """Everything in the checkpoint is on disk; only then say that it is whole."""
    sync_folder(checkpoint)
    (checkpoint / COMPLETE).touch()


def save_model(trained: Trained, tokenizer: "PreTrainedTokenizerBase", part: Part, folder: Path) -> Path:
    """Save model, tokenizer and the tutor's part, whole or not at all. Raises RunError if the disk does not take it.

    Of several processes only the first writes; the others return when it is done.
    """
    from accelerate import PartialState

    unfinished = folder.with_name(folder.name + PART)
    # Put together from parts, tied weights are no longer seen to be the same, and would be written twice.
    tied = getattr(trained.model, "all_tied_weights_keys", {})
    weights = trained.weights and {name: weight for name, weight in trained.weights.items() if name not in tied}
    if is_first():
        with _explained(folder):
            shutil.rmtree(unfinished, ignore_errors=True)
            if hasattr(trained.model, "peft_config"):
                save_adapter(trained.model, unfinished, weights)
            else:
                trained.model.save_pretrained(unfinished, state_dict=weights)
            tokenizer.save_pretrained(unfinished)
            remember_part(unfinished, part)
            sync_folder(unfinished)
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.rename(folder)
            sync(folder.parent)
    PartialState().wait_for_everyone()
    if count() > 1:
        atexit.register(_leave)
    return folder


def _leave() -> None:
    """Part from the other processes in good order: threads of a group that is still held on to abort the process."""
    from accelerate import PartialState

    gc.collect()  # trainers are circles
    PartialState().destroy_process_group()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what torch, safetensors and the operating system say about a disk into one sentence of RunError.

    And what torch says about a GPU's memory into one of TrainingError.
    """
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except torch.OutOfMemoryError as error:
        said = str(error).partition(". ")[0]
        raise TrainingError(
            f"the GPU's memory is full ({said}), so training stops; the last regular checkpoint is kept. Give a new "
            "run a smaller trl.per_device_train_batch_size (and a larger trl.gradient_accumulation_steps), adapter: "
            "lora or trl.gradient_checkpointing: true; diotima train plan says what fits"
        ) from None
    except (OSError, RuntimeError, SafetensorError) as error:
        # Torch tells of a full disk by this name of a source file of its own, and nothing else.
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise
        if isinstance(error, ConnectionError | TimeoutError):  # an OSError, too
            raise
        reason = "the disk does not take it" if isinstance(error, RuntimeError) else error
        raise RunError(
            f"{folder} cannot be written ({reason}); make room and give the same command again: "
            "it goes on from the last whole checkpoint"
        ) from None
