"""`diotima train plan`: whether a training will fit, before anything is rented or downloaded.

    diotima train plan recipes/pedagogical-rl.yaml --gpus 4
    diotima train plan --method grpo --model hf/Qwen/Qwen2.5-7B-Instruct --set adapter=lora

Reads a recipe, which may be that of one training or hold several stages, or the flags alone; of the model its
``config.json`` and nothing else. The arithmetic, with its sources, is in `training.plan`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveInt

from diotima.errors import ModelError, SettingsError
from diotima.models.services import is_elsewhere
from diotima.problems.list_command import table
from diotima.settings import Settings as BaseSettings
from diotima.settings import load_settings, parse_override, read_yaml, set_key
from diotima.training.adapters import AdapterSettings
from diotima.training.plan import CARDS, Engine, Memory, Shape, Sharding, Work, flops, memory, shape_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Method = Literal["sft", "dpo", "grpo"]
TOLD_BY: dict[Method, set[str]] = {"grpo": {"problems"}, "dpo": {"pairs"}, "sft": {"lessons", "records", "mix"}}
"""Which settings tell that a recipe is that of a method."""
PROMPT_TOKENS = 600
"""What a tutor's prompt with its problem is taken to have, where nobody says how long a row is."""
PEAKS = {"A100": 312e12, "H100": 989e12}
"""Dense bfloat16 operations a second, from the makers' data sheets."""
UTILISATION = 0.35
"""The share of them that trainings of this kind reach, as a rule of thumb."""
_NAMES: dict[Sharding, str] = {
    "one": "one GPU",
    "ddp": "DDP",
    "zero2": "ZeRO-2",
    "zero3": "ZeRO-3",
    "fsdp2": "FSDP2",
}
_WHOLE: tuple[Sharding, ...] = ("ddp", "zero2")
_IN_PARTS: tuple[Sharding, ...] = ("zero3", "fsdp2")
"""Ways in which no process has all of the tutor's weights, so it cannot hold lessons with them."""
_CONFIGS: dict[Method, str] = {"sft": "SFTConfig", "dpo": "DPOConfig", "grpo": "GRPOConfig"}
_VLLM_SHARE = 0.3  # TRL's default for vllm_gpu_memory_utilization


class Settings(BaseSettings):
    """Which training, and on how many GPUs."""

    recipe: Path | None = None
    """A recipe: the settings of one training, or several stages of which those that train are planned."""
    method: Method | None = None
    """How to train: sft, dpo or grpo; by default as the recipe's own settings tell."""
    model: str | None = None
    """The model, instead of the recipe's: tiny, a folder with a config.json or hf/NAME."""
    set: tuple[str, ...] = ()
    """Changes to single settings of the training, as key=value, or of one of several stages, as stage.key=value."""
    gpus: PositiveInt = 1
    """How many GPUs train together."""
    tokens: PositiveInt | None = None
    """The longest row, in tokens; by default trl.max_length, for GRPO what the limits of a lesson allow."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a recipe: what it is called, by which method, and with which settings."""

    name: str
    method: Method
    settings: Any
    trl: Mapping[str, Any]

    @property
    def adapter(self) -> AdapterSettings:
        """Which weights are trained; all, where a method does not ask."""
        return self.settings if isinstance(self.settings, AdapterSettings) else AdapterSettings()

    @property
    def rollouts(self) -> str:
        """Where the tutor speaks while it is trained; nowhere in SFT and DPO."""
        return self.settings.rollouts if self.method == "grpo" else ""


