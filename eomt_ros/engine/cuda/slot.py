"""The memory of frames that are on their way through a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.cuda.queues import Queues
from eomt_ros.engine.cuda.step import Inputs, Output, WholeStep
from eomt_ros.engine.postprocess.fixed_shape import COLUMNS
from eomt_ros.engine.preprocess.pixels import Image


class Picture:
    """An image that is made of a frame's image of candidates by a table, on the device and on the host."""

    def __init__(self, queues: Queues, size: tuple[int, int], rows: int, kind: torch.dtype, device: torch.device):
        self.host_table = queues.staging((rows,), kind)
        self.table = torch.empty(rows, dtype=kind, device=device)
        self.image = torch.empty(size, dtype=kind, device=device)
        self.host_image = queues.staging(size, kind)


class Paint:
    """A frame's label images."""

    CLASSES, IDS, CONFIDENCE = range(3)

    def __init__(self, queues: Queues, size: tuple[int, int], rows: int, classes: int, device: torch.device) -> None:
        """rows: of the tables. classes: how many the network knows."""
        # torch computes with no other 16-bit integers.
        kinds = (torch.uint8 if classes <= 254 else torch.int16, torch.int16, torch.uint8)
        self.pictures = [Picture(queues, size, rows, kind, device) for kind in kinds]
        self._places = torch.empty(size[0] * size[1], dtype=torch.int32, device=device)

    def write(self, tables: Mapping[int, np.ndarray]) -> None:
        """Copies tables to where the device can read them."""
        for name, table in tables.items():
            staging = self.pictures[name].host_table
            staging.copy_(torch.from_numpy(table.view(np.int16) if staging.dtype == torch.int16 else table))

    def run(self, names: Sequence[int], output: Output) -> None:
        """Paints, on the device, and copies to the host. Needs no more memory than there is."""
        self._places.copy_(output.owner.flatten())
        for name in names:
            picture = self.pictures[name]
            picture.table.copy_(picture.host_table, non_blocking=True)
            torch.index_select(picture.table, 0, self._places, out=picture.image.view(-1))
            if name == self.CONFIDENCE:
                assert output.confidence is not None
                picture.image.mul_(output.confidence)
            picture.host_image.copy_(picture.image, non_blocking=True)

    def read(self, name: int, kind: type[np.uint8] | type[np.uint16]) -> np.ndarray:
        """An image that has been painted, in memory of its own: the device's must not pile up with results."""
        image: np.ndarray = self.pictures[name].host_image.numpy().view(kind).copy()
        return image


class Slot:
    """One frame of each stream, from its start until it is painted."""

    def __init__(self, whole: WholeStep, inputs: Inputs, queues: Queues, classes: int) -> None:
        """inputs: what the frames are copied into."""
        self.host_images = [queues.staging(tuple(image.shape), image.dtype) for image in inputs.images]
        self.images = [torch.empty_like(image) for image in inputs.images]
        self.host_numbers = queues.staging(tuple(inputs.numbers.shape), inputs.numbers.dtype)
        self.numbers = torch.empty_like(inputs.numbers)
        self.host_reports = [queues.staging((1 + task.most, COLUMNS), torch.float64) for task in whole.tasks]
        device = inputs.numbers.device
        self.paints = [Paint(queues, task.placement.image, 1 + task.most, classes, device) for task in whole.tasks]
        self.there: list[Tensor | None] = []
        """Images that came on the device."""
        self.outputs: list[Output] | None = None
        """Copies, since the next frame overwrites what it gives."""

    def write(self, images: Sequence[Image], numbers: Sequence[float]) -> None:
        """Copies a frame to where the device can read it, as far as it is not there."""
        self.there = [image if isinstance(image, Tensor) else None for image in images]
        for staging, image in zip(self.host_images, images, strict=True):
            if isinstance(image, np.ndarray):
                staging.copy_(torch.from_numpy(image))
        self.host_numbers.copy_(torch.tensor(numbers, dtype=torch.float64))

    def upload(self) -> None:
        """To the device."""
        self.numbers.copy_(self.host_numbers, non_blocking=True)
        for image, staging, there in zip(self.images, self.host_images, self.there, strict=True):
            if there is None:
                image.copy_(staging, non_blocking=True)

    def uploaded(self) -> list[Tensor]:
        """The images on the device."""
        return [image if there is None else there for image, there in zip(self.images, self.there, strict=True)]

    def keep(self, outputs: list[Output]) -> None:
        """Copies what the frames became."""
        if self.outputs is None:
            self.outputs = [each.cloned() for each in outputs]
            return
        for kept, new in zip(tensors_of(self.outputs), tensors_of(outputs), strict=True):
            kept.copy_(new)

    def download_reports(self) -> None:
        """To the host."""
        assert self.outputs is not None
        for host, output in zip(self.host_reports, self.outputs, strict=True):
            host.copy_(output.report, non_blocking=True)


def tensors_of(outputs: Sequence[Output]) -> list[Tensor]:
    """All tensors of some outputs, in an order that is always the same."""
    return [part for output in outputs for part in output if part is not None]
