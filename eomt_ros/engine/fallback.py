"""The pipeline that frames run on, and the one that takes over where it fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor

from eomt_ros.engine.backends import Backend
from eomt_ros.engine.device import is_device_failure, is_out_of_memory, keep_forever
from eomt_ros.engine.errors import DeviceLostError, EngineError, NotFiniteError, OutOfMemoryError, first_line
from eomt_ros.engine.pipeline import Pipeline

log = logging.getLogger(__name__)

AFTER_DEVICE_FAILURE = (
    "a process cannot use a device again that has failed it: start it anew; if that is no help, look at the driver's "
    "log (dmesg) and restart the computer"
)

OpenFallback = Callable[[], Backend]
"""Opens the backend that takes over."""


class ActivePipeline(NamedTuple):
    """A backend, and the pipeline that frames take through it."""

    step: Backend
    pipeline: Pipeline

    def accepts(self, queries: Tensor | None) -> bool:
        """True if a frame can start from these queries: they have the backend's device and dtype."""
        first = self.step.first_queries
        return queries is None or (queries.device, queries.dtype) == (first.device, first.dtype)


class PipelineWithFallback:
    """Runs frames on one backend, and from its failure on, on the fallback, where there is one."""

    def __init__(
        self,
        step: Backend,
        pipeline_on: Callable[[Backend], Pipeline],
        *,
        on_device_failure: OpenFallback | None,
        on_overflow: OpenFallback | None,
    ) -> None:
        """on_device_failure, on_overflow: open the fallback for a device that fails, and for numbers that overflow
        float16; None: there is none.
        """
        self._pipeline_on = pipeline_on
        self._on_device_failure = on_device_failure
        self._on_overflow = on_overflow
        self._lock = threading.Lock()
        self.active = ActivePipeline(step, pipeline_on(step))

    @contextmanager
    def guard(self, active: ActivePipeline, images: int) -> Iterator[None]:
        """Turns the failures of a frame of so many images into the engine's errors, and opens the fallback.

        Raises `NotFiniteError`, `OutOfMemoryError`, `DeviceLostError`.
        """
        device = active.step.runs_on
        try:
            yield
        except NotFiniteError as error:
            if self._fall_back(active, self._on_overflow):
                now = self.active.step.precision
                raise NotFiniteError(f"{error}; frames run in {now} from now on") from error
            raise
        except RuntimeError as error:
            if is_out_of_memory(error):
                message = (
                    f"{device} has no memory left for {images} image(s): {str(error).splitlines()[0]} "
                    "Use a smaller model, precision float16 or fewer cameras, or free the device of other programs."
                )
                raise OutOfMemoryError(message) from error
            if not is_device_failure(error):
                raise
            failure = f"{device} fails: {first_line(error)}"
            keep_forever(active)
            if self._fall_back(active, self._on_device_failure):
                now = self.active.step.runs_on
                raise DeviceLostError(
                    f"{failure}; frames run on {now} from now on, because {AFTER_DEVICE_FAILURE}"
                ) from error
            raise DeviceLostError(f"{failure}; {AFTER_DEVICE_FAILURE}") from error

    def _fall_back(self, failed: ActivePipeline, open_fallback: OpenFallback | None) -> bool:
        """Opens the fallback, unless another thread has; False where there is none."""
        with self._lock:
            if self.active is not failed:
                return True
            if open_fallback is None:
                return False
            if open_fallback is self._on_device_failure:  # once: a fallback that fails has none
                self._on_device_failure = None
            else:
                self._on_overflow = None
            try:
                step = open_fallback()
            except (EngineError, RuntimeError, OSError, ValueError) as error:
                log.error("there is no fallback: %s", first_line(error))
                return False
            self.active = ActivePipeline(step, self._pipeline_on(step))
            return True
