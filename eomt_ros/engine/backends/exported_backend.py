"""What OpenVINO and ONNX Runtime share: an export that is made ready for each size of image, when the first comes."""

from __future__ import annotations

import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from eomt_ros.engine.backends.backend import one_by_one
from eomt_ros.engine.backends.export import Step, check_step, exportable, with_weights
from eomt_ros.engine.backends.export_cache import expect_weights_of
from eomt_ros.engine.errors import BackendError, EngineError, first_line
from eomt_ros.engine.model.checkpoint import Checkpoint
from eomt_ros.engine.networks import QueryVit, StepResult
from eomt_ros.engine.preprocess.geometry import Size

log = logging.getLogger(__name__)

MOST_SIZES = 4
"""Sizes of images that it stays ready for; each takes the memory of all weights."""


class ExportedBackend(ABC):
    """Runs an export frame by frame. It keeps no weights of torch's: for another size it reads them again."""

    name: str
    precision: str
    device = torch.device("cpu")
    dtype = torch.float32

    def _start(self, checkpoint: Checkpoint, folder: Path, who: str, size: Size) -> None:
        """Makes the export ready for one size of image, and checks its answer.

        folder: an entry of `export_cache`. who: the runtime, for people. Raises `BackendError`.
        """
        network = exportable(checkpoint)
        self._folder = folder
        self._who = who
        self._read_again = partial(checkpoint.family.load, checkpoint.settings, checkpoint.folder)
        self._lock = threading.Lock()
        self.first_queries = network.first_queries().clone()
        with self._told_as_ours():
            self._steps: dict[Size, Step] = {size: self._made(network, size)}
            check_step(partial(one_by_one, self._steps[size]), size, network, self.precision, folder, who)
        self._only_checked = True

    @abstractmethod
    def _step_of(self, model: bytes | Path, size: Size, positions: tuple[Tensor, ...]) -> Step:
        """The runtime's step for one size of image; it may raise what it wants."""

    def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
        height, width = pixels.shape[2:]
        return one_by_one(self._step((height, width)), pixels, queries)

    def _step(self, size: Size) -> Step:
        with self._lock, self._told_as_ours():
            step = self._steps.pop(size, None)
            if step is None:
                log.info("%s is made ready for images that are %dx%d in the network, once", self._who, *size[::-1])
                network = cast(QueryVit, self._read_again())
                expect_weights_of(network, self._folder)
                # That for the check need not stay.
                if self._only_checked or len(self._steps) >= MOST_SIZES:
                    self._steps.pop(next(iter(self._steps)))
                step = self._made(network, size)
            self._only_checked = False
            self._steps[size] = step
            return step

    def _made(self, network: QueryVit, size: Size) -> Step:
        patch = network.settings.patch_size
        made = network.positions((size[0] // patch, size[1] // patch))
        # Of its own, in one piece: the weights go, and runtimes take no other.
        positions = tuple(each.clone(memory_format=torch.contiguous_format) for each in made)
        return self._step_of(with_weights(self._folder, network), size, positions)

    @contextlib.contextmanager
    def _told_as_ours(self) -> Iterator[None]:
        try:
            yield
        except EngineError:
            raise
        except Exception as error:  # the runtimes' have no public common base
            raise BackendError(f"{self._who} cannot run the network: {first_line(error)}") from error
