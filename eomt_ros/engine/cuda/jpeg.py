"""JPEG images decoded on the GPU: a tenth of the bytes cross the bus, and a core of the host is free."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eomt_ros.engine.errors import first_line

log = logging.getLogger(__name__)

Decode = Callable[[bytes], Tensor | None]
"""Gives (H, W, 3) uint8 RGB on the GPU, None where nothing decodes there; raises `RuntimeError` for a file that it
cannot read.
"""


class TorchvisionDecoder:
    """torchvision's decoder, loaded with the first image: it takes a second, and most cameras send no JPEG."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._io: Any = None
        self._is_missing = False

    def __call__(self, data: bytes) -> Tensor | None:
        """Decodes an image."""
        if self._io is None and not self._is_missing:
            self._load()
        if self._is_missing:
            return None
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        pixels: Tensor = self._io.decode_jpeg(encoded, self._io.ImageReadMode.RGB, device=self._device)
        return pixels.permute(1, 2, 0)

    def _load(self) -> None:
        try:
            self._io = importlib.import_module("torchvision.io")
        except (ImportError, OSError, RuntimeError) as error:  # not there, or made for another torch
            self._is_missing = True
            log.info("JPEG images are decoded on the CPU: torchvision does not load (%s)", first_line(error))
