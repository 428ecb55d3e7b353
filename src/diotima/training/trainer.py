"""TRL's GRPO trainer with two additions of ours: tight batches, and advantages of single turns.

TRL pads all lessons of a step to the longest, and much of what is then computed is padding. Where a step's lessons are
spread over several micro-batches, here each gets lessons of like length and is cut to its own longest. The gradient of
the step is the same, the order of rows in it being of no account; so this is done only where the micro-batches of one
generation make up one optimizer step, and not for losses that average within a micro-batch.
"""

from typing import Any

import torch
from trl import GRPOTrainer

Batch = dict[str, Any]


class LessonTrainer(GRPOTrainer):  # type: ignore[misc]
    """`GRPOTrainer` for lessons; its ``rollout_func`` is a `Rollouts`."""

    _buffered_inputs: list[Batch] | None

    def _generate_and_score_completions(self, inputs: Any) -> Batch:
        output: Batch = super()._generate_and_score_completions(inputs)
        if self.rollout_func.token_advantages:
            advantages_B_T = torch.zeros(output["completion_ids"].shape, device=output["completion_ids"].device)
            for row, advantages in enumerate(self.rollout_func.token_advantages):
                advantages_B_T[row, : len(advantages)] = torch.tensor(advantages)
            output["advantages"] = advantages_B_T
        return output

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        earlier = self._buffered_inputs
        inputs: Batch = super()._prepare_inputs(generation_batch)
        one_step = self.args.steps_per_generation == self.args.gradient_accumulation_steps
        # This loss is a mean over each micro-batch's own tokens: there it matters which rows share one.
        one_step = one_step and self.loss_type != "bnpo"
        made = self._buffered_inputs
        if self.model.training and one_step and made is not None and made is not earlier:
            self._buffered_inputs = tight_batches(made)
            inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return inputs


def tight_batches(batches: list[Batch]) -> list[Batch]:
    """The same rows in as many batches, sorted by length, without columns in which no row of the batch has a token."""
    rows = batches[0]["completion_ids"].shape[0]
    whole = {
        name: torch.cat([batch[name] for batch in batches]) if _has_rows(value, rows) else value
        for name, value in batches[0].items()
    }
    lengths_B = whole["completion_mask"].sum(1) + whole["prompt_mask"].sum(1)
    order_B = lengths_B.argsort(stable=True)
    return [
        _cut({name: value[chosen_B] if _has_rows(value, len(order_B)) else value for name, value in whole.items()})
        for chosen_B in order_B.split(rows)
    ]


def _has_rows(value: Any, rows: int) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape[0] == rows


def _cut(batch: Batch) -> Batch:
    """Prompts are padded on the left, completions on the right; what else is as wide as a completion is cut alike."""
    prompt, completion = batch["prompt_mask"], batch["completion_mask"]
    start = prompt.shape[1] - int(prompt.sum(1).max())
    end, width = int(completion.sum(1).max()), completion.shape[1]

    def cut(name: str, value: Any) -> Any:
        if name in ("prompt_ids", "prompt_mask"):
            return value[:, start:]
        return value[:, :end] if isinstance(value, torch.Tensor) and value.shape[1:] == (width,) else value

    return {name: cut(name, value) for name, value in batch.items()}
