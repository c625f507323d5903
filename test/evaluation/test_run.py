"""A whole evaluation of small real bags with a small real network, beside the engine called by hand."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eomt_ros.engine import FrameResult, Segmenter
from eomt_ros.evaluation import results
from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics import Scores
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.recorded import RecordedPredictions
from eomt_ros.evaluation.report import write_report
from eomt_ros.evaluation.results import Figures, Results
from eomt_ros.evaluation.run import EvaluationOptions, evaluate
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame
from eomt_ros.video import read_video
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags

FRAMES = 12
SHAPE = (48, 64)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    model = write_checkpoint(tmp_path_factory.mktemp("model") / "small")
    return Segmenter.load(model, device="cpu", precision="float32", score_threshold=0.2)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bags.write_scene(tmp_path_factory.mktemp("bags") / "bag", FRAMES)


def run(
    paths: Iterable[Path], segmenter: Segmenter, out: Path, truth: TruthSource | None = None, **options: Any
) -> Results:
    out.mkdir(exist_ok=True)
    sequences = open_sequences(list(paths), truth=truth or TruthSource())
    return evaluate(sequences, EnginePredictions(segmenter), out, EvaluationOptions(**options))


def segmented(
    segmenter: Segmenter, stamps: Iterable[int], resets: Iterable[int] = (), numbers: Iterable[int] | None = None
) -> Iterator[FrameResult]:
    """What the engine finds in the frames of a scene, one stream that is reset before some of them.

    numbers: of the pictures; None: all in order.
    """
    stream = segmenter.open_stream()
    resets = set(resets)
    for number, stamp in zip(itertools.count() if numbers is None else numbers, stamps, strict=False):
        if number in resets:
            stream.reset()
        yield segmenter.segment(bags.scene(number)[0], stream, stamp=Fraction(stamp, 10**9))


def scored(segmenter: Segmenter, frames: int) -> Figures:
    """The metrics of a scene, by hand."""
    scores = Scores(segmenter.labels.class_names, segmenter.labels.is_thing)
    scores.start_sequence("bag")
    stamps = [bags.stamp(number) for number in range(frames)]
    for number, result in enumerate(segmented(segmenter, stamps)):
        _, classes, instances = bags.scene(number)
        prediction = Prediction(result.semantic, result.panoptic, result.epoch)
        scores.update(Truth(classes, instances), prediction, begin=number * 0.1, seconds=0.1)
    return scores.figures()


def same_in_bag(path: Path, expected: Iterable[FrameResult]) -> None:
    """Expects a bag of predictions to hold these results, to the last bit."""
    with Bag(path) as bag:
        recorded = zip(
            bags.labels(bag, "/segment/semantic"),
            bags.labels(bag, "/segment/panoptic"),
            bag.messages("/segment/instances"),
            expected,
            strict=True,
        )
        for number, (semantic, panoptic, instances, result) in enumerate(recorded):
            assert np.array_equal(semantic.content, result.semantic)
            assert np.array_equal(panoptic.content, result.panoptic)
            assert (instances.content.epoch, instances.content.sequence) == (result.epoch, number)
            ids = [(each.id, each.class_id, each.age) for each in instances.content.instances]
            assert ids == [(segment.id, segment.class_id, segment.age) for segment in result.segments]


def test_the_figures_are_those_of_engine_and_metrics_by_hand(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([bag], segmenter, tmp_path / "out")
    expected = scored(segmenter, FRAMES)
    for name, value in vars(expected).items():
        assert getattr(found, name) == (pytest.approx(value) if isinstance(value, float) else value), name
    assert expected.miou is not None
    assert 0 < expected.miou < 1
    assert (found.frames, found.frames_scored, found.problems) == (FRAMES, FRAMES, ())
    assert found.seconds == pytest.approx(FRAMES * 0.1)
    assert found.class_names == segmenter.labels.class_names
    assert (found.sequences, found.drift, found.replay) == (("bag",), None, None)
    assert {timeline.object_id for timeline in found.timelines} == {1}


def test_speed_is_measured_for_every_frame(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([bag], segmenter, tmp_path / "out")
    assert sum(count for _, count in found.latency_histogram) == FRAMES
    assert found.stages_ms.keys() == {"preprocess", "network", "postprocess", "identity"}
    assert 0 < found.stages_ms["network"].p50 < found.latency_ms.p50 <= found.latency_ms.highest
    slowest = sum(stage.highest for stage in found.stages_ms.values())
    assert 1e3 / found.latency_ms.highest <= found.fps
    assert found.latency_ms.highest <= slowest * 1.001


def test_intervals_and_worst_frames_lie_within_the_run(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([bag], segmenter, tmp_path / "out")
    assert [(part.begin, round(part.end, 6)) for part in found.intervals] == [(0.0, 1.0), (1.0, 1.2)]
    assert found.worst_frames
    for frame in found.worst_frames:
        assert frame.stamp == bags.START + round(frame.seconds * 1e9)
        for picture in (frame.input, frame.prediction, frame.truth):
            assert (tmp_path / "out" / picture).stat().st_size > 0


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_frames_csv_has_a_row_for_each_frame(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([bag], segmenter, tmp_path / "out")
    rows = read_rows(tmp_path / "out" / found.files["frames"])
    assert [int(row["stamp"]) for row in rows] == [bags.stamp(number) for number in range(FRAMES)]
    assert [float(row["seconds"]) for row in rows] == pytest.approx([number * 0.1 for number in range(FRAMES)])
    assert {row["sequence"] for row in rows} == {"bag"}
    lowest = min(rows, key=lambda row: float(row["miou"]))
    assert (int(lowest["stamp"]), float(lowest["miou"])) == (found.worst_frames[0].stamp, found.worst_frames[0].miou)
    most = max(rows, key=lambda row: errors_of(row))
    (worst,) = (each for each in found.worst_frames_by_objects if each.stamp == found.worst_frames_by_objects[0].stamp)
    assert errors_of(most) == sum(each or 0 for each in (worst.missed, worst.ghosts, worst.switches))
    assert all(0 <= float(row["pq"]) <= 1 and float(row["latency_ms"]) > 0 for row in rows)
    assert found.ghosts_per_frame == pytest.approx(sum(int(row["ghosts"]) for row in rows) / FRAMES)
    assert found.id_switches == sum(int(row["id_switches"]) for row in rows)


def errors_of(row: dict[str, str]) -> int:
    return sum(int(row[name]) for name in ("missed", "ghosts", "id_switches"))


def test_objects_csv_has_a_row_for_each_object(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([bag], segmenter, tmp_path / "out")
    rows = read_rows(tmp_path / "out" / found.files["objects"])
    assert [(int(row["object_id"]), row["class_name"]) for row in rows] == [
        (each.object_id, each.class_name) for each in found.timelines
    ]
    assert len(rows) == found.objects
    assert sum(float(row["seconds_in_view"]) for row in rows) == pytest.approx(found.object_seconds)
    assert sum(int(row["id_switches"]) for row in rows) == found.id_switches
    in_view = sum(int(row["frames"]) for row in rows)
    assert sum(int(row["frames_found"]) for row in rows) == pytest.approx((found.frames_found or 0) * in_view)
    for row, timeline in zip(rows, found.timelines, strict=True):
        assert float(row["first_seconds"]) == pytest.approx(timeline.spans[0].begin)
        assert float(row["last_seconds"]) == pytest.approx(timeline.spans[-1].end)
        assert 0.001 <= float(row["area"]) < 1
        assert int(row["ids"]) == len({span.identity for span in timeline.spans if span.identity is not None})


def test_rows_of_frames_without_ground_truth_have_empty_fields(segmenter: Segmenter, tmp_path: Path) -> None:
    path = scene_at(tmp_path / "bag", [bags.stamp(number) for number in range(3)])
    found = run([path], segmenter, tmp_path / "out")
    assert [row["miou"] + row["missed"] for row in read_rows(tmp_path / "out" / "frames.csv")] == [""] * 3
    assert "objects" not in found.files


def test_the_overlay_shows_every_frame_at_its_time(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([bag], segmenter, tmp_path / "out")
    shown = list(read_video(tmp_path / "out" / found.files["overlay"]))
    assert [frame.stamp for frame in shown] == pytest.approx(
        [number * bags.PERIOD for number in range(FRAMES)], abs=1e5
    )
    assert {frame.image.shape for frame in shown} == {(*SHAPE, 3)}


def test_the_saved_bag_holds_what_the_engine_found(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([bag], segmenter, tmp_path / "out", save_bag=True)
    stamps = [bags.stamp(number) for number in range(FRAMES)]
    same_in_bag(tmp_path / "out" / found.files["bag"], segmented(segmenter, stamps))


def test_a_saved_bag_scores_as_the_engine_did(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    first = run([bag], segmenter, tmp_path / "first", save_bag=True)
    (tmp_path / "second").mkdir()
    table = tmp_path / "labels.yaml"
    entries = zip(segmenter.labels.class_names, segmenter.labels.is_thing, strict=True)
    rows = "\n".join(f"  - {{name: {name}, thing: {str(thing).lower()}}}" for name, thing in entries)
    table.write_text(f"name: {segmenter.labels.name}\ntask: panoptic\nclasses:\n{rows}\n")
    sequences = open_sequences([bag], truth=TruthSource())
    with RecordedPredictions(tmp_path / "first" / "bag", sequences, table) as predictions:
        second = evaluate(sequences, predictions, tmp_path / "second", EvaluationOptions())
    same = ("miou", "class_iou", "vpq", "stq", "mvc8", "id_switches", "timelines", "frames", "frames_scored", "seconds")
    assert [getattr(second, name) for name in same] == [getattr(first, name) for name in same]
    assert math.isnan(second.fps)
    assert math.isnan(second.latency_ms.p50)
    assert (second.stages_ms, second.latency_histogram) == ({}, ())
    overlays = [list(read_video(tmp_path / name / "overlay.mp4")) for name in ("first", "second")]
    for one, other in zip(*overlays, strict=True):
        assert np.array_equal(one.image, other.image)


def scene_at(path: Path, stamps: list[int], sizes: dict[int, tuple[int, int]] | None = None) -> Path:
    """A bag of a scene's frames with these stamps; sizes: of some of them."""

    def messages() -> Iterator[tuple[str, int, Any]]:
        for number, stamp in enumerate(stamps):
            picture = bags.scene(number, *(sizes or {}).get(number, SHAPE))[0]
            yield bags.IMAGES, bags.stamp(number), bags.compressed(stamp, picture)

    return bags.write_bag(path, messages())


