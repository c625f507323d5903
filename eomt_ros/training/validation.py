"""Validation: the network in training runs as it will be deployed, and is scored as an evaluation scores it.

The engine's own segmenter plays the videos of the validation part in order, at the size of their pictures, with the
queries carried by the rules of the node: where the stamps of two frames are further apart than a stream may have gaps,
as where frames were picked out of a recording, the stream begins anew there, and so do the ids that are compared. The
figures are those of `eomt_ros/evaluation/metrics`. A copy of the network runs, so the training goes on as if nothing
had happened.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from eomt_ros.continuity import Admitted, LateFrameError
from eomt_ros.engine import NotFiniteError, Segmenter, Stream
from eomt_ros.engine.model.checkpoint import Checkpoint
from eomt_ros.engine.model.families import FAMILIES
from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.model.processor import Processor
from eomt_ros.engine.networks import QueryVit
from eomt_ros.evaluation.counting import Tally
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics import PartialScores, Scores, vpq
from eomt_ros.evaluation.metrics.stq import stq
from eomt_ros.evaluation.pace import FrameTime, Pace
from eomt_ros.evaluation.pictures import PicturedFrame, WorstFrames
from eomt_ros.evaluation.results import Figures
from eomt_ros.overlay import to_jpeg
from eomt_ros.stamps import SECOND
from eomt_ros.training.checkpoint import config_of
from eomt_ros.training.dataset import Dataset, DatasetClass, DatasetError, LabelledFrame, LabelledVideo, labels_of
from eomt_ros.training.frame_labels import SegmentImage
from eomt_ros.training.settings import TrainingSettings

PICTURE_SIDE = 480
"""Pixels of the longest side of the pictures of the worst frames."""


@dataclass(frozen=True, kw_only=True)
class WorstValidationFrame:
    """One of the frames with the lowest mIoU of a validation."""

    picture: str
    """Its video and file, such as `night/000012.jpg`."""
    miou: float
    truth: str
    """What is true drawn over the picture: a JPEG in base64, as is `prediction`."""
    prediction: str


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The scores of the network after some steps."""

    step: int
    task: str
    frames: int
    """Number of frames that were scored."""
    seconds: float
    """Time that it took."""
    figures: Figures
    """In the instance task of things alone; in the semantic task those of classes alone."""
    problems: tuple[str, ...] = ()
    """Frames that could not be scored, a sentence each."""
    worst_frames: tuple[WorstValidationFrame, ...] = ()

    @property
    def score(self) -> float | None:
        """The one figure by which the best is kept: VPQ (instance task: of things; semantic: mIoU).

        0 where the network finds nothing; None where there is nothing to be found in the validation part.
        """
        return self.figures.miou if self.task == "semantic" or self.figures.vpq is None else self.figures.vpq


def validate(network: QueryVit, settings: TrainingSettings, dataset: Dataset, *, step: int = 0) -> Validation:
    """Plays the first `settings.validation_frames` frames of every video of the validation part to the network.

    network: on any device, in any mode; it stays as it is, as does all that is random. step: what the result is named
    by. The arithmetic is float32, on the network's device. A frame whose picture or labels cannot be read is left out;
    in one for which the network gives NaN or infinity nothing is found.

    Raises `OutOfMemoryError` where the device has no memory left for the copy.
    """
    begun = time.monotonic()
    checkpoint = in_memory(network, dataset.classes, settings.task)
    device = next(network.parameters()).device
    named = str(device) if device.type == "cuda" else "cpu"
    with Segmenter.of(checkpoint, device=named, precision="float32", backend="torch") as segmenter:
        played = _Played(segmenter)
        for video in dataset.val:
            played.play(video, settings.validation_frames)
    figures = played.scores.figures()
    return Validation(
        step=step,
        task=settings.task,
        frames=played.frames,
        seconds=time.monotonic() - begun,
        figures=_of_things(figures, checkpoint.labels) if settings.task == "instance" else figures,
        problems=tuple(played.problems()),
        worst_frames=tuple(played.worst_frames()),
    )


def in_memory(network: QueryVit, classes: Sequence[DatasetClass], task: str) -> Checkpoint:
    """A copy of a network as the checkpoint that it would be written as, without any file."""
    settings = network.settings
    with torch.device("meta"):
        copy = type(network)(settings)
    weights = {name: weight.detach().to(torch.float32, copy=True) for name, weight in network.state_dict().items()}
    copy.load_state_dict(weights, assign=True)
    copy.eval().requires_grad_(False).settle()
    side = settings.image_size
    return Checkpoint(
        name="the network in training",
        folder=Path(),
        # Without CUDA graphs: a capture takes longer than a few frames, and other threads may use the GPU meanwhile.
        family=replace(FAMILIES[config_of(network)["model_type"]], captures=False),
        network=copy,
        settings=settings,
        labels=labels_of("the data set", classes, task),
        processor=Processor(size=(side, side)),
    )


