"""Figures by class and by size, and what is taken for what: counted by hand, by plain loops over pixels, and beside
torchmetrics.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.detection import PanopticQuality

from eomt_ros.evaluation.exact import ONE
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics.breakdown import SIZES, Breakdown, by_class
from eomt_ros.evaluation.metrics.overlap import overlap_of
from eomt_ros.evaluation.metrics.semantic import Confusion
from test.evaluation.metrics.scenes import (
    BALL,
    BOX,
    CLASS_NAMES,
    FLOOR,
    IS_THING,
    UNLABELLED,
    Pair,
    pair,
    random_sequence,
    score,
)
from test.evaluation.metrics.test_vpq import count, torchmetrics_counts, without_crowds

THINGS = np.array(IS_THING)
NONE = len(IS_THING)
"""Missed, as a predicted class, or a ghost, as a true one."""
seeds = st.integers(0, 2**32 - 1)


def breakdown(*frames: Pair) -> Breakdown:
    total = Breakdown.empty(len(IS_THING))
    for truth, prediction in frames:
        total.add(Breakdown.of(overlap_of(truth, prediction, THINGS), len(IS_THING)))
    return total


def parts(image: Truth | Prediction) -> dict[tuple[int, int], set[int]]:
    """The places of pixels of each class and id; id 0 where it is stuff, unlabelled, or a thing of no id."""
    ids = image.instances if isinstance(image, Truth) else image.segments
    assert ids is not None
    found: dict[tuple[int, int], set[int]] = {}
    for place, (class_id, number) in enumerate(zip(image.classes.ravel().tolist(), ids.ravel().tolist(), strict=True)):
        is_thing = class_id != UNLABELLED and IS_THING[class_id]
        found.setdefault((class_id, number if is_thing else 0), set()).add(place)
    return found


def size_of(area: int, pixels: int) -> int:
    return sum(area / pixels >= least for least in (1 / 1000, 1 / 300, 3 / 100))


def looped(frames: list[Pair]) -> Counter[tuple[object, ...]]:
    """All counts of a breakdown, each thing compared with each other as a set of pixels, like panopticapi's program."""
    found: Counter[tuple[object, ...]] = Counter()
    for truth, prediction in frames:
        pixels = truth.classes.size
        ours, theirs = parts(truth), parts(prediction)
        void = ours.get((UNLABELLED, 0), set())
        things = {key: area for key, area in ours.items() if key[1]}
        guesses = {key: area for key, area in theirs.items() if key[1]}

        def iou(one: set[int], other: set[int], void: set[int] = void) -> float:
            return len(one & other) / len(one | (other - void))

        taken = set()
        matched_guesses = set()
        for (class_id, number), area in things.items():
            size = size_of(len(area), pixels)
            matches = {key: iou(area, other) for key, other in guesses.items() if iou(area, other) > 0.5}
            same = [value for key, value in matches.items() if key[0] == class_id]
            found["iou", size, class_id] += sum(same)  # type: ignore[assignment]
            found["matched" if same else "only_true", size, class_id] += 1
            matched_guesses |= {key for key in matches if key[0] == class_id}
            taken |= set(matches)
            for key in matches:
                found["taken_for", class_id, key[0]] += 1
            found["taken_for", class_id, NONE] += not matches
            assert number
        for key, area in guesses.items():
            crowd = ours.get((key[0], 0), set())
            is_spared = len(area & (void | crowd)) / len(area) > 0.5
            found["only_predicted", size_of(len(area), pixels), key[0]] += key not in matched_guesses and not is_spared
            found["taken_for", NONE, key[0]] += key not in taken and not is_spared
    return found


@settings(max_examples=25, deadline=None)
@given(seed=seeds, shape=st.sampled_from([(24, 36), (40, 200), (120, 130)]))
def test_equals_plain_loops_over_sets_of_pixels(seed: int, shape: tuple[int, int]) -> None:
    frames = random_sequence(seed, 5, shape)
    found, expected = breakdown(*frames), looped(frames)
    for size in range(len(SIZES)):
        for class_id in range(len(IS_THING)):
            assert found.iou[size, class_id] / ONE == pytest.approx(expected["iou", size, class_id])
            for name in ("matched", "only_true", "only_predicted"):
                assert getattr(found, name)[size, class_id] == expected[name, size, class_id], name
    for row in range(NONE + 1):
        for column in range(NONE + 1):
            assert found.taken_for[row, column] == expected["taken_for", row, column]


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_the_parts_add_up_to_the_whole(seed: int) -> None:
    frames = random_sequence(seed)
    found, tubes = breakdown(*frames), count(frames)
    # Of the IoU, the tubes' sum over a frame is rounded once, not thing by thing.
    assert (found.iou.sum(axis=0) / ONE).tolist() == pytest.approx(np.where(THINGS, tubes.iou[0] / ONE, 0).tolist())
    for name in ("matched", "only_true", "only_predicted"):
        assert (getattr(found, name).sum(axis=0) == np.where(THINGS, getattr(tubes, name)[0], 0)).all(), name
    assert (np.diagonal(found.taken_for)[:NONE] == found.matched.sum(axis=0)).all()
    assert (found.taken_for[:NONE].sum(axis=1) == (found.matched + found.only_true).sum(axis=0)).all()


