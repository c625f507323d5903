"""The one thread that computes: waiting images -> pixels -> segments -> published results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eomt_ros.node.presence import Presence
from eomt_ros.node.statistics import BatchLatency, BatchStatistics

if TYPE_CHECKING:
    from eomt_ros.engine import FrameResult, Segmenter
    from eomt_ros.node.camera import Camera, DecodedImage
    from eomt_ros.node.inputs import Arrival
    from eomt_ros.node.mailbox import Mailbox
    from eomt_ros.node.parameters import Parameters


class Worker:
    """Processes the images of a mailbox until it is closed: of every camera that has some one, all together."""

    def __init__(
        self,
        segmenter: Segmenter,
        mailbox: Mailbox[Camera, Arrival],
        statistics: BatchStatistics,
        parameters: Callable[[], Parameters],
    ) -> None:
        self._segmenter = segmenter
        self._mailbox = mailbox
        self._statistics = statistics
        self._parameters = parameters
        self._presence = Presence()
        # A daemon, because a frame can take longer than a user who pressed Ctrl-C waits.
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin to take images."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more images, and wait for those in work."""
        self._mailbox.close()
        self._thread.join()

    def abandon(self, patience: float) -> None:
        """Publish nothing more, not the images in work either; waits at most `patience` seconds for what goes out."""
        self._mailbox.close()
        self._presence.end(patience)

    def _run(self) -> None:
        while (arrivals := self._take()) is not None:
            self._process(arrivals)
        self._presence.leave()

    def _take(self) -> dict[Camera, Arrival] | None:
        with self._presence.away():
            return self._mailbox.take(lambda: self._parameters().sync_window)

    def _process(self, arrivals: dict[Camera, Arrival]) -> None:
        taken = time.monotonic()
        pictures: dict[Camera, DecodedImage] = {}
        for camera, arrival in arrivals.items():
            with camera.dropping():
                pictures[camera] = camera.prepare(arrival)
        if not pictures:
            return
        decoded = time.monotonic()
        outcomes = self._segmented(pictures)
        segmented = time.monotonic()
        results = []
        for (camera, picture), outcome in zip(pictures.items(), outcomes, strict=True):
            with camera.dropping():
                if isinstance(outcome, Exception):
                    raise outcome
                camera.publish(picture, outcome, segmented)
                results.append(outcome)
        if results:
            latency = BatchLatency.of(results, taken=taken, decoded=decoded, segmented=segmented)
            self._statistics.count(len(results), latency)

    def _segmented(self, pictures: dict[Camera, DecodedImage]) -> Sequence[FrameResult | Exception]:
        """The result of each picture, or why there is none."""
        with_masks = self._parameters().publish_masks and any(camera.outputs.wants_masks() for camera in pictures)
        with_confidence = any(camera.outputs.wants_confidence() for camera in pictures)
        try:
            with self._presence.away():
                return self._segmenter.segment_batch(
                    [picture.pixels for picture in pictures.values()],
                    [camera.stream for camera in pictures],
                    stamps=[picture.admitted for picture in pictures.values()],
                    with_masks=with_masks,
                    with_confidence=with_confidence,
                    return_exceptions=True,
                )
        except Exception as error:  # each camera tells it
            return [error] * len(pictures)
