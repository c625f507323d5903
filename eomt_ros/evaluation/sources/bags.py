"""A bag as a sequence of frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eomt_ros.evaluation.bag import Bag, BagError, Stamped
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.label_image import LabelImageError, decode_labels
from eomt_ros.evaluation.sources.camera_topic import camera_topic
from eomt_ros.evaluation.sources.matching import Matcher
from eomt_ros.evaluation.sources.sequence import Sequence, SourceError, SourceFrame, Tally
from eomt_ros.evaluation.sources.truth import TruthFolder, TruthSource, truth_topics
from eomt_ros.node.images import ImageError, UnsupportedEncodingError, decode
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
    folder = None if in_folder is None else TruthFolder(in_folder, count=bag.count(topic))
    return Sequence(
        name,
        _Frames(bag, topic, topics, folder).read,
        count=bag.count(topic),
        seconds=bag.seconds,
        topic=topic,
        truth=str(in_folder) if in_folder else ", ".join(topics) or None,
        problems=problems,
    )


class _Frames:
    def __init__(self, bag: Bag, topic: str, truth_topics: list[str], folder: TruthFolder | None) -> None:
        self._bag = bag
        self._topic = topic
        self._truth_topics = truth_topics
        self._folder = folder

    def read(self, problems: list[str]) -> Iterator[SourceFrame]:
        matcher = Matcher(self._topic, self._truth_topics)
        damaged, undecoded, unreadable = Tally(), Tally(), Tally()
        try:
            for index, match in enumerate(matcher.match(self._messages(damaged, problems))):
                try:
                    image = decode(match.image)
                except UnsupportedEncodingError as error:
                    raise SourceError(f"{self._bag.path}: {self._topic}: {error}") from error
                except ImageError as error:
                    undecoded.add(f"at {match.stamp} ns: {error}")
                    continue
                truth = None
                try:
                    truth = self._truth(index, match.stamp, match.truth)
                except LabelImageError as error:
                    unreadable.add(f"at {match.stamp} ns {error}")
                yield SourceFrame(match.stamp, image, truth)
        finally:
            problems += damaged.sentence(
                "message is damaged and was left out", "messages are damaged and were left out"
            )
            problems += undecoded.sentence(
                f"picture of {self._topic} does not decode and was left out",
                f"pictures of {self._topic} do not decode and were left out",
            )
            problems += matcher.problems()
            problems += unreadable.sentence(
                "frame is not scored: its ground truth cannot be read",
                "frames are not scored: their ground truth cannot be read",
            )
            if self._folder is not None:
                problems += self._folder.problems()

    def _truth(self, index: int, stamp: int, messages: Mapping[str, Any] | None) -> Truth | None:
        if self._folder is not None:
            return self._folder.truth(index, stamp)
        if not messages:
            return None
        classes, *instances = (decode_labels(messages[topic]) for topic in self._truth_topics)
        return Truth(classes, instances[0] if instances else None)

    def _messages(self, damaged: Tally, problems: list[str]) -> Iterator[tuple[str, Stamped[Any]]]:
        """All that concerns us; a bag that breaks off has ended."""
        recorded = self._bag.recorded({self._topic, *self._truth_topics})
        while True:
            try:
                message = next(recorded, None)
            except BagError as error:
                problems.append(str(error))
                return
            if message is None:
                return
            try:
                content = self._bag.message(message)
            except BagError as error:
                damaged.add(str(error))
                continue
            yield message.topic, content


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
