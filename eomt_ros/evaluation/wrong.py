"""What results say about where it goes wrong, and what other thresholds and sizes would give."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from eomt_ros.evaluation.latency import Percentiles


@dataclass(frozen=True, kw_only=True)
class SegmentFigures:
    """Panoptic quality of some segments, frame by frame, and the numbers of them summed over frames."""

    true: int
    predicted: int
    """Without those that cannot be judged, because they lie mostly on what is unlabelled or a crowd."""
    matched: int
    pq: float
    """SQ * RQ."""
    sq: float | None
    """Mean IoU of what is matched; None where nothing is."""
    rq: float
    """F1 of recall and precision."""
    recall: float | None
    """Share of the true segments that are matched; None where there is none."""
    precision: float | None
    """Share of the predicted ones."""


@dataclass(frozen=True)
class WorstFrame:
    """One of the worst frames, by mIoU or by objects, with its pictures in the output folder."""

    sequence: str
    stamp: int
    """Nanoseconds."""
    seconds: float
    """From the start of the sequence."""
    miou: float
    input: str
    """Path of the picture relative to the output folder, as are `prediction` and `truth`."""
    prediction: str
    truth: str
    missed: int | None = None
    """Objects in view that no prediction matched; None where there are classes only, as are the next two."""
    ghosts: int | None = None
    """Predicted things that matched no object."""
    switches: int | None = None
    """Objects with another id than before."""


class SweepPoint(NamedTuple):
    """A threshold or a size with a value."""

    option: str
    value: float

    @property
    def name(self) -> str:
        """Both, as in `score_threshold=0.3`."""
        return f"{self.option}={self.value!r}"

    @classmethod
    def named(cls, name: str) -> SweepPoint:
        """The point of that name. Raises `ValueError`."""
        option, _, value = name.partition("=")
        return cls(option, float(value))


@dataclass(frozen=True, kw_only=True)
class SweptFigures:
    """Some of the figures, as they are with another value of one option; each is that of `Results`."""

    option: str
    """Name of the threshold, or `size`."""
    value: float
    latency_ms: Percentiles | None = None
    """None for thresholds, which the network knows nothing of."""
    miou: float | None
    vpq: float | None
    stq: float | None
    objects_found: float | None
    frames_found: float | None
    things_precision: float | None
    ghosts_per_frame: float | None
    idf1: float | None
    id_switches: int | None
    switches_per_30_seconds: float | None

    @classmethod
    def of(cls, point: SweepPoint, figures: Any, latency_ms: Percentiles | None = None) -> SweptFigures:
        """Those at a point, of all `Figures`."""
        kept = [each.name for each in fields(cls) if each.name not in (*SweepPoint._fields, "latency_ms")]
        return cls(**point._asdict(), latency_ms=latency_ms, **{name: getattr(figures, name) for name in kept})
