"""Names of several cameras, from their topics."""

from __future__ import annotations

from collections.abc import Sequence

from eomt_ros.evaluation.errors import SourceError


def camera_names(topics: Sequence[str]) -> list[str]:
    """The names of several cameras: the first step of their image topics that tells all apart, or all such steps.

    `/robot/front/image/compressed` and `/robot/rear/image` are `front` and `rear`. Raises `SourceError` where a topic
    is given twice.
    """
    for topic in topics:
        if topics.count(topic) > 1:
            raise SourceError(f"--topic {topic} is given twice, expected each camera once: {', '.join(topics)}")
    steps = [topic.removesuffix("/compressed").strip("/").split("/") for topic in topics]
    for end in (0, -1):
        while all(len(each) > 1 for each in steps) and len({each[end] for each in steps}) == 1:
            for each in steps:
                del each[end]
    for names in ([each[0] for each in steps], ["/".join(each) for each in steps]):
        if len(set(names)) == len(names):
            return names
    # They differ in compression only.
    return [topic.strip("/") for topic in topics]
