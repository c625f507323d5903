"""Predictions that a node published and somebody recorded, found by the stamps of their frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eomt_ros.continuity import MAX_GAP, Continuity, LateFrameError
from eomt_ros.engine import FrameResult, Segment, Timings
from eomt_ros.engine.model.labels import Labels, distinct_colors, load_labels, shipped_tables, task_of
from eomt_ros.engine.model.taxonomy import RobotLabels, robot_labels
from eomt_ros.evaluation.bag import Bag, BagError
from eomt_ros.evaluation.bag.storage import is_bag
from eomt_ros.evaluation.counting import Tally, counted
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.evaluation.label_image import LabelImageError, decode_labels
from eomt_ros.evaluation.output_bag import INSTANCE_ARRAY, NODE
from eomt_ros.evaluation.predictions import Predictions
from eomt_ros.evaluation.sources.cameras import camera_names
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame
from eomt_ros.printable import printable

NOT_TIMED = Timings(math.nan, math.nan, math.nan, math.nan)
LOOK_AHEAD = 64
"""Most results that wait for their other parts: the node publishes the parts of a result together."""


class RecordedPredictions(Predictions):
    """The results in a bag: of the only node in it that published `InstanceArray`, with its images of classes and ids.

    Of several cameras of a bag, each has the results whose camera is a step of its topic: those in `/segment/front` are
    of `/front/image`. Of several recordings, the results of each are in a bag of its name in `path`, or in one for each
    sequence, as `--save-bag` leaves them.
    labels: a table of the model's classes; None: the shipped one that fits the model. taxonomy, classes, max_gap: of
    the node. Open within a `with` block. Raises `SourceError`.
    """

    def __init__(
        self,
        path: Path,
        sequences: Sequence[FrameSequence],
        labels: Path | None = None,
        *,
        taxonomy: str = "",
        classes: Sequence[str] = (),
        max_gap: float = MAX_GAP,
    ) -> None:
        self._places = _places(path, sequences)
        summaries = [_summary(place) for place in self._places.values()]
        self.task, self.model, self.identity = summaries[0].task, summaries[0].model, summaries[0].identity
        for one, other in pairwise(summaries):
            if (one.task, one.model) != (other.task, other.model):
                raise SourceError(
                    f"--predictions {path}: recorded with different models: {one.model} ({one.task}) and "
                    f"{other.model} ({other.task}), expected one"
                )
        shown = {number: entry for summary in summaries for number, entry in summary.classes.items()}
        if labels is not None or taxonomy:
            of_model = labels_named(self.model) if labels is None else load_labels(labels)
        else:
            of_model = _fitting(self.model, shown)
        self.robot = robot_labels(of_model, taxonomy, classes)
        self.labels = self.robot.labels
        _check_shown(shown, self.robot, path)
        self.settings: Mapping[str, Any] = {"task": self.task, "predictions": str(path)}
        self._max_gap = max_gap
        self._continuity: Continuity
        self._bag: Bag | None = None
        self._late, self._missing, self._unused, self._sizes = Tally(), Tally(), Tally(), Tally()
        self._frames_with_truth = self._missing_with_truth = 0
        self._bag_problems: list[str] = []
        self._results: Iterator[tuple[tuple[int, int], FrameResult]] = iter(())
        self._head: tuple[tuple[int, int], FrameResult] | None = None
        self._place = (0, 0)

    def __enter__(self) -> RecordedPredictions:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def start_sequence(self, name: str) -> None:
        """Goes to the results of that sequence."""
        self._close()
        path, instances = self._places[name]
        bag = Bag(path)
        bag.__enter__()
        self._bag = bag
        self._bag_problems += bag.problems
        if bag.count(instances) > 1 and bag.is_unstamped(instances):
            self._bag_problems.append(
                f"the results in {bag.path} have no stamps, because the camera's images had none: nobody can tell "
                "which frame they belong to; play the images to the node again with evaluate_bag"
            )
        self._results = _results(bag, instances, self.labels, self._bag_problems)
        self._head = next(self._results, None)
        self._place = (0, 0)
        self._continuity = Continuity()

    def find(self, frame: SourceFrame) -> FrameResult | None:
        """The result with the frame's stamp; None where there is none, for a frame that the node dropped."""
        try:
            self._continuity.admit(frame.stamp, self._max_gap)
        except LateFrameError as error:
            self._late.add(str(error))
            return None
        # Time that jumps back in the frames, where a bag was played again, jumps back in the results too.
        self._frames_with_truth += frame.truth is not None
        lap, stamp = self._place
        self._place = (lap + (frame.stamp < stamp), frame.stamp)
        while self._head is not None and self._head[0] < self._place:
            self._unused.add(f"{self._head[0][1]} ns")
            self._head = next(self._results, None)
        if self._head is None or self._head[0] != self._place:
            self._missing.add(f"{frame.stamp} ns")
            self._missing_with_truth += frame.truth is not None
            return None
        result = self._head[1]
        self._head = next(self._results, None)
        if result.semantic.shape != frame.image.shape[:2]:
            (height, width), (image_height, image_width) = result.semantic.shape, frame.image.shape[:2]
            self._sizes.add(f"at {frame.stamp} ns {width}x{height}, the image {image_width}x{image_height}")
            return None
        return result

    def problems(self) -> list[str]:
        """Frames and results that did not match so far, a sentence each."""
        missing, frames = self._missing_with_truth, counted(self._frames_with_truth, "frame")
        unscored = f"most of the ground truth is not used: {missing} of {frames} that have one have no recorded result"
        return [
            *dict.fromkeys(self._bag_problems),
            *([unscored] if 2 * missing > self._frames_with_truth else []),
            *self._late.sentence("frame came late and was dropped", "frames came late and were dropped"),
            *self._missing.sentence("frame has no recorded result", "frames have no recorded result"),
            *self._unused.sentence(
                "recorded result has the stamp of no frame", "recorded results have the stamp of no frame"
            ),
            *self._sizes.sentence(
                "recorded result has another size than its frame and is not used",
                "recorded results have another size than their frame and are not used",
            ),
        ]

    def _close(self) -> None:
        while self._head is not None:
            self._unused.add(f"{self._head[0][1]} ns")
            self._head = next(self._results, None)
        if self._bag is not None:
            self._bag.__exit__(None, None, None)
            self._bag = None


