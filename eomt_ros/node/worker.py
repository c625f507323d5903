"""The one thread that computes: waiting images -> pixels -> segments -> published results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eomt_ros.node.mailbox_thread import MailboxThread
from eomt_ros.node.statistics import BatchLatency, BatchStatistics

if TYPE_CHECKING:
    from eomt_ros.engine import FrameResult, Segmenter, SharedIds
    from eomt_ros.node.camera import Camera, DecodedImage
    from eomt_ros.node.inputs import Arrival
    from eomt_ros.node.mailbox import Mailbox
    from eomt_ros.node.parameters import Parameters


class Worker(MailboxThread):
    """Processes the images of a mailbox until it is closed: of every camera that has some one, all together.

    shared_ids: those of the cameras; None where each has its own.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        mailbox: Mailbox[Camera, Arrival],
        statistics: BatchStatistics,
        parameters: Callable[[], Parameters],
        shared_ids: SharedIds | None = None,
    ) -> None:
        super().__init__("worker", mailbox)
        self._segmenter = segmenter
        self._statistics = statistics
        self._parameters = parameters
        self._shared_ids = shared_ids
        self._epoch_wanted = threading.Event()

    def begin_epoch(self) -> None:
        """Begin the next epoch of all cameras with the next images that are taken; for cameras that share their ids."""
        self._epoch_wanted.set()

    def _work(self) -> bool:
        with self._presence.away():
            arrivals = self._mailbox.take(lambda: self._parameters().sync_window)
        if arrivals is not None:
            self._process(arrivals)
        return arrivals is not None

    def _process(self, arrivals: dict[Camera, Arrival]) -> None:
        taken = time.monotonic()
        if self._shared_ids is not None and self._epoch_wanted.is_set():
            self._epoch_wanted.clear()
            self._shared_ids.restart()
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
        with_confidence = any(camera.wants_confidence() for camera in pictures)
        try:
            with self._presence.away():
                return self._segmenter.segment_batch(
                    [picture.pixels for picture in pictures.values()],
                    [camera.stream for camera in pictures],
                    stamps=[picture.admitted for picture in pictures.values()],
                    locate=[camera.locate(picture) for camera, picture in pictures.items()],
                    with_masks=with_masks,
                    with_confidence=with_confidence,
                    with_embeddings=self._parameters().publish_embeddings,
                    return_exceptions=True,
                )
        except Exception as error:  # each camera tells it
            return [error] * len(pictures)
