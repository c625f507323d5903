"""Tells how a node has to listen to hear the images of a bag: `python -m eomt_ros.replay.bag_images BAG`.

Prints the values of its launch arguments `image_topic`, one for each topic, and `image_transport`. Launch files ask it,
and do not read the bag themselves, because `ros2 launch` may run in another Python than the node.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eomt_ros.extras import missing

try:
    from eomt_ros.cli.evaluation_arguments import add_truth_arguments, truth_source
    from eomt_ros.evaluation.bag import Bag
    from eomt_ros.evaluation.sources import FrameSequence, SourceError, TruthSource, open_sequences
except ImportError as error:
    sys.exit(f"it cannot be read, {missing(error, 'evaluation')}")

_ENDING = "/compressed"


def listen_to(bag: Path, topics: Sequence[str], truth: TruthSource) -> tuple[list[str], str]:
    """`image_topic` for each of these topics of the bag, and the `image_transport` of all.

    topics: none for that of the only camera. Raises SourceError.
    """
    chosen = played_topics(bag, open_sequences([bag], topics=topics, truth=truth))
    with Bag(bag) as opened:
        found = [_heard_as(opened, topic) for topic in chosen]
    transports = {transport for _, transport in found}
    if len(transports) > 1:
        raise SourceError(
            f"{bag}: of {', '.join(topics)} some are compressed and some are not, expected one kind for all cameras of "
            "the node"
        )
    return [topic for topic, _ in found], transports.pop()


def played_topics(bag: Path, sequences: Sequence[FrameSequence]) -> list[str]:
    """The topics of the images of the sequences that were opened. Raises SourceError where `bag` is none."""
    topics = [sequence.topic for sequence in sequences if sequence.topic is not None]
    if len(topics) < len(sequences):
        raise SourceError(f"{bag} is not a bag, expected one to play")
    return topics


def _heard_as(bag: Bag, topic: str) -> tuple[str, str]:
    kind = bag.topics[topic].rpartition("/")[2]
    if kind == "Image":
        return topic, "raw"
    if not topic.endswith(_ENDING):
        raise SourceError(
            f"{bag.path}: {topic} is compressed, and the node listens only to names that end in {_ENDING}"
        )
    return topic.removesuffix(_ENDING), "compressed"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eomt_ros.replay.bag_images",
        description="Print the image_topic and image_transport with which a node hears the images of a bag.",
    )
    parser.add_argument("bag", type=Path)
    add_truth_arguments(parser)
    options = parser.parse_args()
    try:
        topics, transport = listen_to(options.bag, options.topics, truth_source(options))
    except SourceError as error:
        sys.exit(str(error))
    print(*topics, transport, sep="\n")


if __name__ == "__main__":
    main()
