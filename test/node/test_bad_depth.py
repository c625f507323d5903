"""Depth that is missing, of another kind, or late: a status says so, 2-D results go on, and no metre is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from bench.messages import to_image
from test.node.bad_depth import PARAMETERS, DepthStation
from test.node.conftest import StartRobot
from test.node.depth_camera import millimetres, raw, some_depth
from test.node.robot import HEIGHT, WIDTH


@pytest.fixture(scope="module")
def station_of_module(start_robot: StartRobot, checkpoint: Path) -> Iterator[DepthStation]:
    """The node that most tests share."""
    with start_robot({"model": str(checkpoint), **PARAMETERS}) as robot:
        station = DepthStation(robot)
        station.connect()
        yield station


@pytest.fixture
def station(station_of_module: DepthStation) -> DepthStation:
    """The shared node, where the last image had good depth."""
    station_of_module.assert_recovers()
    return station_of_module


def image_of(depth: Any, encoding: str, frame_id: str = "") -> Image:
    """A depth message of any encoding."""
    return to_image(depth, encoding, Header(frame_id=frame_id))


def test_without_depth_and_camera_info_a_status_names_each_topic(start_robot: StartRobot, checkpoint: Path) -> None:
    with start_robot({"model": str(checkpoint), **PARAMETERS}) as robot:
        station = DepthStation(robot)
        robot.connect(station.camera.images, station.instances)
        namespace = robot.process.namespace
        station.assert_told(station.camera.send, f"no camera_info came on {namespace}/camera_info")
        station.camera.infos.connect()
        station.camera.send_info()
        station.assert_told(station.camera.send, f"no depth came on {namespace}/depth", "are silent")
        assert not station.camera.points.all() + station.obstacles.all() + station.objects.all()
        station.connect()
        station.assert_recovers()


def test_depth_that_stops_is_told_and_taken_again_when_it_comes_back(station: DepthStation) -> None:
    message = station.assert_no_metres(station.camera.send, "it has stopped")
    assert f"{station.robot.process.namespace}/depth" in message
    station.assert_told(lambda: station.camera.send(raw(some_depth())), level=DiagnosticStatus.OK)


def test_depth_of_another_shape_is_refused_with_both_sizes_and_the_switch_of_the_driver(station: DepthStation) -> None:
    square = np.resize(some_depth(), (64, 64))
    message = station.assert_no_metres(lambda: station.camera.send(raw(square)), "64x64", f"{WIDTH}x{HEIGHT}")
    assert "align_depth" in message


def test_depth_of_another_frame_is_refused_with_both_frames_and_the_switch_of_the_driver(
    station: DepthStation,
) -> None:
    def send() -> Image:
        return station.camera.send(image_of(some_depth(), "32FC1", "depth_optical"))

    message = station.assert_no_metres(send, "depth_optical", "camera_optical")
    assert "align_depth" in message


@pytest.mark.parametrize(("encoding", "dtype"), [("mono8", np.uint8), ("rgb8", np.uint8), ("32SC1", np.int32)])
def test_depth_of_another_encoding_is_refused_with_those_that_are_taken(
    station: DepthStation, encoding: str, dtype: type[np.generic]
) -> None:
    depth = np.full((HEIGHT, WIDTH, 3) if encoding == "rgb8" else (HEIGHT, WIDTH), 2, dtype)
    message = station.assert_no_metres(lambda: station.camera.send(image_of(depth, encoding)), encoding)
    assert "16UC1" in message
    assert "32FC1" in message


def test_millimetres_that_are_called_metres_are_refused(station: DepthStation) -> None:
    message = station.assert_no_metres(lambda: station.camera.send(raw(1000 * some_depth())), "32FC1")
    assert "metres" in message


def test_millimetres_in_16_bits_are_metres_with_their_holes(station: DepthStation) -> None:
    depth = some_depth(4)
    numbers = millimetres(depth)
    numbers[:5], depth[:5] = 65535, np.nan
    station.camera.assert_seen(station.camera.send(image_of(numbers, "16UC1")), depth)


def test_data_that_are_cut_off_are_refused(station: DepthStation) -> None:
    def send() -> Image:
        message = raw(some_depth())
        message.data = message.data[: len(message.data) // 2]
        return station.camera.send(message)

    station.assert_no_metres(send, "depth")


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0])
def test_depth_that_is_unknown_everywhere_gives_no_point_and_a_status(station: DepthStation, value: float) -> None:
    unknown = np.full((HEIGHT, WIDTH), value, np.float32)
    sent, _ = station.assert_told(lambda: station.camera.send(raw(unknown)), "depth", "unknown")
    for image in sent:
        assert np.isnan(station.camera.seen(image)).all()
        assert station.obstacles.wait_for_stamp(image).width == 0
        assert not [each for each in station.objects.wait_for_stamp(image).objects if each.points]


def test_depth_that_lags_is_refused_with_how_far_and_taken_where_depth_slop_allows_it(station: DepthStation) -> None:
    message = station.assert_no_metres(lambda: station.camera.send(raw(some_depth(1)), offset=-0.2), "depth_slop")
    assert "raise that" in message
    assert "0.200" in message
    assert not station.robot.set(depth_slop=0.25)
    try:
        image = station.camera.send(raw(some_depth(1)), offset=-0.2)
        station.camera.assert_seen(image, some_depth(1))
    finally:
        assert not station.robot.set(depth_slop=0.05)


# camera_info


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"k": np.zeros(9)}, ("K", "calibrat")),
        ({"k": np.full(9, np.nan)}, ("K", "calibrat")),
        ({"height": 0, "width": 0}, ("0x0",)),
        ({"height": 64, "width": 64}, ("64x64", f"{WIDTH}x{HEIGHT}")),
        ({"distortion_model": "thin_prism"}, ("thin_prism", "plumb_bob")),
        ({"d": [0.1, 0.2]}, ("D has 2 numbers",)),
    ],
    ids=["K of zeros", "K of NaN", "no size", "another shape", "unknown distortion", "too few coefficients"],
)
def test_camera_info_that_says_no_view_is_refused_with_what_is_wrong_in_it(
    station: DepthStation, fields: dict[str, Any], texts: tuple[str, ...]
) -> None:
    def send() -> Image:
        station.camera.send_info(**fields)
        return station.camera.send(raw(some_depth()))

    station.camera.send_info(**fields)
    station.instances.wait_for_stamp(station.camera.send())  # what may still have the camera_info from before
    message = station.assert_no_metres(send, *texts)
    assert f"{station.robot.process.namespace}/camera_info" in message


def test_camera_info_of_the_same_view_in_another_size_is_scaled(station: DepthStation) -> None:
    fx, fy, cx, cy = station.camera.view
    # Twice the size; the corner of the picture lies half a pixel before the first pixel's centre.
    k = [2 * fx, 0.0, 2 * cx + 0.5, 0.0, 2 * fy, 2 * cy + 0.5, 0.0, 0.0, 1.0]
    station.camera.send_info(height=2 * HEIGHT, width=2 * WIDTH, k=k)
    station.camera.assert_seen(station.camera.send(raw(some_depth(3))), some_depth(3))