def run(settings: Settings) -> dict[str, Any]:
    """Print what each training takes; returns the same in bytes."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    plans = []
    for training in trainings(settings):
        shape = shape_of(config_of(training.settings.model), training.adapter)
        work = work_of(training, settings.tokens)
        shardings: tuple[Sharding, ...] = _WHOLE if training.rollouts == "process" else _WHOLE + _IN_PARTS
        shardings = ("one",) if settings.gpus == 1 else shardings
        needed = {sharding: memory(shape, work, sharding, settings.gpus) for sharding in shardings}
        console.print(_heading(training, shape, work))
        console.print(_table(needed, settings.gpus, work))
        console.print(_notes(training, shape, work, settings.gpus))
        plans.append(
            {
                "name": training.name,
                "method": training.method,
                "model": training.settings.model,
                "shape": asdict(shape),
                "work": asdict(work),
                "flops": flops(shape, work) * settings.gpus,
                "bytes": {name: asdict(one) | {"peak": one.peak} for name, one in needed.items()},
                "fits": {name: _fitting(one, work) for name, one in needed.items()},
            }
        )
    return {"gpus": settings.gpus, "trainings": plans}


def trainings(settings: Settings) -> list[Training]:
    """The trainings of a recipe, or that of the flags. Raises SettingsError if there is none."""
    values = {} if settings.recipe is None else read_yaml(settings.recipe)
    where = str(settings.recipe or "the command line")
    stages = _stages(values, where)
    if stages is None:
        told = settings.method or next((known for known, keys in TOLD_BY.items() if keys & values.keys()), None)
        if told is None:
            raise SettingsError(f"{where}: which training this is has to be said: --method sft, dpo or grpo")
        return [_training(f"train {told}", told, values, settings.set, settings.model, where)]
    found, models = [], dict[str, str]()
    for stage in stages:
        name, inputs = str(stage.get("name", "")), stage.get("from") or {}
        method = next((known for known in TOLD_BY if stage.get("run") == f"train {known}"), None)
        if method is None:
            continue
        own = {key: value for key, value in stage.items() if key not in ("name", "run", "from")}
        if isinstance(inputs, dict) and inputs.get("model") in models:  # one that an earlier stage makes
            own["model"] = models[inputs["model"]]
        changes = _changes(settings.set, name, [str(other.get("name", "")) for other in stages])
        training = _training(f"stage {name or method}", method, own, changes, settings.model, where)
        models[name] = training.settings.model
        found.append(training)
    if not found:
        raise SettingsError(f"{where}: none of its stages trains")
    return found


def config_of(name: str) -> "PretrainedConfig":
    """A model's configuration, without its weights. Raises ModelError if there is none."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers import AutoConfig

    from diotima.models.adapted import base_of, is_adapter
    from diotima.models.folders import TINY

    folder = TINY if name == "tiny" else Path(name.removeprefix("hf/")).expanduser()
    if is_adapter(folder):
        folder = base_of(folder, name)
    if not folder.is_dir() and not name.startswith("hf/"):
        raise ModelError(f"{name!r} has no configuration here; use tiny, a folder with a config.json or hf/NAME")
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(folder if folder.is_dir() else name.removeprefix("hf/"))
    except Exception as error:  # transformers, the hub and json each raise their own
        raise ModelError(
            f"{name}: no config.json could be had, neither from a folder of that name nor from the Hugging Face hub "
            f"({' '.join(str(error).split())[:200]})"
        ) from None
    return config


def work_of(training: Training, tokens: int | None = None) -> Work:
    """What goes through the model at once; ``tokens`` of the longest row if that is known."""
    chosen, trl = training.settings, training.trl
    rows, accumulation = trl["per_device_train_batch_size"], trl.get("gradient_accumulation_steps", 1)
    adapter = training.adapter.adapter
    alone = adapter == "none"  # else the reference is the model without its adapter
    optimizer = trl.get("optim", "adamw_torch")
    work = Work(
        adapter,
        str(getattr(optimizer, "value", optimizer)),
        rows,
        tokens or trl.get("max_length") or _lesson_tokens(chosen),
        accumulation,
        bool(trl.get("gradient_checkpointing", adapter != "prefix")),
    )
    if training.method == "dpo":
        return replace(work, rows=2 * rows, reference=alone and not trl.get("precompute_ref_log_probs"))
    if training.method == "sft":
        return work
    work = replace(work, reference=alone and bool(trl.get("beta")), others=_student(chosen))
    if training.rollouts == "process":
        return replace(work, lessons=rows * (trl.get("steps_per_generation") or accumulation))
    if training.rollouts == "server":
        return work
    share, longest = trl.get("vllm_gpu_memory_utilization", _VLLM_SHARE), trl.get("vllm_max_model_length")
    return replace(work, engine=Engine(share, trl.get("vllm_enable_sleep_mode", True), longest))


def _stages(values: Mapping[str, Any], where: str) -> list[dict[str, Any]] | None:
    """The stages that a file holds; None if it is the recipe of one training."""
    if "stages" not in values:
        return None
    stages = values["stages"]
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise SettingsError(f"{where}: stages must be a list of stages, each with name, run and its settings")
    return stages


def _changes(changes: Sequence[str], stage: str, stages: Sequence[str]) -> list[str]:
    """Which changes are a stage's, without its name; one that names no stage is for all."""
    own = []
    for change in changes:
        name, _, rest = change.partition(".")
        if name not in stages:
            own.append(change)
        elif name == stage:
            own.append(rest)
    return own


