"""Reading video files, through PyAV."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from eomt_ros.errors import UserError
from eomt_ros.regular_file import expect_regular
from eomt_ros.remote_path import RemotePath

FORMATS = (
    "mov,mp4,3gp,3g2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,h263,mjpeg,mjpeg_2000,ogg,flv,asf,ivf,obu,"
    "gif,mxf,nut,dv,yuv4mpegpipe"
)
"""Formats that are read, by ffmpeg's names."""

NOMINAL_RATE = 10
"""Frames per second of a video that gives neither times nor a rate."""
MOST_REORDERED = 8
"""Most frames by which a frame's time may be out of order."""


class VideoError(UserError):
    """A file that cannot be read or written as a video; the message says which and why."""


class TimedImage(NamedTuple):
    """A frame of a video."""

    stamp: int
    """Nanoseconds from the start of the video."""
    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""


def read_video(path: Path, problems: list[str] | None = None) -> Iterator[TimedImage]:
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
                yield TimedImage(stamp, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path} cannot be read as a video: {error}") from error
    if untimed and problems is not None:
        count = "1 frame has" if untimed == 1 else f"{untimed:,} frames have"
        problems.append(f"{count} no time: {float(rate):g} a second are assumed")


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
    source = path.open() if isinstance(path, RemotePath) else str(path)
    return av.open(source, "r", options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})
