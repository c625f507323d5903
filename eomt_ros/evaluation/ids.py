"""What results say about ids: which ones an object had over time, and which one it got when it came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OUTCOMES = ("right", "wrong", "new")


@dataclass(frozen=True)
class ThingReturn:
    """An object that is found again after it was away. Raises `ValueError`."""

    outcome: str
    """One of `OUTCOMES`: with its old id, with one that another object had before (its old one too, if that
    was since), or with any other."""
    away: float
    """Seconds."""

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"the outcome of a return is {self.outcome!r}, expected one of {', '.join(OUTCOMES)}")


@dataclass(frozen=True)
class IdSpan:
    """A stretch of time in which an object was in view, and had one id or none."""

    begin: float
    """Seconds from the start of the sequence, as is `end`."""
    end: float
    identity: str | None
    """Id that the model gave it, or epoch and id as `2:17` where there were several epochs; None where no prediction
    matched it."""
    returned: ThingReturn | None = None
    """Where it comes back with this span."""


@dataclass(frozen=True)
class ObjectTimeline:
    """One object of the ground truth."""

    sequence: str
    object_id: int
    class_name: str
    spans: tuple[IdSpan, ...]


@dataclass(frozen=True)
class ReturnNumbers:
    """Objects that were found again after a while, and with which id, see `ThingReturn`."""

    returned: int
    right: int
    wrong: int
    new: int


@dataclass(frozen=True)
class ReturnFigures(ReturnNumbers):
    """The same of all of them, and by how long they were away."""

    by_time_away: Mapping[str, ReturnNumbers]
    """By the names of `metrics.returns.TIMES_AWAY`."""
