"""Brings the images of a bag and their ground truth together by stamp, in one pass and with little memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eomt_ros.evaluation.bag import Stamped
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.sources.sequence import Tally

LOOK_AHEAD = 64
"""Images: an image waits for its ground truth until so many newer ones have come, and the other way round."""
MEMORY = 128 << 20
"""Bytes that may wait; large images wait for less long."""


@dataclass(frozen=True, eq=False)
class Match:
    """An image, and what has the same stamp in every topic of the ground truth."""

    stamp: int
    image: Any
    truth: Mapping[str, Any] | None
    """By topic; None where one of them has nothing."""


class Matcher:
    """Goes through the messages of a bag; counts what has no counterpart.

    truth_topics: those that an image should have a message in. Without any all images come as they are.
    """

    def __init__(self, image_topic: str, truth_topics: Collection[str]) -> None:
        self._image_topic = image_topic
        self._images: deque[Stamped[Any]] = deque()
        self._truth: dict[str, dict[int, Any]] = {topic: {} for topic in truth_topics}
        self._memory = 0
        self._frames = 0
        self._without = {topic: Tally() for topic in truth_topics}
        self._left_over = {topic: Tally() for topic in truth_topics}

    def match(self, messages: Iterable[tuple[str, Stamped[Any]]]) -> Iterator[Match]:
        """The images in the order of `messages`, which are those of the image topic and of the truth topics."""
        for topic, message in messages:
            self._memory += len(message.content.data)
            if topic == self._image_topic:
                self._images.append(message)
            else:
                self._add_truth(topic, message)
            while self._images and (self._complete() or self._overdue()):
                yield self._next()
        while self._images:
            yield self._next()
        for topic, waiting in self._truth.items():
            for stamp in waiting:
                self._left_over[topic].add(f"{stamp} ns")

    def problems(self) -> list[str]:
        """What did not match so far, a sentence each."""
        found = []
        for topic, tally in self._without.items():
            of = f"of {counted(self._frames, 'frame')}"
            found += tally.sentence(f"{of} has no ground truth in {topic}", f"{of} have no ground truth in {topic}")
        for topic, tally in self._left_over.items():
            found += tally.sentence(
                f"message in {topic} has the stamp of no frame", f"messages in {topic} have the stamp of no frame"
            )
        return found

    def _add_truth(self, topic: str, message: Stamped[Any]) -> None:
        waiting = self._truth[topic]
        if message.stamp in waiting:
            self._memory -= len(waiting.pop(message.stamp).data)
        waiting[message.stamp] = message.content
        while len(waiting) > LOOK_AHEAD or (self._memory > MEMORY and not self._images and len(waiting) > 1):
            oldest = next(iter(waiting))
            self._memory -= len(waiting.pop(oldest).data)
            self._left_over[topic].add(f"{oldest} ns")

    def _complete(self) -> bool:
        stamp = self._images[0].stamp
        return all(stamp in waiting for waiting in self._truth.values())

    def _overdue(self) -> bool:
        return len(self._images) > LOOK_AHEAD or self._memory > MEMORY

    def _next(self) -> Match:
        image = self._images.popleft()
        self._memory -= len(image.content.data)
        self._frames += 1
        truth: dict[str, Any] | None = {}
        for topic, waiting in self._truth.items():
            found = waiting.pop(image.stamp, None)
            if found is None:
                self._without[topic].add(f"{image.stamp} ns{_nearest(image.stamp, waiting)}")
                truth = None
            else:
                self._memory -= len(found.data)
                if truth is not None:
                    truth[topic] = found
        return Match(image.stamp, image.content, truth)


def _nearest(stamp: int, others: Collection[int]) -> str:
    if not others:
        return ""
    nearest = min(others, key=lambda other: abs(other - stamp))
    return f", the nearest has {nearest} ns ({(nearest - stamp) * 1e-6:+.3f} ms)"