@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_pq_sq_and_rq_of_classes_are_torchmetrics(seed: int) -> None:
    frames = without_crowds(random_sequence(seed, 8))
    counted = torchmetrics_counts([frames], 1)
    whole = PanopticQuality(things=counted.things, stuffs=counted.stuffs, return_sq_and_rq=True, return_per_class=True)
    for name in ("iou_sum", "true_positives", "false_positives", "false_negatives"):
        setattr(whole, name, getattr(counted, name))
    whole._update_count = 1
    expected = whole.compute()
    found = by_class(count(frames), CLASS_NAMES)
    for class_id, name in enumerate(CLASS_NAMES):
        pq, sq, rq = expected[counted.cat_id_to_continuous_id[class_id]].tolist()
        if name in found:
            assert (found[name].pq, found[name].sq or 0.0, found[name].rq) == pytest.approx((pq, sq, rq))


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_confusion_of_pixels_is_torchmetrics(seed: int) -> None:
    frames = random_sequence(seed)
    total = Confusion.empty(len(IS_THING))
    reference = MulticlassConfusionMatrix(num_classes=len(IS_THING) + 1, ignore_index=UNLABELLED)
    for truth, prediction in frames:
        total.add(Confusion.of(overlap_of(truth, prediction, THINGS), len(IS_THING)))
        guess = np.where(prediction.classes == UNLABELLED, len(IS_THING), prediction.classes)
        reference.update(torch.from_numpy(guess.astype(np.int64)), torch.from_numpy(truth.classes.astype(np.int64)))
    assert total.counts.tolist() == reference.compute()[:-1].tolist()


def test_a_box_called_a_ball_is_told_from_one_that_is_missed() -> None:
    frames = [
        pair([(1, BOX), (2, BOX), (3, BALL), None], [(1, BALL), None, (3, BALL), (4, BALL)]),
        pair([(1, BOX), None], [(1, BOX), None]),
    ]
    taken_for = breakdown(*frames).taken_for
    assert taken_for[BOX].tolist() == [0, 0, 1, 1, 1]
    assert taken_for[BALL].tolist() == [0, 0, 0, 1, 0]
    assert taken_for[NONE].tolist() == [0, 0, 0, 1, 0]
    figures = score(frames).figures()
    box = figures.by_class["box"]
    assert (box.true, box.predicted, box.matched, box.recall, box.precision) == (3, 1, 1, 1 / 3, 1.0)
    assert (box.pq, box.sq, box.rq) == (1 / 2, 1.0, 1 / 2)
    assert "wall" not in figures.by_class
    assert figures.by_class["floor"].true == 2


@pytest.mark.parametrize(
    ("pixels", "size"), [(9, "tiny"), (10, "small"), (33, "small"), (34, "medium"), (299, "medium"), (300, "large")]
)
def test_sizes_are_shares_of_the_image(pixels: int, size: str) -> None:
    classes = np.full((100, 100), FLOOR, np.uint8)
    classes.reshape(-1)[:pixels] = BOX
    ids = np.where(classes == BOX, 7, 0).astype(np.uint16)
    for scale in (1, 3):  # a finer image of the same
        truth = Truth(*(np.kron(each, np.ones((scale, scale), each.dtype)) for each in (classes, ids)))
        assert truth.instances is not None
        (name,) = breakdown((truth, Prediction(truth.classes, truth.instances))).by_size()
        assert name == size


def test_a_ghost_counts_under_its_own_size_and_a_match_under_that_of_the_true_thing() -> None:
    truth, guess = np.full((100, 100), FLOOR, np.uint8), np.full((100, 100), FLOOR, np.uint8)
    truth.reshape(-1)[:305] = guess.reshape(-1)[:290] = BOX  # large, found as medium
    guess[50, :20] = BALL  # small
    frame = Truth(truth, (truth == BOX).astype(np.uint16)), Prediction(guess, np.where(guess > 1, guess, 0))
    figures = score([frame]).figures().by_size
    assert {name: (each.true, each.predicted, each.matched) for name, each in figures.items()} == {
        "small": (0, 1, 0),
        "large": (1, 1, 1),
    }
    assert figures["large"].sq == figures["large"].pq == pytest.approx(290 / 305)
    assert (figures["small"].pq, figures["small"].sq, figures["small"].recall) == (0.0, None, None)


def test_what_has_classes_only_has_no_breakdown() -> None:
    truth, guess = pair([(1, BOX), None])
    scores = score([(Truth(truth.classes), guess)])
    assert scores.counts().breakdown is None
    assert scores.figures().by_size == scores.figures().by_class == {}
