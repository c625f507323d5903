"""The middles of things, from one frame alone, where the whole measurement is the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from eomt_ros.space.glance import glance
from eomt_ros.space.locator import Locator
from eomt_ros.space.pose import OPTICAL_IN_BODY, Pose
from test.space.cameras import Scene, Segment, pinhole, scene

EYE = (0.0, 0.0, 0.8)
BOXES: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    1: ((2.0, -0.2, 0.0), (2.4, 0.2, 0.5)),
    2: ((3.0, 0.6, 0.0), (3.5, 1.1, 1.0)),
    3: ((4.0, -1.4, 0.3), (4.3, -1.1, 0.6)),
}


def pose() -> Pose:
    return Pose(OPTICAL_IN_BODY.rotation, np.array(EYE))


def seen(frame: Scene, segments: Sequence[Segment] | None = None, depth: np.ndarray | None = None) -> np.ndarray:
    """The places of segments that are numbered in their order, as the engine's regions are."""
    segments = frame.segments if segments is None else segments
    index = np.zeros(frame.panoptic.shape, np.uint8)
    for number, segment in enumerate(segments, 1):
        index[frame.panoptic == segment.id] = number
    return glance(index, segments, frame.depth if depth is None else depth, pinhole(), pose())


def middle(number: int) -> np.ndarray:
    return np.mean(BOXES[number], axis=0)


def test_a_thing_that_is_seen_whole_is_where_it_is() -> None:
    frame = scene(BOXES, EYE)
    for segment, place in zip(frame.segments, seen(frame), strict=True):
        assert np.linalg.norm(place - middle(segment.id)) < 0.15, segment.id


def test_it_is_where_the_whole_measurement_says_from_any_side() -> None:
    frame = scene(BOXES, EYE)
    turned = Pose.from_rpy((3.0, -2.0, 0.8), 0.0, 0.0, 2.0) @ OPTICAL_IN_BODY
    located = Locator().locate(frame, frame.depth, pinhole(), turned, 1.0, fixed=True)
    index = sum((frame.panoptic == segment.id) * number for number, segment in enumerate(frame.segments, 1))
    found = glance(np.asarray(index), frame.segments, frame.depth, pinhole(), turned)
    for thing, place in zip(located, found, strict=True):
        assert np.linalg.norm(thing.position - place) < 0.15


def test_what_is_seen_through_a_thing_and_beside_its_edge_does_not_move_it() -> None:
    frame = scene(BOXES, EYE)
    segment = frame.segments[0]
    expected = seen(frame, [segment])[0]
    depth = frame.depth.copy()
    x, y, width, height = segment.box
    depth[y : y + height : 3, x + 2 : x + width : 3] = 9.0  # the wall behind, through a mesh
    depth[:, [x, x + width - 1]] = 9.0
    assert np.linalg.norm(seen(frame, [segment], depth)[0] - expected) < 0.05


def test_stuff_and_things_without_depth_have_no_place() -> None:
    frame = scene(BOXES, EYE)
    floor = Segment(2, frame.segments[1].box, is_thing=False)
    depth = np.where(frame.panoptic == 3, np.nan, frame.depth).astype(np.float32)
    found = seen(frame, [frame.segments[0], floor, frame.segments[2]], depth)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1:]).all()


def test_without_things_there_is_nothing() -> None:
    assert seen(scene({}, EYE), []).shape == (0, 3)


@pytest.mark.parametrize("box", [(310, 230, 40, 40), (-5, -5, 20, 20), (100, 100, 0, 0)])
def test_a_box_beyond_the_picture_or_empty_is_no_error(box: tuple[int, int, int, int]) -> None:
    frame = scene(BOXES, EYE)
    index = np.zeros(frame.panoptic.shape, np.uint8)
    index[:20, :20] = index[-10:, -10:] = 1
    assert glance(index, [Segment(1, box)], frame.depth, pinhole(), pose()).shape == (1, 3)
