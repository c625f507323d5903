"""The pipeline that frames run on, and the one that takes over where it fails."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch

from eomt_ros.engine.backends import Backend
from eomt_ros.engine.device import free_devices, is_device_failure, is_out_of_memory, keep_forever
from eomt_ros.engine.errors import DeviceLostError, EngineError, NotFiniteError, OutOfMemoryError, first_line
from eomt_ros.engine.pipeline import FrameOutput, Pipeline, Request

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


class PipelineWithFallback:
    """Runs frames on one backend, and from its failure on, on the fallback, where there is one.

    It takes fewer frames at a time from where the device had no memory for more.
    """

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
        self._at_once = self._told_at_once = sys.maxsize
        self.active = ActivePipeline(step, pipeline_on(step))

    def run(self, active: ActivePipeline, request: Request) -> list[FrameOutput | EngineError]:
        """Runs the frames, and opens the fallback where they fail.

        Gives `NotFiniteError` or `OutOfMemoryError` in place of a frame that fails alone, and `DeviceLostError` in
        place of all.
        """
        frames: list[FrameOutput | EngineError] = []
        while len(frames) < len(request.frames):
            part = replace(request, frames=request.frames[len(frames) :][: self._at_once])
            try:
                with torch.inference_mode():
                    frames += active.pipeline(part)
                continue
            except RuntimeError as error:
                if is_device_failure(error):
                    said = self._lost(active, error)
                    return [DeviceLostError(said) for _ in request.frames]
                if not is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0].rstrip(".")
            # Out here, where the error no longer holds what there was no memory for.
            free_devices()
            if len(part.frames) > 1:
                with self._lock:
                    self._at_once = min(self._at_once, len(part.frames) // 2)
            else:
                frames.append(
                    OutOfMemoryError(
                        f"{active.step.runs_on} has no memory left for an image: {reason}. Use a smaller model or "
                        "precision float16, or free the device of other programs."
                    )
                )
        self._tell_at_once(active)
        return self._after_overflow(active, frames)

    def _lost(self, active: ActivePipeline, error: RuntimeError) -> str:
        """Opens the fallback for a device that has failed; gives the message of it all."""
        failure = f"{active.step.runs_on} fails: {first_line(error)}"
        keep_forever(active)
        if self._fall_back(active, self._on_device_failure):
            now = self.active.step.runs_on
            return f"{failure}; frames run on {now} from now on, because {AFTER_DEVICE_FAILURE}"
        return f"{failure}; {AFTER_DEVICE_FAILURE}"

    def _tell_at_once(self, active: ActivePipeline) -> None:
        with self._lock:
            if self._at_once == self._told_at_once:
                return
            self._told_at_once = self._at_once
        log.warning(
            "%s has no memory left for more images at a time than %d: those of several cameras run so from now on, "
            "which is slower; use a smaller model, precision float16 or fewer cameras, or free the device of other "
            "programs",
            *(active.step.runs_on, self._told_at_once),
        )

    def _after_overflow(
        self, active: ActivePipeline, frames: list[FrameOutput | EngineError]
    ) -> list[FrameOutput | EngineError]:
        """Opens the fallback where one of the frames is not finite."""
        if not any(isinstance(frame, NotFiniteError) for frame in frames):
            return frames
        if not self._fall_back(active, self._on_overflow):
            return frames
        now = self.active.step.precision
        return [
            NotFiniteError(f"{frame}; frames run in {now} from now on") if isinstance(frame, NotFiniteError) else frame
            for frame in frames
        ]

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
