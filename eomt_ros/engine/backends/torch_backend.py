"""The network run by torch: the reference in float32, and the only backend that torch's own GPUs need."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from eomt_ros.engine.backends.backend import StepResult
from eomt_ros.engine.network import Videomt


class TorchBackend:
    """Runs the network as it is, in one pass for the whole batch.

    On the CPU, bfloat16 is for the products alone: what is added up from layer to layer and from frame to frame stays
    float32. That costs little time there, and it is what keeps ids with their objects.
    """

    name = "torch"

    def __init__(self, network: Videomt, device: torch.device, dtype: torch.dtype) -> None:
        """Takes the network over: its weights are moved and rounded."""
        self.device = device
        self.runs_on = str(device)
        self.precision = str(dtype).removeprefix("torch.")
        self._mixed = device.type == "cpu" and dtype == torch.bfloat16
        self.dtype = torch.float32 if self._mixed else dtype
        self._network = network.to(device=device, dtype=self.dtype)
        if self._mixed:
            _round_products(network)
        self.first_queries = network.first_queries()

    def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
        mixed = torch.autocast("cpu", torch.bfloat16) if self._mixed else contextlib.nullcontext()
        with mixed:
            mask_logits, class_logits, left = self._network(pixels, queries)
        return StepResult(mask_logits, class_logits, self._network.next_queries(left))


def _round_products(network: Videomt) -> None:
    """Rounds the weights that autocast would round anew in every frame."""
    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) and name != "query_updater":
            module.to(torch.bfloat16)
