"""The network run by torch: the reference in float32, and the only backend that torch's own GPUs need."""

from __future__ import annotations

import torch
from torch import Tensor

from eomt_ros.engine.backends.backend import StepResult
from eomt_ros.engine.families import Network


class TorchBackend:
    """Runs the network as it is, in one pass for the whole batch."""

    name = "torch"

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype) -> None:
        """Takes the network over: its weights are moved and rounded."""
        self.device = device
        self.runs_on = str(device)
        self.dtype = dtype
        self.precision = str(dtype).removeprefix("torch.")
        self._network = network.to(device=device, dtype=dtype)
        self.first_queries = network.first_queries()

    def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
        mask_logits, class_logits, left = self._network(pixels, queries)
        return StepResult(mask_logits, class_logits, self._network.next_queries(left))

    def constants(self) -> list[Tensor]:
        """What the network reads at present beside its weights; it may replace them for an image of another size."""
        return self._network.constants()
