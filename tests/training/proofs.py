"""What it takes to prove on which tokens a training is done."""

from typing import Any

import torch


def trained_mask(inputs: dict[str, Any]) -> torch.Tensor:
    """Where GRPO's batch is trained on."""
    return (inputs["completion_mask"] * inputs["tool_mask"]).bool()


def gradient(trainer: Any, inputs: dict[str, Any], change_targets: Any = None) -> torch.Tensor:
    """Gradients of the loss with respect to all parameters; ``change_targets`` edits the labels that are scored."""
    model = trainer.model
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    forward = base.forward

    def forward_with_changed_targets(*args: Any, labels: Any = None, **named: Any) -> Any:
        return forward(*args, labels=labels if change_targets is None else change_targets(labels), **named)

    base.forward = forward_with_changed_targets
    try:
        model.zero_grad(set_to_none=True)
        trainer.compute_loss(model, inputs, num_items_in_batch=inputs.get("num_items_in_batch")).backward()
    finally:
        base.forward = forward
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
