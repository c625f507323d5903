"""What is wrong with the entries of a data set: what contradicts itself, or leads out of its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eomt_ros.engine.model.labels import LONGEST_NAME, MOST_CLASSES, is_name
from eomt_ros.images import MAX_PIXELS
from eomt_ros.printable import printable
from eomt_ros.training.annotation_files import (
    LARGEST_SEGMENT,
    CategoryEntry,
    FrameEntry,
    ImageEntry,
    PanopticEntries,
    VideoEntry,
)
from eomt_ros.training.frame_labels import labels_name

PICTURE_SUFFIXES = (".jpg", ".png")


@dataclass(frozen=True)
class Flaw:
    """Something wrong that may occur often: `one` and `many` say what, after a number; example: where, and the mend."""

    one: str
    many: str
    example: str


def is_video_name(name: str) -> bool:
    """True for a name that can be that of a folder, everywhere."""
    is_one = bool(name) and name != ".." and Path(name).name == name
    return is_one and name.isprintable() and not set(name) & set('\\:*?"<>|')


def class_flaws(categories: Sequence[CategoryEntry]) -> Iterator[Flaw]:
    """The flaws of a list of classes."""
    wrong = "class is not as it should be", "classes are not as they should be"
    if not 0 < len(categories) <= MOST_CLASSES:
        yield Flaw(*wrong, f"there are {len(categories):,} classes, expected 1 to {MOST_CLASSES:,}")
        return
    names = Counter(category.name for category in categories)
    for place, category in enumerate(categories):
        where = f"categories[{place}]"
        if category.id != place + 1:
            yield Flaw(*wrong, f"{where}.id is {category.id}, expected {place + 1}: ids count from 1")
        if not is_name(category.name):
            yield Flaw(
                *wrong,
                f"{where}.name is '{printable(category.name)}', expected a line of at most {LONGEST_NAME} characters",
            )
        if names[category.name] > 1:
            yield Flaw(*wrong, f"{where}.name is '{printable(category.name)}', the name of another class too")
        if category.isthing not in (0, 1):
            yield Flaw(*wrong, f"{where}.isthing is {category.isthing}, expected 0 or 1")
        if not all(0 <= part <= 255 for part in category.color):
            yield Flaw(*wrong, f"{where}.color is {list(category.color)}, expected red, green and blue from 0 to 255")


def entry_flaws(entries: PanopticEntries) -> Iterator[Flaw]:
    """The flaws of a file of panoptic annotations; the first is in what the others build on."""
    yield from class_flaws(entries.categories)
    videos = {video.id: video for video in entries.videos}
    images = {image.id: image for image in entries.images}
    yield from _repeated("video", [video.id for video in entries.videos])
    yield from _repeated("video", [video.name for video in entries.videos])
    yield from _repeated("picture", [image.id for image in entries.images])
    yield from _repeated("picture", [image.file_name for image in entries.images])
    yield from _repeated("annotation", [frame.image_id for frame in entries.annotations])
    for video in entries.videos:
        if not is_video_name(video.name):
            yield Flaw(
                "video has no name of a folder",
                "videos have no name of a folder",
                f"the video '{printable(video.name)}'",
            )
    yield from image_flaws(entries.images, videos)
    yield from _order_flaws(entries.images, videos)
    yield from _segment_flaws(entries, images)


def _repeated(what: str, keys: Sequence[int | str]) -> Iterator[Flaw]:
    for key, count in Counter(keys).items():
        if count > 1:
            yield Flaw(f"{what} is there twice", f"{what}s are there twice", f"the {what} {printable(str(key))}")


def image_flaws(images: Iterable[ImageEntry], videos: Mapping[int, VideoEntry]) -> Iterator[Flaw]:
    """The flaws of pictures by themselves; videos: by their ids. Those without one can be looked for and read."""
    for image in images:
        shown = printable(image.file_name)
        video = videos.get(image.video_id)
        if video is None:
            yield Flaw(
                "picture is of an unknown video",
                "pictures are of unknown videos",
                f"{shown} has video_id {image.video_id}",
            )
            continue
        folder, _, name = image.file_name.rpartition("/")
        if folder != video.name or not name.isprintable() or Path(name).suffix not in PICTURE_SUFFIXES:
            yield Flaw(
                "picture has a wrong name",
                "pictures have wrong names",
                f"file_name is '{shown}', expected {printable(video.name)}/<frame>{' or '.join(PICTURE_SUFFIXES)}",
            )
        if image.height < 1 or image.width < 1 or image.height * image.width > MAX_PIXELS:
            yield Flaw(
                "picture has an impossible size",
                "pictures have impossible sizes",
                f"{shown} is {image.width}x{image.height}, expected at most {MAX_PIXELS:,} pixels",
            )
        elif (image.height, image.width) != (video.height, video.width):
            yield Flaw(
                "picture has another size than its video",
                "pictures have another size than their video",
                f"{shown} is {image.width}x{image.height}, its video {video.width}x{video.height}: make it two videos",
            )


def _order_flaws(images: Sequence[ImageEntry], videos: Mapping[int, VideoEntry]) -> Iterator[Flaw]:
    before: dict[int, ImageEntry] = {}
    for image in sorted(images, key=lambda image: (image.video_id, image.frame_id)):
        last = before.get(image.video_id)
        before[image.video_id] = image
        if last is not None and (last.frame_id == image.frame_id or last.stamp >= image.stamp):
            yield Flaw(
                "picture is not in the order of time",
                "pictures are not in the order of time",
                f"{printable(image.file_name)} (frame_id {image.frame_id}, stamp {image.stamp}) after "
                f"{printable(last.file_name)} (frame_id {last.frame_id}, stamp {last.stamp}), expected both to rise",
            )


def _segment_flaws(entries: PanopticEntries, images: Mapping[int, ImageEntry]) -> Iterator[Flaw]:
    known: dict[tuple[int, int], tuple[int, int | None]] = {}
    holders: dict[tuple[int, int], tuple[int, int]] = {}
    for frame in entries.annotations:
        image = images.get(frame.image_id)
        if image is None:
            yield Flaw(
                "annotation is of an unknown picture",
                "annotations are of unknown pictures",
                f"image_id {frame.image_id} ({printable(frame.file_name)}) is in no entry of images",
            )
            continue
        if frame.file_name != labels_name(image.file_name):
            yield Flaw(
                "annotation has a wrong name",
                "annotations have wrong names",
                f"file_name is '{printable(frame.file_name)}', expected {printable(labels_name(image.file_name))}",
            )
        if len({each.id for each in frame.segments_info}) < len(frame.segments_info):
            yield Flaw(
                "picture has a segment twice",
                "pictures have a segment twice",
                f"the segments_info of {printable(frame.file_name)} name one id twice",
            )
        yield from _own_flaws(frame, entries.categories)
        for segment in frame.segments_info:
            key = (image.video_id, segment.id)
            said = (segment.category_id, segment.track_id)
            where = f"segment {segment.id} of {printable(frame.file_name)}"
            if known.setdefault(key, said) != said:
                yield Flaw(
                    "segment changes its class or track within the video",
                    "segments change their class or track within the video",
                    f"{where} has category_id and track_id {said}, earlier {known[key]}: give it an id of its own",
                )
            if segment.track_id is None:
                continue
            holder = (segment.id, segment.category_id)
            if holders.setdefault((image.video_id, segment.track_id), holder) != holder:
                yield Flaw(
                    "track changes its segment or class within the video",
                    "tracks change their segment or class within the video",
                    f"track {segment.track_id} is {where}, category_id {segment.category_id}, earlier segment and "
                    f"category_id {holders[image.video_id, segment.track_id]}: give it a track_id of its own",
                )


def _own_flaws(frame: FrameEntry, categories: Sequence[CategoryEntry]) -> Iterator[Flaw]:
    for segment in frame.segments_info:
        where = f"segment {segment.id} of {printable(frame.file_name)}"
        if not 0 < segment.id <= LARGEST_SEGMENT:
            expected = f"{where}, expected 1 to {LARGEST_SEGMENT}"
            yield Flaw("segment has an impossible id", "segments have impossible ids", expected)
        if not 0 < segment.category_id <= len(categories):
            yield Flaw(
                "segment is of an unknown class",
                "segments are of unknown classes",
                f"{where} has category_id {segment.category_id}, expected 1 to {len(categories)}",
            )
        elif segment.track_id is not None and not categories[segment.category_id - 1].isthing:
            yield Flaw(
                "segment of stuff has a track",
                "segments of stuff have a track",
                f"{where} has track_id {segment.track_id}, though {categories[segment.category_id - 1].name} is stuff",
            )
        if segment.iscrowd not in (0, 1):
            yield Flaw(
                "segment has a wrong iscrowd",
                "segments have a wrong iscrowd",
                f"{where} has {segment.iscrowd}, expected 0 or 1",
            )
