"""The camera's topic is found among all that a robot records, and where it is not clear the user is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.sources.camera_topic import camera_topic
from test import ROOT
from test.evaluation import bags

RGB = np.zeros((8, 8, 3), np.uint8)
GREY = np.zeros((8, 8), np.uint8)
WIDE = np.zeros((8, 8), np.uint16)


def raw(encoding: str) -> Any:
    pixels = {"mono8": GREY, "16UC1": WIDE, "32FC1": np.zeros((8, 8), np.float32)}.get(encoding, RGB)
    return bags.image(1, pixels, encoding)


def packed(format_: str, pixels: np.ndarray, extension: str = ".png") -> Any:
    _, data = cv2.imencode(extension, pixels)
    return bags.STORE.types["sensor_msgs/msg/CompressedImage"](bags.header(1), format_, data)


def choose(tmp_path: Path, topics: dict[str, Any], truth: tuple[str, ...] = ()) -> str:
    path = bags.write_bag(tmp_path / "bag", [(topic, 1, message) for topic, message in topics.items()])
    with Bag(path) as bag:
        return camera_topic(bag, truth)


OTHERS = {
    "/ground_truth/semantic": raw("mono8"),
    "/ground_truth/panoptic": raw("16UC1"),
    "/ground_truth/colored": raw("rgb8"),
    "/depth/image_raw": raw("16UC1"),
    "/depth/registered": raw("32FC1"),
    "/depth/compressed": packed("16UC1; png compressed ", WIDE),
    "/depth/compressedDepth": packed("16UC1; compressedDepth png", WIDE),
    "/depth/plain": packed("png", WIDE),
    "/depth16/compressedDepth": packed("mono16; compressedDepth png", WIDE),
    "/segment/semantic": raw("mono8"),
    "/segment/panoptic": raw("16UC1"),
    "/segment/confidence": raw("mono8"),
    "/segment/overlay": raw("rgb8"),
    "/segment/semantic_color": raw("rgb8"),
    "/robot/segment/overlay/compressed": packed("jpeg", RGB, ".jpg"),
    "/segment/front/semantic": raw("mono8"),
    "/segment/front/semantic_color": raw("rgb8"),
    "/segment/rear/overlay": raw("rgb8"),
    "/robot/segment/rear/overlay/compressed": packed("jpeg", RGB, ".jpg"),
    "/masks": raw("mono8"),
    "/labels/compressed": packed("png", GREY),
}


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "8UC3", "bayer_rggb8"])
def test_the_only_colour_image_is_the_cameras(tmp_path: Path, encoding: str) -> None:
    message = bags.image(1, GREY, encoding) if encoding.startswith("bayer") else raw(encoding)
    assert choose(tmp_path, OTHERS | {"/camera": message, "/infrared": raw("mono8")}) == "/camera"


@pytest.mark.parametrize("message", [packed("jpeg", RGB, ".jpg"), packed("rgb8; jpeg compressed bgr8", RGB, ".jpg")])
def test_compressed_images_count_as_well(tmp_path: Path, message: Any) -> None:
    assert choose(tmp_path, OTHERS | {"/camera/compressed": message}) == "/camera/compressed"


def test_without_colour_the_only_grey_image_is_the_cameras(tmp_path: Path) -> None:
    assert choose(tmp_path, OTHERS | {"/infrared": raw("mono8")}) == "/infrared"


def test_raw_images_go_before_the_same_compressed(tmp_path: Path) -> None:
    topics = {"/camera/compressed": packed("jpeg", RGB, ".jpg"), "/camera": raw("rgb8")}
    assert choose(tmp_path, topics) == "/camera"


def test_what_the_user_calls_ground_truth_is_no_camera(tmp_path: Path) -> None:
    topics = {"/a": raw("mono8"), "/b": raw("mono8")}
    assert choose(tmp_path, topics, truth=("/a",)) == "/b"


def test_images_beside_instances_of_our_node_are_its_own_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg("std_msgs/Header header", "eomt_ros/msg/InstanceArray"))
    monkeypatch.setattr(bags, "STORE", store)
    instances = store.types["eomt_ros/msg/InstanceArray"](bags.header(1))
    topics = {"/front/net/overlay": raw("rgb8"), "/front/net/instances": instances, "/camera": raw("rgb8")}
    assert choose(tmp_path, topics) == "/camera"


def test_several_cameras_are_listed_with_types_encodings_and_counts(tmp_path: Path) -> None:
    topics = {"/left": raw("rgb8"), "/right/compressed": packed("jpeg", RGB, ".jpg"), "/depth": raw("16UC1")}
    with pytest.raises(SourceError) as refused:
        choose(tmp_path, topics)
    assert str(refused.value) == (
        f"{tmp_path / 'bag'} has several image topics; choose with --topic, which an evaluation takes several "
        "times:\n"
        "  /depth  Image 16UC1, 1 message\n"
        "  /left  Image rgb8, 1 message\n"
        "  /right/compressed  CompressedImage 'jpeg', 1 message"
    )


def test_only_ground_truth_is_refused_with_a_list(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no topic that looks like a camera's.*--topic:\n  /ground_truth/panoptic"):
        choose(tmp_path, {name: OTHERS[name] for name in ("/ground_truth/semantic", "/ground_truth/panoptic")})


def test_bag_without_images_is_refused_with_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no image topic; it has /odom \(std_msgs/msg/Header\)"):
        choose(tmp_path, {"/odom": bags.header(1)})


def test_the_demo_bag_is_clear() -> None:
    with Bag(ROOT / "demo" / "bag") as bag:
        assert camera_topic(bag) == "/camera/image/compressed"
