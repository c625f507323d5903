"""One camera's road from segmented frames to metres: its depth, its topics in metres, and what it lacks."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eomt_ros.engine.tracking.places import Places
from eomt_ros.node.depth import DepthInput
from eomt_ros.node.log import SparingLog
from eomt_ros.node.space_frame import Lack, LackError, SpaceFrame
from eomt_ros.node.space_outputs import SpacePublisher
from eomt_ros.node.statistics import SpaceLatency
from eomt_ros.printable import printable
from eomt_ros.space.glance import glance

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from eomt_ros.engine import FrameResult, Segmenter
    from eomt_ros.engine.postprocess.label_map import Region
    from eomt_ros.node.camera import Camera, DecodedImage
    from eomt_ros.node.motion import Motion
    from eomt_ros.node.space_worker import SpaceWorker
    from eomt_ros.space.pose import Pose

BY_IDS = "ids"
"""The name by which the thread that gives ids asks for poses."""
PATIENCE = 0.25
"""s after an image's arrival, besides depth_slop, within which its depth and pose are waited for."""
LONGEST_TRACE = 4000  # characters of the end of a traceback


@dataclass(frozen=True, eq=False)
class Segmented:
    """A frame whose results in pixels are published."""

    picture: DecodedImage
    result: FrameResult
    time: float
    """When it was handed over, by time.monotonic."""

    @property
    def stamp(self) -> int:
        """Nanoseconds."""
        return self.picture.stamp