@pytest.mark.parametrize(
    ("stamps", "reason"),
    [
        ([0, 1, 2, 24, 25, 26], "exceeds max_gap"),
        ([30, 31, 32, 0, 1, 2], "time jumped back by 3.200 s"),
    ],
)
def test_the_stream_breaks_off_where_the_nodes_does(
    stamps: list[int], reason: str, segmenter: Segmenter, tmp_path: Path
) -> None:
    times = [bags.stamp(number) for number in stamps]
    found = run([scene_at(tmp_path / "bag", times)], segmenter, tmp_path / "out", save_bag=True)
    same_in_bag(tmp_path / "out" / "bag", segmented(segmenter, times, resets=[3]))
    (problem,) = found.problems
    assert problem.startswith("1 break in the stream, after which ids began anew; first: ")
    assert reason in problem


def test_a_late_frame_is_dropped_and_said_and_the_stream_goes_on(segmenter: Segmenter, tmp_path: Path) -> None:
    times = [bags.stamp(number) for number in (0, 1, 3, 2, 4, 5)]
    found = run([scene_at(tmp_path / "bag", times)], segmenter, tmp_path / "out", save_bag=True)
    expected = segmented(segmenter, [*times[:3], *times[4:]], numbers=(0, 1, 2, 4, 5))
    same_in_bag(tmp_path / "out" / "bag", expected)
    (problem,) = found.problems
    assert problem.startswith("1 frame came late and was dropped; first: its stamp, 1700000000.200, is 0.100 s before")
    assert found.frames == 5


