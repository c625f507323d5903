"""A bag as sequences of frames, one for each of its cameras that is wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from eomt_ros.errors import UserError
from eomt_ros.evaluation.bag import Bag, BagError, Stamped
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.label_image import LabelImageError, decode_labels
from eomt_ros.evaluation.sources.camera_topic import camera_topic
from eomt_ros.evaluation.sources.matching import Moment, in_order, match, matched_beside, unmatched
from eomt_ros.evaluation.sources.sequence import FrameSequence, Problems, SourceFrame
from eomt_ros.evaluation.sources.space import TOLERANCE, SpaceReader, SpaceTopics, space_topics, unused
from eomt_ros.evaluation.sources.truth import (
    CLASSES_TOPIC,
    INSTANCES_TOPIC,
    UNREADABLE_TRUTH,
    TruthFolder,
    TruthSource,
    named_truth,
    truth_topics,
)
from eomt_ros.images import ImageError, UnsupportedEncodingError, decode


class BagCamera(NamedTuple):
    """A camera of a bag that is wanted."""

    name: str
    """Of its sequence."""
    topic: str | None
    """Of its images; None: that of the only camera."""
    truth: TruthSource | None
    """None where the ground truth is not wanted."""
    places: bool = False
    """Depth and odometry are wanted, for the places of things."""


def bag_sequences(path: Path, name: str, cameras: Sequence[BagCamera]) -> list[FrameSequence]:
    """The images of the cameras of a bag of that name. Raises `SourceError`."""
    with Bag(path) as bag:
        if not bag.topics or not any(bag.count(each) for each in bag.topics):
            raise SourceError(f"{bag.path} is empty: it has no messages")
        found = []
        for camera in cameras:
            problems = Problems(bag.problems)
            found.append((camera, _frames(bag, camera, problems, alone=len(cameras) == 1), problems))
        _expect_apart(bag, [frames for _, frames, _ in found])
        return [_sequence(name, bag, *each) for each in found]


def _frames(bag: Bag, camera: BagCamera, problems: Problems, *, alone: bool) -> _Frames:
    truth = TruthSource() if camera.truth is None else camera.truth
    if camera.topic is not None:
        bag.expect_images(camera.topic, "--topic")
    named = named_truth(bag, truth)
    topic = camera.topic or camera_topic(bag, named)
    if camera.truth is not None and topic.endswith((CLASSES_TOPIC, INSTANCES_TOPIC)):
        raise _both_image_and_truth(bag, topic)
    topics = [] if camera.truth is None or truth.folder else truth_topics(bag, truth, topic, problems, alone=alone)
    folder = None if truth.folder is None else TruthFolder(truth, truth.folder, count=bag.count(topic))
    # Boxes are told apart by the ids in the images.
    space = space_topics(bag, topic, problems, alone=alone, boxes=len(topics) > 1, places=camera.places)
    # One of its own, because the frames of two cameras may be read side by side.
    return _Frames(Bag(bag.path), topic, topics, folder, truth.tolerance, space)


def _expect_apart(bag: Bag, cameras: Sequence[_Frames]) -> None:
    """Raises `SourceError` where a topic is to be the ground truth of two cameras, or is an image as well."""
    owners: dict[str, str] = {}
    for camera in cameras:
        for topic in dict.fromkeys(camera.truth_topics):
            if topic in owners:
                raise SourceError(
                    f"{bag.path}: {topic} is to be the ground truth of {owners[topic]} and of {camera.topic}: name "
                    "each camera's with --truth-classes and --truth-instances, where {camera} stands for its name"
                )
            owners[topic] = camera.topic
    for camera in cameras:
        if camera.topic in owners:
            raise _both_image_and_truth(bag, camera.topic)


def _both_image_and_truth(bag: Bag, topic: str) -> SourceError:
    return SourceError(
        f"{topic} is to be both image and ground truth; give another one with --topic: {bag.path} has "
        f"{bag.listed_images}"
    )


def _sequence(name: str, bag: Bag, camera: BagCamera, frames: _Frames, problems: Problems) -> FrameSequence:
    truth = camera.truth or TruthSource()
    where = str(truth.folder or ", ".join(dict.fromkeys(frames.truth_topics)))
    return FrameSequence(
        camera.name,
        frames.read,
        count=bag.count(frames.topic),
        seconds=bag.seconds,
        bag=name,
        topic=frames.topic,
        truth=truth.told(where) if where else None,
        truth_map=truth.map,
        problems=problems,
    )


@dataclass(frozen=True, eq=False)
class _Frames:
    bag: Bag
    topic: str
    truth_topics: list[str]
    """Topic of classes, and perhaps of ids."""
    folder: TruthFolder | None
    tolerance: int | None
    space: SpaceTopics | None

    def read(self, problems: Problems) -> Iterator[SourceFrame]:
        with self.bag:
            if self.truth_topics:
                yield from self._scored(problems)
                return
            images: Iterator[tuple[int, SourceFrame]] = self._images(problems, problems)
            if self.space is not None and (space := self._in_space(self._moments(Problems()), problems)) is not None:
                images = ((index, space.place(index, frame)) for index, frame in images)
            if self.folder is not None:
                yield from self.folder.scored(images, problems)
            else:
                yield from (frame for _, frame in images)

    def _scored(self, problems: Problems) -> Iterator[SourceFrame]:
        """Reads the bag for its stamps first: how far from its image a ground truth was recorded does not matter."""
        moments = self._moments(problems)
        frames = moments[self.topic]
        places = {topic: self._match(topic, frames, moments[topic], problems) for topic in self.truth_topics}
        truth = enumerate(zip(*(self._in_order(topic, places[topic]) for topic in self.truth_topics), strict=True))
        space = self._in_space(moments, problems)
        # What is damaged has been said with the stamps.
        for index, frame in self._images(problems, Problems()):
            messages = next(each for place, each in truth if place == index)
            found = None
            try:
                if None not in messages:
                    found = _decoded(messages)
            except LabelImageError as error:
                problems.tally(*UNREADABLE_TRUTH, f"at {frame.stamp} ns {error}")
            frame = replace(frame, truth=found)
            yield frame if space is None else space.place(index, frame)

    def _moments(self, problems: Problems) -> Mapping[str, list[Moment]]:
        beside = [] if self.space is None else [self.space.depth, self.space.objects]
        wanted = filter(None, (self.topic, *self.truth_topics, *beside))
        moments: dict[str, list[Moment]] = {topic: [] for topic in wanted}
        for topic, recorded, message in self._messages(moments, problems):
            moments[topic].append(Moment(message.stamp, recorded))
        return moments

    def _in_space(self, moments: Mapping[str, list[Moment]], problems: Problems) -> SpaceReader | None:
        if self.space is None:
            return None
        topics = self.space

        def matched(topic: str) -> Iterator[Any]:
            return self._in_order(topic, match(moments[self.topic], moments[topic], TOLERANCE))

        objects: Iterable[Any] = repeat(None) if topics.objects is None else matched(topics.objects)
        try:
            return SpaceReader(self.bag, topics, zip(matched(topics.depth), objects, strict=False), problems)
        except UserError as error:
            problems.append(f"{unused(topics.objects)}: {error}")
            return None

    def _match(self, topic: str, frames: list[Moment], truth: list[Moment], problems: Problems) -> list[int | None]:
        unstamped = [each for each in (self.topic, topic) if self.bag.is_unstamped(each)]
        if len(unstamped) == 1:
            problems.append(f"no frame has ground truth in {topic}: the headers of {unstamped[0]} have no stamps")
            return [None] * len(frames)
        if unstamped:
            problems.append(f"the headers of {self.topic} and {topic} have no stamps: matched by time of recording")
        places = match(frames, truth, self.tolerance)
        problems += unmatched(topic, frames, truth, places)
        problems += [] if unstamped else matched_beside(topic, frames, truth, places)
        return places

    def _in_order(self, topic: str, places: list[int | None]) -> Iterator[Any]:
        wanted = [place for place in places if place is not None]
        messages = in_order(lambda: (message.content for _, _, message in self._messages([topic], Problems())), wanted)
        return (None if place is None else next(messages) for place in places)

    def _images(self, problems: Problems, damage: Problems) -> Iterator[tuple[int, SourceFrame]]:
        """The images that decode, with their places among all. damage: gets the faults of messages."""
        for index, (_, _, message) in enumerate(self._messages([self.topic], damage)):
            try:
                yield index, SourceFrame(message.stamp, decode(message.content))
            except UnsupportedEncodingError as error:
                raise SourceError(f"{self.bag.path}: {self.topic}: {error}") from error
            except ImageError as error:
                problems.tally(
                    f"picture of {self.topic} does not decode and was left out",
                    f"pictures of {self.topic} do not decode and were left out",
                    f"at {message.stamp} ns: {error}",
                )

    def _messages(self, topics: Collection[str], problems: Problems) -> Iterator[tuple[str, int, Stamped[Any]]]:
        """The messages that are not damaged, with topic and time of recording; a bag that breaks off has ended."""
        recorded = self.bag.recorded(topics)
        while True:
            try:
                message = next(recorded, None)
            except BagError as error:
                problems.append(str(error))
                problems.incomplete = True
                return
            if message is None:
                return
            try:
                content = self.bag.message(message)
            except BagError as error:
                left_out = "message is damaged and was left out", "messages are damaged and were left out"
                problems.tally(*left_out, str(error))
                continue
            yield message.topic, message.time, content


def _decoded(messages: tuple[Any, ...]) -> Truth:
    classes, *ids = (decode_labels(message, colours=True) for message in messages)
    return Truth(classes, ids[0] if ids else None)
