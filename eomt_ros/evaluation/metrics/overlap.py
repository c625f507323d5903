"""The true and the predicted segments of one frame, and the pixels that each pair of them shares.

Label images are constant over long stretches of a row, so they are compared stretch by stretch, and counted by that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.frame import LabelImage, Prediction, Truth

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MATCH_IOU = 0.5
"""Segments match above it; then at most one prediction can match a true segment, and one true segment a prediction."""


class Key(NamedTuple):
    """Names a segment for the length of a sequence. Stuff of one class is one segment, whatever its ids."""

    class_id: int
    """The number of classes where pixels are unlabelled."""
    epoch: int = 0
    id: int = 0
    """0 for stuff, and for pixels of things that nobody told apart: those are no segment."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The parts of an image: segments, and parts that are none (unlabelled, or things without an id)."""

    keys: list[Key]
    """All different, N of them."""
    classes: Counts
    """(N,) class ids; the number of classes where unlabelled."""
    are_unlabelled: Flags
    """(N,)"""
    are_segments: Flags
    """(N,)"""
    are_things: Flags
    """(N,) segments of things."""

    @classmethod
    def of(cls, keys: list[Key], is_thing: Flags) -> Segments:
        """The segments with these names; is_thing: per class."""
        classes = np.array([key.class_id for key in keys], np.int64)
        are_things = np.array([key.id > 0 for key in keys], bool)
        is_stuff = np.append(~is_thing, False)
        return cls(keys, classes, classes == len(is_thing), are_things | is_stuff[classes], are_things)


@dataclass(frozen=True, eq=False)
class Overlap:
    """The segments of one frame, and the pixels that they share."""

    truth: Segments
    prediction: Segments
    counts: Counts
    """(true, predicted) common pixels."""
    has_segments: bool
    """True if both sides tell things apart; otherwise there are classes only."""

    @cached_property
    def areas(self) -> Counts:
        """(true,) pixels."""
        return self.counts.sum(axis=1)

    @cached_property
    def matches(self) -> dict[Key, Key]:
        """True segments -> predicted ones of the same class that overlap with an IoU above `MATCH_IOU`."""
        iou = matched_iou(self.counts, self.truth, self.prediction)
        rows, columns = np.nonzero(iou)
        keys = self.truth.keys, self.prediction.keys
        return {keys[0][row]: keys[1][column] for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}


def matched_iou(counts: Counts, truth: Segments, prediction: Segments) -> npt.NDArray[np.float64]:
    """(..., true, predicted) IoU of segments that match, 0 elsewhere.

    Unlabelled pixels are left out of the union (Kirillov et al., Panoptic Segmentation, 2019).
    """
    comparable = _same_class(truth, prediction) & truth.are_segments[:, None] & prediction.are_segments[None, :]
    return np.where(comparable, iou_above_match(counts, truth), 0.0)


def iou_above_match(counts: Counts, truth: Segments) -> npt.NDArray[np.float64]:
    """(..., true, predicted) IoU of all that overlap enough to match, whatever their classes, 0 elsewhere."""
    in_truth = counts.sum(axis=-1)
    in_prediction = counts[..., ~truth.are_unlabelled, :].sum(axis=-2)
    union = in_truth[..., :, None] + in_prediction[..., None, :] - counts
    iou = np.zeros(counts.shape)
    matching = (counts > MATCH_IOU * union) & ~truth.are_unlabelled[:, None]
    return np.divide(counts, union, out=iou, where=matching)


def spared(counts: Counts, truth: Segments, prediction: Segments) -> Flags:
    """(..., predicted) True for segments that are no false alarms, because most of their pixels cannot be judged.

    These are unlabelled pixels, and things of the same class that nobody told apart, a crowd (panopticapi).
    """
    is_crowd = ~truth.are_segments & ~truth.are_unlabelled
    spares = truth.are_unlabelled[:, None] | (is_crowd[:, None] & _same_class(truth, prediction))
    return 2 * (counts * spares).sum(axis=-2) > counts.sum(axis=-2)


def _same_class(truth: Segments, prediction: Segments) -> Flags:
    return truth.classes[:, None] == prediction.classes[None, :]


