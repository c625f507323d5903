"""What a node published, beside the frames it belongs to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.engine import FrameResult, Labels, Segment, Timings
from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.output_bag import OutputBag
from eomt_ros.evaluation.recorded import RecordedPredictions, bag_name
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame
from test.evaluation import bags

LABELS = Labels("toy", ("floor",), (False,), ((0, 0, 0),), "panoptic")
DEMO = ("floor", "wall", "shelf", "box", "ball", "cone", "barrel", "person")


def result(number: int, class_id: int = 3, name: str = "box", thing: bool = True) -> FrameResult:
    """Differs from frame to frame."""
    _, semantic, panoptic = bags.scene(number)
    box = (2 * number, 16, 16, 16)
    segment = Segment(1, class_id, name, thing, 0.75, 256, box, number, returned=number % 2 == 1)
    confidence = np.zeros_like(semantic)
    return FrameResult(semantic, panoptic, confidence, [segment], 2, Timings(0.0, 0.0, 0.0, 0.0), LABELS)


def record(
    path: Path,
    stamps: Iterable[int],
    *,
    model: str = "demo",
    task: str = "panoptic",
    cameras: Iterable[str] = ("",),
    **segment: object,
) -> Path:
    """A bag with the result of every frame whose stamp is among `stamps`; `segment` changes it, see `result`.

    Of several cameras, the first one's age is 0, 1, ..., the second one's 100, 101, ...
    """
    kept = list(stamps)
    with OutputBag(path) as bag:
        for place, camera in enumerate(cameras):
            for number, stamp in enumerate(kept):
                found = result(number, **segment)  # type: ignore[arg-type]
                found.segments[0] = replace(found.segments[0], age=100 * place + number)
                kinds = {"task": task, "model": model, "identity": "query"}
                bag.write_found(found, stamp, sequence=number, camera=camera, **kinds)
    return path


def sequences(*names: str) -> list[FrameSequence]:
    """Recordings of other kinds than bags, of those names."""
    return [FrameSequence(name, lambda problems: iter(())) for name in names]


def cameras(*names: str, bag: str = "bag") -> list[FrameSequence]:
    """The cameras of a bag, each called by its name."""
    several = [FrameSequence(name, lambda problems: iter(()), bag=bag, topic=bags.rig_topic(name)) for name in names]
    return several if bag == "bag" else [replace(each, name=f"{bag} {each.name}") for each in several]


def frame(stamp: int, height: int = 48, width: int = 64) -> SourceFrame:
    return SourceFrame(stamp, np.zeros((height, width, 3), np.uint8), None)


def find(predictions: RecordedPredictions, stamps: Iterable[int], name: str = "a") -> list[FrameResult | None]:
    predictions.start_sequence(name)
    return [predictions.find(frame(stamp)) for stamp in stamps]


def test_every_frame_gets_its_own_result(tmp_path: Path) -> None:
    stamps = [bags.stamp(number) for number in range(5)]
    with RecordedPredictions(record(tmp_path / "bag", stamps), sequences("a")) as predictions:
        found = find(predictions, stamps)
        assert (predictions.model, predictions.task, predictions.labels.class_names) == ("demo", "panoptic", DEMO)
    for number, each in enumerate(found):
        expected = result(number)
        assert each is not None
        assert np.array_equal(each.semantic, expected.semantic)
        assert np.array_equal(each.panoptic, expected.panoptic)
        assert (each.segments, each.epoch) == (expected.segments, 2)
        assert math.isnan(each.timings.network)
    assert predictions.problems() == []


@pytest.mark.parametrize(("answered", "said"), [(3, False), (2, True)])
def test_ground_truth_of_which_most_meets_no_result_is_said(tmp_path: Path, answered: int, said: bool) -> None:
    stamps = [bags.stamp(number) for number in range(8)]
    with RecordedPredictions(record(tmp_path / "bag", stamps[:answered]), sequences("a")) as predictions:
        predictions.start_sequence("a")
        for number, stamp in enumerate(stamps):
            # Six of them have a ground truth.
            truth = Truth(np.zeros((48, 64), np.uint8)) if number < 6 else None
            predictions.find(replace(frame(stamp), truth=truth))
    problem = f"most of the ground truth is not used: {6 - answered} of 6 frames that have one have no recorded result"
    assert (problem in predictions.problems()) == said


def test_results_without_stamps_are_said_to_belong_to_nobody(tmp_path: Path) -> None:
    with RecordedPredictions(record(tmp_path / "bag", [0, 0, 0]), sequences("a")) as predictions:
        find(predictions, [bags.stamp(0)])
        assert any("have no stamps, because the camera's images had none" in each for each in predictions.problems())


def test_frames_that_the_node_dropped_have_no_result(tmp_path: Path) -> None:
    stamps = [bags.stamp(number) for number in range(6)]
    with RecordedPredictions(record(tmp_path / "bag", stamps[1:4:2]), sequences("a")) as predictions:
        found = find(predictions, stamps)
    assert [each is not None for each in found] == [False, True, False, True, False, False]
    assert predictions.problems() == [f"4 frames have no recorded result; first: {stamps[0]} ns"]


def test_results_of_no_frame_are_counted(tmp_path: Path) -> None:
    stamps = [bags.stamp(number) for number in range(6)]
    with RecordedPredictions(record(tmp_path / "bag", stamps), sequences("a")) as predictions:
        found = find(predictions, [stamps[2], stamps[3]])
    assert all(each is not None for each in found)
    assert predictions.problems() == [f"4 recorded results have the stamp of no frame; first: {stamps[0]} ns"]


def test_a_bag_that_was_played_twice_is_followed_through_the_jump(tmp_path: Path) -> None:
    stamps = [bags.stamp(10 * number) for number in range(4)]
    # Of the first round the last one was dropped, of the second the first.
    with RecordedPredictions(record(tmp_path / "bag", [*stamps[:3], *stamps[1:]]), sequences("a")) as predictions:
        found = find(predictions, [*stamps, *stamps])
    assert [each is not None for each in found] == [True, True, True, False, False, True, True, True]
    ages = [each.segments[0].age for each in found if each is not None]
    assert ages == [0, 1, 2, 3, 4, 5]


def test_a_frame_that_the_node_dropped_as_late_is_no_jump(tmp_path: Path) -> None:
    stamps = [bags.stamp(number) for number in (0, 1, 3, 2, 4)]
    with RecordedPredictions(record(tmp_path / "bag", [*stamps[:3], stamps[4]]), sequences("a")) as predictions:
        found = find(predictions, stamps)
    assert [each is not None for each in found] == [True, True, True, False, True]
    (problem,) = predictions.problems()
    assert problem.startswith("1 frame came late and was dropped; first: its stamp, 1700000000.200, is 0.100 s before")


def test_a_result_of_another_size_is_not_used(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", [bags.stamp(0), bags.stamp(1)])
    with RecordedPredictions(path, sequences("a")) as predictions:
        predictions.start_sequence("a")
        assert predictions.find(frame(bags.stamp(0), 96, 128)) is None
        assert predictions.find(frame(bags.stamp(1))) is not None
    (problem,) = predictions.problems()
    assert "1 recorded result has another size" in problem
    assert "64x48, the image 128x96" in problem


def test_several_sequences_have_a_bag_each(tmp_path: Path) -> None:
    stamps = [bags.stamp(0)]
    for name in ("a", "data/b"):
        record(tmp_path / "bags" / bag_name(name), stamps)
    with RecordedPredictions(tmp_path / "bags", sequences("a", "data/b")) as predictions:
        assert find(predictions, stamps, "a")[0] is not None
        assert find(predictions, stamps, "data/b")[0] is not None


def ages(found: Iterable[FrameResult | None]) -> list[int | None]:
    return [None if each is None else each.segments[0].age for each in found]


@pytest.mark.parametrize("names", [("front", "rear"), ("rear", "front")])
def test_the_cameras_of_a_rig_have_their_results_in_one_bag(names: tuple[str, str], tmp_path: Path) -> None:
    stamps = [bags.stamp(number) for number in range(3)]
    path = record(tmp_path / "bag", stamps, cameras=("front", "rear", "left"))
    with RecordedPredictions(path, cameras(*names)) as predictions:
        found = {name: ages(find(predictions, stamps, name)) for name in names}
    assert found == {"front": [0, 1, 2], "rear": [100, 101, 102]}
    assert predictions.problems() == []


def test_one_camera_of_a_rig_has_its_own_results(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", [bags.stamp(0)], cameras=("front", "rear"))
    with RecordedPredictions(path, cameras("rear")) as predictions:
        assert ages(find(predictions, [bags.stamp(0)], "rear")) == [100]


def test_nodes_of_one_camera_each_are_told_by_their_namespaces(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with Bag(record(tmp_path / "rig", [bags.stamp(0)], cameras=("front", "rear"))) as rig, OutputBag(path) as bag:
        for message in rig.recorded(rig.topics):
            _, node, camera, name = message.topic.split("/")
            bag.write(f"/{camera}/{node}/{name}", rig.topics[message.topic], message.time, message.data)
    with RecordedPredictions(path, cameras("front", "rear")) as predictions:
        assert [ages(find(predictions, [bags.stamp(0)], name)) for name in ("front", "rear")] == [[0], [100]]


def test_the_cameras_of_several_bags_have_a_rigs_bag_each_or_one_for_each_camera(tmp_path: Path) -> None:
    both = [*cameras("front", "rear", bag="monday"), *cameras("front", "rear", bag="tuesday")]
    record(tmp_path / "monday", [bags.stamp(0)], cameras=("front", "rear"))
    for place, camera in enumerate(("front", "rear")):
        record(tmp_path / f"tuesday {camera}", [bags.stamp(2 + place)])
    with RecordedPredictions(tmp_path, both) as predictions:
        moments = {"monday front": 0, "monday rear": 0, "tuesday front": 2, "tuesday rear": 3}
        found = {name: ages(find(predictions, [bags.stamp(moment)], name)) for name, moment in moments.items()}
    assert found == {"monday front": [0], "monday rear": [100], "tuesday front": [0], "tuesday rear": [0]}


@pytest.mark.parametrize(
    ("recorded", "wanted", "found"),
    [
        (("front", "rear"), ("front", "left"), "/segment/front/instances, /segment/rear/instances"),
        (("rear",), ("front",), "/segment/rear/instances"),
        (("front",), ("front", "rear"), "/segment/front/instances"),
        (("",), ("front", "rear"), "/segment/instances"),
    ],
)
def test_no_camera_is_given_the_results_of_another(
    recorded: tuple[str, ...], wanted: tuple[str, ...], found: str, tmp_path: Path
) -> None:
    path = record(tmp_path / "bag", [bags.stamp(0)], cameras=recorded)
    without = next(camera for camera in wanted if camera not in recorded)
    with pytest.raises(SourceError) as refused:
        RecordedPredictions(path, cameras(*wanted))
    assert str(refused.value) == (
        f"--predictions {path}: expected one topic of type eomt_ros/msg/InstanceArray, such as "
        f"/segment/CAMERA/instances with a CAMERA that is a step of {bags.rig_topic(without)}, found {found}"
    )


def test_bags_of_different_models_are_refused(tmp_path: Path) -> None:
    record(tmp_path / "bags" / "a", [1], model="one")
    record(tmp_path / "bags" / "b", [1], model="two")
    with pytest.raises(SourceError, match=r"one \(panoptic\) and two \(panoptic\), expected one"):
        RecordedPredictions(tmp_path / "bags", sequences("a", "b"))


def test_the_classes_of_an_unknown_model_are_those_that_were_found(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", [1], model="mine", class_id=2, name="robot", thing=False)
    labels = RecordedPredictions(path, sequences("a")).labels
    assert (labels.name, labels.class_names) == ("mine", ("class 0", "class 1", "robot"))
    assert labels.is_thing[2] is False


def test_a_table_names_the_classes(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", [1], model="mine", class_id=1, name="robot")
    table = tmp_path / "labels.yaml"
    text = "name: own\ntask: panoptic\nclasses:\n  - {name: floor, thing: false}\n  - {name: %s, thing: true}\n"
    table.write_text(text % "robot")
    assert RecordedPredictions(path, sequences("a"), table).labels.class_names == ("floor", "robot")
    table.write_text(text % "dog")
    with pytest.raises(SourceError, match=r"class 1 is robot \(thing\), which the labels own do not say"):
        RecordedPredictions(path, sequences("a"), table)


def test_a_bag_without_instances_is_refused(tmp_path: Path) -> None:
    path = bags.write_scene(tmp_path / "bag", 1)
    with pytest.raises(
        SourceError, match=f"expected one topic of type eomt_ros/msg/InstanceArray, found none.*{bags.IMAGES}"
    ):
        RecordedPredictions(path, sequences("a"))


def test_a_bag_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"--predictions.*nothing"):
        RecordedPredictions(tmp_path / "nothing", sequences("a"))


def test_a_result_that_lacks_a_part_is_left_out(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole", [bags.stamp(0), bags.stamp(1)])
    with Bag(whole) as source, OutputBag(tmp_path / "bag") as bag:
        for message in source.recorded(source.topics):
            if (message.topic, message.time) != ("/segment/panoptic", bags.stamp(1)):
                bag.write(message.topic, source.topics[message.topic], message.time, message.data)
    with RecordedPredictions(tmp_path / "bag", sequences("a")) as predictions:
        found = find(predictions, [bags.stamp(0), bags.stamp(1)])
    assert [each is not None for each in found] == [True, False]
    assert any("1 recorded result is incomplete" in problem for problem in predictions.problems())
