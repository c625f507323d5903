"""What frames run on at present, and what takes over where it fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor

from eomt_ros.engine.backends import Backend
from eomt_ros.engine.device import abandon, is_device_failure, is_out_of_memory
from eomt_ros.engine.errors import DeviceLostError, EngineError, NotFiniteError, OutOfMemoryError, first_line
from eomt_ros.engine.pipeline import Pipeline

log = logging.getLogger(__name__)

MEND = (
    "a process cannot use a device again that has failed it: start it anew; if that is no help, look at the driver's "
    "log (dmesg) and restart the computer"
)


class Running(NamedTuple):
    """A network on a device, and the way that frames take through it."""

    step: Backend
    pipeline: Pipeline

    def continues(self, queries: Tensor | None) -> bool:
        """Whether a frame can start from these: they are of no other device, and of no other precision."""
        first = self.step.first_queries
        return queries is None or (queries.device, queries.dtype) == (first.device, first.dtype)


class Runner:
    """Runs frames on one thing, and from its failure on, where there is another, on that."""

    def __init__(
        self,
        step: Backend,
        pipeline_on: Callable[[Backend], Pipeline],
        *,
        spare: Callable[[], Backend] | None,
        wider: Callable[[], Backend] | None,
    ) -> None:
        """spare, wider: open what takes over where the device fails, or float16 overflows; None: nothing does."""
        self._pipeline_on = pipeline_on
        self._spare = spare
        self._wider = wider
        self._lock = threading.Lock()
        self.now = Running(step, pipeline_on(step))

    @contextmanager
    def watched(self, running: Running, images: int) -> Iterator[None]:
        """Says in the engine's words what fails with so many images, and has another take over where there is one.

        Raises `NotFiniteError`, `OutOfMemoryError`, `DeviceLostError`.
        """
        device = running.step.runs_on
        try:
            yield
        except NotFiniteError as error:
            if self._take_over(running, self._wider):
                now = self.now.step.precision
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
            what = f"{device} fails: {first_line(error)}"
            abandon(running)
            if self._take_over(running, self._spare):
                now = self.now.step.runs_on
                raise DeviceLostError(f"{what}; frames run on {now} from now on, because {MEND}") from error
            raise DeviceLostError(f"{what}; {MEND}") from error

    def _take_over(self, failed: Running, other: Callable[[], Backend] | None) -> bool:
        """Whether something else than what failed runs frames from now on; a thread may find that another has seen to
        it.
        """
        with self._lock:
            if self.now is not failed:
                return True
            if other is None:
                return False
            self._spare, self._wider = (None if each is other else each for each in (self._spare, self._wider))
            try:
                step = other()
            except (EngineError, RuntimeError, OSError, ValueError) as error:
                log.error("nothing takes over: %s", first_line(error))
                return False
            self.now = Running(step, self._pipeline_on(step))
            return True