def bag_name(sequence: str) -> str:
    """The name of the bag with the predictions of one of several sequences."""
    return sequence.strip("/").replace("/", "_")


class _Place(NamedTuple):
    """Where the results of a sequence are."""

    path: Path
    instances: str
    """Topic."""


def _places(path: Path, sequences: Sequence[FrameSequence]) -> dict[str, _Place]:
    """The bag and the topic of each sequence, by its name."""
    bags = [sequence.bag or sequence.name for sequence in sequences]
    paths = []
    for sequence, name in zip(sequences, bags, strict=True):
        whole = path if len(set(bags)) == 1 else path / bag_name(name)
        paths.append(whole if len(sequences) == 1 or is_bag(whole) else path / bag_name(sequence.name))
    places = {}
    for sequence, each in zip(sequences, paths, strict=True):
        try:
            with Bag(each) as bag:
                places[sequence.name] = _Place(
                    each, _instances_topic(bag, sequence.topic, alone=paths.count(each) == 1)
                )
        except BagError as error:
            raise SourceError(f"--predictions: {error}") from error
    return places


@dataclass(frozen=True)
class _Summary:
    task: str
    model: str
    identity: str
    classes: Mapping[int, tuple[str, bool]]
    """Name of each class that was found, and True if it is of things."""


def _summary(place: _Place) -> _Summary:
    """The model as a bag describes it; reads the instances of all results."""
    path, instances = place
    classes: dict[int, tuple[str, bool]] = {}
    first: Any = None
    try:
        with Bag(path) as bag:
            for recorded in bag.recorded([instances]):
                message = bag.message(recorded).content
                first = first or message
                for instance in message.instances:
                    classes[instance.class_id] = instance.class_name, bool(instance.is_thing)
    except BagError as error:
        if first is None:
            raise SourceError(f"--predictions: {error}") from error
    if first is None:
        raise SourceError(f"--predictions {path} has no results: nothing was published while it was recorded")
    # Before there was such a field, only networks with a memory of their own were run.
    identity = getattr(first, "identity", "none" if first.task == "semantic" else "query")
    return _Summary(first.task, first.model, identity, classes)


def _instances_topic(bag: Bag, images: str | None, *, alone: bool) -> str:
    """The topic of the results for a topic of images. alone: the bag has those of no other sequence."""
    topics = sorted(topic for topic, kind in bag.topics.items() if kind == INSTANCE_ARRAY)
    if len(topics) == 1:
        node, camera = ["", *topics[0].split("/")][-3:-1]
        if alone and (images is None or node != NODE.strip("/")):
            return topics[0]
        cameras = [camera]
    else:
        cameras = camera_names(topics)
    steps = [] if images is None else images.strip("/").split("/")
    own = [topic for camera, topic in zip(cameras, topics, strict=True) if camera in steps]
    if len(own) == 1:
        return own[0]
    expected = f"one topic of type {INSTANCE_ARRAY}"
    if topics and images is not None:
        expected += f", such as {NODE}/CAMERA/instances with a CAMERA that is a step of {images}"
    found = printable(", ".join(topics)) or f"none; it has {printable(', '.join(sorted(bag.topics))) or 'none'}"
    raise SourceError(f"--predictions {bag.path}: expected {expected}, found {found}")


