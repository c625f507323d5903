"""The state of one camera: what is remembered from frame to frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from eomt_ros.continuity import MAX_GAP, Admitted, Continuity
from eomt_ros.engine.tracking.tracker import Identities
from eomt_ros.stamps import Stamp, nanoseconds

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PilImage

    from eomt_ros.engine.ignore_mask import IgnoreMask
    from eomt_ros.engine.results import FrameResult
    from eomt_ros.engine.segmenter import Segmenter


class Memory(NamedTuple):
    """The class logits that a stream's frames have had so far."""

    class_logits: Tensor
    """(1, queries, classes + 1), their mean."""
    frames: int

    @classmethod
    def after(cls, before: Memory | None, class_logits: Tensor, memory: float) -> Memory:
        """With one frame more."""
        logits = class_logits.float()
        if before is None:
            return cls(logits, 1)
        return cls(torch.lerp(before.class_logits, logits, cls.part(before, memory)), before.frames + 1)

    @staticmethod
    def part(before: Memory | None, memory: float) -> float:
        """Of the next frame in the mean: 1 - `memory`, but where that is 1, the same as any frame's."""
        if before is None:
            return 1.0
        return 1 - memory if memory < 1 else 1 / (before.frames + 1)


class State(NamedTuple):
    """Everything that a frame starts from; one that succeeds replaces it as a whole."""

    queries: Tensor | None = None
    """(1, queries, hidden); None for the network's first ones."""
    memory: Memory | None = None
    stretch: int | None = None
    """That of the last frame, as in `Admitted`; None where there was none."""
    size: tuple[int, int] | None = None
    """Height and width of the last image; None where there was none."""
    reset_reason: str = ""
    """The reason why this forgot what was before; empty where it did not."""

    def before(self, frame: Admitted | None, size: tuple[int, int], device: torch.device) -> State:
        """The state that a frame of this size starts from: an empty one, where it does not continue the stream.

        frame: None where the caller alone decides what continues the stream. device: that frames run on now.
        """
        reason = ""
        if self.queries is not None and self.queries.device != device:
            reason = f"the queries were lost with {self.queries.device}; frames run on {device} now"
        elif frame is not None and self.size is not None and self.size != size:
            reason = f"the image size changed from {self.size[1]}x{self.size[0]} to {size[1]}x{size[0]}"
        elif frame is not None and self.stretch not in (None, frame.stretch):
            reason = frame.begun_by
        queries, memory = (None, None) if reason else (self.queries, self.memory)
        return State(queries, memory, self.stretch if frame is None else frame.stretch, size, reason)


class Stream:
    """One camera of a segmenter: the queries that the next frame starts from, and the ids given so far.

    Made by `Segmenter.open_stream`. A stream takes the frames of one camera, in order, one at a time. What a frame
    starts from (queries, memory, the time and size of the frame before) belongs to the thread that begins frames, the
    ids to the one that does the rest; see `begin`.

    `max_gap`: seconds that may be between two frames; 0 for any. It may be changed at any time.
    """

    def __init__(
        self, segmenter: Segmenter, identities: Identities, max_gap: float = MAX_GAP, ignored: IgnoreMask | None = None
    ) -> None:
        self.max_gap = max_gap
        self._segmenter = segmenter
        self._identities = identities
        self._ignored = ignored
        self._continuity = Continuity()
        self._state = State()

    @property
    def epoch(self) -> int:
        """How often the ids began anew: by `reset`, by a break in the stream, or because 65,535 ids had run out."""
        return self._identities.epoch

    def segment(
        self, image: np.ndarray | PilImage, *, stamp: Stamp | Admitted | None = None, **wanted: Any
    ) -> FrameResult:
        """Segments the next frame, image and the rest as in `Segmenter.segment`.

        A new epoch begins by itself where time jumps, by the rules of `eomt_ros.continuity`, and where the size of the
        images changes; `reset_reason` of the result says why. Raises `LateFrameError` for a frame that is a little
        older than the one before, and whatever `Segmenter.segment` raises.
        """
        admitted = stamp if isinstance(stamp, Admitted) else self.admit(stamp)
        return self._segmenter.segment(image, self, stamp=admitted, **wanted)

    def begin(
        self, image: np.ndarray | PilImage, *, stamp: Stamp | Admitted | None = None, **wanted: Any
    ) -> Callable[[], FrameResult]:
        """Begins the next frame as `Segmenter.begin`, and otherwise as `segment`."""
        admitted = stamp if isinstance(stamp, Admitted) else self.admit(stamp)
        return self._segmenter.begin(image, self, stamp=admitted, **wanted)

    def admit(self, stamp: Stamp | None) -> Admitted:
        """Judges the time of the next frame, for a caller that may leave it out or segment it later.

        stamp: as in `Segmenter.segment`, which takes what this gives in place of it. Any thread may call this, but one
        at a time. Raises `LateFrameError` for a frame that comes too late for the stream, `ValueError` for a stamp that
        is not finite.
        """
        time = nanoseconds(stamp)
        return self._continuity.untimed() if time is None else self._continuity.admit(time, self.max_gap)

    def reset(self) -> None:
        """Forgets queries and ids, as if the camera had just been switched on; the next epoch begins."""
        self.forget_frames()
        self.forget_ids()

    def forget_frames(self) -> None:
        """The part of `reset` that belongs to the thread that begins frames."""
        self._state = State()

    def forget_ids(self) -> None:
        """The other part of `reset`: it has its turn among the rests of the frames."""
        self._identities.restart()
