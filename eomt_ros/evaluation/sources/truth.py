"""The ground truth of a recording: topics of its bag, or a folder of PNG files."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from eomt_ros.evaluation.bag import Bag, BagError
from eomt_ros.evaluation.counting import Tally, counted
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import LabelImage, Truth
from eomt_ros.evaluation.label_image import LabelImageError, decode_labels
from eomt_ros.evaluation.sources.image_files import read_png
from eomt_ros.evaluation.sources.matching import nearest
from eomt_ros.evaluation.sources.sequence import Problems, SourceFrame
from eomt_ros.evaluation.sources.truth_map import TruthMap

CLASSES_TOPIC = "/ground_truth/semantic"
INSTANCES_TOPIC = "/ground_truth/panoptic"
CLASSES_FOLDER, INSTANCES_FOLDER = "semantic", "panoptic"

UNREADABLE_TRUTH = (
    "frame's ground truth is not used: it cannot be read",
    "frames' ground truth is not used: it cannot be read",
)
LARGEST_INDEX = 10**7
"""Names of pictures are the indices of frames if all are below it, else stamps: 10 ms in nanoseconds."""


@dataclass(frozen=True)
class TruthSource:
    """The place and meaning of the ground truth, as the user says; by default it is looked for in the usual topics."""

    classes_topic: str | None = None
    """Label images of class ids; None: `CLASSES_TOPIC` if the bag has it, else that in the camera's namespace. Here and
    in `instances_topic`, `{camera}` stands for the name of each of several cameras."""
    instances_topic: str | None = None
    """Label images of ids of things, 0 for stuff; None: `INSTANCES_TOPIC` likewise."""
    folder: Path | None = None
    """PNG files named by stamp in nanoseconds or by index: in `semantic/` and perhaps `panoptic/`, or classes only
    directly in it. Of several recordings or cameras, those of each are in a folder of its name."""
    map: TruthMap = field(default_factory=TruthMap)
    """Meaning of the values of the images of classes."""
    tolerance: int | None = None
    """Nanoseconds by which a stamp may be beside that of its frame; None: half way to the next frame."""

    def of_camera(self, name: str) -> TruthSource:
        """The same for one of several cameras."""
        classes, instances = (
            None if topic is None else topic.replace("{camera}", name)
            for topic in (self.classes_topic, self.instances_topic)
        )
        return replace(self, classes_topic=classes, instances_topic=instances)

    def told(self, where: str) -> str:
        """Place and meaning of the ground truth, to be written down."""
        return f"{where} by {self.map.text}" if self.map.text else where


def named_truth(bag: Bag, source: TruthSource) -> list[str]:
    """The topics that the user named. Raises `SourceError` where one is missing or has no label images."""
    classes = _label_topic(bag, source.classes_topic, "--truth-classes", source.map.values)
    instances = _label_topic(bag, source.instances_topic, "--truth-instances")
    return [topic for topic in (classes, instances) if topic is not None]


def truth_topics(bag: Bag, source: TruthSource, images: str, problems: Problems, *, alone: bool) -> list[str]:
    """The topics of classes and, if there is one, of instance ids; none where the bag has no ground truth.

    images: the camera's topic, in whose namespace the usual topics are; if it is `alone` they may be in none, too.
    Raises `SourceError` where a usual topic has no label images; for others see `named_truth`.
    """
    there = {topic for topic in bag.image_topics if bag.count(topic)}
    own = images.removesuffix("/compressed").rpartition("/")[0]
    space = "" if alone and there & {CLASSES_TOPIC, INSTANCES_TOPIC} else own
    usual_classes, usual_instances = (
        space + topic if space + topic in there else None for topic in (CLASSES_TOPIC, INSTANCES_TOPIC)
    )
    classes, instances = source.classes_topic, source.instances_topic
    classes = classes or _label_topic(bag, usual_classes, "--truth-classes", source.map.values)
    instances = instances or _label_topic(bag, usual_instances, "--truth-instances")
    if classes is None:
        if instances is not None:
            problems.append(f"{instances} is not used: instance ids need classes beside them (--truth-classes)")
        return []
    return [classes] if instances is None else [classes, instances]


def _label_topic(bag: Bag, topic: str | None, option: str, check: Callable[[LabelImage], object] = len) -> str | None:
    if topic is None:
        return None
    bag.expect_images(topic, option)
    try:
        check(decode_labels(next(bag.messages(topic)).content, colours=True))
    except LabelImageError as error:
        raise SourceError(f"{option} {topic}: {bag.path} has {error}") from error
    except (BagError, StopIteration) as error:
        raise SourceError(f"{option} {topic}: {error}") from error
    return topic


class TruthFolder:
    """A folder of PNG files; it is listed once, and a file is read when its frame comes.

    names: of the frames, in order, where these have some, as pictures do: files of the same names are taken for theirs.
    count: number of frames, if known. Raises `SourceError`.
    """

    def __init__(
        self, source: TruthSource, folder: Path, *, names: Sequence[str] = (), count: int | None = None
    ) -> None:
        self._folder = folder
        self._tolerance = source.tolerance
        classes = folder / CLASSES_FOLDER
        self._classes = _pictures(classes if classes.is_dir() else folder)
        instances = folder / INSTANCES_FOLDER
        self._instances = _pictures(instances) if classes.is_dir() and instances.is_dir() else None
        if not self._classes:
            raise SourceError(
                f"--truth {folder}: no PNG in it, expected {CLASSES_FOLDER}/*.png and perhaps {INSTANCES_FOLDER}/*.png,"
                " or *.png, named by stamp (nanoseconds) or by index"
            )
        self._names = names if self._classes.keys() <= set(names) else None
        self._numbers = {} if self._names else _numbers(self._classes)
        self._by_stamp = bool(self._numbers) and max(self._numbers) >= LARGEST_INDEX
        self._stamps = sorted(self._numbers)
        # Counted from 1 only where nothing else makes sense.
        from_one = 0 not in self._numbers and count is not None and max(self._numbers, default=0) == count
        self._first = int(from_one)
        self._unused = set(self._classes)
        self._frames = 0
        self._without = Tally()

    def scored(self, frames: Iterator[tuple[int, SourceFrame]], problems: Problems) -> Iterator[SourceFrame]:
        """The frames with their ground truth; adds to the problems what did not match or could not be read.

        frames: with their places among all, those included that could not be read.
        """
        try:
            before: list[int] = []
            head = next(frames, None)
            while head is not None:
                index, frame = head
                head = next(frames, None)
                around = sorted({*before, frame.stamp, *([] if head is None else [head[1].stamp])})
                yield replace(frame, truth=self._truth(index, frame.stamp, around, problems))
                before = [frame.stamp]
        finally:
            problems += self._problems()

    def _truth(self, index: int, stamp: int, around: list[int], problems: Problems) -> Truth | None:
        """The ground truth of a frame; around: its stamp and those before and after it."""
        self._frames += 1
        key = self._names[index] if self._names else self._numbers.get(self._number(index, stamp, around), "")
        self._unused.discard(key)
        if key not in self._classes or (self._instances is not None and key not in self._instances):
            self._without.add(f"frame {index} at {stamp} ns")
            return None
        try:
            instances = None if self._instances is None else read_png(self._instances[key], colours=True)
            return Truth(read_png(self._classes[key], colours=True), instances)
        except SourceError as error:
            problems.tally(*UNREADABLE_TRUTH, str(error))
            return None

    def _number(self, index: int, stamp: int, around: list[int]) -> int:
        """The number in the name of a frame's file, -1 where there is none."""
        if not self._by_stamp:
            return index + self._first
        at = bisect_left(self._stamps, stamp)
        closest = min(self._stamps[max(at - 1, 0) : at + 1], key=lambda each: abs(each - stamp))
        return closest if nearest(around, closest, self._tolerance) == stamp else -1

    def _problems(self) -> list[str]:
        named = "name" if self._names else "stamp" if self._by_stamp else "index"
        frames = f"of {counted(self._frames, 'frame')}"
        missing = f"no ground truth in {self._folder}, whose files go by {named}"
        files = f"of {counted(len(self._classes), 'file')} in {self._folder}"
        left_over = Tally(len(self._unused), min(self._unused, default="") + ".png")
        return [
            *self._without.sentence(f"{frames} has {missing}", f"{frames} have {missing}"),
            *left_over.sentence(f"{files} belongs to no frame", f"{files} belong to no frame"),
        ]


def _pictures(folder: Path) -> dict[str, Path]:
    try:
        return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".png"}
    except OSError as error:
        raise SourceError(f"--truth {folder} cannot be read: {error.strerror}") from error


def _numbers(names: dict[str, Path]) -> dict[int, str]:
    for name in names:
        if not name.isdecimal():
            raise SourceError(f"--truth {names[name]}: named {name}, expected a stamp in nanoseconds or an index")
    return {int(name): name for name in names}
