"""One camera of the node: the road of its images from the subscription to the published results."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from eomt_ros.engine import DeviceLostError, EngineError, IgnoreMaskError, NotFiniteError, OutOfMemoryError
from eomt_ros.images import ImageError, UnsupportedEncodingError, decode
from eomt_ros.node.cdr import read_image
from eomt_ros.node.inputs import Arrival, Input
from eomt_ros.node.log import SparingLog
from eomt_ros.node.outputs import ResultPublisher
from eomt_ros.node.parameters import ParameterError
from eomt_ros.node.statistics import Drop, FrameLatency, Statistics
from eomt_ros.printable import printable
from eomt_ros.stamps import SECOND

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from rclpy.node import Node
    from std_msgs.msg import Header

    from eomt_ros.continuity import Admitted
    from eomt_ros.engine import FrameResult, Segmenter, SharedIds
    from eomt_ros.engine.tracking.places import Locate
    from eomt_ros.node.mailbox import Mailbox
    from eomt_ros.node.parameters import Parameters
    from eomt_ros.node.qos import QosOverrides
    from eomt_ros.node.space_camera import SpaceCamera
    from eomt_ros.node.space_worker import SpaceWorker

LONGEST_TRACE = 4000  # characters of the end of a traceback
MOST_ENCODINGS = 32  # that are told apart in the log: their names come from the network, so their number is bounded

# The first that fits counts.
_REASONS: dict[type[Exception], Drop] = {
    UnsupportedEncodingError: Drop.UNSUPPORTED_ENCODING,
    ImageError: Drop.BAD_IMAGE,
    IgnoreMaskError: Drop.BAD_IMAGE,
    NotFiniteError: Drop.NOT_FINITE,
    OutOfMemoryError: Drop.OUT_OF_MEMORY,
    DeviceLostError: Drop.DEVICE_LOST,
    EngineError: Drop.ENGINE_ERROR,
    Exception: Drop.INTERNAL_ERROR,
}


class DecodedImage(NamedTuple):
    """An image that is ready for the network, and what is to be known of it afterwards."""

    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    header: Header
    admitted: Admitted
    arrived: float
    taken: float
    decoded: float
    """Moments by time.monotonic."""

    @property
    def stamp(self) -> int:
        """Nanoseconds."""
        return int(self.header.stamp.sec) * SECOND + int(self.header.stamp.nanosec)


class Camera:
    """A camera's stream, result topics and counts; and, while the node is active, its image subscription.

    The executor's thread opens and closes it; `prepare`, `publish` and `fail` are for the worker's. Raises
    ParameterError for an override of the quality of service that cannot be.

    name: a step of its topics' names; "" for the only one of a node. parameters: those of the node at this moment.
    shared_ids: those of all cameras; None for ids of its own.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        segmenter: Segmenter,
        parameters: Callable[[], Parameters],
        overrides: QosOverrides,
        shared_ids: SharedIds | None = None,
    ) -> None:
        self.node = node
        self.name = name
        self.overrides = overrides
        self.enabled = True
        """False: its images are skipped."""
        self.logger = node.get_logger().get_child(name) if name else node.get_logger()
        self.statistics = Statistics()
        self._parameters = parameters
        self._shared_ids = shared_ids
        self.stream = segmenter.open_stream(max_gap=self.parameters.max_gap, camera=name, shared_ids=shared_ids)
        self.outputs = ResultPublisher(node, segmenter, self.parameters.qos_depth, overrides, name)
        self.space = self._space(segmenter)
        """None without depth."""
        self.input: Input | None = None
        """None while the node is not active."""
        self._reset_wanted = threading.Event()
        self._log = SparingLog(self.logger)
        self._told_encodings: set[str] = set()

    def _space(self, segmenter: Segmenter) -> SpaceCamera | None:
        if self.parameters.depth == "none":
            return None
        # Here and not at the top: without depth, nothing of it is loaded.
        from eomt_ros.node.space_camera import SpaceCamera

        try:
            return SpaceCamera(self, segmenter)
        except ParameterError:
            self.outputs.destroy()
            raise

    @property
    def parameters(self) -> Parameters:
        """The node's, at this moment."""
        return self._parameters()

    def open(self, mailbox: Mailbox[Camera, Arrival], space: SpaceWorker | None = None) -> Input:
        """Begin to put images into `mailbox`, and what somebody wants in metres to `space`.

        Raises ParameterError, see `Input`.
        """
        if self.space is not None and space is not None:
            self.space.open(space)
        self.input = Input(self, mailbox)
        self.outputs.publish_label_info()
        self.statistics.restart_silence()
        return self.input

    def close(self) -> None:
        """Stop listening."""
        if self.input is not None:
            self.input.destroy()
            self.input = None
        if self.space is not None:
            self.space.close()

    def destroy(self) -> None:
        """Withdraw the result topics."""
        self.outputs.destroy()
        if self.space is not None:
            self.space.destroy()

    def reset(self) -> None:
        """Forget all objects with the next image that is taken."""
        self._reset_wanted.set()

    def wants_confidence(self) -> bool:
        """Say whether anybody would receive confidences."""
        return self.outputs.wants_confidence() or (self.space is not None and self.space.outputs.wants_confidence())

    def prepare(self, arrival: Arrival) -> DecodedImage:
        """Decode an image. Raises ImageError."""
        taken = time.monotonic()
        message = read_image(arrival.message, arrival.kind)
        pixels = decode(message)
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            self.stream.reset()
            self._tell_reset("reset asked for", "asked for by a service")
        return DecodedImage(pixels, message.header, arrival.admitted, arrival.time, taken, time.monotonic())

    def locate(self, picture: DecodedImage) -> Locate | None:
        """What gives the places of the things in an image; None where nothing can."""
        return None if self.space is None else partial(self.space.locate, picture)

    def publish(self, picture: DecodedImage, result: FrameResult, segmented: float) -> None:
        """Publish the result of an image; segmented: when the engine gave it, by time.monotonic."""
        if result.reset_reason:
            self._tell_reset("reset", result.reset_reason)
        dropped = self.statistics.counts.dropped.total()
        chosen = self.parameters
        self.outputs.publish(
            picture.pixels,
            result,
            picture.header,
            dropped=dropped,
            overlay_alpha=chosen.overlay_alpha,
            with_embeddings=chosen.publish_embeddings,
        )
        latency = FrameLatency.of(
            result, arrived=picture.arrived, taken=picture.taken, decoded=picture.decoded, segmented=segmented
        )
        self.statistics.count_processed(latency)
        if self.space is not None:
            self.space.hand_over(picture, result)

    @contextmanager
    def dropping(self) -> Iterator[None]:
        """Within the block, whatever fails drops the image."""
        try:
            yield
        except Exception as error:
            # Whatever it is, a robot is better off without one frame than without its eyes; the log tells it all.
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Count and tell that an image is dropped for `error`."""
        reason = next(drop for kind, drop in _REASONS.items() if isinstance(error, kind))
        message = printable(str(error))
        self.statistics.count_failed(reason, message)
        if reason is Drop.UNSUPPORTED_ENCODING:
            self._tell_encoding(message)
            return
        if reason is Drop.BAD_IMAGE:
            self._log.warning(reason.value, f"image dropped: {message}")
            return
        # What is propagated from this frame on may be spoilt.
        self.stream.reset()
        self._log.error(reason.value, f"image dropped and stream reset, {self._epoch}: {message}")
        if reason is Drop.INTERNAL_ERROR:
            self._log.error("traceback", "".join(traceback.format_exception(error))[-LONGEST_TRACE:])

    @property
    def _epoch(self) -> str:
        """What begins after a reset of this camera, for the log."""
        epoch = f"epoch {self.stream.epoch}"
        return f"{epoch} begins" if self._shared_ids is None else f"new ids in {epoch} begin"

    def _tell_reset(self, kind: str, reason: str) -> None:
        self._log.warning(kind, f"stream reset, {self._epoch}: {reason}")

    def _tell_encoding(self, message: str) -> None:
        if message in self._told_encodings:
            return
        if len(self._told_encodings) < MOST_ENCODINGS:
            self._told_encodings.add(message)
        self._log.error(Drop.UNSUPPORTED_ENCODING.value, f"images dropped: {message}")
