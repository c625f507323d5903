"""Images that the middleware throws away before the node could take them are counted too."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.utilities import get_rmw_implementation_identifier

from eomt_ros.msg import InstanceArray
from test.node.conftest import StartRobot
from test.node.robot import Diagnostics, picture, stamped

BURST = 300


@pytest.mark.skipif(
    get_rmw_implementation_identifier() != "rmw_fastrtps_cpp", reason="other middleware may not number messages"
)
def test_every_image_of_a_burst_is_received_or_counted_as_lost(start_robot: StartRobot, checkpoint: Path) -> None:
    parameters = {"model": str(checkpoint), "policy": "every_frame", "queue_size": 10000}
    parameters |= {"qos_depth": 1, "max_gap": 0.0}
    with start_robot(parameters) as robot:
        instances, diagnostics = robot.listen(InstanceArray, "~/instances"), robot.diagnostics()
        camera = robot.camera(reliable=False)
        robot.connect(camera, instances)
        before = _counts(diagnostics)
        for seed in range(BURST):
            camera.publish(stamped(picture(seed), robot.next_stamp()))
        # The last one of the burst is never overwritten; those before it are counted when it arrives.
        instances.wait_for_stamp(camera.publish(stamped(picture(1), robot.next_stamp())))
        last = _counts(diagnostics)
        received, lost = (after - early for after, early in zip(last, before, strict=True))
        assert received + lost == BURST + 1
        assert lost > 0


def _counts(diagnostics: Diagnostics) -> tuple[int, int]:
    """Images received and lost, in the first report from now on that is a whole second old."""
    for _ in range(2):
        diagnostics.clear()
        _, values = diagnostics.wait_for(lambda _, values: "received" in values, "a report")
    return int(values["received"]), int(values["lost in transport"])
