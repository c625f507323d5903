"""One kind of frame - so many cameras, images of these sizes - with all memory that it needs, and its CUDA graph."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from eomt_ros.engine.cuda.capture import Capture, Replay
from eomt_ros.engine.cuda.queues import Queues
from eomt_ros.engine.cuda.slot import Slot, tensors_of
from eomt_ros.engine.cuda.step import Inputs, Output, WholeStep
from eomt_ros.engine.device import CAPTURING, free_devices, is_device_failure, is_out_of_memory
from eomt_ros.engine.errors import first_line

log = logging.getLogger(__name__)

TOLERANCE = 0.02
"""How far a captured frame may be from the same frame without capture, as a share of the root mean square: what other
kernels for the same half-precision work may round differently."""
SAME_PIXELS = 0.995
"""Share of the pixels that must be the same."""


class Plan:
    """Runs frames of one kind, one at a time on the device, as many on their way as there are slots."""

    def __init__(
        self,
        work: WholeStep,
        inputs: Inputs,
        queues: Queues,
        capture: Capture | None,
        constants: Callable[[], Sequence[Tensor]],
        classes: int,
        launching: threading.Lock,
        *,
        compile: bool,
    ) -> None:
        """inputs: their contents do not matter. capture: None: the work is done anew each time. constants: what the
        network reads beside its weights. launching: of all plans of the device.
        """
        self.whole = work
        self._inputs = inputs
        self._queues = queues
        self._capture = capture
        self._constants = constants
        self._classes = classes
        self._work: Callable[[Inputs], list[Output]] = work
        self._compiling = threading.Thread(target=self._compile, name="compile", daemon=True) if compile else None
        self._replay: Replay | None = None
        self._kept: Sequence[Tensor] = ()
        self._free: list[Slot] = []
        self._lock = threading.Lock()
        self._launching = launching

    def take(self) -> Slot:
        """A slot that nobody uses."""
        with self._lock:
            if self._free:
                return self._free.pop()
            slot = Slot(self.whole, self._inputs, self._queues, self._classes)
            # Whatever had the memory before may still be at work with it.
            before = self._queues.compute.mark()
            self._queues.upload.after(before)
            self._queues.paint.after(before)
            return slot

    def give_back(self, slot: Slot) -> None:
        """The slot of frames that are done with."""
        with self._lock:
            self._free.append(slot)

    def launch(
        self,
        slot: Slot,
        queries: Sequence[Tensor],
        memories: Sequence[Tensor | None],
        next_queries: Sequence[Tensor],
        next_memories: Sequence[Tensor | None],
    ) -> None:
        """Puts a frame's work into the compute queue.

        slot: uploaded. queries, memories: what the frames start from. next_queries, next_memories: where what they
        leave goes.
        """

        def work() -> None:
            self._fill(slot, queries, memories)
            outputs = self._run()
            slot.keep(outputs)
            for output, following, memory in zip(outputs, next_queries, next_memories, strict=True):
                following.copy_(output.next_queries)
                if memory is not None and output.memory is not None:
                    memory.copy_(output.memory)

        with self._launching:  # the frames of two threads must not mix
            self._queues.compute.do(work)
            if self._compiling is not None and self._compiling.ident is None:
                self._compiling.start()
            if self._capture is not None and not self._is_compiling():
                self._queues.compute.do(lambda: self._record(slot))

    def settle(self) -> None:
        """Waits until torch has compiled the work, where it does so."""
        if self._is_compiling():
            assert self._compiling is not None
            self._compiling.join()

    def _fill(self, slot: Slot, queries: Sequence[Tensor], memories: Sequence[Tensor | None]) -> None:
        for image, uploaded in zip(self._inputs.images, slot.uploaded(), strict=True):
            image.copy_(uploaded)
        self._inputs.numbers.copy_(slot.numbers)
        for index, each in enumerate(queries):
            self._inputs.queries[index].copy_(each[0])
        if self._inputs.memories is not None:
            for index, memory in enumerate(memories):
                if memory is None:  # it counts nothing then, unless NaN were left in it
                    self._inputs.memories[index].zero_()
                else:
                    self._inputs.memories[index].copy_(memory[0])

    def _run(self) -> list[Output]:
        if self._replay is None:
            return self._work(self._inputs)
        self._replay.run()
        return self._replay.outputs

    def _is_compiling(self) -> bool:
        return self._compiling is not None and self._compiling.is_alive()

    def _compile(self) -> None:
        """Compiles the work, on made-up frames, while it runs as it is."""
        compiled = torch.compile(self.whole.__call__, fullgraph=True, dynamic=False)
        try:
            with CAPTURING, torch.inference_mode():
                compiled(Inputs(*map(_made_up, self._inputs)))
        except Exception as error:  # compilers fail in many ways, and frames go on without
            log.warning("compile: torch cannot compile this, and runs it as it is: %s", first_line(error))
        else:
            self._work = compiled

    def _record(self, slot: Slot) -> None:
        """Captures the work, and makes sure that it gives what it gave without: only then it is used."""
        assert self._capture is not None
        assert slot.outputs is not None
        if not all(part.isfinite().all() for part in tensors_of(slot.outputs)):
            return  # there is nothing to compare with; the next frame may be better
        if not CAPTURING.acquire(blocking=False):
            return
        try:
            self._replay = self._captured(self._capture, slot.outputs)
            self._capture = None
        finally:
            CAPTURING.release()
        if self._replay is None:
            free_devices()  # of what the capture had

    def _captured(self, capture: Capture, expected: Sequence[Output]) -> Replay | None:
        work = self._work
        try:
            replay = capture(lambda: work(self._inputs))
            replay.run()
            wrong = _difference(expected, replay.outputs)
            # The network may replace what it has made for an image's size, and a graph reads where it lay.
            self._kept = self._constants()
        except RuntimeError as error:
            if is_device_failure(error):
                raise
            wrong = "no memory is left for it" if is_out_of_memory(error) else first_line(error)
        if wrong is None:
            return replay
        log.warning("frames are not captured as a CUDA graph, which makes them slower: %s", wrong)
        return None


def _made_up(part: Tensor | tuple[Tensor, ...] | None) -> Any:
    """The same memory elsewhere."""
    if isinstance(part, tuple):
        return tuple(map(torch.zeros_like, part))
    return None if part is None else torch.zeros_like(part)


def _difference(expected: Sequence[Output], found: Sequence[Output]) -> str | None:
    """What is wrong with frames that should be the same; None where nothing is."""
    for one, other in zip(expected, found, strict=True):
        for name in ("mask_logits", "class_logits", "next_queries"):
            before, after = getattr(one, name).float(), getattr(other, name).float()
            error, size = float((after - before).square().mean().sqrt()), float(before.square().mean().sqrt())
            if not error <= TOLERANCE * size:
                return f"{name} of a captured frame differ by {error:.2g}, expected at most {TOLERANCE:g} of {size:.2g}"
        same = float((one.owner == other.owner).float().mean())
        if same < SAME_PIXELS:
            return f"a captured frame has {same:.1%} of the pixels right, expected at least {SAME_PIXELS:.1%}"
    return None
