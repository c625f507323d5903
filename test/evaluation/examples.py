"""Results as evaluations leave them: of a short bag, of a long one with many objects, of one without ground truth."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counts import RunCounts
from eomt_ros.evaluation.exact import ONE
from eomt_ros.evaluation.ids import IdSpan, ObjectTimeline, ReturnFigures, ReturnNumbers, ThingReturn
from eomt_ros.evaluation.json_file import plain
from eomt_ros.evaluation.metrics.breakdown import Breakdown
from eomt_ros.evaluation.metrics.returns import TIMES_AWAY
from eomt_ros.evaluation.metrics.vpq import TubeCounts
from eomt_ros.evaluation.results import (
    SCHEMA_VERSION,
    Drift,
    FailedRecording,
    Figures,
    GroundMap,
    Interval,
    MappedObject,
    MetreFigures,
    MetresByDistance,
    ObjectsInMetresFigures,
    Percentiles,
    Predicted,
    Recording,
    ReplayFigures,
    Results,
    Spread,
    VelocityErrors,
)
from eomt_ros.evaluation.video import VideoWriter
from eomt_ros.evaluation.wrong import SweepPoint, SweptFigures, WorstFrame

CLASSES = ("floor", "wall", "box", "person", "ball")


def short_run(**changes: Any) -> Results:
    """Ten seconds with three objects: one that keeps its id, one that is switched, one that is never found."""
    return replace(
        Results(
            schema_version=SCHEMA_VERSION,
            settings={
                "command": ["eomt-ros", "evaluate", "my bag", "--out", "out"],
                "date": "2026-02-03T04:05:06+00:00",
                "input": ["recordings/bag"],
                "topics": ["/camera/image"],
                "convention": "standard",
                "model": "demo",
                "task": "panoptic",
                "device": "cpu",
                "score_threshold": 0.8125,
                "fuse_stuff": True,
                "min_object_area": 0.001,
                "min_object_frames": 5,
                "labels": None,
                "versions": {"torch": "2.13.0"},
            },
            class_names=CLASSES,
            sequences=("bag",),
            problems=(),
            frames=100,
            frames_scored=100,
            seconds=10.0,
            miou=0.7111,
            class_iou={"floor": 0.9222, "wall": 0.8333, "box": 0.6444, "person": 0.4555, "ball": None},
            vpq=0.6016,
            vpq_things=0.5017,
            vpq_stuff=0.7018,
            vpq_by_window={"1": 0.6511, "2": 0.6312, "4": 0.6013, "6": 0.5714, "8": 0.5515},
            stq=0.6819,
            sq=0.7121,
            aq=0.6523,
            mvc8=0.9324,
            mvc16=0.8925,
            objects=3,
            objects_found=2 / 3,
            frames_found=0.5826,
            object_seconds=24.0,
            id_switches=1,
            switches_per_30_seconds=1.25,
            fragmentations=7,
            wrong_ids_after_reentry=2,
            seconds_to_first_detection=0.35,
            things_precision=0.7513,
            ghosts_per_frame=1.37,
            idf1=0.6124,
            shared_ids=4,
            fps=23.4,
            latency_ms=Percentiles(41.1, 55.2, 61.3, 902.4),
            stages_ms={"network": Percentiles(35.5, 48.6, 52.7, 800.8), "postprocess": Percentiles(4.1, 5.2, 6.3, 7.4)},
            latency_histogram=((30.0, 10), (36.0, 60), (43.2, 28), (51.8, 1), (62.2, 0), (850.0, 1), (1020.0, 0)),
            predicted=Predicted(
                class_area={"floor": 0.4321, "wall": 0.3, "box": 0.1234, "person": 0.05, "ball": 0.0001},
                unlabelled_area=0.0944,
                flicker=0.0314,
                things_per_frame=2.63,
                ids=17,
                id_seconds=3.25,
            ),
            intervals=tuple(
                Interval("bag", second, second + 1.0, 0.7 + 0.01 * second, 0.6, int(second == 4), 40.0 + second)
                for second in range(10)
            ),
            timelines=(
                ObjectTimeline("bag", 11, "box", (IdSpan(0.0, 4.0, "1"), IdSpan(6.0, 10.0, "1"))),
                ObjectTimeline(
                    "bag", 12, "person", (IdSpan(0.0, 0.5, None), IdSpan(0.5, 4.5, "2"), IdSpan(4.5, 10.0, "3"))
                ),
                ObjectTimeline("bag", 13, "box", (IdSpan(1.0, 7.0, None),)),
            ),
            worst_frames=tuple(
                WorstFrame(
                    sequence="bag",
                    stamp=1_700_000_000_000_000_000 + number * 10**9,
                    seconds=float(number),
                    miou=0.3 + 0.1 * number,
                    input=f"worst/{number:02}_input.jpg",
                    prediction=f"worst/{number:02}_prediction.jpg",
                    truth=f"worst/{number:02}_truth.jpg",
                )
                for number in (1, 2)
            ),
            files={"overlay": "overlay.mp4"},
        ),
        **changes,
    )


def recording(name: str, run: Results, **changes: Any) -> Recording:
    """A recording with the figures of a whole run but for some."""
    figures = {each.name: getattr(run, each.name) for each in fields(Figures)}
    whole = Recording(
        name=name,
        frames=run.frames,
        frames_scored=run.frames_scored,
        seconds=run.seconds,
        predicted=run.predicted,
        **figures,
    )
    return replace(whole, **changes)


def spread(scale: float) -> Spread:
    """Percentiles that differ."""
    return Spread(scale, 2.5 * scale, 3.5 * scale)


def metre_figures(scale: float, things: int) -> dict[str, Any]:
    """The figures of a part of a run in metres."""
    return {
        "things": things,
        "located_share": 0.9123,
        "located_share_of_all": 0.7345,
        "position_error_m": spread(scale),
        "size_error_m": spread(1.5 * scale),
        "velocity_error_mps": VelocityErrors(spread(4 * scale), spread(scale / 4)),
    }


def run_in_metres() -> Results:
    """The same as `short_run`, with depth: one thing stands still, one was never located, one walks."""
    nothing = Spread(math.nan, math.nan, math.nan)
    near = MetresByDistance(**metre_figures(0.0313, 120), from_m=0.0, to_m=2.0)
    far = MetresByDistance(
        **{**metre_figures(0.0717, 60), "velocity_error_mps": VelocityErrors(nothing, nothing)}, from_m=2.0, to_m=5.0
    )
    beyond = MetresByDistance(**metre_figures(0.2, 0), from_m=5.0, to_m=10.0)
    figures = ObjectsInMetresFigures(
        **metre_figures(0.0419, 180),
        within_m=5.0,
        located_within_m=0.3,
        by_distance=(near, far, beyond),
        by_class={
            "box": MetreFigures(**metre_figures(0.0515, 80)),
            "person": MetreFigures(**metre_figures(0.0616, 100)),
        },
    )
    walk = tuple((0.1 * step, 2.0 + 0.05 * step) for step in range(30))
    beside = tuple((x + 0.1, y) for x, y in walk)
    drawn = GroundMap(
        "bag",
        tuple((0.05 * step, 0.0) for step in range(40)),
        (
            MappedObject(11, "box", (0.5, 0.4), (((3.0, 1.0),),), (((2.9, 1.0),),)),
            MappedObject(13, "box", (0.3, 0.3), (((4.0, -1.0),),), ()),
            MappedObject(12, "person", (0.5, 0.5), (walk[:10], walk[15:]), (beside[:10], beside[15:20])),
        ),
    )
    return short_run(objects_in_metres=figures, maps=(drawn,))


def run_gone_wrong(names: tuple[str, ...] = CLASSES) -> Results:
    """The same with the counts of what is taken for what, worst frames by objects, and two thresholds swept."""
    random = np.random.default_rng(5)
    classes = len(names)
    counts, things = RunCounts.empty(classes), np.arange(classes) >= 2
    counts.scores.partial.confusion.counts += random.integers(1, 9_000, (classes, classes + 1))
    counts.scores.partial.confusion.counts[:, :-1] += np.diag(random.integers(10_000, 90_000, classes))
    breakdown = counts.scores.breakdown = Breakdown.empty(classes)
    tubes = counts.scores.partial.tubes = TubeCounts.empty(classes)
    for part in ("matched", "only_true", "only_predicted"):
        getattr(breakdown, part)[:] = random.integers(1, 90, (4, classes)) * things
        getattr(tubes, part)[0] = np.where(things, getattr(breakdown, part).sum(axis=0), 70)
    breakdown.iou[:] = (breakdown.matched * 13).astype(object) * (ONE // 16)
    tubes.iou[0] = (tubes.matched[0] * 13).astype(object) * (ONE // 16)
    breakdown.taken_for[:-1, -1] = breakdown.only_true.sum(axis=0)
    breakdown.taken_for[-1, :-1] = breakdown.only_predicted.sum(axis=0)
    breakdown.taken_for[:-1, :-1] = np.diag(breakdown.matched.sum(axis=0))
    figures = counts.scores.figures(names, things, Convention.STANDARD)
    values = [("overlap_threshold", 0.8), *(("score_threshold", number / 10) for number in range(3, 10))]
    run = short_run(
        class_names=names,
        is_thing=tuple(things.tolist()),
        by_class=figures.by_class,
        by_size=figures.by_size,
        counts=plain(counts),
    )
    worst = tuple(
        replace(frame, missed=3 - number, ghosts=number, switches=1) for number, frame in enumerate(run.worst_frames)
    )
    return replace(
        run,
        worst_frames=worst,
        worst_frames_by_objects=worst,
        sweep=tuple(
            replace(SweptFigures.of(SweepPoint(*point), run), miou=0.5 + 0.3 * point[1], frames_found=1.1 - point[1])
            for point in values
        ),
        files={**run.files, "frames": "frames.csv", "objects": "objects.csv"},
    )


def run_with_returns() -> Results:
    """The same as `short_run`, longer: things come back with their old ids, with others' and with new ones."""
    boxes = (
        IdSpan(0.0, 9.0, "1"),
        IdSpan(20.0, 40.0, "1", ThingReturn("right", 11.0)),
        IdSpan(43.0, 70.0, "3", ThingReturn("wrong", 3.0)),
    )
    walker = (IdSpan(0.0, 20.0, "3"), IdSpan(20.0, 30.0, None), IdSpan(30.0, 90.0, "17", ThingReturn("new", 10.0)))
    one, several = ReturnNumbers(1, 0, 1, 0), ReturnNumbers(10, 7, 1, 2)
    nothing = ReturnNumbers(0, 0, 0, 0)
    times = (one, nothing, several, nothing, ReturnNumbers(2, 0, 0, 2))
    return short_run(
        timelines=(ObjectTimeline("bag", 11, "box", boxes), ObjectTimeline("bag", 12, "person", walker)),
        returns=ReturnFigures(13, 7, 2, 4, dict(zip(TIMES_AWAY, times, strict=True))),
        returns_right=7 / 11,
        returns_wrong=2 / 11,
    )


