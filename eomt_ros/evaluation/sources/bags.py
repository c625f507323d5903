"""A bag as a sequence of frames."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eomt_ros.evaluation.bag import Bag, BagError, Stamped
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.label_image import LabelImageError, decode_labels
from eomt_ros.evaluation.sources.camera_topic import camera_topic
from eomt_ros.evaluation.sources.matching import Moment, in_order, match, matched_beside, unmatched
from eomt_ros.evaluation.sources.sequence import FrameSequence, Problems, SourceFrame
from eomt_ros.evaluation.sources.truth import UNREADABLE_TRUTH, TruthFolder, TruthSource, truth_topics
from eomt_ros.images import ImageError, UnsupportedEncodingError, decode


def bag_sequence(path: Path, name: str, *, topic: str | None, truth: TruthSource | None) -> FrameSequence:
    """The images of a bag.

    topic: theirs; None: that of the only camera. truth: None where it is not wanted. Raises `SourceError`.
    """
    with Bag(path) as bag:
        return _sequence(bag, name, topic, truth)


def _sequence(bag: Bag, name: str, topic: str | None, truth: TruthSource | None) -> FrameSequence:
    problems = Problems(bag.problems)
    if not bag.topics or not any(bag.count(each) for each in bag.topics):
        raise SourceError(f"{bag.path} is empty: it has no messages")
    if topic is not None:
        bag.expect_images(topic, "--topic")
    wanted = TruthSource() if truth is None else truth
    topics = [] if truth is None or truth.folder else truth_topics(bag, truth, problems)
    topic = topic or camera_topic(bag, topics)
    if topic in topics:
        raise SourceError(f"{topic} is to be both image and ground truth; give another one with --topic")
    where = str(wanted.folder or ", ".join(dict.fromkeys(topics)))
    folder = None if wanted.folder is None else TruthFolder(wanted, wanted.folder, count=bag.count(topic))
    return FrameSequence(
        name,
        _Frames(bag, topic, topics, folder, wanted.tolerance).read,
        count=bag.count(topic),
        seconds=bag.seconds,
        topic=topic,
        truth=wanted.told(where) if where else None,
        truth_map=wanted.map,
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

    def read(self, problems: Problems) -> Iterator[SourceFrame]:
        with self.bag:
            if self.folder is not None:
                yield from self.folder.scored(self._images(problems, problems), problems)
            elif self.truth_topics:
                yield from self._scored(problems)
            else:
                yield from (frame for _, frame in self._images(problems, problems))

    def _scored(self, problems: Problems) -> Iterator[SourceFrame]:
        """Reads the bag for its stamps first: how far from its image a ground truth was recorded does not matter."""
        truth = enumerate(self._truth_messages(problems))
        # What is damaged has been said with the stamps.
        for index, frame in self._images(problems, Problems()):
            messages = next(each for place, each in truth if place == index)
            found = None
            try:
                if None not in messages:
                    found = _decoded(messages)
            except LabelImageError as error:
                problems.tally(*UNREADABLE_TRUTH, f"at {frame.stamp} ns {error}")
            yield replace(frame, truth=found)

    def _truth_messages(self, problems: Problems) -> Iterator[tuple[Any, ...]]:
        """The messages of the truth topics for every image, None where a topic has none."""
        moments: dict[str, list[Moment]] = {topic: [] for topic in (self.topic, *self.truth_topics)}
        for topic, recorded, message in self._messages(moments, problems):
            moments[topic].append(Moment(message.stamp, recorded))
        frames = moments.pop(self.topic)
        places = {topic: self._match(topic, frames, truth, problems) for topic, truth in moments.items()}
        return zip(*(self._in_order(topic, places[topic]) for topic in self.truth_topics), strict=True)

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
