"""Ids from camera to camera: what counts as a return, as going over, and as a switch, on moments that are told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.hand_over import AT_ONCE, OTHER, OVER, SAME, Counts, WorldScore, count, rows
from eomt_ros.engine import Segmenter
from eomt_ros.evaluation.metrics.overlap import Overlap, overlap_of
from eomt_ros.evaluation.metrics.semantic import Confusion
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags
from test.evaluation.metrics.scenes import BOX, CLASS_NAMES, IS_THING, Place, pair

STEP = 0.5
Sight = dict[int, int | None]
"""What a camera sees: things, with the ids that it gives them. None: not found. Below 0: a pixel is seen of it."""


def overlap(sight: Sight) -> Overlap:
    """A camera's picture."""
    things: list[Place] = [(thing, BOX) if thing in sight else None for thing in (1, 2, 3)]
    named: list[Place] = [(abs(by), BOX) if (by := sight.get(thing)) else None for thing in (1, 2, 3)]
    truth, found = pair(things, named)
    assert truth.instances is not None
    for thing, by in sight.items():
        if by is not None and by < 0:
            hidden = truth.instances == thing
            hidden.flat[hidden.argmax()] = False
            for image in (truth.classes, truth.instances, found.classes, found.segments):
                assert image is not None
                image[hidden] = 0
    return overlap_of(truth, found, np.array(IS_THING))


def counted(*moments: tuple[Sight, Sight]) -> Counts:
    """What comes of two cameras' moments, `STEP` apart."""
    score, counts = WorldScore(len(CLASS_NAMES)), Counts(Confusion.empty(len(CLASS_NAMES)))
    for number, sights in enumerate(moments):
        score.update(number * STEP, [overlap(sight) for sight in sights])
    score.add_to(counts, STEP)
    return counts


def seen(camera: int, by: int | None, times: int = 5) -> list[tuple[Sight, Sight]]:
    """Moments in which one camera sees thing 1."""
    return [({1: by}, {}) if camera == 0 else ({}, {1: by})] * times


def nothing(seconds: float) -> list[tuple[Sight, Sight]]:
    return [({}, {})] * round(seconds / STEP)


@pytest.mark.parametrize(("camera", "what"), [(0, SAME), (1, OTHER)])
@pytest.mark.parametrize(("by", "outcome"), [(5, "right"), (6, "new")])
def test_a_thing_returns_to_its_camera_or_to_another(camera, what, by, outcome):
    found = counted(*seen(0, 5), *nothing(2), *seen(camera, by))
    assert found.comings == Counter({(what, outcome): 1})
    assert found.switches == (by == 6)
    assert found.seconds == 10 * STEP


@pytest.mark.parametrize(("gap", "what"), [(0, OVER), (1.5, OVER), (2, OTHER)])
def test_sooner_than_two_seconds_it_goes_over(gap, what):
    assert counted(*seen(0, 5), *nothing(gap), *seen(1, 5)).comings == Counter({(what, "right"): 1})


def test_where_it_was_away_for_a_moment_nothing_is_counted_but_a_switch():
    found = counted(*seen(0, 5), *nothing(1.5), *seen(0, 6))
    assert (found.comings, found.switches) == (Counter(), 1)


def test_while_two_cameras_find_it_it_stays_where_it_was():
    both = ({1: 5}, {1: 6})
    assert counted(*seen(0, 5), both, both, *seen(0, 5)).comings == Counter({(AT_ONCE, "new"): 2})
    assert counted(*seen(1, 6), both, both, *seen(1, 6)).comings == Counter({(AT_ONCE, "new"): 2})
    found = counted(*seen(0, 5), both, both, *seen(1, 6))
    assert (found.comings, found.switches) == (Counter({(AT_ONCE, "new"): 2, (OVER, "new"): 1}), 1)
    found = counted(*seen(0, 5), ({1: 5}, {1: 5}), *seen(1, 5))
    assert (found.comings, found.switches) == (Counter({(AT_ONCE, "right"): 1, (OVER, "right"): 1}), 0)


def test_where_too_little_is_seen_of_it_nothing_is_counted_yet():
    glimpse: list[tuple[Sight, Sight]] = [({}, {1: -6})]
    found = counted(*seen(0, 5), *glimpse, *seen(1, 5))
    assert (found.comings, found.switches) == (Counter({(OVER, "right"): 1}), 0)
    found = counted(*seen(0, 5), *glimpse, *seen(0, 5))
    assert (found.comings, found.switches) == (Counter(), 0)


def test_an_id_that_stood_for_another_thing_in_any_camera_is_wrong():
    beside = ({1: 5}, {2: 7})
    assert counted(*[beside] * 5, *nothing(1), *seen(1, 7)).comings == Counter({(OVER, "wrong"): 1})
    # Also one that a second camera gave it, while it belonged to the first.
    twice = ({2: 8}, {2: 7})
    assert counted(*seen(0, 5), *[twice] * 5, *nothing(2), *seen(0, 7)).comings[SAME, "wrong"] == 1


def test_a_thing_that_is_seen_but_not_found_is_away_too():
    assert counted(*seen(0, 5), *seen(1, None, 4), *seen(1, 5)).comings == Counter({(OTHER, "right"): 1})


def test_a_thing_in_view_too_briefly_does_not_count():
    found = counted(*seen(0, 5, 2), *nothing(2), *seen(1, 6, 2))
    assert (found.comings, found.switches, found.seconds) == (Counter(), 0, 0.0)


def test_things_are_one_tube_in_the_pictures_of_all_cameras():
    assert counted(*seen(0, 5), *seen(1, 5)).association.aq == 1.0
    assert counted(*seen(0, 5), *seen(1, 6)).association.aq == pytest.approx(0.5)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    model = write_checkpoint(tmp_path_factory.mktemp("model") / "small")
    return Segmenter.load(model, device="cpu", precision="float32", score_threshold=0.2)


def test_of_a_rig_both_kinds_of_ids_are_counted(segmenter: Segmenter, tmp_path: Path):
    rig = bags.write_rig(tmp_path / "rig", {"front": 6, "rear": 6})
    head, _, *lines = rows([rig, rig], segmenter, places=True)
    assert [line.split(" | ")[0] for line in lines] == ["| of each camera's own", "| shared"]
    assert all(line.count("|") == head.count("|") for line in lines)
    counts = [Counts(Confusion.empty(len(segmenter.labels.class_names))) for _ in range(2)]
    for shared, each in enumerate(counts):
        count(rig, segmenter, each, shared=bool(shared), places=True)
    own, shared = counts
    assert own.confusion.counts.sum() == 2 * 6 * np.prod(bags.rig_scene("front", 0)[1].shape)
    np.testing.assert_array_equal(own.confusion.counts, shared.confusion.counts)
    # What both see at once has two ids without places, and no id is in both cameras.
    assert own.association.quality == shared.association.quality > 0


def test_cameras_that_do_not_go_together_are_refused(segmenter: Segmenter, tmp_path: Path):
    alone = bags.write_rig(tmp_path / "alone", {"front": 6})
    with pytest.raises(ValueError, match="expected those of several cameras"):
        list(rows([alone], segmenter, places=True))
