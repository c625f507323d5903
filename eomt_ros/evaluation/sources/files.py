"""Videos and folders of pictures as sequences of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.sources.image_files import PICTURE_SUFFIXES, read_picture
from eomt_ros.evaluation.sources.sequence import Sequence as FrameSequence
from eomt_ros.evaluation.sources.sequence import SourceError, SourceFrame, Tally
from eomt_ros.evaluation.sources.truth import NamedFrame, TruthFolder, TruthSource
from eomt_ros.evaluation.video import VideoError, frame_count, read_video

PICTURES_PER_SECOND = 10


def video_sequence(path: Path, name: str, truth: TruthSource) -> FrameSequence:
    """The frames of a video; truth: perhaps with a folder, see `TruthFolder`. Raises `SourceError`."""
    try:
        count = frame_count(path)
    except VideoError as error:
        raise SourceError(str(error)) from error
    folder = None if truth.folder is None else TruthFolder(truth, truth.folder, count=count)
    return FrameSequence(name, _Video(path, folder, count).read, count=count, **_told(truth))


def picture_sequence(files: Sequence[Path], name: str, truth: TruthSource) -> FrameSequence:
    """Pictures, `PICTURES_PER_SECOND`; truth: perhaps with a folder, see `TruthFolder`. Raises `SourceError`."""
    names = frozenset(file.stem for file in files)
    folder = None if truth.folder is None else TruthFolder(truth, truth.folder, names=names, count=len(files))
    return FrameSequence(
        name,
        _Pictures(files, folder).read,
        count=len(files),
        seconds=len(files) / PICTURES_PER_SECOND,
        **_told(truth),
    )


def _told(truth: TruthSource) -> dict[str, Any]:
    return {"truth": None if truth.folder is None else truth.told(str(truth.folder)), "truth_map": truth.map}


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by name. Raises `SourceError` without any."""
    pictures = sorted(child for child in folder.iterdir() if child.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise SourceError(
            f"{folder} is neither a bag nor a folder of pictures ({', '.join(PICTURE_SUFFIXES)}), "
            "nor laid out as VIPSeg or VSPW"
        )
    return pictures


def _scored(frames: Iterator[NamedFrame], truth: TruthFolder | None, problems: list[str]) -> Iterator[SourceFrame]:
    if truth is not None:
        return truth.scored(frames, problems)
    return (SourceFrame(frame.stamp, frame.image, None) for frame in frames)


@dataclass(frozen=True)
class _Video:
    path: Path
    truth: TruthFolder | None
    count: int | None

    def read(self, problems: list[str]) -> Iterator[SourceFrame]:
        return _scored(self._frames(problems), self.truth, problems)

    def _frames(self, problems: list[str]) -> Iterator[NamedFrame]:
        came = 0
        try:
            for index, frame in enumerate(read_video(self.path, problems)):
                yield NamedFrame(index, "", frame.stamp, frame.content)
                came += 1
        except VideoError as error:
            problems.append(f"reading ended too early: {error}")
        else:
            if self.count is not None and came < self.count:
                announced = counted(self.count, "frame")
                problems.append(f"{came:,} of {announced} that the video announces came: it may have been cut short")


@dataclass(frozen=True)
class _Pictures:
    files: Sequence[Path]
    truth: TruthFolder | None

    def read(self, problems: list[str]) -> Iterator[SourceFrame]:
        return _scored(self._frames(problems), self.truth, problems)

    def _frames(self, problems: list[str]) -> Iterator[NamedFrame]:
        left_out = Tally()
        try:
            for index, file in enumerate(self.files):
                try:
                    picture = read_picture(file)
                except SourceError as error:
                    left_out.add(str(error))
                    continue
                yield NamedFrame(index, file.stem, index * 10**9 // PICTURES_PER_SECOND, picture)
        finally:
            problems += left_out.sentence("picture was left out", "pictures were left out")
