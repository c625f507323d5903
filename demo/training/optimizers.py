"""What turns gradients into steps, the same ones in every worker."""

from __future__ import annotations

import torch
from torch import distributed, nn

from demo.training.recipe import Recipe


def optimizer_of(trainee: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW, with weight decay on everything but biases, norms and scales.

    Muon for the matrices did no better in the same time (demo/README.md), and torch's computes in bfloat16, which takes
    most processors three times as long as the rest of a step.
    """
    parameters = list(trainee.parameters())
    decayed = [value for value in parameters if value.ndim > 1]
    plain = [value for value in parameters if value.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )


def average_gradients(parameters: list[nn.Parameter], workers: int) -> None:
    """Makes the gradients of all workers their mean, in one exchange."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:  # single frames leave the query updater alone
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= workers
    for gradient, mean in zip(gradients, torch.split(flat, [part.numel() for part in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
