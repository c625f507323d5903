"""Regions of one class of stuff become one segment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eomt_ros.engine.postprocess.label_map import Region, fuse

FLOOR, BALL = 0, 1
LEFT = Region(query=4, class_id=FLOOR, is_thing=False, score=0.9, area=100, box=(10, 20, 30, 40), maps=(0,))
RIGHT = Region(query=2, class_id=FLOOR, is_thing=False, score=0.8, area=7, box=(60, 5, 10, 11), maps=(2,))
WITHIN = Region(query=3, class_id=FLOOR, is_thing=False, score=0.7, area=1, box=(15, 25, 1, 1), maps=(3,))
OTHER = Region(query=1, class_id=BALL, is_thing=True, score=0.6, area=3, box=(0, 0, 3, 1), maps=(1,))


@pytest.mark.parametrize("regions", [(LEFT, OTHER, RIGHT, WITHIN), (RIGHT, WITHIN, OTHER, LEFT)], ids=["left", "right"])
def test_a_fused_region_spans_all_its_parts_and_is_called_as_the_first(regions: tuple[Region, ...]) -> None:
    whole, other = fuse(regions)
    parts = [region for region in regions if region.class_id == FLOOR]
    assert other is OTHER
    assert (whole.query, whole.score, whole.class_id) == (regions[0].query, regions[0].score, FLOOR)
    assert (whole.area, whole.box) == (108, (10, 5, 60, 55))
    assert whole.maps == tuple(number for part in parts for number in part.maps)


def test_things_stay_apart_also_those_of_a_class_that_is_stuff_too() -> None:
    thing = replace(WITHIN, is_thing=True)
    assert fuse((thing, OTHER, LEFT, replace(OTHER, maps=(5,)))) == [thing, OTHER, LEFT, replace(OTHER, maps=(5,))]


def test_in_the_semantic_task_a_class_is_one_region_with_the_score_of_all_its_pixels() -> None:
    (whole,) = fuse((LEFT, replace(WITHIN, is_thing=True, area=300)), things=True)
    assert (whole.area, whole.is_thing) == (400, True)
    assert whole.score == pytest.approx((0.9 * 100 + 0.7 * 300) / 400)
