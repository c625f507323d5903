"""Results without a model: what a frame shows is given."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from eomt_ros.engine import FrameResult, Labels, Segment, Timings
from eomt_ros.space.locator import LocatedObject

LABELS = Labels("toy", ("floor",), (False,), ((0, 0, 0),), "panoptic")


def result(semantic: np.ndarray, *segments: Segment) -> FrameResult:
    """A frame with these classes, (H, W), and segments, whose ids are nowhere in the picture."""
    return FrameResult(
        semantic=semantic,
        panoptic=np.zeros(semantic.shape, np.uint16),
        confidence=np.zeros(semantic.shape, np.uint8),
        segments=list(segments),
        epoch=2,
        timings=Timings(0.0, 0.0, 0.0, 0.0),
        labels=LABELS,
    )


def located(number: int, **changes: Any) -> LocatedObject:
    """An object with numbers that all differ, and `changes`."""
    known = LocatedObject(
        id=number,
        class_id=1,
        class_name="person",
        score=0.5,
        position=np.array([1.0, 2.0, 3.0]),
        position_covariance=np.arange(9.0).reshape(3, 3),
        size=np.array([0.5, 0.25, 2.0]),
        size_covariance=np.arange(9.0, 18.0).reshape(3, 3),
        velocity=np.array([3.0, 0.0, 4.0]),
        velocity_covariance=np.arange(18.0, 27.0).reshape(3, 3),
        moving=True,
        partial=True,
        points=70,
        age=4,
    )
    return dataclasses.replace(known, **changes)
