"""The network run by torch: the reference in float32, and the only backend that torch's own GPUs need."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from eomt_ros.engine.device import expect_memory, is_out_of_memory
from eomt_ros.engine.errors import OutOfMemoryError
from eomt_ros.engine.networks import Network, StepResult


class TorchBackend:
    """Runs the network as it is, in one pass for the whole batch."""

    name = "torch"

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype) -> None:
        """Moves and rounds the network's own weights.

        Raises `OutOfMemoryError` where the device has no memory left for them.
        """
        self.device = device
        self.runs_on = str(device)
        self.dtype = dtype
        self.precision = str(dtype).removeprefix("torch.")
        if device.type == "cuda":
            expect_memory(device, dtype.itemsize * sum(weight.numel() for weight in network.parameters()))
        try:
            self._network = network.to(device=device, dtype=dtype)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"{device} has no memory left for the model's weights: free it of other programs (nvidia-smi lists "
                "them), or use a smaller model"
            ) from error
        if device.type == "cuda" and dtype == torch.float32:  # the reference
            _refuse_tf32(self._network)
        self.first_queries = self._network.first_queries()

    def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
        return self._network(pixels, queries)

    def constants(self) -> list[Tensor]:
        """See `Network`."""
        return self._network.constants()


def _refuse_tf32(network: Network) -> None:
    """Makes convolutions in float32 exact on CUDA, where torch has cuDNN round their factors to ten bits.

    By an argument of each call: torch's own switch is one for the whole process.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.forward = partial(_convolve, module)  # type: ignore[method-assign]


def _convolve(layer: nn.Conv2d | nn.ConvTranspose2d, pixels: Tensor) -> Tensor:
    cudnn = torch.backends.cudnn
    convolved: Tensor = torch.ops.aten._convolution(
        pixels,
        layer.weight,
        layer.bias,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.transposed,
        layer.output_padding,
        layer.groups,
        cudnn.benchmark,
        cudnn.deterministic,
        cudnn.enabled,
        False,  # allow_tf32
    )
    return convolved
