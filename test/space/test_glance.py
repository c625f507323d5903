"""The middles of what is seen of things, from one frame alone, where all of their pixels are the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from eomt_ros.space.glance import glance
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


def seen(
    frame: Scene,
    segments: Sequence[Segment] | None = None,
    depth: np.ndarray | None = None,
    camera: Pose | None = None,
) -> np.ndarray:
    """The places of segments that are numbered in their order, as the engine's regions are."""
    segments = frame.segments if segments is None else segments
    index = np.zeros(frame.panoptic.shape, np.uint8)
    for number, segment in enumerate(segments, 1):
        index[frame.panoptic == segment.id] = number
    return glance(index, segments, frame.depth if depth is None else depth, pinhole(), camera or pose())


def of_all_pixels(frame: Scene, segment: Segment, camera: Pose) -> np.ndarray:
    """The median along each axis of all that is seen of a thing."""
    rows, columns = np.nonzero(frame.panoptic == segment.id)
    z = frame.depth[rows, columns]
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=1) @ np.linalg.inv(pinhole().matrix).T
    optical = rays * z[:, None]
    return np.median(optical @ camera.rotation.T + camera.translation, axis=0)


@pytest.mark.parametrize(
    "camera", [pose(), Pose.from_rpy((3.0, -2.0, 0.8), 0.0, 0.0, 2.0) @ OPTICAL_IN_BODY], ids=["ahead", "turned"]
)
def test_a_thing_is_where_the_middle_of_its_pixels_is(camera: Pose) -> None:
    frame = scene(BOXES, EYE)
    for segment, place in zip(frame.segments, seen(frame, camera=camera), strict=True):
        np.testing.assert_allclose(place, of_all_pixels(frame, segment, camera), atol=0.1)


def test_what_is_seen_through_a_thing_and_beside_its_edge_does_not_move_it() -> None:
    frame = scene(BOXES, EYE)
    segment = frame.segments[0]
    expected = seen(frame, [segment])[0]
    depth = frame.depth.copy()
    x, y, width, height = segment.box
    depth[y : y + height : 3, x + 2 : x + width : 3] = 9.0  # the wall behind, through a mesh
    depth[:, [x, x + width - 1]] = 9.0
    assert np.linalg.norm(seen(frame, [segment], depth)[0] - expected) < 0.05


@pytest.mark.parametrize("other", [1.0, 9.0])
def test_a_mask_that_covers_some_of_what_stands_before_or_behind_leaves_it_where_it_is(other: float) -> None:
    frame = scene(BOXES, EYE)
    segment = frame.segments[0]
    expected = seen(frame, [segment])[0]
    depth = frame.depth.copy()
    x, _, width, _ = segment.box
    depth[:, x : x + width // 4] = other
    assert np.linalg.norm(seen(frame, [segment], depth)[0] - expected) < 0.1


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
