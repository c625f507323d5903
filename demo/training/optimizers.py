"""Optimizers that take the same step in every worker."""

from __future__ import annotations

import torch
from torch import distributed, nn

from demo.training.losses import Trainee
from demo.training.recipe import Recipe


class Optimizers:
    """Muon for the transformer's matrices, AdamW for all else.

    Muon's step costs several matrix products, so each worker makes that of its share of the matrices, and they are
    exchanged.
    """

    def __init__(self, trainee: Trainee, recipe: Recipe, rank: int, workers: int) -> None:
        named = list(trainee.named_parameters())
        in_layers = {name for name, value in named if value.ndim == 2 and ("layers." in name or "mask_head." in name)}
        matrices = [value for name, value in named if name in in_layers]
        decayed = [value for name, value in named if name not in in_layers and value.ndim > 1]
        plain = [value for name, value in named if value.ndim <= 1]
        adamw = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            betas=(0.9, 0.98),
        )
        muon = torch.optim.Muon(
            matrices[rank::workers], weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self.parameters = [*matrices, *decayed, *plain]
        self._optimizers = (adamw, muon)
        self._matrices = matrices
        self._rank = rank
        self._workers = workers

    def step(self, learning_rate: float) -> None:
        """One step of all parameters, the same in every worker."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        with torch.no_grad():
            mine = [
                matrix.flatten() if number % self._workers == self._rank else torch.zeros(matrix.numel())
                for number, matrix in enumerate(self._matrices)
            ]
            flat = torch.cat(mine)
            distributed.all_reduce(flat)
            for matrix, value in zip(self._matrices, flat.split([one.numel() for one in mine]), strict=True):
                matrix.copy_(value.view_as(matrix))


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
