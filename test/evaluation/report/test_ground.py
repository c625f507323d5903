"""Where things are in the chart of the ground."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eomt_ros.evaluation.report.ground import GroundChart, ground_charts
from eomt_ros.evaluation.results import GroundMap, MappedObject
from test.evaluation.examples import run_in_metres, short_run


def chart(*objects: MappedObject, robot: tuple[tuple[float, float], ...] = ((0.0, 0.0),)) -> GroundChart:
    (found,) = ground_charts(replace(short_run(), maps=(GroundMap("bag", robot, objects),)))
    return found


def still(x: float, y: float, *, size: tuple[float, float] = (1.0, 0.5)) -> MappedObject:
    return MappedObject(3, "box", size, (((x, y),),), (((x - 0.2, y),),))


def test_the_odometrys_x_goes_right_and_its_y_upwards_and_a_metre_is_as_long_both_ways() -> None:
    # With half a metre around: x from -0.5 to 9.5, y from -0.5 to 4.5.
    drawn = chart(still(8.5, 3.75), robot=((0.0, 0.0), (2.0, 0.0)))
    assert drawn.ratio == pytest.approx(2.0)
    assert drawn.robot == (pytest.approx((5.0, 90.0)), pytest.approx((25.0, 90.0)))
    (mark,) = drawn.marks
    assert (mark.left, mark.top, mark.width, mark.height) == pytest.approx((85.0, 10.0, 10.0, 10.0))
    assert mark.middle == pytest.approx((90.0, 15.0))
    assert mark.located == pytest.approx((88.0, 15.0))
    assert mark.title == "box 3: located 0.20 m beside it"
    ticks = {tick.text: tick.at for tick in drawn.x_ticks}
    assert ticks["4"] == pytest.approx(45.0)
    assert drawn.columns == pytest.approx([10.0 * x + 5.0 for x in range(10)])


def test_a_thing_that_was_never_located_says_so() -> None:
    drawn = ground_charts(run_in_metres())[0]
    assert [(mark.title, mark.located is None) for mark in drawn.marks] == [
        ("box 11: located 0.10 m beside it", False),
        ("box 13: never located", True),
    ]


def test_what_moves_has_its_true_and_its_located_way_with_their_gaps() -> None:
    (walk,) = ground_charts(run_in_metres())[0].walks
    assert walk.name == "person 12"
    assert [len(piece) for piece in walk.truth] == [10, 15]
    assert [len(piece) for piece in walk.located] == [10, 5]


def test_a_camera_that_saw_nothing_from_one_place_has_a_square_of_ground() -> None:
    drawn = chart()
    assert drawn.ratio == 1.0
    assert drawn.robot == (pytest.approx((50.0, 50.0)),)


def test_a_wide_ground_has_few_lines() -> None:
    drawn = chart(robot=((0.0, 0.0), (900.0, 20.0)))
    assert len(drawn.columns) < 10