def rig_run(run: Results | None = None) -> Results:
    """A run of two cameras, of which `rear` is worse."""
    run = run or short_run()
    scored = run.frames_scored > 0
    front = recording("front", run, frames=60, frames_scored=60 * scored, seconds=6.0, id_switches=0)
    rear_miou = 0.4321 if scored else None
    rear = recording("rear", run, frames=40, frames_scored=35 * scored, seconds=4.0, miou=rear_miou)
    return replace(run, sequences=("front", "rear"), recordings=(front, rear))


def fleet_run(count: int = 40) -> Results:
    """Recordings with a folder each, of which two failed; those of the night are worse, `hall 00` is worst of all."""
    random = np.random.default_rng(5)
    run = short_run()
    recordings = []
    for number in range(count):
        night = number % 4 == 0
        miou = 0.01 * number / count + (0.5 if night else 0.7)
        recordings.append(
            recording(
                f"hall {number:02}",
                run,
                folder=f"hall {number:02}",
                fingerprint=f"content {number}",
                tags=("night", "site=hall") if night else ("site=hall",),
                frames=50 + number,
                miou=miou,
                vpq=miou - 0.1,
                id_switches=int(random.integers(0, 9)),
                fps=float(random.uniform(20, 30)),
            )
        )
    worst = tuple(
        replace(
            frame,
            sequence="hall 00",
            input=f"hall 00/{frame.input}",
            prediction=f"hall 00/{frame.prediction}",
            truth=f"hall 00/{frame.truth}",
        )
        for frame in run.worst_frames
    )
    return replace(
        run,
        sequences=tuple(each.name for each in recordings),
        recordings=tuple(recordings),
        failed=(
            FailedRecording("gate 07", "/bags/gate 07", "no images: record again, or leave it out"),
            FailedRecording("gate 11", "s3://bags/gate 11", "its process ended each time, with signal 9"),
        ),
        slices={tag: recording(tag, run, miou=miou) for tag, miou in (("night", 0.5055), ("site=hall", 0.6544))},
        intervals=(),
        timelines=(),
        worst_frames=worst,
        files={},
    )


