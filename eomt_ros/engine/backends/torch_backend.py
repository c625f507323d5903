"""The network run by torch: the reference in float32, and the only backend that torch's own GPUs need."""

from __future__ import annotations

import torch
from torch import Tensor

from eomt_ros.engine.accelerate import fuse_attention, make_room
from eomt_ros.engine.backends.backend import StepResult
from eomt_ros.engine.families import Network
from eomt_ros.engine.networks import QueryVit


class TorchBackend:
    """Runs the network as it is, in one pass for the whole batch."""

    name = "torch"

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype) -> None:
        """Takes the network over: its weights are moved and rounded.

        Raises `OutOfMemoryError` where the device has no memory left for them.
        """
        self.device = device
        self.runs_on = str(device)
        self.dtype = dtype
        self.precision = str(dtype).removeprefix("torch.")
        if device.type == "cuda":
            make_room(device, dtype.itemsize * sum(weight.numel() for weight in network.parameters()))
            if dtype == torch.float32:
                # The reference: torch would round a convolution's factors to ten bits otherwise.
                torch.backends.cudnn.allow_tf32 = False
        self._network = network.to(device=device, dtype=dtype)
        if device.type == "cuda" and isinstance(self._network, QueryVit):
            fuse_attention(self._network)
        self.first_queries = self._network.first_queries()

    def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
        mask_logits, class_logits, left = self._network(pixels, queries)
        return StepResult(mask_logits, class_logits, self._network.next_queries(left))

    def constants(self) -> list[Tensor]:
        """What was made for the sizes of images and is read beside the weights."""
        return self._network.constants()
