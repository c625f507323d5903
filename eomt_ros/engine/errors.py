"""Errors of the engine; every message says what was looked for, what was found and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from eomt_ros.errors import UserError
from eomt_ros.printable import printable


class EngineError(UserError):
    """Any failure of the engine that its caller can report and survive."""


class CheckpointError(EngineError):
    """A checkpoint is not there, cannot be read, or is not one that the engine runs."""


class LabelsError(EngineError):
    """A label table or a taxonomy is not there, is malformed, or does not fit the checkpoint."""


class UnfitImageError(EngineError, ValueError):
    """The image cannot be brought to the network's input."""


class IgnoreMaskError(UnfitImageError):
    """An ignore mask is not there, is none, or has another size than the image."""


class NotFiniteError(EngineError):
    """The network gave NaN or infinite logits for a frame."""


class OutOfMemoryError(EngineError):
    """The device has no memory left for a frame."""


class DeviceLostError(EngineError):
    """The device, or its driver, failed; the process cannot use it any more."""


class BackendError(EngineError):
    """A backend is not installed, cannot run the network on this machine, or does not answer as torch does."""


class DeadlineError(EngineError):
    """A model does not keep a latency at any size."""


def first_line(error: Exception) -> str:
    """An error of someone else's, in one line."""
    return f"{type(error).__name__}: {printable(str(error).strip().partition(chr(10))[0])}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names that others chose, in one line: the first ones."""
    return ", ".join([*map(printable, names[:most]), *(["..."] if len(names) > most else [])])
