"""Videos and pictures in files of their own as sequences of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.sources.annotations import expect_inside
from eomt_ros.evaluation.sources.image_files import PICTURE_SUFFIXES, read_picture
from eomt_ros.evaluation.sources.sequence import FrameSequence, Problems, SourceFrame
from eomt_ros.evaluation.sources.truth import TruthFolder, TruthSource
from eomt_ros.stamps import SECOND
from eomt_ros.video import VideoError, frame_count, read_video

PICTURES_PER_SECOND = 10


def video_sequence(path: Path, name: str, truth: TruthSource) -> FrameSequence:
    """The frames of a video; truth: perhaps with a folder, see `TruthFolder`. Raises `SourceError`."""
    count = frame_count(path)
    return _sequence(name, partial(_read_video, path, count), truth, count)


def picture_sequence(files: Sequence[Path], name: str, truth: TruthSource) -> FrameSequence:
    """Pictures, `PICTURES_PER_SECOND`; truth: perhaps with a folder, see `TruthFolder`. Raises `SourceError`."""
    read = partial(read_pictures, files, PICTURES_PER_SECOND)
    sequence = _sequence(name, read, truth, len(files), [file.stem for file in files])
    sequence.seconds = len(files) / PICTURES_PER_SECOND
    return sequence


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by name. Raises `SourceError` without any."""
    pictures = sorted(child for child in folder.iterdir() if child.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise SourceError(
            f"{folder} is neither a bag nor a folder of pictures ({', '.join(PICTURE_SUFFIXES)}), "
            "nor laid out as VIPSeg, VSPW, YouTube-VIS or COCO panoptic"
        )
    return pictures


def read_pictures(
    files: Sequence[Path], rate: float, problems: Problems, *, inside: Path | None = None
) -> Iterator[tuple[int, SourceFrame]]:
    """The pictures that can be read, `rate` a second, each with its place among `files`.

    inside: a folder that links must not lead out of.
    """
    for index, file in enumerate(files):
        try:
            if inside is not None:
                expect_inside(file, inside)
            picture = read_picture(file)
        except SourceError as error:
            problems.tally("picture was left out", "pictures were left out", str(error))
            continue
        yield index, SourceFrame(round(index * SECOND / rate), picture, name=file.stem)


def _sequence(
    name: str,
    read: Callable[[Problems], Iterator[tuple[int, SourceFrame]]],
    truth: TruthSource,
    count: int | None,
    names: Sequence[str] = (),
) -> FrameSequence:
    if truth.folder is None:
        return FrameSequence(name, lambda problems: (frame for _, frame in read(problems)), count)
    folder = TruthFolder(truth, truth.folder, names=names, count=count)
    return FrameSequence(
        name,
        lambda problems: folder.scored(read(problems), problems),
        count,
        truth=truth.told(str(truth.folder)),
        truth_map=truth.map,
    )


def _read_video(path: Path, count: int | None, problems: Problems) -> Iterator[tuple[int, SourceFrame]]:
    came = 0
    try:
        for frame in read_video(path, problems):
            yield came, SourceFrame(frame.stamp, frame.image)
            came += 1
    except VideoError as error:
        problems.append(f"reading ended too early: {error}")
    else:
        if count is not None and came < count:
            announced = counted(count, "frame")
            problems.append(f"{came:,} of {announced} that the video announces came: it may have been cut short")
