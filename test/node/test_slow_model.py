"""A model that takes long for every image: what waits, what is dropped, and that the node stays responsive."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from rcl_interfaces.srv import GetParameters

from eomt_ros.msg import InstanceArray
from test.engine.checkpoints import write_checkpoint
from test.node.conftest import StartRobot
from test.node.robot import Camera, Inbox, Robot, picture, stamped


@pytest.fixture(scope="module")
def robot(start_robot: StartRobot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """Beside a node that needs about half a second for an image, with the default policy."""
    many_tokens = {"image_size": 1280, "num_hidden_layers": 6, "num_attention_heads": 1}
    model = write_checkpoint(tmp_path_factory.mktemp("slow"), **many_tokens)
    # The depth is for a test machine so busy that even the node's callbacks have to wait.
    with start_robot({"model": str(model), "max_gap": 0.0, "qos_depth": 50}) as robot:
        yield robot


@pytest.fixture(scope="module")
def camera(robot: Robot, instances: Inbox) -> Camera:
    """A camera that the node listens to."""
    camera = robot.camera()
    robot.connect(camera, instances)
    return camera


@pytest.fixture(scope="module")
def instances(robot: Robot) -> Inbox:
    """What the node finds."""
    return robot.listen(InstanceArray, "~/instances")


def test_newest_frame_wins_and_every_other_is_counted(robot: Robot, camera: Camera, instances: Inbox) -> None:
    before = instances.wait_for_stamp(camera.publish(stamped(picture(), robot.next_stamp())))
    instances.clear()
    sent = [camera.publish(stamped(picture(seed), robot.next_stamp())).header.stamp for seed in range(8)]
    last = instances.wait_for(lambda message: message.header.stamp == sent[-1], "the result of the newest image")
    results = [message.header.stamp for message in instances.all()]
    assert results == [stamp for stamp in sent if stamp in results]
    assert len(results) < len(sent)
    assert last.dropped - before.dropped == len(sent) - len(results)
    assert last.sequence - before.sequence == len(results)


def test_parameters_and_services_answer_while_a_frame_is_computed(
    robot: Robot, camera: Camera, instances: Inbox
) -> None:
    robot.get("rate")
    robot.enable(True)
    for _ in range(20):  # where the machine is busy, the answers may just take longer than a frame
        instances.clear()
        message = camera.publish(stamped(picture(1), robot.next_stamp()))
        assert robot.get("rate") == 0.0
        assert robot.enable(True).success
        assert not robot.set(mask_threshold=0.5)
        results = instances.all()
        instances.wait_for_stamp(message)
        if not results:
            return
    pytest.fail("the answers always came after the result")


def test_every_frame_with_a_full_queue_drops_the_oldest_counts_and_warns(
    robot: Robot, camera: Camera, instances: Inbox
) -> None:
    assert not robot.set(policy="every_frame", queue_size=2)
    camera.publish(stamped(picture(0), robot.next_stamp()))
    sent = [camera.publish(stamped(picture(seed), robot.next_stamp())) for seed in range(6)]
    instances.wait_for_stamp(sent[-2])
    last = instances.wait_for_stamp(sent[-1])
    robot.process.wait_for_output(r"policy every_frame, but images come faster .* 2 wait \(queue_size\): \d+ dropped")
    assert last.dropped >= 3
    assert not robot.set(policy="latest", queue_size=100)


def test_overload_is_a_warning_in_diagnostics(robot: Robot, camera: Camera) -> None:
    diagnostics = robot.diagnostics()
    for seed in range(20):
        camera.publish(stamped(picture(seed), robot.next_stamp()))
    status, values = diagnostics.wait_for(lambda status, _: "dropped" in status.message, "a warning of dropped images")
    assert status.level == b"\x01"
    assert int(values["dropped"]) >= int(values["dropped: overtaken"]) > 0


def test_node_ends_without_waiting_for_a_frame_in_work(robot: Robot, camera: Camera, instances: Inbox) -> None:
    # The last test of this module: it ends the node.
    instances.clear()
    message = camera.publish(stamped(picture(1), robot.next_stamp()))
    robot.call(GetParameters, "get_parameters", GetParameters.Request(names=["rate"]))
    robot.process.signal(signal.SIGTERM)
    assert robot.process.wait_for_end() == 0
    assert "Traceback" not in robot.process.output
    assert message.header.stamp not in [result.header.stamp for result in instances.all()]
