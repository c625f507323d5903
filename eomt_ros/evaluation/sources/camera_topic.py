"""Chooses the camera's topic among the image topics of a bag."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from eomt_ros.evaluation.bag import Bag, BagError
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.printable import printable

COLOUR, GREY, OTHER = "colour", "grey", "other"

NODE_OUTPUTS = ("semantic", "panoptic", "confidence", "semantic_color", "overlay")
"""The image topics of our own node, beside its `instances`."""
INSTANCES_TYPE = "eomt_ros/msg/InstanceArray"

_GREY_ENCODINGS = ("mono8", "8UC1", "mono16")
_OTHER_ENCODINGS = re.compile(r"(16|32|64)[USF]C\d|8SC\d|8UC2")
"""Depth, disparity, flow and ids: numbers that are no picture."""
_TRUTH_NAME = re.compile(r"ground_?truth|(^|/|_)gt(/|_|$)", re.IGNORECASE)
_USUAL_NODE = re.compile(r"/segment(/[A-Za-z]\w*)?$", re.ASCII)
"""Our node's namespace, or that of one of its cameras."""
_LABEL_NAME = re.compile(r"semantic|panoptic|instance|segment|label|mask", re.IGNORECASE)


MOST_LISTED = 50
"""Topics that an error lists."""


class _Topic(NamedTuple):
    name: str
    look: str
    line: str
    """About the topic, for a list."""


def camera_topic(bag: Bag, truth: Collection[str] = ()) -> str:
    """The only camera of a bag: the only topic with colour images, else the only one with grey ones.

    Ground truth, depth, and what our own node published are none, and raw images go before the same compressed.
    truth: topics that are known to be ground truth. Raises `SourceError` with a list where it is not clear.
    """
    if not bag.image_topics:
        others = ", ".join(f"{topic} ({kind})" for topic, kind in sorted(bag.topics.items()))
        raise SourceError(f"{bag.path} has no image topic; it has {printable(others) or 'no topics at all'}")
    topics = [_look_at(bag, topic) for topic in bag.image_topics if bag.count(topic)]
    if not topics:
        raise SourceError(f"{bag.path} is empty: {printable(', '.join(bag.image_topics))} have no messages")
    own = _own_outputs(bag)
    cameras = [
        topic
        for topic in topics
        if topic.name not in own and topic.name not in truth and not _TRUTH_NAME.search(topic.name)
    ]
    colour = _without_copies([topic for topic in cameras if topic.look == COLOUR])
    grey = _without_copies([topic for topic in cameras if topic.look == GREY and not _LABEL_NAME.search(topic.name)])
    chosen = colour or grey
    if len(chosen) == 1:
        return chosen[0].name
    listed = "\n".join(topic.line for topic in topics[:MOST_LISTED]) + ("\n  ..." if topics[MOST_LISTED:] else "")
    if not chosen:
        raise SourceError(f"{bag.path} has no topic that looks like a camera's; choose one with --topic:\n{listed}")
    raise SourceError(
        f"{bag.path} has several image topics; choose with --topic, which an evaluation takes several times:\n{listed}"
    )


def _look_at(bag: Bag, topic: str) -> _Topic:
    """Judges a topic by its first message; a damaged one says nothing."""
    encoding, look = "unreadable", OTHER
    with suppress(BagError, StopIteration):
        message = next(bag.messages(topic)).content
        if hasattr(message, "format"):
            encoding, look = f"'{message.format}'", _compressed_look(message.format, bytes(message.data[:33]))
        else:
            encoding = message.encoding
            look = GREY if encoding in _GREY_ENCODINGS else OTHER if _OTHER_ENCODINGS.match(encoding) else COLOUR
    kind, count = bag.topics[topic].rpartition("/")[2], counted(bag.count(topic), "message")
    return _Topic(topic, look, f"  {topic}  {kind} {printable(encoding, 60)}, {count}")


def _compressed_look(format_: str, head: bytes) -> str:
    encoding = format_.partition(";")[0].strip()
    if "compressedDepth" in format_ or _OTHER_ENCODINGS.match(encoding):
        return OTHER
    if encoding in _GREY_ENCODINGS:
        return GREY
    if head.startswith(b"\x89PNG") and len(head) == 33:
        depth, colour = head[24], head[25]
        # A PNG says itself what is in it: one channel of 16 bits is depth, or ids.
        if colour == 0:
            return OTHER if depth == 16 else GREY
        if colour == 3:
            return GREY
    return COLOUR


def _own_outputs(bag: Bag) -> set[str]:
    nodes = {topic.rpartition("/")[0] for topic, kind in bag.topics.items() if kind == INSTANCES_TYPE}
    own = set()
    for topic in bag.image_topics:
        node, _, name = topic.removesuffix("/compressed").rpartition("/")
        # By the node's usual name where its instances were not recorded.
        if name in NODE_OUTPUTS and (node in nodes or _USUAL_NODE.search(node)):
            own.add(topic)
    return own


def _without_copies(topics: list[_Topic]) -> list[_Topic]:
    """Without those that are another one compressed."""
    names = {topic.name for topic in topics}
    return [
        topic
        for topic in topics
        if not topic.name.endswith("/compressed") or topic.name.removesuffix("/compressed") not in names
    ]