def _check_shown(shown: Mapping[int, tuple[str, bool]], robot: RobotLabels, path: Path) -> None:
    """Raises `SourceError` where the classes that were found, which are only some, are not those of the labels."""
    labels = robot.labels
    for number, (name, thing) in shown.items():
        if labels.class_names[number : number + 1] == (name,) and (
            labels.is_thing[number] == thing or labels is not robot.model  # a robot's class may have things and stuff
        ):
            continue
        kind = "thing" if thing else "stuff"
        raise SourceError(
            f"--predictions {path}: class {number} is {printable(name, 60)} ({kind}), which the labels "
            f"{labels.name} do not say; give the table that the node used with --labels, and its --taxonomy"
        )


def labels_named(model: str) -> Labels:
    """The shipped table for models of this name. Raises `SourceError` where there is none."""
    for labels in shipped_tables():
        if task_of(model, labels) is not None:
            return labels
    raise SourceError(
        f"--predictions needs a table of the model's classes, and none of the shipped ones is for the model {model}: "
        "give one with --labels, or a published model with --model"
    )


def _fitting(model: str, classes: Mapping[int, tuple[str, bool]]) -> Labels:
    """The shipped table with these classes, preferably of the model's name; else the classes that were found."""
    fitting = [
        table
        for table in shipped_tables()
        if all(table.class_names[number : number + 1] == (name,) for number, (name, _) in classes.items())
    ]
    named = [table for table in fitting if task_of(model, table) is not None]
    if named or len(fitting) == 1:
        return (named or fitting)[0]
    count = max(classes, default=-1) + 1
    named_classes = [classes.get(number, (f"class {number}", False)) for number in range(count)]
    names, things = zip(*named_classes, strict=True) if named_classes else ((), ())
    return Labels(model, tuple(names), tuple(things), distinct_colors(count), "panoptic")


def _results(
    bag: Bag, instances: str, labels: Labels, problems: list[str]
) -> Iterator[tuple[tuple[int, int], FrameResult]]:
    """The results in the order in which they became complete; a bag that breaks off has ended.

    Each comes with the number of times that time has jumped back, and its stamp.
    """
    space = instances.rpartition("/")[0]
    parts = [f"{space}/semantic", f"{space}/panoptic", instances]
    waiting: dict[int, dict[str, Any]] = {}
    damaged, incomplete = Tally(), Tally()
    lap = last = 0
    try:
        for message in bag.recorded(parts):
            try:
                stamped = bag.message(message)
                content = stamped.content if message.topic == instances else decode_labels(stamped.content)
            except (BagError, LabelImageError) as error:
                damaged.add(str(error))
                continue
            collected = waiting.setdefault(stamped.stamp, {})
            collected[message.topic] = content
            if len(collected) == len(parts):
                del waiting[stamped.stamp]
                lap, last = lap + (stamped.stamp < last), stamped.stamp
                yield (lap, last), _result(labels, *(collected[part] for part in parts))
            elif len(waiting) > LOOK_AHEAD:
                oldest = next(iter(waiting))
                incomplete.add(f"{oldest} ns has only {', '.join(waiting.pop(oldest))}")
    except BagError as error:
        problems.append(str(error))
    for stamp, collected in waiting.items():
        incomplete.add(f"{stamp} ns has only {', '.join(collected)}")
    problems += damaged.sentence(
        "recorded message is damaged and was left out", "recorded messages are damaged and were left out"
    )
    problems += incomplete.sentence(
        "recorded result is incomplete and was left out", "recorded results are incomplete and were left out"
    )


def _result(labels: Labels, semantic: LabelImage, panoptic: LabelImage, message: Any) -> FrameResult:
    segments = [
        Segment(
            id=each.id,
            class_id=each.class_id,
            class_name=each.class_name,
            is_thing=bool(each.is_thing),
            score=each.score,
            area=each.area,
            box=(each.box.x_offset, each.box.y_offset, each.box.width, each.box.height),
            age=each.age,
            returned=bool(getattr(each, "returned", False)),
        )
        for each in message.instances
    ]
    panoptic = panoptic.astype(np.uint16, copy=False)
    return FrameResult(semantic, panoptic, None, segments, message.epoch, NOT_TIMED, labels)
