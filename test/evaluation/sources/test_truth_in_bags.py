"""Ground truth that a person would call right is matched, and its values and colours are understood."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.evaluation.sources import SourceError, TruthSource
from eomt_ros.evaluation.sources.truth_map import parse_truth_map
from test.evaluation import bags
from test.evaluation.sources.recordings import (
    FRAMES,
    Message,
    expect_scene,
    frame,
    read,
    read_one,
    unscored,
    write,
)


def with_truth_at(tmp_path: Path, moment: Callable[[int], tuple[int, int]]) -> Path:
    """A bag whose frames have their ground truth of another stamp, recorded at another time."""
    messages = [frame(number)[0] for number in range(FRAMES)]
    for number in range(FRAMES):
        stamp, recorded = moment(number)
        messages.append((bags.SEMANTIC, recorded, bags.image(stamp, bags.scene(number)[1], "mono8")))
        messages.append((bags.PANOPTIC, recorded, bags.image(stamp, bags.scene(number)[2], "16UC1")))
    return bags.write_bag(tmp_path / "bag", sorted(messages, key=lambda message: message[1]))


def test_stamps_that_went_through_a_float_match(tmp_path: Path) -> None:
    def through_a_float(number: int) -> tuple[int, int]:
        stamp = round(bags.stamp(number) * 1e-9 * 1e9) + 128 * (-1) ** number
        return stamp, bags.stamp(number)

    sequence, frames = read_one(with_truth_at(tmp_path, through_a_float))
    expect_scene(frames, range(FRAMES))
    assert sequence.problems == []


def test_labels_recorded_after_all_images_match_however_many_there_are(tmp_path: Path) -> None:
    numbers = range(200)
    messages = [frame(number)[0] for number in numbers]
    for number in numbers:
        labels = bags.image(bags.stamp(number), bags.scene(number)[1], "mono8")
        messages.append((bags.SEMANTIC, bags.stamp(1000 + number), labels))
    sequence, frames = read_one(bags.write_bag(tmp_path / "bag", messages))
    expect_scene(frames, numbers, instances=False)
    assert sequence.problems == []


def test_labels_in_no_order_match(tmp_path: Path) -> None:
    sequence, frames = read_one(with_truth_at(tmp_path, lambda number: (bags.stamp(number), bags.stamp(50 - number))))
    expect_scene(frames, range(FRAMES))
    assert sequence.problems == []


def test_stamps_that_lie_beside_each_other_match_and_it_is_said(tmp_path: Path) -> None:
    late = 4_000_000
    path = with_truth_at(tmp_path, lambda number: (bags.stamp(number) + late, bags.stamp(number) + late))
    sequence, frames = read_one(path)
    expect_scene(frames, range(FRAMES))
    assert sequence.problems[0] == (
        f"6 frames are scored by ground truth in {bags.SEMANTIC} with another stamp, at most +4.000 ms "
        f"(that of {bags.stamp(0)} ns); --truth-tolerance 0 leaves them out"
    )
    sequence, frames = read_one(path, truth=TruthSource(tolerance=late - 1))
    assert unscored(frames) == list(range(FRAMES))
    assert sequence.problems[:2] == [
        f"6 of 6 frames have no ground truth in {bags.SEMANTIC}; "
        f"first: {bags.stamp(0)} ns, the nearest has {bags.stamp(0) + late} ns (+4.000 ms)",
        f"6 of 6 messages in {bags.SEMANTIC} belong to no frame; first: {bags.stamp(0) + late} ns",
    ]


def restamped(number: int, stamp: Callable[[int], int], topics: tuple[str, ...]) -> list[Message]:
    messages = frame(number)
    for place, (topic, recorded, message) in enumerate(messages):
        if topic in topics:
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp(number), 10**9)
        messages[place] = topic, recorded + place * 1_000_000, message
    return messages


ALL = (bags.IMAGES, bags.SEMANTIC, bags.PANOPTIC)


def test_without_stamps_the_time_of_recording_tells_and_it_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", [restamped(number, lambda _: 0, ALL) for number in range(FRAMES)])
    sequence, frames = read_one(path)
    expect_scene(frames, range(FRAMES))
    assert sequence.problems == [
        f"the headers of {bags.IMAGES} and {topic} have no stamps: matched by time of recording"
        for topic in (bags.SEMANTIC, bags.PANOPTIC)
    ]


def test_where_only_one_side_has_stamps_nothing_is_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", [restamped(number, lambda _: 0, ALL[1:]) for number in range(FRAMES)])
    sequence, frames = read_one(path)
    assert unscored(frames) == list(range(FRAMES))
    assert sequence.problems[0] == (
        f"no frame has ground truth in {bags.SEMANTIC}: the headers of {bags.SEMANTIC} have no stamps"
    )


def test_a_simulation_may_begin_at_0(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", [restamped(number, lambda n: n * bags.PERIOD, ALL) for number in range(FRAMES)])
    sequence, frames = read_one(path)
    assert [each.stamp for each in frames] == [number * bags.PERIOD for number in range(FRAMES)]
    assert unscored(frames) == []
    assert sequence.problems == []


def colour_labels(
    number: int, channels: Callable[[np.ndarray], list[np.ndarray]], encoding: str = "rgb8"
) -> list[Message]:
    """A frame whose ground truth is a colour image made of its classes."""
    messages = frame(number)
    pixels = np.stack(channels(bags.scene(number)[1]), -1).astype(np.uint8)
    messages[1] = bags.SEMANTIC, messages[1][1], bags.image(bags.stamp(number), pixels, encoding)
    return messages


@pytest.mark.parametrize(
    ("channels", "encoding", "text"),
    [
        (lambda classes: [classes] * 3, "rgb8", None),
        (lambda classes: [classes, classes * 9, classes * 0], "rgb8", "channel=r"),
        (lambda classes: [classes * 0, classes * 9, classes + 1, classes], "bgra8", "channel=r,offset=-1"),
        (lambda classes: [classes * 40, classes * 30, classes * 20], "rgb8", "#000000=0,#785a3c=class 3"),
    ],
)
def test_a_simulators_colour_images_are_label_images(
    tmp_path: Path, channels: Callable[[np.ndarray], list[np.ndarray]], encoding: str, text: str | None
) -> None:
    path = write(tmp_path / "bag", [colour_labels(number, channels, encoding) for number in range(FRAMES)])
    source = TruthSource() if text is None else TruthSource(map=parse_truth_map(text))
    sequence, frames = read_one(path, truth=source, classes=4)
    expect_scene(frames, range(FRAMES))
    assert sequence.problems == []
    assert sequence.truth == f"{bags.SEMANTIC}, {bags.PANOPTIC}" + (f" by {text}" if text else "")


def test_one_colour_topic_may_have_classes_and_ids(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", [colour_labels(0, lambda classes: [classes, bags.scene(0)[2], classes * 0 + 7])])
    source = TruthSource(bags.SEMANTIC, bags.SEMANTIC, map=parse_truth_map("channel=r"))
    _, ((found,),) = zip(*read(path, truth=source, classes=4), strict=True)
    assert found.truth is not None
    np.testing.assert_array_equal(found.truth.classes, bags.scene(0)[1])
    assert found.truth.instances is not None
    assert len(np.unique(found.truth.instances)) == 2


def test_colours_that_nobody_explained_are_refused_with_what_to_say(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", [colour_labels(0, lambda classes: [classes, classes * 2, classes])])
    with pytest.raises(
        SourceError, match=r"--truth-map which channel has the class \(channel=r\), or the class of each"
    ):
        read(path)


def test_values_that_the_map_does_not_name_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", [frame(0)])
    sequence, frames = read_one(path, truth=TruthSource(map=parse_truth_map("3=class 0")), classes=4)
    assert frames[0].truth is not None
    assert set(np.unique(frames[0].truth.classes)) == {0, 65535}
    assert sequence.problems == [
        f"1 frame has values that --truth-map does not name, which are unlabelled; first: 0 at {bags.stamp(0)} ns"
    ]


def test_a_class_of_the_map_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", [frame(0)])
    with pytest.raises(SourceError, match="--truth-map: the model has no class 'car'"):
        read(path, truth=TruthSource(map=parse_truth_map("3=car")), classes=4)
