"""When a training has to stop by itself: nothing that was learned is lost, and nothing is harmed before it stops.

A gradient that is not a number is found before the weights are changed by it; a server that has died, or rewards from
which there is nothing to learn, before the step that would need them. So the weights are those of the last whole step,
and of them a checkpoint is made, wherever it lies between two regular ones. Of several processes that train together
one may stop while the others wait for it, and a checkpoint takes them all; there the last regular one is what is left.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from diotima.errors import DiotimaError, RunError, TrainingError
from diotima.processes import count

if TYPE_CHECKING:
    import torch
    from transformers import Trainer


COMPLETE = "complete"
"""The file that is put into a checkpoint last; one without it is not whole."""


@contextmanager
def last_step_kept(trainer: "Trainer") -> Iterator[None]:
    """Make a checkpoint of the last whole step where an error of ours ends the training; a full disk takes none.

    One that is there is left alone: a kill while it is written again would leave none that is whole.
    """
    try:
        yield
    except DiotimaError as error:
        step = trainer.state.global_step
        wanted = step and not isinstance(error, RunError) and count() == 1
        if wanted and trainer.model is not None and not _is_whole(trainer, step):
            trainer._save_checkpoint(trainer.model, trial=None)
            trainer.callback_handler.on_save(trainer.args, trainer.state, trainer.control)
        raise


def _is_whole(trainer: "Trainer", step: int) -> bool:
    return (Path(str(trainer.args.output_dir)) / f"checkpoint-{step}" / COMPLETE).is_file()


def refuse_bad_gradient(model: "torch.nn.Module", step: int) -> None:
    """Raise TrainingError if the gradient after so many steps is not finite."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            raise TrainingError(
                f"after step {step} the gradient is not a number (that of {name}, for one), so training stops before "
                f"it harms the weights. {'The last whole step is kept; but the' if step else 'The'} same command would "
                "stop here again, so train in a new run with a lower trl.learning_rate, or in another precision "
                "(trl.bf16 or trl.fp16: false)"
            )
