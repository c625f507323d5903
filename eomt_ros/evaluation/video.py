"""Writing video files, through PyAV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.stream import VideoStream

from eomt_ros.video import VideoError

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

TICKS_PER_SECOND = 90_000
"""Time stamps per second, as is usual for video: a multiple of all common frame rates."""
LONGEST_VIDEO_SIDE = 16_384
"""Most pixels that H.264 has in a row or column."""


class VideoWriter:
    """Writes an MP4 (H.264, 4:2:0, so that browsers play it), complete at the end of the `with` block, or removed.

    The file is made with the first frame, which also decides about the size: later ones of another size are stretched
    to it. What is too large for H.264 is shrunk. Frames keep their times, so that a dropped frame shows as one that
    stays longer.

    quick: takes a quarter of the time, for a little less quality in a file of the same size.
    """

    def __init__(self, path: Path, *, quick: bool = False) -> None:
        self._path = path
        self._options = {"preset": "ultrafast", "crf": "23"} if quick else {"preset": "veryfast", "crf": "18"}
        self._file: tuple[OutputContainer, VideoStream] | None = None
        self._failed = False
        self._start = 0
        self._last = -1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        container, stream = self._file
        try:
            with self._errors(), container:
                # FFmpeg crashes where it is to go on with a file whose beginning it could not write.
                if not self._failed:
                    container.mux(stream.encode(None))
        except (OSError, VideoError):
            if error is None:
                raise
        finally:
            if self._failed:
                # Of an MP4 without its end nothing can be seen; and where the disk is full, others need the room.
                self._path.unlink(missing_ok=True)

    def write(self, picture: Picture, stamp: int) -> None:
        """Adds a frame, (H, W, 3) uint8 RGB, of `stamp` nanoseconds on any clock. Raises `OSError`, `VideoError`."""
        if self._file is None:
            height, width = picture.shape[:2]
            self._file = _create(self._path, height, width, self._options)
            self._start = stamp
        container, stream = self._file
        picture = np.ascontiguousarray(_fit(picture, stream.height, stream.width))
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        # Time may jump back, in a bag that was looped for example; in a video it cannot.
        self._last = frame.pts = max(round((stamp - self._start) * TICKS_PER_SECOND / 10**9), self._last + 1)
        frame.time_base = Fraction(1, TICKS_PER_SECOND)
        with self._errors():
            container.mux(stream.encode(frame))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Names the file in FFmpeg's errors, which they do not."""
        try:
            yield
        except OSError as error:
            self._failed = True
            raise OSError(f"{self._path} cannot be written: {error.strerror}") from error
        except av.FFmpegError as error:
            self._failed = True
            raise VideoError(f"{self._path} cannot be written: {error}") from error


def _create(path: Path, height: int, width: int, options: dict[str, str]) -> tuple[OutputContainer, VideoStream]:
    container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
    stream: VideoStream = container.add_stream("libx264", options=options)
    shrunk = min(1.0, LONGEST_VIDEO_SIDE / max(height, width))
    # In 4:2:0 four pixels share a colour, so that height and width are even.
    stream.height, stream.width = (2 * math.ceil(side * shrunk / 2) for side in (height, width))
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
    return container, stream


def _fit(picture: Picture, height: int, width: int) -> Picture:
    if picture.shape[:2] == (height, width):
        return picture
    below, right = height - picture.shape[0], width - picture.shape[1]
    if below in (0, 1) and right in (0, 1):
        return np.pad(picture, ((0, below), (0, right), (0, 0)), "edge")
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
