"""Videos and folders of pictures as sequences of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.sources.image_files import PICTURE_SUFFIXES, read_picture
from eomt_ros.evaluation.sources.sequence import Sequence as FrameSequence
from eomt_ros.evaluation.sources.sequence import SourceError, SourceFrame, Tally
from eomt_ros.evaluation.sources.truth import TruthFolder
from eomt_ros.evaluation.video import VideoError, frame_count, read_video

PICTURES_PER_SECOND = 10


def video_sequence(path: Path, name: str, truth: Path | None) -> FrameSequence:
    """The frames of a video; truth: a folder, see `TruthFolder`. Raises `SourceError`."""
    try:
        count = frame_count(path)
    except VideoError as error:
        raise SourceError(str(error)) from error
    folder = None if truth is None else TruthFolder(truth, count=count)
    read = _Video(path, folder, count).read
    return FrameSequence(name, read, count=count, truth=None if truth is None else str(truth))


def picture_sequence(files: Sequence[Path], name: str, truth: Path | None) -> FrameSequence:
    """Pictures, `PICTURES_PER_SECOND`; truth: a folder, see `TruthFolder`. Raises `SourceError`."""
    names = frozenset(file.stem for file in files)
    folder = None if truth is None else TruthFolder(truth, names=names, count=len(files))
    return FrameSequence(
        name,
        _Pictures(files, folder).read,
        count=len(files),
        seconds=len(files) / PICTURES_PER_SECOND,
        truth=None if truth is None else str(truth),
    )


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by name. Raises `SourceError` without any."""
    pictures = sorted(child for child in folder.iterdir() if child.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise SourceError(
            f"{folder} is neither a bag nor a folder of pictures ({', '.join(PICTURE_SUFFIXES)}), "
            "nor laid out as VIPSeg or VSPW"
        )
    return pictures


@dataclass(frozen=True)
class _Video:
    path: Path
    truth: TruthFolder | None
    count: int | None

    def read(self, problems: list[str]) -> Iterator[SourceFrame]:
        came = 0
        try:
            for index, frame in enumerate(read_video(self.path, problems)):
                truth = None if self.truth is None else self.truth.truth(index, frame.stamp)
                yield SourceFrame(frame.stamp, frame.content, truth)
                came += 1
        except VideoError as error:
            problems.append(f"reading ended too early: {error}")
        else:
            if self.count is not None and came < self.count:
                announced = counted(self.count, "frame")
                problems.append(f"{came:,} of {announced} that the video announces came: it may have been cut short")
        finally:
            problems += [] if self.truth is None else self.truth.problems()


@dataclass(frozen=True)
class _Pictures:
    files: Sequence[Path]
    truth: TruthFolder | None

    def read(self, problems: list[str]) -> Iterator[SourceFrame]:
        left_out = Tally()
        try:
            for index, file in enumerate(self.files):
                stamp = index * 10**9 // PICTURES_PER_SECOND
                try:
                    picture = read_picture(file)
                except SourceError as error:
                    left_out.add(str(error))
                    continue
                truth = None if self.truth is None else self.truth.truth(index, stamp, file.stem)
                yield SourceFrame(stamp, picture, truth)
        finally:
            problems += left_out.sentence("picture was left out", "pictures were left out")
            problems += [] if self.truth is None else self.truth.problems()
