"""What is remembered of a camera from frame to frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from eomt_ros.engine.tracking.tracker import Identities


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


class Start(NamedTuple):
    """What a frame starts from; None for a stream's first."""

    queries: Tensor | None
    """(1, queries, hidden)."""
    memory: Memory | None


class Stream:
    """One camera: the queries that the next frame starts from, and the ids given so far.

    Made by `Segmenter.open_stream`. A stream takes the frames of one camera, in order, one at a time.
    """

    def __init__(self, identities: Identities | None = None) -> None:
        self._identities = identities or Identities()
        self._next = Start(None, None)

    @property
    def epoch(self) -> int:
        """How often the ids began anew: by `reset`, or because an epoch's 65,535 ids had run out."""
        return self._identities.epoch

    def reset(self) -> None:
        """Forgets queries and ids, as if the camera had just been switched on; the next epoch begins."""
        self._next = Start(None, None)
        self._identities.restart()
