"""Nobody bumps into anybody, and where things are depends on the time alone. Needs no renderer."""

import math
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest

from demo import CLASS_NAMES, EVALUATION_SEEDS
from demo.layout import Layout, make_layout
from demo.motion import ROBOT_RADIUS, STEP, Motion, State

SEEDS = (EVALUATION_SEEDS[0], EVALUATION_SEEDS[7], EVALUATION_SEEDS[13])
SECONDS = 40.0


@cache
def play(seed: int) -> tuple[Layout, list[State]]:
    layout = make_layout(np.random.default_rng([seed, 0]))
    motion = Motion(layout, np.random.default_rng([seed, 1]))
    return layout, [motion.at(step * STEP) for step in range(round(SECONDS / STEP))]


def gap_to_rectangle(x: float, y: float, shelf_x: float, shelf_y: float, half_x: float, half_y: float) -> float:
    aside, along = max(abs(x - shelf_x) - half_x, 0.0), max(abs(y - shelf_y) - half_y, 0.0)
    return math.hypot(aside, along)


def gap_to_stuff(layout: Layout, x: float, y: float) -> float:
    walls = min(x, y, layout.length - x, layout.width - y)
    shelves = [gap_to_rectangle(x, y, shelf.x, shelf.y, shelf.half_x, shelf.half_y) for shelf in layout.shelves]
    return min(walls, *shelves)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_camera_keeps_its_distance_from_walls_shelves_and_things(seed: int) -> None:
    layout, states = play(seed)
    for state in states[::3]:
        x, y, _ = state.robot
        assert gap_to_stuff(layout, x, y) > ROBOT_RADIUS - 0.01
        for thing, place in zip(layout.things, state.positions, strict=True):
            assert math.hypot(place[0] - x, place[1] - y) - thing.radius > ROBOT_RADIUS - 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_things_stay_out_of_one_another_and_inside_the_room(seed: int) -> None:
    layout, states = play(seed)
    standing = [(index, thing.radius) for index, thing in enumerate(layout.things) if thing.elevation == 0.0]
    for state in states[::5]:
        for index, radius in standing:
            assert gap_to_stuff(layout, *state.positions[index]) > radius - 0.01
        for (index, radius), (other, other_radius) in combinations(standing, 2):
            assert math.dist(state.positions[index], state.positions[other]) > radius + other_radius - 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_the_robot_drives_and_turns_no_faster_than_a_robot(seed: int) -> None:
    _, states = play(seed)
    robot = np.array([state.robot for state in states])
    speeds = np.linalg.norm(np.diff(robot[:, :2], axis=0), axis=1) / STEP
    turns = np.degrees(np.abs(np.diff(robot[:, 2]))) / STEP
    assert speeds.max() < 0.65
    assert turns.max() < 25.5
    assert speeds.sum() * STEP > 3.0, "the robot hardly moves"


@pytest.mark.parametrize("seed", SEEDS)
def test_people_walk_and_some_things_never_move(seed: int) -> None:
    layout, states = play(seed)
    travelled = np.abs(np.diff([state.positions for state in states], axis=0)).sum(axis=(0, 2))
    for thing, way in zip(layout.things, travelled, strict=True):
        if CLASS_NAMES[thing.class_id] == "person":
            assert way > 2.0
        if not thing.speed:
            assert way == 0.0
    assert any(not thing.speed for thing in layout.things)


def test_where_things_are_does_not_depend_on_what_was_asked_before() -> None:
    layout = make_layout(np.random.default_rng([SEEDS[0], 0]))
    straight, hopping = (Motion(layout, np.random.default_rng([SEEDS[0], 1])) for _ in range(2))
    hopping.at(12.0)
    for time in (0.0, 3.14, 9.9):
        np.testing.assert_array_equal(straight.at(time).positions, hopping.at(time).positions)
        np.testing.assert_array_equal(straight.at(time).robot, hopping.at(time).robot)


def test_a_ball_that_rolls_forward_turns_over_forward() -> None:
    layout, states = play(SEEDS[0])
    ball = next(i for i, t in enumerate(layout.things) if CLASS_NAMES[t.class_id] == "ball" and t.speed)
    checked = 0
    for before, after in pairwise(states):
        step = after.positions[ball] - before.positions[ball]
        if np.linalg.norm(step) == 0.0:
            continue
        turn = after.rolls[ball] @ before.rolls[ball].T
        top = turn @ np.array([0.0, 0.0, layout.things[ball].radius])
        assert top[:2] @ step > 0.99 * np.linalg.norm(top[:2]) * np.linalg.norm(step)
        # Rolling without slipping: the angle is the way over the radius.
        angle = math.acos(min(1.0, (np.trace(turn) - 1.0) / 2.0))
        assert angle == pytest.approx(np.linalg.norm(step) / layout.things[ball].radius, rel=1e-3)
        checked += 1
    assert checked > 100