def long_run() -> Results:
    """An hour in two sequences through the node: 90 objects, one of which flickers all the time, and 124 classes."""
    random = np.random.default_rng(3)
    names = tuple(f"class of things number {number}" for number in range(124))
    timelines = []
    for number in range(90):
        begin = float(random.uniform(0, 1700))
        middle, end = begin + 5.0 + number / 2, begin + 20.0 + number
        spans = (IdSpan(begin, middle, f"1:{3 * number}"), IdSpan(middle, end, f"1:{3 * number + 1}"))
        timelines.append(ObjectTimeline(("monday", "tuesday")[number % 2], number + 1, names[number], spans))
    flicker = tuple(
        IdSpan(second + half / 2, second + half / 2 + 0.5, "2:7" if half else None)
        for second in range(1800)
        for half in (0, 1)
    )
    timelines.append(ObjectTimeline("monday", 400, names[5], flicker))
    return short_run(
        class_names=names,
        class_iou={name: float(iou) for name, iou in zip(names, random.uniform(0, 1, 124), strict=True)},
        sequences=("monday", "tuesday"),
        problems=("1,204 images have no ground truth within 5 ms, the first is that of 1700000000.1 s",),
        frames=36_000,
        frames_scored=34_796,
        seconds=3600.0,
        objects=91,
        id_switches=90,
        drift=Drift(0.7512, 0.7023, 0.6534, None),
        intervals=tuple(
            Interval(name, 30.0 * part, 30.0 * part + 30.0, float(miou), float(miou) - 0.1, part % 4, 40.0 + part % 7)
            for name in ("monday", "tuesday")
            for part, miou in enumerate(random.uniform(0.6, 0.8, 60))
        ),
        timelines=tuple(timelines),
        recordings=tuple(recording(name, short_run()) for name in ("monday", "tuesday")),
        replay=ReplayFigures(
            "latest", 36_512, 36_000, 500, {"newer frame came": 480, "too old": 20}, 12, Percentiles(51, 72, 93, 994)
        ),
        files={"overlay": "overlay.mp4", "bag": "bag"},
    )


