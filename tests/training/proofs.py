"""What it takes to prove on which tokens a training is done."""

from typing import Any

import pytest
import torch


def trained_mask(inputs: dict[str, Any]) -> torch.Tensor:
    """Where GRPO's batch is trained on."""
    return (inputs["completion_mask"] * inputs["tool_mask"]).bool()


def gradient(trainer: Any, inputs: dict[str, Any], change_targets: Any = None) -> torch.Tensor:
    """Gradients of the loss with respect to all parameters; ``change_targets`` edits the labels that are scored.

    They may be those of whole rows or of their ends only.
    """
    model = trainer.model
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    with pytest.MonkeyPatch.context() as patched:
        if change_targets is not None:
            forward, at_once = base.forward, getattr(trainer, "_score_at_once", None)

            def forward_with_changed_targets(*args: Any, labels: Any = None, **named: Any) -> Any:
                return forward(*args, labels=None if labels is None else change_targets(labels), **named)

            def at_once_with_changed_targets(*args: Any) -> Any:
                *others, targets = args
                return at_once(*others, change_targets(targets))

            patched.setattr(base, "forward", forward_with_changed_targets)
            if at_once is not None:
                patched.setattr(trainer, "_score_at_once", at_once_with_changed_targets)
        model.zero_grad(set_to_none=True)
        trainer.compute_loss(model, inputs, num_items_in_batch=inputs.get("num_items_in_batch")).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def by_hand(trainer: Any, loss: torch.Tensor) -> torch.Tensor:
    """Gradients of a loss of one's own."""
    trainer.model.zero_grad(set_to_none=True)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def logprobs(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Log-probability of each token but the first, taken from the logits."""
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
    found: torch.Tensor = logits.log_softmax(-1).gather(-1, inputs["input_ids"][:, 1:, None]).squeeze(-1)
    return found
