"""Tells how a node has to listen to hear the images of a bag: `python -m eomt_ros.replay.bag_images BAG`.

Prints the values of its launch arguments `image_topic` and `image_transport`. Launch files ask it, and do not read the
bag themselves, because `ros2 launch` may run in another Python than the node.
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
    from eomt_ros.evaluation.sources import SourceError, TruthSource, open_sequences
except ImportError as error:
    sys.exit(f"it cannot be read, {missing(error, 'evaluation')}")

_ENDING = "/compressed"


def listen_to(bag: Path, topics: Sequence[str], truth: TruthSource) -> tuple[str, str]:
    """`image_topic` and `image_transport` for a topic of the bag; none: that of its only camera. Raises SourceError."""
    if len(topics) > 1:
        raise SourceError(f"expected one --topic, got {', '.join(topics)}")
    chosen = open_sequences([bag], topics=topics, truth=truth)[0].topic
    if chosen is None:
        raise SourceError(f"{bag} is not a bag, expected one to play")
    with Bag(bag) as opened:
        kind = opened.topics[chosen].rpartition("/")[2]
    if kind == "Image":
        return chosen, "raw"
    if not chosen.endswith(_ENDING):
        raise SourceError(f"{bag}: {chosen} is compressed, and the node listens only to names that end in {_ENDING}")
    return chosen.removesuffix(_ENDING), "compressed"


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
        print(*listen_to(options.bag, options.topics, truth_source(options)), sep="\n")
    except SourceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
