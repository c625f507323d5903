"""Video panoptic quality, counted by hand, and beside torchmetrics' panoptic quality of whole tubes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.detection import PanopticQuality

from eomt_ros.evaluation.exact import ONE
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics.overlap import overlap_of
from eomt_ros.evaluation.metrics.vpq import VPQ_WINDOWS, TubeCounts, Tubes
from test.evaluation.metrics.scenes import (
    BALL,
    BOX,
    FLOOR,
    IS_THING,
    UNLABELLED,
    WALL,
    Pair,
    Place,
    images,
    pair,
    random_sequence,
    score,
)

THINGS = {BOX, BALL}
VOID = 99
NOTHING_PREDICTED = len(IS_THING)
"""Told to torchmetrics as a stuff class of its own, because it forgives what a prediction leaves out."""


def count(*sequences: list[Pair]) -> TubeCounts:
    total = TubeCounts.empty(len(IS_THING))
    for frames in sequences:
        tubes = Tubes(np.array(IS_THING))
        for truth, prediction in frames:
            total.add(tubes.update(overlap_of(truth, prediction, np.array(IS_THING))))
    return total


def coloured(
    classes: npt.NDArray[np.integer], ids: npt.NDArray[np.integer] | None, epoch: int, unlabelled: int
) -> torch.Tensor:
    """(H, W, 2) class and id, as torchmetrics has them."""
    assert ids is not None
    labels = np.where(classes == UNLABELLED, unlabelled, classes).astype(np.int64)
    is_thing = np.isin(labels, list(THINGS))
    # A predicted thing without an id is no segment. torchmetrics knows no crowd.
    labels = np.where(is_thing & (ids == 0), unlabelled, labels)
    return torch.from_numpy(np.stack([labels, np.where(is_thing, ids.astype(np.int64) + 100_000 * epoch, 0)], -1))


def torchmetrics_counts(sequences: list[list[Pair]], window: int) -> PanopticQuality:
    metric = PanopticQuality(things=THINGS, stuffs={FLOOR, WALL, NOTHING_PREDICTED})
    for frames in sequences:
        truths = [coloured(truth.classes, truth.instances, 0, VOID) for truth, _ in frames]
        predictions = [coloured(each.classes, each.segments, each.epoch, NOTHING_PREDICTED) for _, each in frames]
        for start in range(len(frames) - window + 1):
            end = start + window
            metric.update(torch.stack(predictions[start:end])[None], torch.stack(truths[start:end])[None])
    return metric


def without_crowds(frames: list[Pair]) -> list[Pair]:
    result = []
    for truth, prediction in frames:
        crowd = np.isin(truth.classes, list(THINGS)) & (truth.instances == 0)
        classes = np.where(crowd, UNLABELLED, truth.classes).astype(np.uint8)
        result.append((Truth(classes, truth.instances), prediction))
    return result


@settings(max_examples=5, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=2), frames=st.integers(6, 10))
def test_equals_torchmetrics_on_tubes(seeds: list[int], frames: int) -> None:
    sequences = [without_crowds(random_sequence(seed, frames)) for seed in seeds]
    counts = count(*sequences)
    for row, window in enumerate(VPQ_WINDOWS):
        metric = torchmetrics_counts(sequences, window)
        for class_id in range(len(IS_THING)):
            column = metric.cat_id_to_continuous_id[class_id]
            assert counts.matched[row, class_id] == metric.true_positives[column]
            assert counts.only_predicted[row, class_id] == metric.false_positives[column]
            assert counts.only_true[row, class_id] == metric.false_negatives[column]
            assert counts.iou[row, class_id] / ONE == pytest.approx(float(metric.iou_sum[column]))


Tube = set[tuple[int, int]]
"""Pixels: frame and place."""


def tubes_of(images: list[Truth] | list[Prediction]) -> dict[tuple[int, int, int], Tube]:
    """By class, epoch and id; a thing without an id has id 0, unlabelled is class `VOID`."""
    found: dict[tuple[int, int, int], Tube] = {}
    for time, image in enumerate(images):
        ids = image.instances if isinstance(image, Truth) else image.segments
        epoch = 0 if isinstance(image, Truth) else image.epoch
        assert ids is not None
        for place, (class_id, number) in enumerate(
            zip(image.classes.ravel().tolist(), ids.ravel().tolist(), strict=True)
        ):
            thing = class_id in THINGS and number > 0
            key = (VOID, 0, 0) if class_id == UNLABELLED else (class_id, epoch * thing, number * thing)
            found.setdefault(key, set()).add((time, place))
    return found


def panoptic_counts(frames: list[Pair], window: int, class_id: int) -> tuple[float, int, int, int]:
    """Sum of IoU, matched, predicted alone, true alone of a class, as panopticapi counts segments with crowds."""
    iou, matched, false_alarms, missed = 0.0, 0, 0, 0
    for start in range(len(frames) - window + 1):
        true = tubes_of([truth for truth, _ in frames[start : start + window]])
        predicted = tubes_of([guess for _, guess in frames[start : start + window]])
        void = true.get((VOID, 0, 0), set())
        crowd = true.get((class_id, 0, 0), set()) if class_id in THINGS else set()

        def segments(tubes: dict[tuple[int, int, int], Tube]) -> list[Tube]:
            return [tube for key, tube in tubes.items() if key[0] == class_id and (key[2] or class_id not in THINGS)]

        ours, theirs = segments(true), segments(predicted)
        overlaps = [[len(one & other) / len((one | other) - (void - one)) for other in theirs] for one in ours]
        best = [max(row, default=0.0) for row in overlaps]
        best_of = [max((row[column] for row in overlaps), default=0.0) for column in range(len(theirs))]
        iou += sum(each for each in best if each > 0.5)
        matched += sum(each > 0.5 for each in best)
        missed += sum(each <= 0.5 for each in best)
        false_alarms += sum(
            each <= 0.5 and len(tube & (void | crowd)) / len(tube) <= 0.5
            for each, tube in zip(best_of, theirs, strict=True)
        )
    return iou, matched, false_alarms, missed


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), larger=st.booleans())
def test_crowds_are_counted_as_panopticapi_counts_them(seed: int, larger: bool) -> None:
    frames = random_sequence(seed, 6)
    for truth, _ in frames:
        assert truth.instances is not None
        # Some things become crowds.
        truth.instances[truth.instances <= (2 if larger else 1)] = 0
    counts = count(frames)
    for row, window in enumerate(VPQ_WINDOWS[:3]):
        for class_id in range(len(IS_THING)):
            found = [
                each[row, class_id]
                for each in (counts.iou / ONE, counts.matched, counts.only_predicted, counts.only_true)
            ]
            assert found == pytest.approx(list(panoptic_counts(frames, window, class_id)))


@pytest.mark.parametrize(("class_id", "false_alarms"), [(BOX, 0), (BALL, 1), (FLOOR, 1)])
def test_a_crowd_spares_only_what_is_predicted_of_its_own_class(class_id: int, false_alarms: int) -> None:
    truth = Truth(*images((0, BOX), (1, BALL)))
    counts = count([(truth, Prediction(*images((7, class_id), (1, BALL))))])
    assert counts.only_predicted[0, class_id] == false_alarms
    assert counts.matched[0, BALL] == 1


def test_quality_is_torchmetrics_mean_over_classes() -> None:
    # No thing left out and nothing unlabelled: then there is no class of nothing to spoil its mean.
    frames = [
        pair([(1, BOX), (2, BOX), None, (3, BALL)], [(1, BOX), None, None, (3 + (number > 4), BALL)])
        for number in range(9)
    ]
    for window, ours in zip(VPQ_WINDOWS, count(frames).quality(), strict=True):
        assert ours == pytest.approx(float(torchmetrics_counts([frames], window).compute()), abs=1e-6)


def test_two_ids_swapped_half_way_break_only_the_windows_across() -> None:
    order: list[Place] = [(1, BOX), (2, BOX), None]
    swapped: list[Place] = [(2, BOX), (1, BOX), None]
    frames = [pair(order, order if number < 5 else swapped) for number in range(10)]
    things = count(frames).quality(np.array(IS_THING))
    # Windows of two: one of nine has both ids on both boxes, half each, which overlap by a third: no match.
    expected = {1: 1.0, 2: 16 / (16 + 4 / 2)}
    # Windows of four: four of seven are whole. With three frames to one, tubes overlap by 3 in 5 and match; with two
    # to two they do not.
    expected[4] = (8 + 4 * 3 / 5) / (12 + 4 / 2)
    assert dict(zip(VPQ_WINDOWS, things, strict=True)) == pytest.approx({**expected, 6: things[3], 8: things[4]})
    figures = score(frames).figures()
    assert figures.vpq_stuff == 1.0
    assert figures.vpq_things == pytest.approx(np.mean(things))
    assert figures.vpq_by_window["2"] == pytest.approx((1.0 + 16 / 18) / 2)
    assert figures.vpq == pytest.approx(np.mean([(1 + thing) / 2 for thing in things if thing is not None]))


@pytest.mark.parametrize(("columns", "matched"), [(10, 0), (11, 1)])
def test_match_takes_more_than_half_of_the_union(columns: int, matched: int) -> None:
    classes, part = np.full((20, 20), FLOOR, np.uint8), np.full((20, 20), FLOOR, np.uint8)
    classes[:, :], part[:, :columns] = BOX, BOX
    counts = count([(Truth(classes, classes), Prediction(part, part))])
    assert counts.matched[0, BOX] == matched
    assert counts.only_true[0, BOX] == counts.only_predicted[0, BOX] == 1 - matched


def test_what_the_ground_truth_leaves_unlabelled_is_neither_union_nor_false_alarm() -> None:
    classes = np.full((10, 40), UNLABELLED, np.uint8)
    classes[:, :10] = BOX
    ids = np.where(classes == BOX, 1, 0).astype(np.uint16)
    found, found_ids = np.full((10, 40), BOX, np.uint8), np.ones((10, 40), np.uint16)
    found_ids[:, 30:] = 2
    counts = count([(Truth(classes, ids), Prediction(found, found_ids))])
    assert (counts.matched[0, BOX], counts.iou[0, BOX] / ONE, counts.only_predicted[0].sum()) == (1, 1.0, 0)


def test_what_the_prediction_leaves_out_is_missed() -> None:
    truth, guess = pair([(1, BOX), (2, BALL), None])
    classes = np.where(guess.classes == BOX, UNLABELLED, guess.classes).astype(np.uint8)
    counts = count([(truth, Prediction(classes, guess.segments))])
    assert counts.only_true[0].tolist() == [0, 0, 1, 0]
    assert counts.matched[0].tolist() == [1, 0, 0, 1]
    assert counts.only_predicted.sum() == 0


def test_stuff_of_one_class_is_one_segment_whatever_its_ids_and_epochs() -> None:
    truth = Truth(*images(None, None, None))
    ids = np.arange(truth.classes.size, dtype=np.uint16).reshape(truth.classes.shape)
    frames = [(truth, Prediction(truth.classes, ids + number, number)) for number in range(8)]
    assert count(frames).quality() == [1.0] * len(VPQ_WINDOWS)


def test_same_number_in_a_new_epoch_is_another_tube() -> None:
    # Each half covers the box for half of the longest window, which is not more than half.
    frames = [pair([(1, BOX), None], epoch=number // 4) for number in range(8)]
    counts = count(frames)
    assert counts.matched[:, BOX].tolist() == [8, 6, 4, 2, 0]


def test_segments_that_come_and_go_leave_nothing_behind_in_the_windows() -> None:
    frames = [
        pair([(number % 40 + 1, BOX), None] if number % 3 else [None, (number + 1, BALL)]) for number in range(60)
    ]
    frames += [pair([(1, BOX), None]) for _ in range(20)]
    assert count(frames).quality() == [1.0] * len(VPQ_WINDOWS)


def test_windows_longer_than_every_sequence_have_no_value_and_are_left_out_of_the_mean() -> None:
    figures = score([pair([(1, BOX), None])] * 5, [pair([(1, BOX), None])] * 5).figures()
    assert figures.vpq_by_window == {"1": 1.0, "2": 1.0, "4": 1.0, "6": None, "8": None}
    assert figures.vpq == 1.0
