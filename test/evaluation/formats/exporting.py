"""Sequences with what a model might make of them, and what an evaluation exports of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eomt_ros.engine import FrameResult, Segment
from eomt_ros.engine.results import Timings
from eomt_ros.evaluation.formats.exports import Exports
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.output_folder import EXPORTS
from eomt_ros.evaluation.sources.sequence import FrameSequence, Numbering, SourceFrame
from eomt_ros.evaluation.true_masks import TrueMasks
from test.evaluation.metrics.scenes import BALL, BOX, IS_THING, UNLABELLED, Pair, random_sequence

CLASSES = ("floor", "wall", "car", "person")
TABLE = "name: street\ntask: panoptic\nclasses:\n" + "".join(
    f"- {{name: {name}, thing: {str(thing).lower()}}}\n" for name, thing in zip(CLASSES, IS_THING, strict=True)
)
THINGS = (BOX, BALL)
FRAMES = 10


def model(folder: Path, task: str = "panoptic", table: str = TABLE) -> TrueMasks:
    """Something that predicts, whose classes are those of the table."""
    labels = folder / "labels.yaml"
    labels.write_text(table)
    found = TrueMasks("street", labels)
    found.task = task  # type: ignore[misc]
    return found


def sequences(*seeds: int) -> dict[str, list[Pair]]:
    """Random ones by name, without things that nobody told apart."""
    return {f"{seed:04}": [_told_apart(*each) for each in random_sequence(seed, FRAMES)] for seed in seeds}


def _told_apart(truth: Truth, prediction: Prediction) -> Pair:
    crowd = np.isin(truth.classes, THINGS) & (truth.instances == 0)
    return replace(truth, classes=np.where(crowd, UNLABELLED, truth.classes).astype(np.uint8)), prediction


def result(prediction: Prediction, found: TrueMasks) -> FrameResult:
    """What the engine gives for a prediction; scores go by ids."""
    assert prediction.segments is not None
    segments = [
        Segment(
            id=number,
            class_id=class_id,
            class_name=CLASSES[class_id],
            is_thing=True,
            score=0.5 + number % 50 / 100,
            area=int(np.count_nonzero((prediction.segments == number) & (prediction.classes == class_id))),
            box=(0, 0, 1, 1),
            age=0,
        )
        for class_id in THINGS
        for number in np.unique(prediction.segments[prediction.classes == class_id]).tolist()
        if number
    ]
    none = Timings(0.0, 0.0, 0.0, 0.0)
    return FrameResult(prediction.classes, prediction.segments, None, segments, prediction.epoch, none, found.labels)


def frames_of(pairs: Sequence[Pair], names: Sequence[str] = ()) -> Iterator[SourceFrame]:
    """The frames that predictions are made for."""
    for number, (truth, _) in enumerate(pairs):
        picture = np.zeros((*truth.classes.shape, 3), np.uint8)
        yield SourceFrame(number * 10**8, picture, truth, name=names[number] if names else "")


def export(
    formats: Sequence[str],
    out: Path,
    found: TrueMasks,
    videos: dict[str, list[Pair]],
    numberings: dict[str, Numbering] | None = None,
    left_out: Sequence[int] = (),
) -> Path:
    """Exports sequences, and returns the folder. left_out: places of frames of a data set without a prediction."""
    opened = [FrameSequence(name, lambda problems: iter(()), numbering=(numberings or {}).get(name)) for name in videos]
    with Exports(formats, out, found, opened) as exports:
        for sequence, pairs in zip(opened, videos.values(), strict=True):
            exports.start_sequence(sequence)
            names = sequence.numbering.frames if sequence.numbering else ()
            for place, (frame, (_, prediction)) in enumerate(zip(frames_of(pairs, names), pairs, strict=True)):
                if place not in left_out:
                    exports.add(frame, result(prediction, found))
            exports.end_sequence()
    assert exports.problems() == []
    return out / EXPORTS
