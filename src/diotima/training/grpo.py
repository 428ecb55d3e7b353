"""`diotima train grpo`: multi-turn GRPO in the classroom, through TRL.

After PedagogicalRL (Dinucu-Jianu et al. 2025): the tutor teaches a frozen student, simulated or a model; judges read
the lesson, the student is examined after it, and the tutor is rewarded if the problem is solved and nobody rejects the
lesson (`training.assessment` has the settings, `scoring.rewards` the arithmetic). Departures: the loss mask comes from
sampling and not from scanning templates; a deterministic meter that knows the answer may reject, too; the reward may be
the sibling's; a lesson whose reward is not known is left out; groups whose rewards do not differ are masked out; one
processor will do.

    diotima train grpo --model tiny --problems problems --out runs/grpo --trl.max_steps 40
    diotima train grpo recipes/pedagogical-rl.yaml --out runs/pedagogical-rl
"""

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diotima.classroom.casting import Part, as_recorded, cast_fingerprints, cast_learner, cast_student, part_of
from diotima.classroom.judges import judge_names, remember_judges
from diotima.classroom.students import Student
from diotima.classroom.syllabus import problems_fingerprint, problems_for
from diotima.errors import SettingsError
from diotima.models.adapted import is_adapter
from diotima.models.calls import Calls
from diotima.models.folders import model_folder
from diotima.problems.problem import Problem
from diotima.processes import is_first
from diotima.runs.run import Run
from diotima.settings import did_you_mean
from diotima.training.adapters import AdapterSettings
from diotima.training.assessment import (
    Assessment,
    cast_assessment,
    judges_as_recorded,
    keep_rubrics,
    weights_of_terms,
)
from diotima.training.rollout import Rollouts, RolloutSettings
from diotima.training.step_log import Terms

if TYPE_CHECKING:
    from diotima.models.local import LocalModel
    from diotima.training.trainer import LessonTrainer


class Settings(RolloutSettings, AdapterSettings):
    """Whom to train, on what, and for what reward."""

    obvious_input: ClassVar[str] = "problems"

    out: Path
    """Folder of the run; the trained model will be in model/ below it."""
    model: str = "tiny"
    """The model to train: tiny, a folder or hf/NAME."""
    trl: dict[str, Any] = {}
    """Any fields of TRL's GRPOConfig, by their own names."""


DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-6,
    "lr_scheduler_type": "linear",
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 8,
    "num_generations": 8,
    "max_steps": 100,
    "temperature": 1.0,
    "beta": 0.0,
    "loss_type": "dapo",
    "scale_rewards": "group",
    "max_completion_length": 1024,
    "save_steps": 20,
    "save_total_limit": 2,
    "logging_steps": 1,
    "report_to": [],
    "disable_tqdm": True,
}


UNUSED = (
    *("top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs", "vllm_structured_outputs_regex"),
    *("chat_template_kwargs", "mask_truncated_completions", "max_tool_calling_iterations"),
)
"""Fields of TRL's about how *it* generates; the classroom does, from the whole distribution that the loss assumes."""
KINDS: dict[str, tuple[Any, ...]] = {
    "loss_type": ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "scale_rewards": ("group", "batch", "none"),
}
"""What TRL looks at in its first step only, after all of the step's lessons."""


_ALL_NONE = "All reward functions returned None"  # which is what a missing reward looks like to TRL, row by row
# Who has lost patience may have more and go on.
_NOT_RECORDED = {"out", "patience", "keep_every", "keep_lessons"}


