"""Errors in metres beside those that numpy has of the same things, and what counts as in view, moving and still."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from eomt_ros.evaluation.frame import ObjectsInMetres, TrueObject
from eomt_ros.evaluation.metrics import Scores
from eomt_ros.evaluation.results import MetreFigures, ObjectsInMetresFigures, Spread
from eomt_ros.space.locator import LocatedObject
from test.evaluation.metrics.scenes import BALL, BOX, CLASS_NAMES, IS_THING, SECONDS, Place, pair

Vector = npt.NDArray[np.float64]
SIZE = np.array([0.4, 0.5, 0.6])
ORIGIN = np.zeros(3)


def vector(*values: float) -> Vector:
    return np.array(values, np.float64)


def true(x: float, *, speed: float = 0.0) -> TrueObject:
    """A thing x metres ahead that moves to the left."""
    return TrueObject(vector(x, 0, 0), SIZE, vector(0, speed, 0))


def located(
    number: int, position: Vector, *, size: Vector = SIZE, velocity: Vector | None = ORIGIN, points: int = 50
) -> LocatedObject:
    return LocatedObject(
        id=number,
        class_id=BOX,
        class_name="box",
        score=1.0,
        position=position,
        position_covariance=np.eye(3),
        size=size,
        size_covariance=np.eye(3),
        velocity=velocity,
        velocity_covariance=None if velocity is None else np.eye(3),
        moving=False,
        partial=False,
        points=points,
        age=0,
    )


class Course:
    """A sequence of which every frame has things in metres."""

    def __init__(self) -> None:
        self.scores = Scores(CLASS_NAMES, IS_THING)
        self.scores.start_sequence("course")
        self.frames = 0

    def add(
        self,
        things: list[Place],
        truth: Mapping[int, TrueObject],
        *found: LocatedObject,
        predicted: list[Place] | None = None,
        camera: Vector = ORIGIN,
    ) -> None:
        """A frame in which these things are in view."""
        objects = ObjectsInMetres(truth, found, camera)
        begin = self.frames * SECONDS
        self.scores.update(*pair(things, predicted), begin=begin, seconds=SECONDS, objects=objects)
        self.frames += 1

    def figures(self) -> ObjectsInMetresFigures:
        found = self.scores.figures().objects_in_metres
        assert found is not None
        return found


def spread(values: Any) -> Any:
    """By numpy, to the precision of the histogram."""
    return pytest.approx(
        [float(np.quantile(values, share, method="inverted_cdf")) for share in (0.5, 0.9, 0.95)], 0.011
    )


def as_list(found: Spread) -> list[float]:
    return [found.p50, found.p90, found.p95]


def test_errors_are_those_that_numpy_has() -> None:
    random = np.random.default_rng(7)
    course = Course()
    known: dict[str, list[tuple[float, float, bool]]] = {"box": [], "ball": []}
    for _ in range(150):
        things: list[Place] = [(1, BOX), (2, BALL), None]
        truth = {number: TrueObject(random.uniform(-4, 4, 3), random.uniform(0.1, 2, 3), ORIGIN) for number in (1, 2)}
        camera = random.uniform(-1, 1, 3)
        shown: list[Place] = [(5, BOX) if random.random() < 0.8 else None, (6, BALL), None]
        found = []
        for number, place, name in ((1, 0, "box"), (2, 1, "ball")):
            thing = truth[number]
            off, wide = random.normal(0, 0.2, 3), random.normal(0, 0.1, 3)
            found.append(located(4 + number, thing.position + off, size=thing.size + wide))
            error = float(np.sqrt((off**2).sum()))
            distance = float(np.sqrt(((thing.position - camera) ** 2).sum()))
            if distance < 5:
                known[name].append((error, float(abs(wide).mean()), shown[place] is not None))
        course.add(things, truth, *found, predicted=shown, camera=camera)
    figures = course.figures()
    every = known["box"] + known["ball"]
    for part, rows in ((figures, every), *((figures.by_class[name], known[name]) for name in known)):
        assert isinstance(part, MetreFigures)
        seen = [(error, size) for error, size, was_found in rows if was_found]
        assert as_list(part.position_error_m) == spread([error for error, _ in seen])
        assert as_list(part.size_error_m) == spread([size for _, size in seen])
        right = sum(error <= 0.3 for error, _ in seen)
        assert part.things == len(rows)
        assert (part.located_share, part.located_share_of_all) == (right / len(seen), right / len(rows))


def test_each_distance_has_its_own_errors_and_the_whole_those_within_five_metres() -> None:
    course = Course()
    for x, error in ((1.0, 0.01), (3.0, 0.1), (4.0, 0.1), (7.0, 0.4), (12.0, 9.0)):
        course.add([(1, BOX), None], {1: true(x)}, located(1, vector(x, error, 0)))
    figures = course.figures()
    assert [(each.from_m, each.to_m, each.things) for each in figures.by_distance] == [(0, 2, 1), (2, 5, 2), (5, 10, 1)]
    assert [each.position_error_m.p50 for each in figures.by_distance] == pytest.approx([0.01, 0.1, 0.4], 0.011)
    assert (figures.things, figures.within_m) == (3, 5.0)
    assert figures.position_error_m.p95 == pytest.approx(0.1, 0.011)
    assert [each.located_share for each in figures.by_distance] == [1.0, 1.0, 0.0]


def test_what_is_only_predicted_or_has_no_depth_is_found_but_not_located() -> None:
    course = Course()
    course.add([(1, BOX), None], {1: true(2.5)}, located(1, vector(2.5, 0, 0)))
    course.add([(1, BOX), None], {1: true(2.5)}, located(1, vector(2.5, 0, 0), points=0))
    course.add([(1, BOX), None], {1: true(2.5)})
    figures = course.figures()
    assert (figures.things, figures.located_share) == (3, pytest.approx(1 / 3))


def test_a_thing_of_another_id_than_the_mask_that_matched_is_not_its_position() -> None:
    course = Course()
    course.add([(1, BOX), None], {1: true(2.5)}, located(8, vector(2.5, 0, 0)), predicted=[(7, BOX), None])
    assert course.figures().located_share == 0.0


def test_velocities_of_moving_things_count_once_they_have_been_in_view_for_a_second() -> None:
    course = Course()
    for number in range(30):
        error = 1.0 if number < 10 else 0.2
        found = located(1, vector(2.5, 0, 0), velocity=vector(error, 0.8, 0))
        course.add([(1, BOX), None], {1: true(2.5, speed=0.8)}, found)
    errors = course.figures().velocity_error_mps
    assert as_list(errors.moving) == pytest.approx([0.2, 0.2, 0.2], 0.011)
    assert np.isnan(errors.still.p50)
    # After more than a second out of view it has to be seen for a second again.
    for _ in range(12):
        course.add([None, None], {})
    for _ in range(10):
        course.add([(1, BOX), None], {1: true(2.5, speed=0.8)}, located(1, vector(2.5, 0, 0), velocity=vector(9, 0, 0)))
    assert course.figures().velocity_error_mps.moving.p95 == pytest.approx(0.2, 0.011)


def test_a_thing_stands_still_when_it_has_not_moved_for_a_second() -> None:
    course = Course()
    for number in range(40):
        speed = 0.5 if number < 10 else 0.0
        # What is left of its speed in the first second of rest is no speed of a still thing.
        guess = 0.4 if number < 19 else 0.03
        course.add(
            [(1, BOX), None], {1: true(2.5, speed=speed)}, located(1, vector(2.5, 0, 0), velocity=vector(0, guess, 0))
        )
    still = course.figures().velocity_error_mps.still
    assert as_list(still) == pytest.approx([0.03, 0.03, 0.03], 0.011)


def test_a_camera_that_moves_gives_no_velocity_and_no_error_of_it() -> None:
    course = Course()
    for _ in range(20):
        course.add([(1, BOX), None], {1: true(2.5)}, located(1, vector(2.5, 0, 0), velocity=None))
    errors = course.figures().velocity_error_mps
    assert np.isnan([errors.moving.p50, errors.still.p50]).all()
    assert course.figures().position_error_m.p50 == 0.0


def test_without_depth_or_truth_there_are_no_figures_in_metres() -> None:
    scores = Scores(CLASS_NAMES, IS_THING)
    scores.start_sequence("plain")
    scores.update(*pair([(1, BOX), None]), begin=0.0, seconds=SECONDS)
    assert scores.figures().objects_in_metres is None
    assert scores.maps() == []


def test_a_map_has_still_things_once_and_moving_ones_as_ways() -> None:
    course = Course()
    for number in range(40):
        at = 0.1 * number
        truth = {1: true(2.0), 2: TrueObject(vector(3, at, 0), SIZE, vector(0, 1, 0))}
        wobble = 0.02 * (-1) ** number
        found = [located(1, vector(2.0 + wobble, 0.1, 0)), located(2, vector(3.1, at, 0))]
        course.add([(1, BOX), (2, BOX), None], truth, *found, camera=vector(0, -at, 0))
    (drawn,) = course.scores.maps()
    assert (drawn.sequence, drawn.robot[0], drawn.robot[-1]) == ("course", (0.0, 0.0), (0.0, -3.9))
    still, moving = drawn.objects
    assert (still.object_id, still.class_name, still.size, still.truth) == (1, "box", (0.4, 0.5), (((2.0, 0.0),),))
    assert still.located == (((pytest.approx(2.0, abs=0.021), 0.1),),)
    (way,) = moving.located
    assert way[0] == (3.1, 0.0)
    assert way[-1] == (3.1, 3.9)
    assert len(way) == len(moving.truth[0]) == 40


def test_a_still_thing_is_drawn_at_the_median_of_where_it_was_located_over_time() -> None:
    course = Course()
    for number in range(60):
        off = 1.0 if number < 10 else 0.1
        course.add([(1, BOX), None], {1: true(2.0)}, located(1, vector(2.0 + off, 0, 0)))
    (still,) = course.scores.maps()[0].objects
    assert still.located == (((2.1, 0.0),),)


def test_a_way_has_a_gap_where_the_thing_was_not_found_or_out_of_view() -> None:
    course = Course()
    for number in range(60):
        at = 0.1 * number
        truth = {2: TrueObject(vector(3, at, 0), SIZE, vector(0, 1, 0))}
        if 20 <= number < 35:
            course.add([None, None], {})
        else:
            found = [] if number == 50 else [located(2, vector(3.1, at, 0))]
            course.add([(2, BOX), None], truth, *found)
    (moving,) = course.scores.maps()[0].objects
    assert [len(piece) for piece in moving.truth] == [20, 25]
    assert [len(piece) for piece in moving.located] == [20, 15, 9]


def test_memory_does_not_grow_with_the_frames_of_the_same_things() -> None:
    course = Course()
    sizes = {}
    for number in range(6_000):
        at = vector(3 * np.sin(number / 50), 0, 0)
        course.add([(1, BOX), None], {1: TrueObject(at, SIZE, vector(1, 0, 0))}, located(1, at + 0.1), camera=at)
        if number in (2_000, 5_999):
            sizes[number] = len(pickle.dumps(course.scores))
    assert sizes[5_999] <= 1.2 * sizes[2_000]