class _Played:
    """What has been played so far."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._labels = segmenter.labels
        self._is_thing = np.array(self._labels.is_thing, bool)
        self._worst = WorstFrames(self._labels, PICTURE_SIDE)
        self._unreadable, self._late, self._not_finite = Tally(), Tally(), Tally()
        self.scores = Scores(self._labels.class_names, self._labels.is_thing)
        self.frames = 0
        self._names: dict[tuple[str, int], str] = {}

    def play(self, video: LabelledVideo, most: int) -> None:
        """Plays and scores a video. most: frames; 0 for all."""
        frames = video.frames[: most or None]
        stream = self._segmenter.open_stream()
        truths = TruthIds(self._is_thing)
        before: tuple[int, int, int] | None = None
        for frame, moment in zip(frames, moments(frames), strict=True):
            try:
                image, segments = frame.read()
                admitted = stream.admit(Fraction(frame.stamp, SECOND))
            except DatasetError as error:
                self._unreadable.add(str(error))
                continue
            except LateFrameError as error:
                self._late.add(f"{frame.image}: {error}")
                continue
            stretch = (admitted.stretch, frame.height, frame.width)
            if stretch != before:
                self.scores.start_sequence(video.name)
            before = stretch
            self._score(frame, image, truths.truth(frame, segments), stream, admitted, moment)

    def _score(
        self,
        frame: LabelledFrame,
        image: npt.NDArray[np.uint8],
        truth: Truth,
        stream: Stream,
        admitted: Admitted,
        moment: FrameTime,
    ) -> None:
        in_classes_only = self._segmenter.task == "semantic"
        try:
            found = stream.segment(image, stamp=admitted, with_confidence=False)
        except NotFiniteError as error:
            self._not_finite.add(f"{frame.image}: {error}")
            stream.reset()
            nothing = np.full_like(truth.classes, np.iinfo(truth.classes.dtype).max)
            segments = None if in_classes_only else np.zeros(nothing.shape, np.uint16)
            prediction, picture = Prediction(nothing, segments, stream.epoch), image
        else:
            segments = None if in_classes_only else found.panoptic
            prediction, picture = Prediction(found.semantic, segments, found.epoch), found.plot(image)
        score = self.scores.update(truth, prediction, begin=moment.begin, seconds=moment.seconds)
        self.frames += 1
        self._names[frame.video, frame.stamp] = f"{frame.video}/{frame.image.name}"
        miou = self._miou(score)
        if miou is not None:
            self._worst.offer(PicturedFrame(frame.video, frame.stamp, moment.begin, miou, image, picture, truth))

    def _miou(self, score: PartialScores) -> float | None:
        """mIoU of one frame; in the instance task of things alone."""
        counting = self._is_thing if self._segmenter.task == "instance" else np.ones_like(self._is_thing)
        return vpq.mean(iou for iou, counts in zip(score.confusion.class_iou, counting, strict=True) if counts)

    def problems(self) -> Iterator[str]:
        """Sentences about frames that were not scored, or in which nothing was found for this reason."""
        yield from self._unreadable.sentence("frame cannot be read", "frames cannot be read")
        yield from self._late.sentence("frame is older than the one before it", "frames are older than those before")
        yield from self._not_finite.sentence("frame is too much for the network", "frames are too much for the network")

    def worst_frames(self) -> Iterator[WorstValidationFrame]:
        """The frames with the lowest mIoU, worst first."""
        for frame, pictures in self._worst.pictures():
            truth, prediction = (
                base64.b64encode(to_jpeg(pictures[kind])).decode("ascii") for kind in ("truth", "prediction")
            )
            name = self._names[frame.sequence, frame.stamp]
            yield WorstValidationFrame(picture=name, miou=frame.miou, truth=truth, prediction=prediction)


class TruthIds:
    """The ground truth of one video's frames, its things numbered from 1 for the whole video."""

    def __init__(self, is_thing: npt.NDArray[np.bool_]) -> None:
        """is_thing: per class."""
        self._is_thing = is_thing
        self._numbers: dict[tuple[bool, int], int] = {}

    def truth(self, frame: LabelledFrame, segments: SegmentImage) -> Truth:
        """The ground truth of a frame; crowds are unlabelled. segments: (H, W) segment ids."""
        dtype = np.uint8 if len(self._is_thing) < np.iinfo(np.uint8).max else np.uint16
        length = max((each.id for each in frame.segments), default=0) + 1
        classes: npt.NDArray[np.integer] = np.full(length, np.iinfo(dtype).max, dtype)
        instances = np.zeros(length, np.int32)
        for each in frame.segments:
            if each.crowd:
                continue
            classes[each.id] = each.class_id
            if self._is_thing[each.class_id]:
                # Segment ids last within a video, too.
                key = (True, each.id) if each.track is None else (False, each.track)
                instances[each.id] = self._numbers.setdefault(key, len(self._numbers) + 1)
        return Truth(classes[segments], instances[segments])


def moments(frames: Sequence[LabelledFrame]) -> list[FrameTime]:
    """When each frame of a video is, and how long it stands for."""
    pace = Pace()
    found = [*[pace.push(frame.stamp) for frame in frames], pace.end()]
    return [moment for moment in found if moment is not None]


def _of_things(figures: Figures, labels: Labels) -> Figures:
    """The figures of things alone: where only they can be found, stuff would count as missed."""
    class_iou = {
        name: figures.class_iou[name] for name, thing in zip(labels.class_names, labels.is_thing, strict=True) if thing
    }
    miou = vpq.mean(class_iou.values())
    return replace(
        figures,
        miou=miou,
        class_iou=class_iou,
        vpq=figures.vpq_things,
        vpq_stuff=None,
        vpq_by_window={},
        stq=stq(miou, figures.aq),
        sq=miou,
        mvc8=None,
        mvc16=None,
    )
