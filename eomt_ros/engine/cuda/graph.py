"""A function of tensors as one CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from eomt_ros.engine.cuda.capture import Capture, Replay, Tensors
from eomt_ros.engine.device import CAPTURING, free_devices, is_device_failure, is_out_of_memory
from eomt_ros.engine.errors import first_line

log = logging.getLogger(__name__)

TOLERANCE = 0.02
"""Largest error of a captured call, as a share of the root mean square: other kernels round half precision
differently."""
SAME = 0.995
"""Minimum share of equal integers."""


class Graph:
    """Runs a function of tensors of fixed shapes: the first call as it is, later calls as one launch of its capture.

    The capture is used only if it gives what the first call gave. One call at a time; the next call overwrites its
    outputs.
    """

    def __init__(
        self,
        function: Callable[..., Tensors],
        inputs: Sequence[Tensor],
        capture: Capture | None,
        constants: Callable[[], Sequence[Tensor]] = tuple,
    ) -> None:
        """inputs: of the first call. capture: None to run the function as it is in every call. constants: tensors that
        the function reads beside its inputs and that others may drop; kept, because the graph reads their memory.
        """
        self._function = function
        self._inputs = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in inputs]
        self._capture = capture
        self._constants = constants
        self._kept: Sequence[Tensor] = ()
        self._replay: Replay | None = None

    @property
    def is_captured(self) -> bool:
        """True if calls are launches of a graph."""
        return self._replay is not None

    def __call__(self, *given: Tensor) -> Tensors:
        """Runs the function on inputs of the shapes of the first call."""
        for own, new in zip(self._inputs, given, strict=True):
            own.copy_(new)
        if self._replay is not None:
            self._replay.run()
            return self._replay.outputs
        outputs = self._function(*self._inputs)
        # Only finite numbers can be compared; the next frame may have them.
        if self._capture is not None and all(part.isfinite().all() for part in (*self._inputs, *outputs)):
            self._record(self._capture, outputs)
        return outputs

    def _record(self, capture: Capture, expected: Tensors) -> None:
        """Captures the function, and uses the capture if it gives what the function gave."""
        if not CAPTURING.acquire(blocking=False):
            return  # the next call tries again
        self._capture = None
        wrong: str | None
        try:
            replay = capture(partial(self._function, *self._inputs))
            replay.run()
            wrong = _difference(expected, replay.outputs)
            self._kept = self._constants()
            if wrong is None:
                self._replay = replay
        except RuntimeError as error:
            if is_device_failure(error):
                raise
            wrong = "no memory is left for it" if is_out_of_memory(error) else first_line(error)
        finally:
            CAPTURING.release()
        if wrong is not None:
            free_devices()  # of what the capture had
            log.warning("frames are not captured as a CUDA graph, which makes them slower: %s", wrong)


def _difference(expected: Tensors, found: Tensors) -> str | None:
    """The fault of outputs that should equal the expected ones; None where there is none."""
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        if not one.is_floating_point():
            same = float((one == other).float().mean())
            if same < SAME:
                return f"output {number} of a capture is right in {same:.1%}, expected at least {SAME:.1%}"
            continue
        error, size = (float(part.double().square().mean().sqrt()) for part in (other - one, one))
        if not error <= TOLERANCE * size:
            return (
                f"output {number} of a captured frame is {error:.2g} off, expected at most {TOLERANCE:g} of {size:.2g}"
            )
    return None