def run_without_truth() -> Results:
    """A run in which nothing but the engine itself could be measured."""
    unknown = (
        "miou vpq vpq_things vpq_stuff stq sq aq mvc8 mvc16 objects objects_found frames_found object_seconds "
        "id_switches switches_per_30_seconds fragmentations wrong_ids_after_reentry seconds_to_first_detection "
        "things_precision ghosts_per_frame idf1 shared_ids"
    )
    changes: dict[str, Any] = dict.fromkeys(unknown.split())
    intervals = tuple(replace(interval, miou=None, vpq=None, id_switches=None) for interval in short_run().intervals)
    return short_run(
        **changes,
        class_iou=dict.fromkeys(CLASSES),
        vpq_by_window=dict.fromkeys(("1", "2", "4", "6", "8")),
        frames_scored=0,
        intervals=intervals,
        timelines=(),
        worst_frames=(),
    )


def write_pictures(results: Results, folder: Path) -> None:
    """Writes the pictures and the video that the results name."""
    for number, frame in enumerate(results.worst_frames):
        for path in (frame.input, frame.prediction, frame.truth):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / path), np.full((48, 64, 3), 40 * number + 20, np.uint8))
    if "overlay" in results.files:
        with VideoWriter(folder / results.files["overlay"]) as video:
            for number in range(5):
                video.write(np.full((48, 64, 3), 40 * number, np.uint8), number * 10**8)