def test_frames_that_all_have_one_stamp_are_evaluated(segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([scene_at(tmp_path / "bag", [bags.START] * 6)], segmenter, tmp_path / "out")
    assert (found.frames, found.seconds) == (6, pytest.approx(0.6))
    assert not any("break" in problem or "late" in problem for problem in found.problems)


@pytest.mark.parametrize("start", [0, bags.START])
def test_what_is_found_does_not_depend_on_when_the_clock_began(
    start: int, segmenter: Segmenter, tmp_path: Path
) -> None:
    times = [start + number * bags.PERIOD for number in range(6)]
    found = run([scene_at(tmp_path / "bag", times)], segmenter, tmp_path / "out", save_bag=True)
    same_in_bag(tmp_path / "out" / "bag", segmented(segmenter, [bags.stamp(number) for number in range(6)]))
    assert (found.frames, found.problems) == (6, ())


def test_a_gap_that_the_node_allows_breaks_nothing(segmenter: Segmenter, tmp_path: Path) -> None:
    times = [bags.stamp(number) for number in (0, 1, 2, 22, 23)]
    found = run([scene_at(tmp_path / "bag", times)], segmenter, tmp_path / "out", save_bag=True)
    same_in_bag(tmp_path / "out" / "bag", segmented(segmenter, times))
    assert found.problems == ()


def test_a_new_size_breaks_the_stream_and_all_is_shown(segmenter: Segmenter, tmp_path: Path) -> None:
    path = scene_at(tmp_path / "bag", [bags.stamp(number) for number in range(4)], {2: (96, 128), 3: (96, 128)})
    found = run([path], segmenter, tmp_path / "out")
    assert found.frames == 4
    assert "the image size changed from 64x48 to 128x96" in found.problems[0]
    assert {frame.image.shape for frame in read_video(tmp_path / "out" / "overlay.mp4")} == {(*SHAPE, 3)}


def test_without_ground_truth_all_is_there_but_scores(segmenter: Segmenter, tmp_path: Path) -> None:
    path = scene_at(tmp_path / "bag", [bags.stamp(number) for number in range(FRAMES)])
    found = run([path], segmenter, tmp_path / "out")
    assert (found.frames, found.frames_scored) == (FRAMES, 0)
    unknown = ("miou", "vpq", "stq", "sq", "aq", "mvc8", "objects", "objects_found", "id_switches", "object_seconds")
    assert {getattr(found, name) for name in unknown} == {None}
    assert (found.timelines, found.worst_frames) == ((), ())
    assert {part.miou for part in found.intervals} == {None}
    assert found.fps > 0
    assert len(list(read_video(tmp_path / "out" / "overlay.mp4"))) == FRAMES


def truth_folder(folder: Path, classes: Iterable[np.ndarray]) -> TruthSource:
    import cv2

    folder.mkdir()
    for number, image in enumerate(classes):
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    return TruthSource(folder=folder)


def test_truth_of_another_size_is_not_scored_and_said(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    classes = [bags.scene(number, *((96, 128) if number == 5 else SHAPE))[1] for number in range(FRAMES)]
    found = run([bag], segmenter, tmp_path / "out", truth_folder(tmp_path / "truth", classes))
    assert (found.frames, found.frames_scored) == (FRAMES, FRAMES - 1)
    (problem,) = found.problems
    assert "1 frame's ground truth is not used" in problem
    assert "128x96" in problem


def test_truth_with_unknown_classes_is_not_scored_and_said(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    classes = [bags.scene(number)[1] for number in range(FRAMES)]
    classes[3][0, 0] = 77
    found = run([bag], segmenter, tmp_path / "out", truth_folder(tmp_path / "truth", classes))
    assert (found.frames, found.frames_scored) == (FRAMES, FRAMES - 1)
    assert "class 77, expected 0 to 4" in found.problems[0]


def test_a_truncated_bag_is_evaluated_as_far_as_it_goes(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    (whole,) = bag.glob("*.mcap")
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    found = run([cut], segmenter, tmp_path / "out")
    assert 0 < found.frames < FRAMES
    assert found.frames_scored in (found.frames, found.frames - 1)  # of the last frame some may be lost
    assert found.miou == pytest.approx(scored(segmenter, found.frames_scored).miou)
    assert found.problems


def test_the_semantic_task_has_no_objects(bag: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = write_checkpoint(tmp_path_factory.mktemp("model") / "small")
    found = run([bag], Segmenter.load(model, device="cpu", task="semantic"), tmp_path / "out")
    assert found.miou is not None
    assert (found.vpq, found.objects, found.id_switches, found.timelines) == (None, None, None, ())
    assert found.settings["task"] == "semantic"


def test_several_sequences_are_streams_of_their_own(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    other = bags.write_scene(tmp_path / "other", 5)
    found = run([bag, other], segmenter, tmp_path / "out", save_bag=True)
    assert found.sequences == ("bag", "other")
    assert found.frames == FRAMES + 5
    assert found.seconds == pytest.approx((FRAMES + 5) * 0.1)
    stamps = [bags.stamp(number) for number in range(FRAMES)]
    same_in_bag(tmp_path / "out" / "bag" / "bag", segmented(segmenter, stamps))
    same_in_bag(tmp_path / "out" / "bag" / "other", segmented(segmenter, stamps[:5]))
    shown = [frame.stamp for frame in read_video(tmp_path / "out" / "overlay.mp4")]
    assert np.diff(shown) == pytest.approx([bags.PERIOD] * (FRAMES + 4), abs=1e5)  # one after the other
    assert {timeline.sequence for timeline in found.timelines} == {"bag", "other"}


def test_what_is_wrong_with_one_of_several_sequences_is_said_of_it(
    bag: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    (whole,) = bag.glob("*.mcap")
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    found = run([bag, cut], segmenter, tmp_path / "out")
    assert found.problems
    assert all(problem.startswith("cut: ") for problem in found.problems)


class StopsAfter(EnginePredictions):
    """Somebody presses Ctrl-C while a frame is in work."""

    def __init__(self, segmenter: Segmenter, frames: int, options: EvaluationOptions) -> None:
        super().__init__(segmenter)
        self._left = frames
        self._stop = options.stop

    def begin(self, frame: SourceFrame) -> Callable[[], FrameResult | None]:
        rest = super().begin(frame)

        def finish() -> FrameResult | None:
            self._left -= 1
            if not self._left:
                self._stop.set()
            return rest()

        return finish


@pytest.mark.parametrize("frames", [1, 5, FRAMES + 2])
def test_what_was_done_before_a_stop_is_kept(frames: int, bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    other = bags.write_scene(tmp_path / "other", 5)
    options = EvaluationOptions(save_bag=True)
    (tmp_path / "out").mkdir()
    sequences = open_sequences([bag, other], truth=TruthSource())
    found = evaluate(sequences, StopsAfter(segmenter, frames, options), tmp_path / "out", options)
    assert found.frames == frames
    assert found.problems[0] == f"stopped by the user after {frames} of {FRAMES + 5} frames: the figures are of these"
    assert len(list(read_video(tmp_path / "out" / "overlay.mp4"))) == frames
    stamps = [bags.stamp(number) for number in range(min(frames, FRAMES))]
    same_in_bag(tmp_path / "out" / "bag" / "bag", segmented(segmenter, stamps))
    if frames <= FRAMES:
        assert found.miou == pytest.approx(scored(segmenter, frames).miou)


def test_a_stop_before_the_first_frame_has_empty_results(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    options = EvaluationOptions()
    options.stop.set()
    sequences = open_sequences([bag], truth=TruthSource())
    found = evaluate(sequences, EnginePredictions(segmenter), tmp_path, options)
    assert (found.frames, found.miou, found.files) == (0, None, {})


def test_a_sequence_without_frames_is_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    empty = FrameSequence("nothing", lambda problems: (frame for frame in []))
    with pytest.raises(SourceError, match="nothing: no frames"):
        evaluate([empty], EnginePredictions(segmenter), tmp_path, EvaluationOptions())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("floor", "wall", "ball"), "3 classes, the model 5"),
        (("floor", "wall", "box", "ball", "person"), "'box' as class 2, the model 'ball'"),
    ],
)
def test_a_data_set_with_other_classes_is_refused(
    names: tuple[str, ...], expected: str, segmenter: Segmenter, tmp_path: Path
) -> None:
    frames = [SourceFrame(number, bags.scene(number)[0], None) for number in range(2)]
    sequence = FrameSequence("video", lambda problems: (frame for frame in frames), class_names=names)
    with pytest.raises(SourceError, match=expected):
        evaluate([sequence], EnginePredictions(segmenter), tmp_path, EvaluationOptions())
    matching = replace(sequence, class_names=segmenter.labels.class_names)
    assert evaluate([matching], EnginePredictions(segmenter), tmp_path, EvaluationOptions()).frames == 2


def test_frames_without_time_between_them_count_a_tenth_of_a_second_each(segmenter: Segmenter, tmp_path: Path) -> None:
    frames = [SourceFrame(0, bags.scene(number)[0], Truth(*bags.scene(number)[1:])) for number in range(FRAMES)]
    sequence = FrameSequence("still", lambda problems: (frame for frame in frames))
    found = evaluate([sequence], EnginePredictions(segmenter), tmp_path, EvaluationOptions())
    assert (found.frames, found.frames_scored) == (FRAMES, FRAMES)
    assert [found.seconds, found.object_seconds] == pytest.approx([0.1 * FRAMES] * 2)
    assert found.problems[0].startswith(f"{FRAMES - 1} frames have the stamp of the frame before")
    assert write_report(tmp_path).stat().st_size


def test_the_settings_say_how_to_have_the_same_again(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([bag], segmenter, tmp_path / "out", settings={"command": ["eomt-ros", "evaluate"], "model": "here"})
    settings = found.settings
    assert (settings["command"], settings["model"]) == (["eomt-ros", "evaluate"], "here")
    assert (settings["topics"], settings["truth"]) == ([bags.IMAGES], [f"{bags.SEMANTIC}, {bags.PANOPTIC}"])
    assert (settings["task"], settings["device"], settings["backend"]) == ("panoptic", "cpu", "torch")
    assert settings["precision"] == "float32"
    assert (settings["score_threshold"], settings["mask_threshold"], settings["overlap_threshold"]) == (0.2, 0.5, 0.8)
    assert settings["versions"].keys() == {"eomt_ros", "python", "torch", "numpy", "cv2", "av"}


def test_other_weights_have_another_digest(segmenter: Segmenter, tmp_path: Path) -> None:
    models = [write_checkpoint(tmp_path / f"model{number}", seed=seed) for number, seed in enumerate((1, 2, 1))]
    digests = [EnginePredictions(Segmenter.load(model, device="cpu")).settings["weights_sha256"] for model in models]
    assert digests[0] == digests[2]
    assert all(one != other for one, other in itertools.pairwise(digests))


@pytest.mark.parametrize(("name", "kind"), [("overlay.mp4", "overlay"), ("frames.csv", "frames")])
def test_a_disk_without_room_for_the_video_or_rows_costs_these_only(
    name: str, kind: str, bag: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    whole = run([bag], segmenter, tmp_path / "whole")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to("/dev/full")
    found = run([bag], segmenter, tmp_path / "out")
    (problem,) = found.problems
    assert problem.startswith(f"{name} was given up: ")
    assert "No space left on device" in problem
    assert (found.frames, found.stq) == (whole.frames, whole.stq)
    assert found.files == {each: path for each, path in whole.files.items() if each != kind}
    assert results.read_results(tmp_path / "out").problems == found.problems


def test_what_lies_in_the_way_of_pictures_or_bag_stays_and_costs_these_only(
    bag: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("worst", "bag"):
        (out / name).write_text("mine")
    found = run([bag], segmenter, out, save_bag=True)
    assert (found.frames, found.worst_frames) == (FRAMES, ())
    assert [problem.split(":")[0] for problem in found.problems] == [
        "bag was given up",
        "the pictures of the worst frames were given up",
    ]
    assert {(out / name).read_text() for name in ("worst", "bag")} == {"mine"}


def test_without_video_there_is_none(bag: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    found = run([bag], segmenter, tmp_path / "out", video=False)
    assert "overlay" not in found.files
    assert not (tmp_path / "out" / "overlay.mp4").exists()
    assert found.worst_frames


def test_the_figures_so_far_are_there_while_frames_are_scored(
    bag: Path, segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eomt_ros.evaluation.run.KEPT_EVERY", 0.0)
    monkeypatch.setattr("eomt_ros.evaluation.run.KEPT_SHARE", 1.0)
    seen: list[Results] = []

    def frames(problems: list[str]) -> Iterator[SourceFrame]:
        for number in range(30):
            picture, *truth = bags.scene(number)
            yield SourceFrame(bags.stamp(number), picture, Truth(*truth))
            if (tmp_path / results.FILE).exists():
                seen.append(results.read_results(tmp_path))

    whole = evaluate([FrameSequence("long", frames)], EnginePredictions(segmenter), tmp_path, EvaluationOptions())
    counts = [found.frames for found in seen]
    assert counts == sorted(counts)
    some = next(found for found in reversed(seen) if 0 < found.frames < 30)
    assert some.problems[0] == f"not finished: the figures are of the first {some.frames} frames"
    assert some.miou == pytest.approx(scored(segmenter, some.frames_scored).miou)
    assert results.read_results(tmp_path).problems == whole.problems == ()


def test_an_error_while_frames_are_scored_ends_the_reading_and_is_raised(segmenter: Segmenter, tmp_path: Path) -> None:
    read: list[int] = []

    def frames(problems: list[str]) -> Iterator[SourceFrame]:
        for number in range(200):
            read.append(number)
            yield SourceFrame(bags.stamp(number), bags.scene(number)[0], None)

    def fail(_: Results) -> Results:
        raise RuntimeError("this cannot be scored")

    with pytest.raises(RuntimeError, match="this cannot be scored"):
        evaluate(
            [FrameSequence("long", frames)], EnginePredictions(segmenter), tmp_path, EvaluationOptions(complete=fail)
        )
    assert len(read) < 50


@pytest.mark.parametrize("shape", [(2, 20_000), (20_000, 2)])
def test_pictures_that_no_video_can_hold_are_scored_and_shrunk(
    shape: tuple[int, int], segmenter: Segmenter, tmp_path: Path
) -> None:
    image, classes = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    frames = [SourceFrame(number, image, Truth(classes, classes)) for number in range(2)]
    sequence = FrameSequence("long", lambda problems: (frame for frame in frames))
    found = evaluate([sequence], EnginePredictions(segmenter), tmp_path, EvaluationOptions())
    assert (found.frames, found.frames_scored, found.problems) == (2, 2, ())
    shown = {frame.image.shape for frame in read_video(tmp_path / found.files["overlay"])}
    assert {tuple(sorted(each)) for each in shown} == {(2, 3, 16_384)}
