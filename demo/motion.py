"""Motion of the robot and of everything that walks, rolls or is pushed, as a function of time.

The motion is worked out on a grid of `STEP` seconds from time 0 on and kept, so it depends on time alone, whichever
part is asked for. A move that would touch something is never made; that is what keeps things out of one another and
away from the camera.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.layout import BALL, PERSON, Layout, clearance

STEP = 0.1
ROBOT_RADIUS = 0.5
TURN_LIMIT = np.radians(25.0)
TURN_ACCELERATION = np.radians(40.0)
ACCELERATION = 0.4
STRIDE = 1.5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """Everything that moves, at one time; the rows of the arrays are the layout's things.

    `robot (3,)`: x, y in metres, yaw in radians. `positions (N, 2)` in metres, `headings (N,)` in radians.
    `phases (N,)`: place in the walking cycle in radians. `strides (N,)`: how far limbs swing, 0 standing to 1.
    `rolls (N, 3, 3)`: rotation of what rolls.
    """

    robot: Array
    positions: Array
    headings: Array
    phases: Array
    strides: Array
    rolls: NDArray[np.float64]


class Motion:
    """The motion of one layout, as a function of time."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        self._layout = layout
        self._rng = rng
        things = layout.things
        self._room = np.array([layout.length, layout.width])
        self._shelves = layout.shelf_array()
        self._radii = np.array([thing.radius for thing in things])
        self._speeds = np.array([thing.speed for thing in things])
        self._movers = [index for index, thing in enumerate(things) if thing.speed]
        self._velocities = np.zeros((len(things), 2))
        self._goals = np.array([thing.position for thing in things])
        self._pauses = rng.uniform(0.0, 2.0, len(things))
        for index, thing in enumerate(things):
            if thing.class_id == BALL and thing.speed:
                self._velocities[index] = thing.speed * _direction(thing.heading)
        self._robot_goal = np.array(layout.start[:2])
        self._robot_speed = 0.0
        self._robot_turn = 0.0
        self._blocked = 0.0
        self._cruise = rng.uniform(0.3, 0.6)
        self._states = [
            State(
                np.array(layout.start),
                self._goals.copy(),
                np.array([thing.heading for thing in things]),
                rng.uniform(0.0, 2 * np.pi, len(things)),
                np.zeros(len(things)),
                np.tile(np.eye(3), (len(things), 1, 1)),
            )
        ]

    def at(self, time: float) -> State:
        """The state at `time` seconds (0 or later), between grid points by straight lines."""
        place = time / STEP
        before = int(np.floor(place + 1e-9))
        while len(self._states) < before + 2:
            self._states.append(self._next(self._states[-1]))
        first, second = self._states[before], self._states[before + 1]
        part = max(0.0, place - before)
        return State(*(a + part * (b - a) for a, b in zip(vars(first).values(), vars(second).values(), strict=True)))

    def velocities(self, time: float) -> Array:
        """The velocities `(N, 2)` of things at `time` in m/s: the mean over the `STEP` around it."""
        begin, end = max(0.0, time - STEP / 2), time + STEP / 2
        return (self.at(end).positions - self.at(begin).positions) / (end - begin)

    def _next(self, state: State) -> State:
        robot = self._drive(state)
        positions, headings = state.positions.copy(), state.headings.copy()
        phases, strides, rolls = state.phases.copy(), state.strides.copy(), state.rolls.copy()
        for index in self._movers:
            place = positions[index]
            if self._layout.things[index].class_id == BALL:
                velocity = self._rolling(index, place, robot, positions)
            else:
                velocity = self._walking(index, place, robot, positions)
            if self._clearance((place + velocity * STEP)[None], robot, positions, index)[0] < self._radii[index]:
                velocity = np.zeros(2)
            if self._layout.things[index].class_id != BALL:
                self._velocities[index] = velocity
            positions[index] = place + velocity * STEP
            speed = float(np.linalg.norm(velocity))
            if self._layout.things[index].class_id == PERSON:
                if speed > 0.05:
                    turn = _wrapped(np.arctan2(velocity[1], velocity[0]) - headings[index])
                    headings[index] += np.clip(turn, -2.5 * STEP, 2.5 * STEP)
                phases[index] += speed * STEP * 2 * np.pi / STRIDE
                strides[index] += 0.3 * (min(1.0, speed / 0.9) - strides[index])
            if self._layout.things[index].class_id == BALL:
                rolls[index] = _roll(velocity * STEP / self._radii[index]) @ rolls[index]
        return State(robot, positions, headings, phases, strides, rolls)

    def _clearance(self, points: Array, robot: Array | None, positions: Array, but: int | None) -> Array:
        """Free distance from each of `points (K, 2)` to walls, shelves, things but one and, where given, the robot."""
        offsets = points[:, None] - positions
        gaps = np.sqrt(np.einsum("knd,knd->kn", offsets, offsets)) - self._radii
        if but is not None:
            gaps[:, but] = np.inf
        nearest = np.minimum(clearance(points, self._room, self._shelves), gaps.min(axis=1))
        if robot is not None:
            nearest = np.minimum(nearest, np.hypot(points[:, 0] - robot[0], points[:, 1] - robot[1]) - ROBOT_RADIUS)
        return nearest

    def _drive(self, state: State) -> Array:
        x, y, yaw = state.robot
        place = np.array([x, y])
        away = self._robot_goal - place
        self._blocked = self._blocked + STEP if self._robot_speed < 0.08 else 0.0
        if np.linalg.norm(away) < 1.2 or self._blocked > 1.5:
            self._robot_goal = self._pick_robot_goal(state)
            self._blocked = 0.0
            away = self._robot_goal - place
        error = self._open_way(place, float(np.arctan2(away[1], away[0])), yaw, state.positions)
        turn = np.clip(1.5 * error, -TURN_LIMIT, TURN_LIMIT)
        self._robot_turn += np.clip(turn - self._robot_turn, -TURN_ACCELERATION * STEP, TURN_ACCELERATION * STEP)
        probes = place + np.linspace(0.1, 1.2, 12)[:, None] * _direction(
            yaw + 0.3 * np.sign(error) * min(1.0, abs(error))
        )
        free = self._clearance(probes, None, state.positions, None) >= ROBOT_RADIUS
        reach = 1.2 if free.all() else 0.1 * float(np.argmin(free))
        speed = self._cruise * max(0.4, np.cos(error)) * min(1.0, reach / 0.6)
        self._robot_speed += np.clip(speed - self._robot_speed, -2 * ACCELERATION * STEP, ACCELERATION * STEP)
        yaw += self._robot_turn * STEP
        moved = place + self._robot_speed * STEP * _direction(yaw)
        now, then = self._clearance(np.stack([place, moved]), None, state.positions, None)
        if then < min(now, ROBOT_RADIUS):
            self._robot_speed, moved = 0.0, place
        return np.array([moved[0], moved[1], yaw])

    def _open_way(self, place: Array, bearing: float, yaw: float, positions: Array) -> float:
        """Angle that the robot is to turn, in radians, for a free way near to `bearing` and to where it is heading."""
        ways = bearing + np.radians([0, 15, -15, 30, -30, 50, -50, 75, -75, 100, -100])
        directions = np.stack([np.cos(ways), np.sin(ways)], axis=1)
        probes = np.concatenate([place + distance * directions for distance in (0.3, 0.6, 0.9, 1.2)])
        free = (self._clearance(probes, None, positions, None) >= ROBOT_RADIUS).reshape(4, -1).all(axis=0)
        turns = (ways - yaw + np.pi) % (2 * np.pi) - np.pi
        cost = np.abs(ways - bearing) + 0.5 * np.abs(turns) + 10.0 * ~free
        return float(turns[np.argmin(cost)])

    def _pick_robot_goal(self, state: State) -> Array:
        """A place in plain sight, rather ahead than behind, rather far than near, with something to see that way."""
        place, yaw = state.robot[:2], state.robot[2]
        room = self._room
        others = state.positions - place
        bearings = np.arctan2(others[:, 1], others[:, 0])
        costs, goals = [], []
        for goal in self._rng.uniform(1.6, room - 1.6, (32, 2)):
            away = goal - place
            distance = float(np.linalg.norm(away))
            if distance < 1.6:
                continue
            bearing = np.arctan2(away[1], away[0])
            in_view = np.count_nonzero(np.cos(bearings - bearing) > np.cos(np.radians(38.0)))
            cost = 0.7 * abs(_wrapped(bearing - yaw)) - 0.4 * min(int(in_view), 6) - 0.15 * distance
            costs.append(cost + self._rng.uniform(0.0, 1.0))
            goals.append(goal)
        ranked = [goals[rank] for rank in np.argsort(costs)]
        for margin in (0.35, 0.1, 0.0):
            for goal in ranked:
                if self._in_sight(place, goal, ROBOT_RADIUS + margin, state.positions, None):
                    return goal
        return ranked[0]

    def _in_sight(self, start: Array, goal: Array, radius: float, positions: Array, but: int | None) -> bool:
        """True if the straight way to `goal` is free but for its first 0.4 m, where something may be close already."""
        distance = float(np.linalg.norm(goal - start))
        along = (goal - start) / max(distance, 1e-6)
        line = start + np.linspace(min(0.4, distance), distance, 2 + int(distance / 0.2))[:, None] * along
        return bool((self._clearance(line, None, positions, but) > radius).all())

    def _rolling(self, index: int, place: Array, robot: Array, positions: Array) -> Array:
        velocity = self._velocities[index]
        offsets = np.array([[0.0, 0.0], [0.01, 0.0], [0.0, 0.01]])
        ahead = self._clearance(place + velocity * STEP + offsets, robot, positions, index)
        if ahead[0] < self._radii[index]:
            normal = ahead[1:] - ahead[0]
            normal /= max(float(np.linalg.norm(normal)), 1e-9)
            if velocity @ normal < 0.0:
                velocity = velocity - 2.0 * (velocity @ normal) * normal
            spin = self._rng.uniform(-0.3, 0.3)
            self._velocities[index] = velocity + spin * np.array([-velocity[1], velocity[0]])
            self._velocities[index] *= self._speeds[index] / np.linalg.norm(self._velocities[index])
        return self._velocities[index]

    def _walking(self, index: int, place: Array, robot: Array, positions: Array) -> Array:
        """The velocity that gets closest to the goal among those that stay clear for the next second."""
        self._pauses[index] -= STEP
        away = self._goals[index] - place
        if np.linalg.norm(away) < 0.3 or self._pauses[index] < -12.0:
            self._goals[index] = self._pick_goal(index, place, robot, positions)
            self._pauses[index] = self._rng.choice([0.0, self._rng.uniform(1.0, 4.0)], p=[0.6, 0.4])
        if self._pauses[index] > 0.0:
            return 0.6 * self._velocities[index]
        distance = max(float(np.linalg.norm(away)), 1e-6)
        angles = np.arctan2(away[1], away[0]) + np.radians([0, 20, -20, 40, -40, 65, -65, 95, -95])
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        speed = min(self._speeds[index], distance)
        ahead = np.concatenate([place + directions * speed * time for time in (0.3, 0.7, 1.1)])
        clear = self._clearance(ahead, robot, positions, index).reshape(3, -1) - self._radii[index]
        open_ways = np.flatnonzero((clear > 0.05).all(axis=0))
        wish = directions[open_ways[0]] * speed if len(open_ways) else np.zeros(2)
        return self._velocities[index] + 0.25 * (wish - self._velocities[index])

    def _pick_goal(self, index: int, place: Array, robot: Array, positions: Array) -> Array:
        """A place in plain sight; often one in front of the robot, so that there is something to see."""
        room = self._room
        radius = self._radii[index]
        for attempt in range(12):
            goal = self._rng.uniform(radius + 0.1, room - radius - 0.1)
            if attempt < 6 and self._rng.random() < 0.5:
                aside = self._rng.uniform(-0.7, 0.7)
                goal = robot[:2] + self._rng.uniform(1.8, 5.5) * _direction(robot[2] + aside)
            if self._in_sight(place, goal, radius + 0.05, positions, index):
                return goal
        return place


def _direction(yaw: float) -> Array:
    return np.array([np.cos(yaw), np.sin(yaw)])


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _roll(turn: Array) -> Array:
    """Rotation of a ball whose top moves by `turn (2,)` radians over the floor."""
    angle = float(np.linalg.norm(turn))
    if angle < 1e-9:
        return np.eye(3)
    x, y = -turn[1] / angle, turn[0] / angle
    cross = np.array([[0.0, 0.0, y], [0.0, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
