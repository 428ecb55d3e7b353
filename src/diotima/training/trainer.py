"""TRL's GRPO trainer with additions of ours: tight batches, advantages of single turns, the drift, whole logits, and an
order of problems that a resumed training finds again.

TRL pads all lessons of a step to the longest, and much of what is then computed is padding. Where a step's lessons are
spread over several micro-batches, here each gets lessons of like length and is cut to its own longest. The gradient of
the step is the same, the order of rows in it being of no account; so this is done only where the micro-batches of one
generation make up one optimizer step, and not for losses that average, or rank tokens, within a micro-batch.

The drift is how far the log-probabilities that a token was sampled with are from those that it is trained with, before
the weights have changed: |difference|, as ``drift/mean`` and ``drift/max`` over the tutor's tokens that are trained on.
Both come from the same weights, so what there is comes from another precision, another kernel, dropout or a server that
has older weights; TRL measures it for its own vLLM only. No pass is made for it: the trainer's own are looked at.

TRL makes logits in tiles that it makes again for the backward pass, and off a GPU for prompts, too. That saves memory
where vocabularies are large. On a processor, where a batch's logits are small, they are made once, for the completions
alone: for the tiny tutor the training half of a step takes a fifth less time (`benchmarks/training.py`). This is done
in float32 only: in a lower precision TRL scales and caps logits in float32, and a model's own forward does not.
"""

from typing import Any

import torch
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

Batch = dict[str, Any]

SMALL = 256 << 20  # bytes of logits, which are there about three times


class LessonTrainer(GRPOTrainer):  # type: ignore[misc]
    """`GRPOTrainer` for lessons; its ``rollout_func`` is a `Rollouts`."""

    _buffered_inputs: list[Batch] | None
    _drifting: Batch | None = None
    """The batch whose log-probabilities are being computed with the weights that sampled it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._drifts: list[torch.Tensor] = []

    def _get_train_sampler(self, dataset: Any = None) -> "ProblemOrder":
        made = super()._get_train_sampler(dataset)
        return ProblemOrder(
            self,
            made.data_source,
            made.mini_repeat_count,
            made.batch_size,
            made.repeat_count,
            made.shuffle,
            made.seed,
        )

    def _generate_and_score_completions(self, inputs: Any) -> Batch:
        output: Batch = super()._generate_and_score_completions(inputs)
        if self.rollout_func.token_advantages:
            advantages_B_T = torch.zeros(output["completion_ids"].shape, device=output["completion_ids"].device)
            for row, advantages in enumerate(self.rollout_func.token_advantages):
                advantages_B_T[row, : len(advantages)] = torch.tensor(advantages)
            output["advantages"] = advantages_B_T
        if "old_per_token_logps" in output:  # the first step would be taken before these are computed again
            self._note_drift(output, output["old_per_token_logps"])
        return output

    def _compute_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        self._drifting = inputs if self.model.training and "old_per_token_logps" not in inputs else None
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        self._drifting = None
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **others: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        head = self.model.get_output_embeddings().weight
        small = head.device.type == "cpu" and 4 * len(input_ids) * logits_to_keep * head.shape[0] <= SMALL
        plain = not (compute_aux_loss or self._entropy_bonus_enabled)  # of entropies here there is no gradient
        if small and plain and head.dtype == torch.float32 and self.accelerator.mixed_precision == "no":
            logprobs_B_T, entropy_B_T = self._score_at_once(
                model, input_ids, attention_mask, input_ids[:, -logits_to_keep:]
            )
            scored = (logprobs_B_T, entropy_B_T if compute_entropy else None, None)
        else:
            wanted = {"compute_entropy": compute_entropy, "compute_aux_loss": compute_aux_loss}
            scored = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, **wanted, **others
            )
        if self._drifting is not None:
            self._note_drift(self._drifting, scored[0].detach())
        return scored

    def _score_at_once(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, targets_B_T: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of the last tokens of each row, and the entropies of the distributions they are from."""
        kept = targets_B_T.shape[1] + 1
        output = model(input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=kept, use_cache=False)
        # From the end: a model may make the others, too.
        logprobs_B_T_V = torch.log_softmax(output.logits[:, -kept:-1] / self.temperature, -1)
        with torch.no_grad():
            entropy_B_T = -(logprobs_B_T_V.exp() * logprobs_B_T_V).sum(-1)
        return logprobs_B_T_V.gather(-1, targets_B_T[..., None]).squeeze(-1), entropy_B_T

    def _note_drift(self, batch: Batch, logprobs_B_T: torch.Tensor) -> None:
        trained_B_T = (batch["completion_mask"] * batch["tool_mask"]).bool()
        self._drifts.append((logprobs_B_T - batch["sampling_per_token_logps"])[trained_B_T].abs().float())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's own figures, and the drift since the last time."""
        if self._drifts:
            drift = torch.cat(self._drifts)
            sums = self.accelerator.gather(torch.stack([drift.sum(), drift.new_tensor(float(len(drift)))])[None])
            most = self.accelerator.gather(drift.max()[None] if len(drift) else drift.new_zeros(1)).max()
            if float(sums[:, 1].sum()):
                logs |= {"drift/mean": float(sums[:, 0].sum() / sums[:, 1].sum()), "drift/max": float(most)}
            self._drifts.clear()
        super().log(logs, start_time)

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        earlier = self._buffered_inputs
        inputs: Batch = super()._prepare_inputs(generation_batch)
        one_step = self.args.steps_per_generation == self.args.gradient_accumulation_steps
        made = self._buffered_inputs
        if self.model.training and one_step and self._sums_over_rows() and made is not None and made is not earlier:
            self._buffered_inputs = tight_batches(made)
            inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return inputs

    def _sums_over_rows(self) -> bool:
        """Whether it does not matter which rows share a micro-batch, as it does for means over its tokens."""
        means = self.loss_type == "bnpo" or self._entropy_bonus_enabled or self.aux_loss_enabled
        return not means and self.top_entropy_quantile == 1.0


class ProblemOrder(RepeatSampler):  # type: ignore[misc]
    """TRL's order of problems. Its own draws one epoch's after another, so a resumed training would begin with the
    first epoch's again, and with the same problems; here what earlier epochs have drawn is drawn first.
    """

    def __init__(self, trainer: LessonTrainer, *args: Any) -> None:
        super().__init__(*args)
        self._trainer = trainer

    def __iter__(self) -> Any:
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(int(self._trainer.state.epoch or 0)):
                torch.randperm(self.num_samples, generator=self.generator)
        return super().__iter__()


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
