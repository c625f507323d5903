"""The one thread that computes: waiting image -> pixels -> segments -> published result."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from eomt_ros.engine import DeviceLostError, EngineError, NotFiniteError, OutOfMemoryError
from eomt_ros.images import ImageError, UnsupportedEncodingError, decode
from eomt_ros.node.cdr import read_image
from eomt_ros.node.log import SparingLog
from eomt_ros.node.presence import Presence
from eomt_ros.node.statistics import Drop, FrameLatency, Statistics
from eomt_ros.printable import printable

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

    from eomt_ros.engine import Stream
    from eomt_ros.node.inputs import Arrival
    from eomt_ros.node.mailbox import Mailbox
    from eomt_ros.node.outputs import ResultPublisher
    from eomt_ros.node.parameters import Parameters

LONGEST_TRACE = 4000  # characters of the end of a traceback
MOST_ENCODINGS = 32  # that are told apart in the log: their names come from the network, so their number is bounded


class Worker:
    """Processes the images of one mailbox, one after the other, until it is closed."""

    def __init__(
        self,
        stream: Stream,
        mailbox: Mailbox[Arrival],
        outputs: ResultPublisher,
        statistics: Statistics,
        parameters: Callable[[], Parameters],
        logger: RcutilsLogger,
    ) -> None:
        self._stream = stream
        self._mailbox = mailbox
        self._outputs = outputs
        self._statistics = statistics
        self._parameters = parameters
        self._log = SparingLog(logger)
        self._reset_wanted = threading.Event()
        self._presence = Presence()
        self._told_encodings: set[str] = set()
        # A daemon, because a frame can take longer than a user who pressed Ctrl-C waits.
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin to take images."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more images, and wait for the one in work."""
        self._mailbox.close()
        self._thread.join()

    def abandon(self, patience: float) -> None:
        """Publish nothing more, not the image in work either; waits at most `patience` seconds for what goes out."""
        self._mailbox.close()
        self._presence.end(patience)

    def reset_stream(self) -> None:
        """Begin a new epoch with the next image that is taken."""
        self._reset_wanted.set()

    def _run(self) -> None:
        while (arrival := self._take()) is not None:
            try:
                self._process(arrival)
            except UnsupportedEncodingError as error:
                self._fail(Drop.UNSUPPORTED_ENCODING, str(error))
                self._report_encoding(error)
            except ImageError as error:
                self._fail(Drop.BAD_IMAGE, str(error))
                self._log.warning(Drop.BAD_IMAGE.value, f"image dropped: {error}")
            except NotFiniteError as error:
                self._fail_and_reset(Drop.NOT_FINITE, error)
            except OutOfMemoryError as error:
                self._fail_and_reset(Drop.OUT_OF_MEMORY, error)
            except DeviceLostError as error:
                self._fail_and_reset(Drop.DEVICE_LOST, error)
            except EngineError as error:
                self._fail_and_reset(Drop.ENGINE_ERROR, error)
            except Exception as error:
                # Whatever it is, a robot is better off without one frame than without its eyes; the log tells it all.
                self._fail_and_reset(Drop.INTERNAL_ERROR, error)
                self._log.error("traceback", traceback.format_exc()[-LONGEST_TRACE:])
        self._presence.leave()

    def _take(self) -> Arrival | None:
        with self._presence.away():
            return self._mailbox.take()

    def _process(self, arrival: Arrival) -> None:
        taken = time.monotonic()
        parameters = self._parameters()
        message = read_image(arrival.message, arrival.kind)
        header = message.header
        image = decode(message)
        decoded = time.monotonic()

        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            self._stream.reset()
            self._tell_reset("reset asked for", "asked for by ~/reset")
        with_masks = parameters.publish_masks and self._outputs.wants_masks()
        with_confidence = self._outputs.wants_confidence()
        with self._presence.away():
            result = self._stream.segment(
                image, stamp=arrival.admitted, with_masks=with_masks, with_confidence=with_confidence
            )
        if result.reset_reason:
            self._tell_reset("reset", result.reset_reason)
        segmented = time.monotonic()

        dropped = self._statistics.counts.dropped.total()
        self._outputs.publish(image, result, header, dropped=dropped, overlay_alpha=parameters.overlay_alpha)
        self._statistics.count_processed(
            FrameLatency.of(result, arrived=arrival.time, taken=taken, decoded=decoded, segmented=segmented)
        )

    def _tell_reset(self, kind: str, reason: str) -> None:
        self._log.warning(kind, f"stream reset, epoch {self._stream.epoch} begins: {reason}")

    def _fail(self, reason: Drop, message: str) -> None:
        self._statistics.count_failed(reason, printable(message))

    def _fail_and_reset(self, reason: Drop, error: Exception) -> None:
        # What is propagated from this frame on may be spoilt.
        self._stream.reset()
        self._fail(reason, str(error))
        self._log.error(
            reason.value, f"image dropped and stream reset, epoch {self._stream.epoch} begins: {printable(str(error))}"
        )

    def _report_encoding(self, error: UnsupportedEncodingError) -> None:
        told = str(error)
        if told in self._told_encodings:
            return
        if len(self._told_encodings) < MOST_ENCODINGS:
            self._told_encodings.add(told)
        self._log.error(Drop.UNSUPPORTED_ENCODING.value, f"images dropped: {told}")
