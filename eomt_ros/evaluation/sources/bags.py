"""A bag as a sequence of frames."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from eomt_ros.evaluation.bag import Bag, BagError, Stamped
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.label_image import LabelImageError, decode_labels
from eomt_ros.evaluation.sources.camera_topic import camera_topic
from eomt_ros.evaluation.sources.matching import Moment, beside, in_order, match, unmatched
from eomt_ros.evaluation.sources.sequence import Sequence, SourceError, SourceFrame, Tally
from eomt_ros.evaluation.sources.truth import NamedFrame, TruthFolder, TruthSource, truth_topics
from eomt_ros.evaluation.sources.truth_map import TruthMap
from eomt_ros.images import ImageError, UnsupportedEncodingError, decode
from eomt_ros.printable import printable


def bag_sequence(bag: Bag, name: str, *, topic: str | None, truth: TruthSource | None) -> Sequence:
    """The images of an open bag.

    topic: theirs; None: that of the only camera. truth: None where it is not wanted. Raises `SourceError`.
    """
    problems = list(bag.problems)
    if not bag.topics or not any(bag.count(each) for each in bag.topics):
        raise SourceError(f"{bag.path} is empty: it has no messages")
    if topic is not None:
        _check(bag, topic)
    in_folder = None if truth is None else truth.folder
    topics = [] if truth is None or in_folder else truth_topics(bag, truth, problems)
    topic = topic or camera_topic(bag, topics)
    if topic in topics:
        raise SourceError(f"{topic} is to be both image and ground truth; give another one with --topic")
    where = str(in_folder) if in_folder else ", ".join(dict.fromkeys(topics))
    folder = None if truth is None or in_folder is None else TruthFolder(truth, in_folder, count=bag.count(topic))
    tolerance = None if truth is None else truth.tolerance
    return Sequence(
        name,
        _Frames(bag, topic, topics, folder, tolerance).read,
        count=bag.count(topic),
        seconds=bag.seconds,
        topic=topic,
        truth=truth.told(where) if truth is not None and where else None,
        truth_map=TruthMap() if truth is None else truth.map,
        problems=problems,
    )


@dataclass(frozen=True, eq=False)
class _Frames:
    bag: Bag
    topic: str
    truth_topics: list[str]
    """Of classes, and perhaps of ids."""
    folder: TruthFolder | None
    tolerance: int | None

    def read(self, problems: list[str]) -> Iterator[SourceFrame]:
        if self.folder is not None:
            yield from self.folder.scored(self._images(problems, problems), problems)
        elif not self.truth_topics:
            for frame in self._images(problems, problems):
                yield SourceFrame(frame.stamp, frame.image, None)
        else:
            yield from self._scored(problems)

    def _scored(self, problems: list[str]) -> Iterator[SourceFrame]:
        """Reads the bag for its stamps first: how far from its image a ground truth was recorded does not matter."""
        truth = enumerate(self._truth_messages(problems))
        unreadable = Tally()
        try:
            # What is damaged has been said with the stamps.
            for frame in self._images(problems, []):
                messages = next(each for index, each in truth if index == frame.index)
                found = None
                try:
                    if None not in messages:
                        found = _decoded(messages)
                except LabelImageError as error:
                    unreadable.add(f"at {frame.stamp} ns {error}")
                yield SourceFrame(frame.stamp, frame.image, found)
        finally:
            problems += unreadable.sentence(
                "frame is not scored: its ground truth cannot be read",
                "frames are not scored: their ground truth cannot be read",
            )

    def _truth_messages(self, problems: list[str]) -> Iterator[tuple[Any, ...]]:
        """For every image its messages of the truth topics, None where a topic has none."""
        moments: dict[str, list[Moment]] = {topic: [] for topic in (self.topic, *self.truth_topics)}
        for topic, recorded, message in self._messages(moments, problems):
            moments[topic].append(Moment(message.stamp, recorded))
        frames = moments.pop(self.topic)
        places = {topic: self._match(topic, frames, truth, problems) for topic, truth in moments.items()}
        return zip(*(self._in_order(topic, places[topic]) for topic in self.truth_topics), strict=True)

    def _match(self, topic: str, frames: list[Moment], truth: list[Moment], problems: list[str]) -> list[int | None]:
        unstamped = [each for each in (self.topic, topic) if self.bag.is_unstamped(each)]
        if len(unstamped) == 1:
            problems.append(f"no frame has ground truth in {topic}: the headers of {unstamped[0]} have no stamps")
            return [None] * len(frames)
        if unstamped:
            problems.append(f"the headers of {self.topic} and {topic} have no stamps: matched by time of recording")
        places = match(frames, truth, self.tolerance)
        problems += unmatched(topic, frames, truth, places)
        problems += [] if unstamped else beside(topic, frames, truth, places)
        return places

    def _in_order(self, topic: str, places: list[int | None]) -> Iterator[Any]:
        wanted = [place for place in places if place is not None]
        messages = in_order(lambda: (message.content for _, _, message in self._messages([topic], [])), wanted)
        return (None if place is None else next(messages) for place in places)

    def _images(self, problems: list[str], damage: list[str]) -> Iterator[NamedFrame]:
        """Those that decode; the index counts the others too. damage: gets what is wrong with messages."""
        undecoded = Tally()
        try:
            for index, (_, _, message) in enumerate(self._messages([self.topic], damage)):
                try:
                    image = decode(message.content)
                except UnsupportedEncodingError as error:
                    raise SourceError(f"{self.bag.path}: {self.topic}: {error}") from error
                except ImageError as error:
                    undecoded.add(f"at {message.stamp} ns: {error}")
                    continue
                yield NamedFrame(index, "", message.stamp, image)
        finally:
            problems += undecoded.sentence(
                f"picture of {self.topic} does not decode and was left out",
                f"pictures of {self.topic} do not decode and were left out",
            )

    def _messages(self, topics: Collection[str], problems: list[str]) -> Iterator[tuple[str, int, Stamped[Any]]]:
        """The messages that are not damaged, with topic and time of recording; a bag that breaks off has ended."""
        damaged = Tally()
        recorded = self.bag.recorded(topics)
        try:
            while (message := next(recorded, None)) is not None:
                try:
                    content = self.bag.message(message)
                except BagError as error:
                    damaged.add(str(error))
                    continue
                yield message.topic, message.time, content
        except BagError as error:
            problems.append(str(error))
        finally:
            problems += damaged.sentence(
                "message is damaged and was left out", "messages are damaged and were left out"
            )


def _decoded(messages: tuple[Any, ...]) -> Truth:
    classes, *ids = (decode_labels(message, colours=True) for message in messages)
    return Truth(classes, ids[0] if ids else None)


def _check(bag: Bag, topic: str) -> None:
    """Raises `SourceError` where a topic that the user named has no images."""
    topics = [f"{name} ({counted(bag.count(name), 'message')})" for name in bag.image_topics]
    listed = printable(", ".join(topics)) or "no image topics"
    if topic not in bag.topics:
        raise SourceError(f"--topic {topic}: {bag.path} has no such topic; it has {listed}")
    if not bag.count(topic):
        raise SourceError(f"--topic {topic}: {bag.path} has no messages of it; it has {listed}")
    try:
        bag.check_image_topic(topic)
    except BagError as error:
        raise SourceError(f"--topic {topic}: {error}; the bag has {listed}") from error