def check(settings: Settings) -> Any:
    """TRL's configuration; a mistake in the settings is told by a SettingsError, before anything is loaded."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl import GRPOConfig

    from diotima.training import adapters, rollout_modes, setup

    for key in UNUSED:
        if key in settings.trl:
            raise SettingsError(f"train grpo: trl.{key} has no effect on lessons; leave it out")
    if "reward_weights" in settings.trl:
        raise SettingsError(
            "train grpo: trl.reward_weights would weigh the reward's terms, which have weights here already, a second "
            "time; leave it out, and change penalty, form, thought, end, length or graded_by"
        )
    weights_of_terms(settings)
    if settings.credit == "turn":
        cast_learner(settings)
        for name in ("shuffle_rewards", "judge", "thought"):
            if getattr(settings, name):
                raise SettingsError(f"train grpo: {name} does nothing where credit = turn; take credit = lesson")
    own = {"output_dir": str(settings.out / "checkpoints"), "seed": settings.seed}
    own |= adapters.check(settings, settings.trl, "train grpo")
    own |= rollout_modes.check(settings.rollouts, settings.adapter, settings.trl)
    args = setup.trl_config(GRPOConfig, DEFAULTS | own, settings.trl, "train grpo")
    if not args.temperature > 0:
        raise SettingsError(f"train grpo: trl.temperature = {args.temperature:g} must be greater than 0")
    for key, kinds in KINDS.items():
        if (kind := getattr(args, key)) not in kinds:
            raise SettingsError(f"train grpo: trl.{key} = {kind}: {did_you_mean(str(kind), kinds)}")
    lessons, step = args.steps_per_generation * args.num_iterations, args.gradient_accumulation_steps
    several = math.lcm(lessons, step) // step
    if several > 1 and args.save_strategy == "steps" and args.save_steps % several:
        raise SettingsError(
            f"train grpo: the same lessons serve {several} steps, and what is left of them is in no checkpoint; make "
            f"trl.save_steps = {args.save_steps:g} a multiple of {several}"
        )
    return args


def run(settings: Settings) -> Path:
    """Train; returns the folder of the trained model."""
    from diotima.training import setup

    prepared = prepare(settings)
    recorded = {
        **as_recorded(settings, settings.model_dump(mode="json", exclude=_NOT_RECORDED)),
        "problems_fingerprint": problems_fingerprint(prepared.problems),
        **cast_fingerprints(settings, settings.model, calls=prepared.calls),
        **judges_as_recorded(settings, prepared.assessment.panels, prepared.calls),
    }
    with Run.create(settings.out, stage="train grpo", settings=recorded, seed=settings.seed) as record:
        trainer = make_trainer(settings, prepared, record)
        prepared.calls.keep_books_in(record)
        keep_rubrics(record, prepared.assessment.panels)
        model = setup.train(trainer, "train grpo", _steps(prepared), record)
    tuned = setup.save_model(model, prepared.local.tokenizer, prepared.part, settings.out / "model")
    if is_first():
        chose = {"judges": list(judge_names(settings))} if settings.judge else None
        remember_judges(tuned, [model_folder(settings.model)], chose)
    return tuned


def _steps(prepared: "Prepared") -> int:
    """How many optimizer steps the training takes: each generation of lessons serves all its iterations."""
    args = prepared.args
    if args.max_steps > 0:
        return int(args.max_steps)
    generations = len(prepared.problems) // (args.generation_batch_size // args.num_generations)
    batches = generations * args.steps_per_generation * args.num_iterations
    a_epoch: int = math.ceil(batches / args.gradient_accumulation_steps)
    return math.ceil(a_epoch * float(args.num_train_epochs))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is loaded and checked before a run begins."""

    args: Any
    local: "LocalModel"
    part: Part
    student: Student
    assessment: Assessment
    calls: Calls
    problems: list[Problem]


def prepare(settings: Settings) -> Prepared:
    """Load model and problems, and check TRL's settings; a mistake is told before anything is written."""
    from diotima.training import adapters, rollout_modes, setup

    setup.prepare_process(settings.threads)
    args = check(settings)
    setup.refuse_lacking(args, "train grpo")
    rollout_modes.refuse_unready(settings.rollouts, args)
    folder = model_folder(settings.model)
    if args.beta and settings.adapter == "none" and is_adapter(folder):
        raise SettingsError(
            f"train grpo: with trl.beta the reference is loaded from the model's folder, and {settings.model} holds an "
            "adapter only; merge it into its base first, or train another beside it (adapter: lora)"
        )
    calls = Calls(settings)
    student = cast_student(settings, calls)
    problems = problems_for(student, settings, with_sibling=settings.solved == "sibling")
    together = args.generation_batch_size // args.num_generations
    if len(problems) < together:
        raise SettingsError(
            f"train grpo: {settings.problems} holds {len(problems)} problems that can be used, and every step takes "
            f"{together}; give more, or lower trl.per_device_train_batch_size or trl.gradient_accumulation_steps"
        )
    assessment = cast_assessment(settings, student, calls)
    local = adapters.load(folder, settings.model, settings)
    return Prepared(args, local, part_of(folder, settings), student, assessment, calls, problems)


def make_trainer(settings: Settings, prepared: Prepared, record: Run) -> "LessonTrainer":
    """TRL's trainer with our classroom as its rollouts, and every term of the reward as a function of its own."""
    from datasets import Dataset

    from diotima.training import adapters, rollout_modes, setup
    from diotima.training.trainer import LessonTrainer

    student, assessment = prepared.student, prepared.assessment
    rollouts = Rollouts(prepared.problems, settings, prepared.part, student, assessment, record, prepared.calls)
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(lambda said: _ALL_NONE not in said.getMessage())
    with setup.accepted("train grpo"):
        trainer = LessonTrainer(
            model=prepared.local.model,
            reward_funcs=[_term(name) for name in assessment.weights.terms],
            args=prepared.args,
            train_dataset=Dataset.from_list(rollouts.prompts()),
            processing_class=prepared.local.tokenizer,
            rollout_func=rollouts,
            peft_config=adapters.new_adapter(settings, prepared.local, settings.seed),
        )
    if settings.rollouts != "process":
        rollout_modes.keep_base(trainer.vllm_generation)
    return trainer


def _term(name: str) -> Callable[..., list[float | None]]:
    """One term of the reward as a reward function of TRL's, so that each is logged by itself."""

    def reward(terms: list[Terms], **_: Any) -> list[float | None]:
        return [None if term is None else term[name] for term in terms]

    reward.__name__ = name
    return reward