def _training(
    name: str, method: Method, values: dict[str, Any], changes: Sequence[str], model: str | None, where: str
) -> Training:
    """One training from what a file says, changed."""
    import trl

    from diotima.training.setup import trl_fields

    module = import_module(f"diotima.training.{method}")
    for change in changes:
        key, value = parse_override(change)
        set_key(values, key, value, f"--set {change}")
    if model is not None:
        values["model"] = model
    for key, field in module.Settings.model_fields.items():
        if field.is_required():
            values.setdefault(key, ".")  # out, and what to learn from: of no account here
    chosen = load_settings(module.Settings, None, values, f"{where}, {name}")
    fields = trl_fields(getattr(trl, _CONFIGS[method]), chosen.trl, f"{where}, {name}")
    return Training(name, method, chosen, {**module.DEFAULTS, **fields})


def _lesson_tokens(settings: Any) -> int:
    """How long a lesson can be, by its limits. Raises SettingsError for rows that have none."""
    if not hasattr(settings, "tutor_turns"):
        raise SettingsError("trl.max_length = null: how long the longest row is has to be said: --tokens 2000")
    turns = settings.tutor_turns * (settings.tutor_max_tokens + settings.student_max_tokens)
    return int(settings.most_tokens or PROMPT_TOKENS + turns)


def _student(settings: Any) -> float:
    """Bytes of a student whose model is in the same process."""
    name = settings.student
    if name == "learner" or name.startswith("scripted/") or ":" in name or is_elsewhere(name, settings.endpoints):
        return 0.0
    shape = shape_of(config_of(name), AdapterSettings())
    return float(shape.parameters * shape.saved)


def _heading(training: Training, shape: Shape, work: Work) -> str:
    checkpointing = "with" if work.checkpointing else "without"
    lessons = {
        "process": f", {work.lessons:,} lessons held at once",
        "colocate": ", lessons held by a vLLM beside it",
        "server": ", lessons held by a vLLM elsewhere",
    }.get(training.rollouts, "")
    return (
        f"{training.name} of {training.settings.model}: {shape.parameters / 1e9:,.3f} billion weights, "
        f"{shape.trained / 1e6:,.1f} million of them or beside them are trained ({work.adapter})\n"
        f"  on each GPU at once {work.rows:,} x {work.tokens:,} tokens at most, {work.accumulation:,} times a step"
        f"{lessons}; {work.optimizer}, {checkpointing} checkpointing"
    )


def _table(needed: Mapping[Sharding, Memory], gpus: int, work: Work) -> Any:
    unit, bytes_each = ("GB", 1e9) if max(one.peak for one in needed.values()) > 1e9 else ("MB", 1e6)
    rows = table(f"{unit} on each of {gpus} GPUs" if gpus > 1 else unit, *(_NAMES[name] for name in needed))
    for column in rows.columns[1:]:
        column.justify = "right"
    for part, name in (
        ("weights", "weights"),
        ("copies", "working copies"),
        ("optimizer", "optimizer"),
        ("reference", "reference model"),
        ("others", "student"),
        ("gradients", "gradients"),
        ("activations", "activations"),
        ("caches", "caches of lessons *"),
        ("engine", "vLLM at the least *"),
    ):
        if any(getattr(one, part) for one in needed.values()):
            rows.add_row(name, *(f"{getattr(one, part) / bytes_each:,.2f}" for one in needed.values()))
    rows.add_row("at the peak", *(f"{one.peak / bytes_each:,.2f}" for one in needed.values()))
    rows.add_row("fits on", *(_smallest(one, work) for one in needed.values()))
    return rows


def _fitting(needed: Memory, work: Work) -> list[int]:
    return [card for card in CARDS if needed.fits(card, work.engine.share if work.engine else 0.0)]


def _smallest(needed: Memory, work: Work) -> str:
    cards = _fitting(needed, work)
    return f"{cards[0]} GB" if cards else "none of these"


def _notes(training: Training, shape: Shape, work: Work, gpus: int) -> str:
    each = flops(shape, work)
    times = {name: each / (UTILISATION * peak) for name, peak in PEAKS.items()}
    seconds = ", ".join(f"{time:,.{0 if time > 10 else 2}f} s on an {name}" for name, time in times.items())
    rollouts = "; holding the lessons comes on top" if training.rollouts else ""
    return (
        f"{_when(work)}A step is {each * gpus / 1e15:,.3g} PFLOP, about {seconds} if {UTILISATION:.0%} of the maker's "
        f"figure is reached{rollouts}. All of this is estimated; the weights trained are counted.\n"
    )


def _when(work: Work) -> str:
    """What the asterisk says."""
    if work.engine is None:
        return "* when there are no gradients and activations\n" if work.lessons else ""
    when = "when there are no gradients and activations" if work.engine.sleeps else "always"
    return (
        f"* {when}; the least is its weights and the cache of one row, and it takes {work.engine.share:.0%} of the GPU "
        "(trl.vllm_gpu_memory_utilization), with which it has to fit\n"
    )
