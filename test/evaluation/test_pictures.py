"""The worst frames: which ones are kept, and that their pictures show what they say."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from eomt_ros.engine.model.labels import Labels
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.metrics.objects import FrameObjects
from eomt_ros.evaluation.pictures import FRAMES, DrawnTruth, PicturedFrame, WorstFrames, by_objects
from eomt_ros.evaluation.wrong import WorstFrame
from eomt_ros.overlay import draw

LABELS = Labels("toy", ("floor", "box", "ball"), (False, True, True), ((9, 9, 9), (200, 0, 0), (0, 200, 0)), "panoptic")
UNLABELLED = 255


def truth(height: int = 40, width: int = 60) -> Truth:
    """Floor with two boxes, one of them without an id, and an unlabelled corner."""
    classes, instances = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16)
    classes[5:15, 5:15], instances[5:15, 5:15] = 1, 7
    classes[20:30, 20:40] = 1
    classes[-5:, -5:] = UNLABELLED
    return Truth(classes, instances)


def grey(value: int, height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def kept(out: Path, frames: list[tuple[str, float, float]]) -> tuple[WorstFrame, ...]:
    """Of frames of a sequence at some second with some mIoU."""
    worst = WorstFrames(LABELS)
    for sequence, seconds, miou in frames:
        stamp = round(seconds * 1e9)
        worst.offer(PicturedFrame(sequence, stamp, seconds, miou, grey(60), grey(90), truth()))
    return worst.write(out)


def test_the_worst_frames_are_kept_worst_first(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    mious = generator.permutation(40) / 40
    found = kept(tmp_path, [("a", 2.0 * number, miou) for number, miou in enumerate(mious.tolist())])
    assert [frame.miou for frame in found] == [number / 40 for number in range(FRAMES)]
    assert [frame.stamp for frame in found] == [2 * 10**9 * int(np.argsort(mious)[rank]) for rank in range(FRAMES)]
    assert [frame.input for frame in found] == [f"worst/{number:02}_input.jpg" for number in range(1, FRAMES + 1)]


def test_by_objects_the_frame_with_most_errors_is_worst_and_miou_breaks_a_tie(tmp_path: Path) -> None:
    worst = WorstFrames(LABELS, rank=by_objects)
    seen = {"few": (FrameObjects(9, 8, 1, 0), 0.1), "most": (FrameObjects(3, 1, 0, 1), 0.9)}
    seen |= {"most, worse": (FrameObjects(1, 1, 2, 1), 0.8), "none": (FrameObjects(9, 9, 0, 0), 0.0)}
    for number, (name, (objects, miou)) in enumerate(seen.items()):
        frame = PicturedFrame(name, number, float(number), miou, grey(60), grey(90), truth(), objects)
        worst.offer(frame)
    found = worst.write(tmp_path, "objects_")
    assert [each.sequence for each in found] == ["most, worse", "most", "few", "none"]
    assert [(each.missed, each.ghosts, each.switches) for each in found] == [(0, 2, 1), (2, 0, 1), (1, 1, 0), (0, 0, 0)]
    assert found[0].input == "worst/01_objects_input.jpg"
    assert (tmp_path / found[0].input).is_file()


def test_two_of_them_are_at_least_a_second_apart(tmp_path: Path) -> None:
    # Ten a second, ever worse and then ever better: of each bad moment the worst frame.
    mious = [0.5 - 0.4 * np.exp(-(((second / 10) % 5 - 2.5) ** 2)) for second in range(300)]
    found = kept(tmp_path, [("a", number / 10, miou) for number, miou in enumerate(mious)])
    seconds = sorted(frame.seconds for frame in found)
    assert len(seconds) == FRAMES
    assert min(np.diff(seconds)) >= 1.0 - 1e-9
    assert {2.5, 7.5, 12.5, 17.5, 22.5, 27.5} == {round(second, 3) for second in seconds}


def test_frames_of_different_sequences_may_be_of_one_moment(tmp_path: Path) -> None:
    found = kept(tmp_path, [("a", 1.0, 0.5), ("b", 1.0, 0.4), ("a", 1.5, 0.6)])
    assert [(frame.sequence, frame.miou) for frame in found] == [("b", 0.4), ("a", 0.5)]


def test_no_frame_makes_no_folder(tmp_path: Path) -> None:
    assert kept(tmp_path, []) == ()
    assert list(tmp_path.iterdir()) == []


def read(path: Path) -> npt.NDArray[np.int16]:
    """An RGB picture."""
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture[..., ::-1].astype(np.int16)


def test_the_pictures_show_input_prediction_and_truth(tmp_path: Path) -> None:
    (frame,) = kept(tmp_path, [("a", 0.0, 0.5)])
    assert np.abs(read(tmp_path / frame.input) - grey(60)).max() <= 3
    assert np.abs(read(tmp_path / frame.prediction) - grey(90)).max() <= 3
    expected = draw(grey(60), DrawnTruth(truth(), LABELS), LABELS).astype(np.int16)
    assert np.abs(read(tmp_path / frame.truth) - expected).mean() <= 6  # JPEG blurs what is thin


def test_wide_pictures_are_made_smaller(tmp_path: Path) -> None:
    worst = WorstFrames(LABELS)
    picture = grey(60, 1080, 1920)
    worst.offer(PicturedFrame("a", 0, 0.0, 0.5, picture, picture, truth(1080, 1920)))
    (frame,) = worst.write(tmp_path)
    for path in (frame.input, frame.prediction, frame.truth):
        assert read(tmp_path / path).shape == (720, 1280, 3)


def test_truth_is_drawn_as_a_prediction_is() -> None:
    drawn = DrawnTruth(truth(), LABELS)
    classes, instances = truth().classes, truth().instances
    by_name = {(segment.class_name, segment.is_thing): segment for segment in drawn.segments}
    assert by_name.keys() == {("floor", False), ("box", True), ("box", False)}  # a box without id is no thing to follow
    thing = by_name["box", True]
    assert (thing.id, thing.area, thing.box) == (7, 100, (5, 5, 10, 10))
    assert np.array_equal(drawn.panoptic == 7, instances == 7)
    assert not drawn.panoptic[classes == UNLABELLED].any()
    assert len({segment.id for segment in drawn.segments}) == 3
    for segment in drawn.segments:
        assert np.count_nonzero(drawn.panoptic == segment.id) == segment.area


@pytest.mark.parametrize("highest", [65535, 65533, 7_000_000])
def test_ids_that_cannot_be_drawn_are_replaced(highest: int) -> None:
    large = truth().instances.astype(np.uint32)  # type: ignore[union-attr]
    large[large > 0] = highest
    drawn = DrawnTruth(Truth(truth().classes, large), LABELS)
    assert np.array_equal(np.unique(drawn.panoptic), [0, 1, 2, 3])
    assert {segment.class_name for segment in drawn.segments if segment.is_thing} == {"box"}


def test_truth_of_classes_alone_has_one_region_per_class() -> None:
    drawn = DrawnTruth(Truth(truth().classes), LABELS)
    assert {(segment.class_name, segment.is_thing) for segment in drawn.segments} == {("floor", False), ("box", False)}