def overlap_of(truth: Truth, prediction: Prediction, is_thing: Flags) -> Overlap:
    """Counts the pixels that each true and each predicted segment of a frame share.

    is_thing: per class. Raises `ValueError` where images differ in shape or a class id is not one of the classes.
    """
    has_segments = truth.instances is not None and prediction.segments is not None
    images: list[LabelImage] = [truth.classes, prediction.classes]
    if truth.instances is not None and prediction.segments is not None:
        images += [truth.instances, prediction.segments]
    _expect_same_shape(truth, prediction)
    starts, lengths = _stretches(images)
    values = [image.reshape(-1)[starts] for image in images]
    ids = values[2:] if has_segments else [np.zeros(len(starts), np.int64)] * 2
    rows, true_segments = _segments(values[0], ids[0], 0, is_thing, "the ground truth")
    columns, predicted_segments = _segments(values[1], ids[1], prediction.epoch, is_thing, "the prediction")
    shape = len(true_segments.keys), len(predicted_segments.keys)
    pairs = rows * shape[1] + columns
    counts = np.bincount(pairs, weights=lengths, minlength=shape[0] * shape[1])
    return Overlap(true_segments, predicted_segments, counts.astype(np.int64).reshape(shape), has_segments)


def unlabelled(classes: LabelImage) -> int:
    """The class id that means unlabelled: the largest that the image can hold."""
    return int(np.iinfo(classes.dtype).max)


def _expect_same_shape(truth: Truth, prediction: Prediction) -> None:
    images = {
        "true instances": truth.instances,
        "predicted classes": prediction.classes,
        "predicted segments": prediction.segments,
    }
    for name, image in images.items():
        if image is not None and image.shape != truth.classes.shape:
            raise ValueError(
                f"the images of one frame have different shapes: true classes {truth.classes.shape}, {name} "
                f"{image.shape}; the ground truth must have the size of the pictures"
            )
    if truth.classes.size == 0:
        raise ValueError(f"the images of a frame have shape {truth.classes.shape}, expected at least one pixel")


def _stretches(images: list[LabelImage]) -> tuple[Counts, Counts]:
    """Beginnings and lengths of the stretches, row after row, in which no image changes."""
    flat = [image.reshape(-1) for image in images]
    changes = np.ones(flat[0].size, bool)
    np.not_equal(flat[0][1:], flat[0][:-1], out=changes[1:])
    for image in flat[1:]:
        changes[1:] |= image[1:] != image[:-1]
    starts = np.flatnonzero(changes)
    return starts, np.diff(starts, append=changes.size)


def _segments(
    classes: LabelImage, ids: npt.NDArray[np.integer], epoch: int, is_thing: Flags, whose: str
) -> tuple[Counts, Segments]:
    """The number of the segment that each stretch belongs to, and the segments."""
    names = len(is_thing)
    is_unlabelled = classes == unlabelled(classes)
    unknown = (classes >= names) & ~is_unlabelled
    if unknown.any():
        raise ValueError(
            f"{whose} has class id {classes[unknown].max()}, expected 0 to {names - 1} or {unlabelled(classes)} "
            "(unlabelled): it was made with another list of classes"
        )
    known = np.where(is_unlabelled, names, classes.astype(np.int64))
    of_things = np.append(is_thing, False)
    numbers, codes = _numbered(np.where(of_things[known], ids.astype(np.int64), 0) * (names + 1) + known)
    found = [divmod(code, names + 1) for code in codes.tolist()]
    keys = [Key(class_id, epoch if number else 0, number) for number, class_id in found]
    return numbers, Segments.of(keys, is_thing)


def _numbered(codes: Counts) -> tuple[Counts, Counts]:
    """Numbers from 0 on in place of codes, and the code of each number."""
    length = int(codes.max()) + 1
    if length > 16 * len(codes):
        distinct, numbers = np.unique(codes, return_inverse=True)
        return numbers, distinct
    # Sorting takes several times as long as a table, where the table is short.
    present = np.zeros(length, bool)
    present[codes] = True
    distinct = np.flatnonzero(present)
    number_of = np.zeros(length, np.int64)
    number_of[distinct] = np.arange(len(distinct))
    return number_of[codes], distinct
