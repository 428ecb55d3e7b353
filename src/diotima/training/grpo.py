"""`diotima train grpo`: multi-turn GRPO in the classroom, through TRL.

After PedagogicalRL (Dinucu-Jianu et al. 2025): the tutor teaches a simulated student, the student is examined after
the lesson, and the tutor is rewarded if it can solve the problem and the answer was not given away. Departures: the
loss mask comes from sampling and not from scanning templates; the leak is measured by a deterministic meter that knows
the answer; the reward may be the sibling's; groups whose rewards do not differ are masked out; one processor will do.

    diotima train grpo --model tiny --problems problems --out runs/grpo --trl.max_steps 40
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveInt

from diotima.classroom.casting import Part, as_recorded, cast_fingerprints, cast_learner, cast_student, part_of
from diotima.classroom.students import Student
from diotima.classroom.syllabus import SyllabusSettings, problems_fingerprint, problems_for
from diotima.errors import SettingsError
from diotima.models.calls import Calls
from diotima.models.opening import model_folder
from diotima.problems.problem import Problem
from diotima.runs.run import Run
from diotima.scoring.rewards import TERMS, RewardWeights
from diotima.training.rollout import Rollouts, Terms

if TYPE_CHECKING:
    from diotima.models.local import LocalModel
    from diotima.training.trainer import LessonTrainer


class Settings(SyllabusSettings):
    """Whom to train, on what, and for what reward."""

    obvious_input: ClassVar[str] = "problems"

    out: Path
    """Folder of the run; the trained model will be in model/ below it."""
    model: str = "tiny"
    """The model to train: tiny, a folder or hf/NAME."""
    attempts: PositiveInt = 16
    """Attempts at the exam after each lesson."""
    penalty: float = 1.0
    """Lambda: what a lesson loses if the answer was given away."""
    hard: bool = False
    """A lesson that gave the answer away gets nothing for being solved."""
    solved: Literal["same", "sibling"] = "same"
    """On which problem the student is examined for the reward: the same, or its sibling."""
    form: float = 0.5
    """What a lesson loses if all its tutor turns are malformed; in proportion if some are."""
    end: float = 0.0
    """What a lesson gains if the tutor ends it."""
    length: float = 0.0
    """What a lesson loses if a tutor turn runs into its limit."""
    credit: Literal["lesson", "turn"] = "lesson"
    """What an advantage belongs to: the whole lesson, or each turn by what the simulated learner could learn from it.
    By turn, of the terms of the reward only penalty and form count."""
    shuffle_rewards: bool = False
    """A control: hand every lesson another one's reward."""
    seed: int = 0
    """Seed of the lessons and of the order of problems."""
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


UNUSED = ("top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs", "use_vllm")
"""Fields of TRL's about how *it* generates; the classroom does, from the whole distribution that the loss assumes."""


def check(settings: Settings) -> Any:
    """TRL's configuration; a mistake in the settings is told by a SettingsError, before anything is loaded."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl import GRPOConfig

    from diotima.training import setup

    for key in UNUSED:
        if key in settings.trl:
            raise SettingsError(f"train grpo: trl.{key} has no effect on lessons; leave it out")
    if settings.credit == "turn":
        cast_learner(settings)
    if settings.credit == "turn" and settings.shuffle_rewards:
        raise SettingsError("train grpo: shuffle_rewards does nothing where credit = turn; take credit = lesson")
    own = {"output_dir": str(settings.out / "checkpoints"), "seed": settings.seed}
    return setup.trl_config(GRPOConfig, DEFAULTS | own, settings.trl, "train grpo")


def run(settings: Settings) -> Path:
    """Train; returns the folder of the trained model."""
    from diotima.training import setup

    prepared = prepare(settings)
    recorded = {
        **as_recorded(settings, settings.model_dump(mode="json", exclude={"out"})),
        "problems_fingerprint": problems_fingerprint(prepared.problems),
        **cast_fingerprints(settings, settings.model, calls=prepared.calls),
    }
    with Run.create(settings.out, stage="train grpo", settings=recorded, seed=settings.seed) as record:
        prepared.calls.keep_books_in(record)
        trainer = make_trainer(settings, prepared, record)
        model = setup.train(trainer, "train grpo", trainer.args.max_steps, record)
    return setup.save_model(model, prepared.local.tokenizer, prepared.part, settings.out / "model")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is loaded and checked before a run begins."""

    args: Any
    local: "LocalModel"
    part: Part
    student: Student
    calls: Calls
    problems: list[Problem]


def prepare(settings: Settings) -> Prepared:
    """Load model and problems, and check TRL's settings; a mistake is told before anything is written."""
    from diotima.models.local import load_local
    from diotima.training import setup

    setup.prepare_process(settings.threads)
    args = check(settings)
    folder = model_folder(settings.model)
    calls = Calls(settings)
    student = cast_student(settings, calls)
    problems = problems_for(student, settings, with_sibling=settings.solved == "sibling")
    together = args.generation_batch_size // args.num_generations
    if len(problems) < together:
        raise SettingsError(
            f"train grpo: {settings.problems} holds {len(problems)} problems that can be used, and every step takes "
            f"{together}; give more, or lower trl.per_device_train_batch_size or trl.gradient_accumulation_steps"
        )
    return Prepared(args, load_local(folder, settings.model), part_of(folder, settings), student, calls, problems)


def make_trainer(settings: Settings, prepared: Prepared, record: Run) -> "LessonTrainer":
    """TRL's trainer with our classroom as its rollouts, and every term of the reward as a function of its own."""
    from datasets import Dataset

    from diotima.training import setup
    from diotima.training.trainer import LessonTrainer

    weights = RewardWeights(
        settings.penalty, settings.hard, settings.solved, settings.form, settings.end, settings.length
    )
    rollouts = Rollouts(
        prepared.problems,
        settings,
        prepared.part,
        prepared.student,
        weights,
        record,
        settings.seed,
        settings.attempts,
        settings.shuffle_rewards,
        settings.credit == "turn",
        prepared.calls,
    )
    with setup.accepted("train grpo"):
        return LessonTrainer(
            model=prepared.local.model,
            reward_funcs=[_term(name) for name in TERMS],
            args=prepared.args,
            train_dataset=Dataset.from_list(rollouts.prompts()),
            processing_class=prepared.local.tokenizer,
            rollout_func=rollouts,
        )


def _term(name: str) -> Callable[..., list[float | None]]:
    """One term of the reward as a reward function of TRL's, so that each is logged by itself."""

    def reward(terms: list[Terms], **_: Any) -> list[float | None]:
        return [None if term is None else term[name] for term in terms]

    reward.__name__ = name
    return reward
