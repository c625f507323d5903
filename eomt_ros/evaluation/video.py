"""Video files: frames in and out through PyAV."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from eomt_ros.evaluation.bag import Stamped
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.regular_file import expect_regular

FORMATS = (
    "mov,mp4,3gp,3g2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,h263,mjpeg,mjpeg_2000,ogg,flv,asf,ivf,obu,"
    "gif,mxf,nut,dv,yuv4mpegpipe"
)
"""Formats that are read, by ffmpeg's names."""

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

TICKS_PER_SECOND = 90_000
"""Time stamps per second, as is usual for video: a multiple of all common frame rates."""
LONGEST_VIDEO_SIDE = 16_384
"""Most pixels that H.264 has in a row or column."""

NOMINAL_RATE = 10
"""Frames per second of a video that gives neither times nor a rate."""
MOST_REORDERED = 8
"""Most frames by which a frame's time may be out of order."""


class VideoError(SourceError):
    """A file that cannot be read or written as a video; the message says which and why."""


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


def read_video(path: Path, problems: list[str] | None = None) -> Iterator[Stamped[Picture]]:
    """The frames of a video, (H, W, 3) uint8 RGB, with nanoseconds from its start, which ascend.

    problems: gets a sentence where it gives no times. Raises `VideoError`.
    """
    try:
        with _opened(path) as container:
            if not container.streams.video:
                raise VideoError(f"{path} has no video in it")
            stream = container.streams.video[0]
            rate = stream.guessed_rate or Fraction(NOMINAL_RATE)
            untimed = 0
            for stamp, frame in _in_time(container.decode(stream), round(10**9 / rate)):
                untimed += frame.pts is None
                yield Stamped(stamp, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path} cannot be read as a video: {error}") from error
    if untimed and problems is not None:
        problems.append(f"{counted(untimed, 'frame has', 'frames have')} no time: {float(rate):g} a second are assumed")


def _in_time(frames: Iterator[av.VideoFrame], period: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames with their times in nanoseconds. period: of those that have none.

    A decoder gives pictures in their order, but not every container tells their times in it (H.264 in AVI, packed
    B-frames): of those that are near each other, the first picture has the earliest time.
    """
    waiting: deque[av.VideoFrame] = deque()
    times: list[int] = []
    last = -period

    def first() -> tuple[int, av.VideoFrame]:
        nonlocal last
        frame = waiting.popleft()
        stamp = last if frame.pts is None else heappop(times)
        last = stamp if stamp > last else last + period
        return last, frame

    for frame in frames:
        waiting.append(frame)
        if frame.pts is not None:
            heappush(times, round(frame.pts * (frame.time_base or 0) * 10**9))
        if len(waiting) > MOST_REORDERED:
            yield first()
    while waiting:
        yield first()


def frame_count(path: Path) -> int | None:
    """The number of frames that a video declares; None where it declares none. Raises `VideoError`."""
    try:
        with _opened(path) as container:
            return (container.streams.video[0].frames if container.streams.video else 0) or None
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path} cannot be read as a video: {error}") from error


def _opened(path: Path) -> InputContainer:
    """A video that is one file: a playlist, which ffmpeg would read, too, names others."""
    expect_regular(path)
    return av.open(str(path), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})


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
