"""`frames.csv` and `objects.csv`: a row for each frame and each object, for whoever wants to look closer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FrameRow:
    """One frame. None where something cannot be known: without ground truth, or in the semantic task."""

    sequence: str
    stamp: int
    """Nanoseconds."""
    seconds: float
    """From the start of the sequence."""
    latency_ms: float | None
    miou: float | None
    pq: float | None
    """Panoptic quality of the frame alone, mean over classes."""
    objects: int | None
    """Objects in view."""
    missed: int | None
    """Those of them that no prediction matches."""
    ghosts: int | None
    """Predicted things that match no object."""
    id_switches: int | None
    """Objects with another id than they had before."""


@dataclass(frozen=True, kw_only=True)
class ObjectRow:
    """One object of the ground truth in one sequence."""

    sequence: str
    object_id: int
    class_name: str
    first_seconds: float
    """When it came into view, and when it left for good, from the start of the sequence."""
    last_seconds: float
    seconds_in_view: float
    area: float
    """Share of the image, mean over the frames in view."""
    frames: int
    """In view."""
    frames_found: int
    recall: float
    """Share of these frames in which it was found."""
    seconds_to_first_detection: float | None
    """In view before it was first found; None where it never was."""
    ids: int
    """Different ids that it was given."""
    id_switches: int
    fragmentations: int
    wrong_ids_after_reentry: int
    returns: int
    """Times that it was found again after two seconds or more."""
    returns_right: int
    """Those of them with its old id."""
    returns_wrong: int
    """Those of them with an id that another object had before."""