class SpaceCamera:
    """A camera's topics in metres; and, while the node is active, its depth subscription.

    The executor's thread opens and closes it; `locate` and `hand_over` are for the worker's, `is_due` and `publish` for
    the space worker's. Raises ParameterError for an override of the quality of service that cannot be.
    """

    def __init__(self, camera: Camera, segmenter: Segmenter) -> None:
        self._camera = camera
        self._statistics = camera.statistics.space
        self._log = SparingLog(camera.logger)
        self._segmenter = segmenter
        self._jumps = 0
        self._worker: SpaceWorker | None = None
        self.outputs = SpacePublisher(camera.node, segmenter, lambda: camera.parameters, camera.overrides, camera.name)
        self.depth: DepthInput | None = None
        """None until the node was active for the first time."""

    def open(self, worker: SpaceWorker) -> None:
        """Begin to listen, and to give frames to `worker`. Raises ParameterError."""
        self.depth = DepthInput(self._camera, worker.wake)
        self._worker = worker

    def close(self) -> None:
        """Stop listening."""
        if self.depth is not None:
            self.depth.destroy()

    def destroy(self) -> None:
        """Withdraw the topics."""
        self.outputs.destroy()

    def locate(self, picture: DecodedImage, index: npt.NDArray[Any], regions: Sequence[Region]) -> Places | None:
        """The places of what an image shows in target_frame, see `eomt_ros.engine.tracking.places`.

        Of the depth and the pose that have come so far: the image's ids do not wait for them.
        """
        motion = None if self._worker is None else self._worker.motion
        chosen, optical = self._camera.parameters, picture.header.frame_id
        if motion is None or self.depth is None or chosen.target_frame == optical:
            return None  # no place would hold while the camera moves
        if not self._segmenter.uses_places:
            return None
        try:
            depth, pinhole = self.depth.view_so_far(picture.header, *index.shape)
            pose, jumps = motion.pose(self._camera.name, optical, picture.stamp, reader=BY_IDS)
            places = Places(glance(index, regions, depth, pinhole, pose), jumps)
        except LackError as error:
            self._statistics.count_places(printable(str(error)))
            return None
        except Exception as error:
            # As with results in metres: a robot is better off with an id less than without the frame.
            explanation = f"{type(error).__name__}: {printable(str(error))}"
            self._statistics.count_places(explanation)
            self._log.error("places", f"no places of an image's things: {explanation}")
            return None
        self._statistics.count_places()
        return places

    def hand_over(self, picture: DecodedImage, result: FrameResult) -> None:
        """Give a frame to the space worker where somebody wants something of it in metres; without waiting."""
        assert self._worker is not None
        assert self.depth is not None
        frame = Segmented(picture, result, time.monotonic())
        if not self.outputs.wanted():
            self.depth.forget(frame.stamp)
            return
        self._statistics.count_wanted()
        self.count_overtaken(self._worker.put(self, frame))

    def count_overtaken(self, frames: int) -> None:
        """Count frames that newer ones pushed out."""
        if frames:
            self._statistics.count_lacking(Lack.OVERTAKEN, "they come faster than they are taken to metres", frames)

    def is_due(self, frame: Segmented, motion: Motion | None) -> bool:
        """Say whether depth and pose of a frame have come, or have been waited for."""
        assert self.depth is not None
        if time.monotonic() >= frame.picture.arrived + self._camera.parameters.depth_slop + PATIENCE:
            return True
        frame_id = frame.picture.header.frame_id
        return self.depth.has_settled(frame.stamp) and (motion is None or motion.has_settled(frame_id, frame.stamp))

    def publish(self, frame: Segmented, motion: Motion | None) -> None:
        """Take a frame to metres and publish it, or count and tell what it lacks."""
        assert self.depth is not None
        try:
            self._publish(frame, self.depth, motion)
        except LackError as error:
            self._tell("nothing in metres", error)
        except Exception as error:
            # As with images: a robot is better off without one frame than without all; the log tells it.
            self._tell("nothing in metres", LackError(Lack.INTERNAL_ERROR, f"{type(error).__name__}: {error}"))
            self._log.error("traceback", "".join(traceback.format_exception(error))[-LONGEST_TRACE:])
        self.depth.forget(frame.stamp)

    def _publish(self, frame: Segmented, depth: DepthInput, motion: Motion | None) -> None:
        taken = time.monotonic()
        picture, result = frame.picture, frame.result
        metres, pinhole = depth.view(picture.header, *picture.pixels.shape[:2])
        if not np.isfinite(metres[::8, ::8]).any() and not np.isfinite(metres).any():
            self._tell("no points", LackError(Lack.DEPTH_UNKNOWN, f"depth on {depth.topic} is unknown everywhere"))
        decoded = time.monotonic()
        frame_id = self._camera.parameters.target_frame or picture.header.frame_id
        pose, jumps = self._pose(frame, motion)
        self.outputs.publish(
            SpaceFrame(
                picture.pixels,
                result,
                picture.header,
                metres,
                pinhole,
                pose,
                frame_id,
                fixed=pose is not None,
                located=pose is not None or frame_id == picture.header.frame_id,
                jumps=jumps,
            )
        )
        now = time.monotonic()
        self._statistics.count_published(
            SpaceLatency(taken - frame.time, decoded - taken, now - decoded, now - picture.arrived)
        )

    def _pose(self, frame: Segmented, motion: Motion | None) -> tuple[Pose | None, int]:
        """The camera's pose in target_frame, and how often it has jumped; None where there is none."""
        optical = frame.picture.header.frame_id
        if motion is None or self._camera.parameters.target_frame == optical:
            return None, 0
        try:
            pose, jumps = motion.pose(self._camera.name, optical, frame.stamp)
        except LackError as error:
            self._tell("no objects", error)
            return None, self._jumps
        if jumps > self._jumps:  # the log tells by how much
            target = printable(self._camera.parameters.target_frame)
            text = f"the pose in target_frame '{target}' has jumped, as its source does when it finds itself anew"
            self._statistics.count_lacking(Lack.POSE_JUMPED, text)
        self._jumps = jumps
        return pose, jumps

    def _tell(self, what: str, error: LackError) -> None:
        explanation = printable(str(error))
        self._statistics.count_lacking(error.lack, explanation)
        self._log.warning(error.lack.value, f"{what} of an image: {explanation}")
