"""Images and ground truth find each other by stamp, with little memory."""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from eomt_ros.evaluation.bag import Stamped
from eomt_ros.evaluation.sources import matching
from eomt_ros.evaluation.sources.matching import LOOK_AHEAD, Matcher

IMAGE, CLASSES, IDS = "/image", "/classes", "/ids"


@dataclass(frozen=True, eq=False)
class Message:
    """With as many bytes as one of its kind may have."""

    topic: str
    stamp: int
    data: bytes = b"1234"


Messages = Iterable[tuple[str, Stamped[Message]]]


def messages(*pairs: tuple[str, int]) -> Iterator[tuple[str, Stamped[Message]]]:
    for topic, stamp in pairs:
        yield topic, Stamped(stamp, Message(topic, stamp))


def matched(matcher: Matcher, source: Messages) -> list[tuple[int, bool]]:
    """Stamps of the images in the order in which they come, and whether they have ground truth, after checking it."""
    found = []
    for match in matcher.match(source):
        assert match.image.stamp == match.stamp
        if match.truth is not None:
            assert all(
                message.stamp == match.stamp and message.topic == topic for topic, message in match.truth.items()
            )
        found.append((match.stamp, match.truth is not None))
    return found


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_image_comes_in_order_with_what_has_its_stamp(data: st.DataObject) -> None:
    images, classes, ids = (data.draw(st.sets(st.integers(1, 120)), name) for name in ("images", "classes", "ids"))
    delays = random.Random(data.draw(st.integers(0, 10**6), "delays"))
    # Each topic in its own order, messages of one stamp up to 20 apart from each other.
    order = sorted(
        (stamp + offset * 20, delays.random(), topic, stamp)
        for topic, stamps, offset in (
            (IMAGE, images, delays.random()),
            (CLASSES, classes, delays.random()),
            (IDS, ids, delays.random()),
        )
        for stamp in stamps
    )
    matcher = Matcher(IMAGE, [CLASSES, IDS])
    found = matched(matcher, messages(*((topic, stamp) for _, _, topic, stamp in order)))
    assert found == [(stamp, stamp in classes and stamp in ids) for stamp in sorted(images)]
    expected = []
    for topic, stamps in ((CLASSES, classes), (IDS, ids)):
        if images - stamps:
            expected.append((len(images - stamps), f"of {len(images)} frame", f"no ground truth in {topic}"))
    for topic, stamps in ((CLASSES, classes), (IDS, ids)):
        if stamps - images:
            expected.append((len(stamps - images), f"in {topic} ", "the stamp of no frame"))
    for problem, (count, *words) in zip(matcher.problems(), expected, strict=True):
        assert int(problem.split()[0]) == count
        assert all(word in problem for word in words)


def test_ground_truth_may_come_before_or_after_and_out_of_order() -> None:
    matcher = Matcher(IMAGE, [CLASSES])
    source = messages((CLASSES, 2), (IMAGE, 1), (IMAGE, 2), (IMAGE, 3), (CLASSES, 3), (CLASSES, 1))
    assert matched(matcher, source) == [(1, True), (2, True), (3, True)]
    assert matcher.problems() == []


def test_images_stay_in_the_order_of_the_recording_even_where_time_jumps_back() -> None:
    matcher = Matcher(IMAGE, [CLASSES])
    stamps = [5, 6, 1, 2, 6]
    source = messages(*((topic, stamp) for stamp in stamps for topic in (IMAGE, CLASSES)))
    assert matched(matcher, source) == [(stamp, True) for stamp in stamps]


def test_the_first_example_names_the_nearest_stamp() -> None:
    matcher = Matcher(IMAGE, [CLASSES])
    source = messages((IMAGE, 10**9), (CLASSES, 10**9 + 2_500_000), (CLASSES, 10**9 - 3_000_000))
    assert matched(matcher, source) == [(10**9, False)]
    assert matcher.problems() == [
        "1 of 1 frame has no ground truth in /classes; first: 1000000000 ns, the nearest has 1002500000 ns (+2.500 ms)",
        "2 messages in /classes have the stamp of no frame; first: 1002500000 ns",
    ]


def test_without_ground_truth_no_image_waits() -> None:
    matcher = Matcher(IMAGE, [])
    source = messages((IMAGE, 1), (IMAGE, 2))
    match = matcher.match(source)
    assert (next(match).stamp, next(source)[1].stamp) == (1, 2)


def test_an_image_waits_for_a_bounded_number_of_newer_ones() -> None:
    read = []

    def endless() -> Iterator[tuple[str, Stamped[Message]]]:
        for stamp in range(10_000):
            read.append(stamp)
            yield from messages((IMAGE, stamp))

    assert next(Matcher(IMAGE, [CLASSES]).match(endless())).stamp == 0
    assert len(read) == LOOK_AHEAD + 1


def test_ground_truth_waits_for_a_bounded_number_of_newer_ones() -> None:
    matcher = Matcher(IMAGE, [CLASSES])
    early = [(CLASSES, stamp) for stamp in range(1000)]
    assert matched(matcher, messages(*early, (IMAGE, 1000 - LOOK_AHEAD), (IMAGE, 999 - LOOK_AHEAD))) == [
        (1000 - LOOK_AHEAD, True),
        (999 - LOOK_AHEAD, False),
    ]


def test_waiting_messages_take_a_bounded_amount_of_memory() -> None:
    large = bytes(matching.MEMORY // 10)
    alive: weakref.WeakSet[Message] = weakref.WeakSet()
    highest = 0

    def never_matching() -> Iterator[tuple[str, Stamped[Message]]]:
        nonlocal highest
        for stamp in range(200):
            message = Message(IMAGE if stamp % 2 else CLASSES, stamp, large)
            alive.add(message)
            highest = max(highest, len(alive))
            yield message.topic, Stamped(stamp, message)
            del message

    assert len(matched(Matcher(IMAGE, [CLASSES]), never_matching())) == 100
    assert 10 <= highest <= 13
