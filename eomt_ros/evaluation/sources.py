"""Where frames come from: a bag, a video file, or pictures, told apart by what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from eomt_ros.evaluation.bag import Bag, BagError, Stamped
from eomt_ros.evaluation.video import Picture, VideoError, frame_count, read_video

BAG_SUFFIXES = (".mcap", ".db3", ".bag")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
PICTURES_PER_SECOND = 10


class SourceError(Exception):
    """Frames that cannot be had; the message says which and why."""


@dataclass(frozen=True)
class Source:
    """Frames, (H, W, 3) uint8 RGB with nanoseconds, to be gone through once."""

    frames: Iterator[Stamped[Picture]]
    count: int | None
    """None where it is not known beforehand."""


@contextmanager
def open_source(paths: Sequence[Path], topic: str | None = None) -> Iterator[Source]:
    """Opens one bag, one video, or any number of pictures (a folder stands for those in it, by name).

    topic: that of the images in a bag; not needed if it has only one.
    Raises `SourceError`; so do the frames where one cannot be read.
    """
    try:
        if len(paths) == 1 and _is_bag(paths[0]):
            with Bag(paths[0]) as bag:
                topic = topic or _only_topic(bag)
                yield Source(bag.images(topic), bag.count(topic))
            return
        if topic is not None:
            raise SourceError(f"a topic ({topic}) is for bags, and {paths[0]} is none")
        if all(path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES for path in paths):
            pictures = [picture for path in paths for picture in _pictures(path)]
            yield Source(_read(pictures), len(pictures))
        elif len(paths) == 1:
            yield Source(read_video(paths[0]), frame_count(paths[0]))
        else:
            raise SourceError("several paths must all be pictures: give one bag or one video at a time")
    except (BagError, VideoError) as error:
        raise SourceError(str(error)) from error


def _is_bag(path: Path) -> bool:
    return path.suffix in BAG_SUFFIXES or (path / "metadata.yaml").exists()


def _only_topic(bag: Bag) -> str:
    topics = bag.image_topics
    if len(topics) == 1:
        return topics[0]
    raise SourceError(
        f"{bag.path} has several image topics, choose one of: {', '.join(topics)}"
        if topics
        else f"{bag.path} has no image topic"
    )


def _pictures(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    pictures = sorted(child for child in path.iterdir() if child.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise SourceError(f"{path} is neither a bag nor a folder of pictures ({', '.join(PICTURE_SUFFIXES)})")
    return pictures


def _read(paths: Sequence[Path]) -> Iterator[Stamped[Picture]]:
    for number, path in enumerate(paths):
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror}") from error
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if picture is None:
            raise SourceError(f"{path} is not a picture that can be read")
        yield Stamped(number * 10**9 // PICTURES_PER_SECOND, np.asarray(picture[..., ::-1], np.uint8))
