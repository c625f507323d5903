"""Ghosts and shared ids, on cases small enough to count by hand, and beside every way to give ids to things."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics import ObjectLimits, Scores
from eomt_ros.evaluation.results import Figures
from test.evaluation.metrics.scenes import (
    BALL,
    BOX,
    CLASS_NAMES,
    FLOOR,
    IS_THING,
    UNLABELLED,
    WALL,
    Pair,
    pair,
    play,
    random_sequence,
)

ALL = ObjectLimits(0.0, 1)


def figures(*sequences: list[Pair], limits: ObjectLimits = ALL) -> Figures:
    scores = Scores(CLASS_NAMES, IS_THING, limits=limits)
    for number, frames in enumerate(sequences):
        play(scores, frames, str(number))
    return scores.figures()


def test_three_false_things_in_every_frame_are_three_ghosts_per_frame() -> None:
    false = [(7, BOX), (8, BALL), (9, BOX)]
    found = figures([pair([(1, BOX), None, None, None], [(1, BOX), *false]) for _ in range(10)])
    assert (found.objects_found, found.id_switches, found.frames_found) == (1.0, 0, 1.0)
    assert (found.ghosts_per_frame, found.things_precision) == (3.0, 0.25)
    assert found.idf1 == pytest.approx(2 * 10 / (10 + 40))


def test_two_things_that_have_one_id_one_after_the_other_share_it() -> None:
    frames = [pair([(1, BOX), None], [(5, BOX), None])] * 6 + [pair([None, (2, BOX)], [None, (5, BOX)])] * 4
    found = figures(frames)
    assert (found.objects_found, found.id_switches, found.things_precision) == (1.0, 0, 1.0)
    assert found.shared_ids == 1
    assert found.idf1 == pytest.approx(2 * 6 / (10 + 10))


def test_two_things_of_different_classes_that_have_one_id_at_once_share_it() -> None:
    found = figures([pair([(1, BOX), (2, BALL)], [(5, BOX), (5, BALL)]) for _ in range(10)])
    assert (found.objects_found, found.id_switches) == (1.0, 0)
    assert (found.shared_ids, found.idf1) == (1, 0.5)


def test_the_same_number_in_another_epoch_or_sequence_is_another_id() -> None:
    one, other = pair([(1, BOX), None], [(5, BOX), None]), pair([None, (2, BOX)], [None, (5, BOX)], epoch=1)
    assert figures([one, other]).shared_ids == 0
    assert figures([one], [pair([None, (2, BOX)], [None, (5, BOX)])]).shared_ids == 0


def test_where_no_thing_is_found_no_id_agrees() -> None:
    found = figures([pair([(1, BOX), None], [None, (5, BOX)])] * 3)
    assert (found.objects_found, found.idf1, found.shared_ids) == (0.0, 0.0, 0)


def test_a_thing_found_twice_is_a_ghost_too() -> None:
    truth = np.full((20, 20), BOX, np.uint8)
    ids = np.ones((20, 20), np.uint16)
    ids[:, 15:] = 2
    found = figures([(Truth(truth, np.ones_like(ids)), Prediction(truth, ids))])
    assert (found.ghosts_per_frame, found.things_precision) == (1.0, 0.5)


@pytest.mark.parametrize(("classes", "ghosts"), [(UNLABELLED, 0.0), (BOX, 0.0), (BALL, 1.0), (WALL, 1.0)])
def test_what_lies_where_nobody_knows_better_is_no_ghost(classes: int, ghosts: float) -> None:
    """On unlabelled pixels, and on things of its class that nobody told apart; on all else it is."""
    truth = np.full((20, 40), FLOOR, np.uint8)
    truth[:, :20] = classes
    prediction, ids = np.full((20, 40), FLOOR, np.uint8), np.zeros((20, 40), np.uint16)
    prediction[:, :20], ids[:, :20] = BOX, 3
    found = figures([(Truth(truth, np.zeros_like(ids)), Prediction(prediction, ids))])
    assert found.ghosts_per_frame == ghosts


def test_what_is_too_small_or_too_short_to_count_is_neither_right_nor_a_ghost() -> None:
    small = pair([(1, BOX), *[None] * 9], [(5, BOX), *[None] * 9])
    assert figures([small] * 10, limits=ObjectLimits(0.2, 1)).things_precision is None
    short = figures([small] * 3 + [pair([None], [None])], limits=ObjectLimits(0.0, 5))
    assert (short.objects, short.things_precision, short.ghosts_per_frame) == (0, None, 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_idf1_is_that_of_the_best_of_all_ways_to_give_ids_to_things(seed: int) -> None:
    frames = random_sequence(seed, frames=12)
    true: Counter[int] = Counter()
    predicted = 0
    agree: Counter[tuple[int, tuple[int, int]]] = Counter()
    for truth, guess in frames:
        assert truth.instances is not None
        assert guess.segments is not None
        labelled = truth.classes != UNLABELLED
        things = {(int(i), int(truth.classes[truth.instances == i][0])) for i in np.unique(truth.instances) if i}
        true.update(number for number, _ in things)
        is_thing = (guess.classes == BOX) | (guess.classes == BALL)
        for number, class_id in {
            *zip(guess.segments[is_thing].tolist(), guess.classes[is_thing].tolist(), strict=True)
        }:
            if not number:
                continue
            mask = (guess.segments == number) & (guess.classes == class_id)
            crowd = (truth.classes == class_id) & (truth.instances == 0)
            matched = [
                thing
                for thing, its_class in things
                if its_class == class_id
                and ((truth.instances == thing) & mask).sum()
                > 0.5 * ((truth.instances == thing) | (mask & labelled)).sum()
            ]
            predicted += bool(matched) or 2 * (mask & (~labelled | crowd)).sum() <= mask.sum()
            agree.update((thing, (guess.epoch, number)) for thing in matched)
    ids: list[tuple[int, int] | None] = [*{by for _, by in agree}, *[None] * len(true)]
    best = max(
        sum(agree[thing, by] for thing, by in zip(true, way, strict=True) if by is not None)
        for way in permutations(ids, len(true))
    )
    assert figures(frames).idf1 == pytest.approx(2 * best / (true.total() + predicted))
