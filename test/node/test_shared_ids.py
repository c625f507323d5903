"""Two cameras whose ids are one count: a thing that leaves one and enters the other keeps its id, over real topics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.engine import Segmenter, SharedIds
from eomt_ros.msg import InstanceArray
from test.node.conftest import StartRobot
from test.node.rig import PARAMETERS, Rig, RigCamera
from test.node.robot import picture

pytestmark = pytest.mark.slow

SEEN, NOTHING = -1.0, 1.0
"""Score thresholds: the model's own, and one that no segment passes."""


@pytest.fixture(scope="module")
def rig_of_module(start_robot: StartRobot, checkpoint: Path) -> Iterator[Rig]:
    shared = {"cameras": ["front", "left"], "shared_ids": True, "publish_embeddings": True}
    # float32 is the reference, which the tests compare with to the last bit.
    with start_robot({"model": str(checkpoint), "precision": "float32", **PARAMETERS, **shared}) as robot:
        yield Rig(robot, ("front", "left"))


@pytest.fixture
def rig(rig_of_module: Rig) -> Rig:
    """Both cameras, in a new epoch from the next image on."""
    assert rig_of_module.robot.reset().success
    return rig_of_module


def look_away(rig: Rig, camera: RigCamera) -> None:
    """An image of the camera in which nothing is seen."""
    assert not rig.robot.set(score_threshold=NOTHING)
    try:
        assert not camera.segment(picture(SCENE)).instances
    finally:
        assert not rig.robot.set(score_threshold=SEEN)


SCENE = 2


def things(result: InstanceArray) -> list[int]:
    return [each.id for each in result.instances if each.is_thing]


def test_what_leaves_one_camera_and_enters_the_other_keeps_its_id_and_says_that_it_returned(
    rig: Rig, segmenter: Segmenter
) -> None:
    front, left = rig.cameras
    first = front.segment(picture(SCENE))
    look_away(rig, front)
    entered = left.segment(picture(SCENE))
    again = left.segment(picture(SCENE))
    ids = SharedIds()
    alone = [segmenter.open_stream(shared_ids=ids) for _ in range(2)]
    expected = segmenter.segment(picture(SCENE), alone[0]).segments
    told = [(each.id, each.returned, each.age) for each in first.instances]
    assert told == [(each.id, False, 0) for each in expected]
    assert things(entered) == things(first)
    assert [(each.returned, each.age) for each in entered.instances if each.is_thing] == [(True, 0)] * len(
        things(first)
    )
    assert [each.returned for each in again.instances] == [False] * len(again.instances)
    for message, segment in zip(first.instances, expected, strict=True):
        wanted = [] if segment.embedding is None else segment.embedding
        np.testing.assert_array_equal(message.embedding, wanted)
        assert (len(message.embedding) > 0) == message.is_thing


def test_no_id_is_of_both_cameras_while_both_see_the_same_without_places(rig: Rig) -> None:
    front, left = rig.cameras
    found = [camera.segment(picture(SCENE)) for camera in (front, left)]
    ids = [{each.id for each in result.instances} for result in found]
    assert ids[0]
    assert ids[1]
    assert not ids[0] & ids[1]


def test_reset_of_a_camera_leaves_the_epoch_and_the_other_camera_alone(rig: Rig) -> None:
    front, left = rig.cameras
    before = [camera.segment(picture(SCENE)) for camera in (front, left)]
    answer = front.reset()
    epoch = before[0].epoch
    assert answer.success
    assert answer.message == f"front forgets its objects with the next image; epoch {epoch} goes on with new ids"
    after = [camera.segment(picture(SCENE)) for camera in (front, left)]
    assert [result.epoch for result in (*before, *after)] == [epoch] * 4
    assert set(things(after[1])) & set(things(before[1]))
    used = {each.id for result in before for each in result.instances}
    assert not used & {each.id for each in after[0].instances}
    assert f"stream reset, new ids in epoch {epoch} begin: asked for by a service" in rig.robot.process.output


def test_reset_of_the_node_begins_one_epoch_of_both(rig: Rig) -> None:
    before = [camera.segment(picture(SCENE)) for camera in rig.cameras]
    answer = rig.robot.reset()
    assert answer.success
    assert answer.message == f"epoch {before[0].epoch + 1} begins with the next image"
    after = [camera.segment(picture(SCENE)) for camera in rig.cameras]
    assert [result.epoch for result in after] == [before[0].epoch + 1] * 2
    assert min(each.id for each in after[0].instances) == 1
    again = [camera.segment(picture(SCENE)) for camera in rig.cameras]
    assert [result.epoch for result in again] == [before[0].epoch + 1] * 2


def test_deactivation_begins_one_epoch_of_both(rig: Rig) -> None:
    before = rig.cameras[0].segment(picture(SCENE))
    assert rig.robot.transition("deactivate")
    assert rig.robot.transition("activate")
    for camera in rig.cameras:
        camera.connect()
    after = [camera.segment(picture(SCENE)) for camera in rig.cameras]
    assert [result.epoch for result in after] == [before.epoch + 1] * 2


def test_a_break_of_a_camera_is_none_of_the_other(rig: Rig) -> None:
    front, left = rig.cameras
    before = [camera.segment(picture(SCENE)) for camera in (front, left)]
    after = [front.segment(picture(SCENE), step=100.0), left.segment(picture(SCENE))]
    assert [result.epoch for result in after] == [result.epoch for result in before]
    assert not set(things(after[0])) & set(things(before[0]))
    assert set(things(after[1])) & set(things(before[1]))


def test_embeddings_are_told_only_while_they_are_asked_for(rig: Rig) -> None:
    front, _ = rig.cameras
    try:
        assert not rig.robot.set(publish_embeddings=False)
        assert not any(len(each.embedding) for each in front.segment(picture(SCENE)).instances)
        assert not rig.robot.set(publish_embeddings=True, remember=0.0)
        assert any(len(each.embedding) for each in front.segment(picture(SCENE)).instances)
    finally:
        assert not rig.robot.set(publish_embeddings=True, remember=60.0)


def test_shared_ids_cannot_change_while_the_node_is_configured(rig: Rig) -> None:
    assert rig.robot.set(shared_ids=False) == (
        "parameter shared_ids: cannot become False while the node is configured; deactivate and clean up first"
    )
    assert "parameter shared_ids: got 'yes' (str), expected a boolean" in rig.robot.set(shared_ids="yes")
