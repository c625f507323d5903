"""What is said of predictions without a ground truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from eomt_ros.engine import Segment
from eomt_ros.evaluation.pace import FrameTime
from eomt_ros.evaluation.results import Predicted
from eomt_ros.evaluation.unscored import PredictedCounts, PredictedFigures


@dataclass(frozen=True)
class Frame:
    semantic: npt.NDArray[np.uint8]
    things: tuple[int, ...] = ()
    epoch: int = 0
    panoptic: npt.NDArray[np.uint16] = field(default_factory=lambda: np.zeros((2, 5), np.uint16))

    @property
    def segments(self) -> list[Segment]:
        return [Segment(number, 1, "box", True, 1.0, 1, (0, 0, 1, 1), 0) for number in self.things]


def figures(*frames: Frame, has_ids: bool = True) -> Predicted:
    found = PredictedFigures(2, has_ids=has_ids)
    for number, frame in enumerate(frames):
        found.add(frame, FrameTime(number * 0.1, 0.1, 0))
    return found.counts().figures(("floor", "box"))


def classes(floor: int, box: int) -> npt.NDArray[np.uint8]:
    """Ten pixels, the rest of them unlabelled."""
    return np.repeat([0, 1, 255], [floor, box, 10 - floor - box]).astype(np.uint8).reshape(2, 5)


def test_area_is_the_mean_share_of_the_image() -> None:
    found = figures(Frame(classes(6, 2)), Frame(classes(4, 4)))
    assert found.class_area == pytest.approx({"floor": 0.5, "box": 0.3})
    assert found.unlabelled_area == pytest.approx(0.2)


def test_flicker_is_the_share_of_pixels_that_change_their_class() -> None:
    assert figures(Frame(classes(5, 5)), Frame(classes(5, 5)), Frame(classes(8, 2))).flicker == pytest.approx(0.15)
    assert figures(Frame(classes(5, 5))).flicker is None


def test_ids_last_from_their_first_frame_to_their_last() -> None:
    things = [(1, 2), (1,), (1, 3), (1, 2)]
    found = figures(*(Frame(classes(5, 5), each) for each in things))
    assert (found.ids, found.things_per_frame) == (3, 7 / 4)
    assert found.id_seconds == pytest.approx(0.4)  # of 0.4, 0.4 and 0.1


def test_an_id_of_another_epoch_or_sequence_is_another() -> None:
    assert figures(Frame(classes(5, 5), (1,)), Frame(classes(5, 5), (1,), epoch=1)).ids == 2
    counts = PredictedCounts.empty(2, has_ids=True)
    for ended in (True, False):
        sequence = PredictedFigures(2, has_ids=True)
        sequence.add(Frame(classes(5, 5), (1,)), FrameTime(0.0, 0.1, 0))
        if ended:
            sequence.end_sequence()
        counts.add(sequence.counts())
    found = counts.figures(("floor", "box"))
    assert (found.ids, found.id_seconds, found.flicker) == (2, 0.1, None)


def test_without_ids_or_frames_nothing_is_said_of_them() -> None:
    assert (figures(Frame(classes(5, 5)), has_ids=False).ids, figures()) == (None, Predicted())
