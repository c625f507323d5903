"""The one thread that takes segmented frames to metres, of all cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eomt_ros.node.mailbox import Mailbox
from eomt_ros.node.mailbox_thread import MailboxThread

if TYPE_CHECKING:
    from eomt_ros.node.motion import Motion
    from eomt_ros.node.parameters import Parameters
    from eomt_ros.node.space_camera import Segmented, SpaceCamera

MOST_WAITING = 16
"""Frames of a camera under policy 'latest': about as many as come while one waits for its depth."""


class SpaceWorker(MailboxThread):
    """Publishes frames in metres, each once its depth and pose have come or have been waited for.

    Under policy 'latest' the newest frame of a camera that is ready overtakes those before it; under 'every_frame' all
    go in order.
    """

    def __init__(self, cameras: Sequence[SpaceCamera], parameters: Callable[[], Parameters]) -> None:
        self._frames: Mailbox[SpaceCamera, Segmented] = Mailbox(cameras, _capacity(parameters()))
        super().__init__("space", self._frames)
        self._parameters = parameters
        self.motion: Motion | None = None
        """To be set before the start, where there is a target_frame."""

    def put(self, camera: SpaceCamera, frame: Segmented) -> int:
        """Take a frame without waiting, and return how many older ones of its camera it pushed out."""
        return self._frames.put(camera, frame)

    def wake(self) -> None:
        """Look again whether a frame has what it waits for."""
        self._frames.wake()

    def apply_parameters(self) -> None:
        """Heed a changed policy or queue_size."""
        for camera, pushed_out in self._frames.resize(_capacity(self._parameters())).items():
            camera.count_overtaken(pushed_out)

    def _work(self) -> bool:
        with self._presence.away():
            taken = self._frames.take_due(self._is_due, newest=self._parameters().policy == "latest")
        if taken is None:
            return False
        camera, frame, overtaken = taken
        camera.count_overtaken(overtaken)
        camera.publish(frame, self.motion)
        return True

    def _is_due(self, camera: SpaceCamera, frame: Segmented) -> bool:
        return camera.is_due(frame, self.motion)


def _capacity(parameters: Parameters) -> int:
    return MOST_WAITING if parameters.policy == "latest" else parameters.queue_size
