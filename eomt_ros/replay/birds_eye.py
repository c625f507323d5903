"""The bird's-eye view: the ground around the robot, and the things on it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.overlay import FONT
from eomt_ros.space.pose import Pose

AHEAD, BEHIND = 7.0, 1.5
"""m of ground that are seen before and behind the robot."""
TRACK = 3.0  # s of a thing's way that are kept
LEAP = 0.6  # m between two frames that only an id goes, which went to another thing
ARROW = 1.0  # s of motion that an arrow shows

_ROBOT = np.array([[0.32, 0.0], [-0.22, 0.22], [-0.1, 0.0], [-0.22, -0.22]])
"""Corners of its arrow, in metres ahead and to the left."""
_BACKGROUND, _IN_VIEW, _GRID, _TEXT, _WHITE = ((level,) * 3 for level in (24, 42, 72, 190, 255))
_CORNERS = np.stack(np.meshgrid(*3 * [(-0.5, 0.5)]), axis=-1).reshape(-1, 3)
"""Of a box whose edges have length 1."""
_BITS = 4  # after the point, in OpenCV's coordinates

Array = npt.NDArray[np.float64]
Color = tuple[int, ...]
Picture = npt.NDArray[np.uint8]


class BirdsEye:
    """Draws a camera's things frame by frame; the robot stays at its place in the picture, with its heading up.

    side: pixels of the square picture. colors: RGB by class id. field_of_view: radians from the left border of the
    camera's picture to its right border. fixed: positions are in a frame that does not move. Then things have tracks,
    and the grid, a line a metre, is that frame's; else it is the robot's.
    """

    def __init__(self, side: int, colors: Sequence[Color], field_of_view: float, *, fixed: bool) -> None:
        self._side = side
        self._scale = side / (AHEAD + BEHIND)
        self._colors = colors
        self._field_of_view = field_of_view
        self._fixed = fixed
        self._tracks: defaultdict[int, deque[tuple[float, Array]]] = defaultdict(deque)
        """By id: seconds, and where the thing was."""

    def draw(
        self, seconds: float, robot: Pose, objects: Iterable[Any], obstacles: Array, class_ids: npt.NDArray[Any]
    ) -> Picture:
        """The picture, (side, side, 3) uint8 RGB, of one moment.

        seconds: its time. robot: where it is, x ahead, y left and z up, in the frame of the positions. objects: those
        of an ObjectArray. obstacles: (N, 3) points in that frame; class_ids: (N,) of them.
        """
        page = np.full((self._side, self._side, 3), _BACKGROUND, np.uint8)
        view = robot.inverse()
        self._draw_ground(page, robot, view)
        self._draw_points(page, view.apply(obstacles), class_ids)
        things = sorted(objects, key=lambda thing: bool(thing.points))  # what is only predicted lies below
        if self._fixed:
            self._draw_tracks(page, seconds, view, things)
        for thing in things:
            self._draw_thing(page, view, thing)
        cv2.fillPoly(page, [self._pixels(_ROBOT)], _WHITE, cv2.LINE_AA, _BITS)
        x, y, _ = robot.translation
        heading = np.degrees(np.arctan2(robot.rotation[1, 0], robot.rotation[0, 0]))
        place = f"x {x:.1f} m, y {y:.1f} m, {heading:.0f} deg" if self._fixed else "of the camera"
        self._write(page, f"{place}; grid 1 m", (6, self._side - 8))
        return page

    def _draw_ground(self, page: Picture, robot: Pose, view: Pose) -> None:
        """What the camera sees, and the grid."""
        reach = 2 * (AHEAD + BEHIND)
        angles = np.linspace(-0.5, 0.5, 16) * self._field_of_view
        sight = reach * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        cv2.fillPoly(page, [self._pixels(np.vstack([[0.0, 0.0], sight]))], _IN_VIEW, cv2.LINE_AA, _BITS)
        x, y, z = robot.translation if self._fixed else np.zeros(3)
        for axis, middle in enumerate((x, y)):
            for metre in np.arange(np.ceil(middle - reach), middle + reach):
                ends = np.array([[x - reach, y - reach, z], [x + reach, y + reach, z]])
                ends[:, axis] = metre
                line = view.apply(ends) if self._fixed else ends
                cv2.polylines(page, [self._pixels(line)], False, _GRID, 1, cv2.LINE_AA, _BITS)

    def _draw_points(self, page: Picture, points: Array, class_ids: npt.NDArray[Any]) -> None:
        """Squares of two pixels."""
        corners = self._pixels(points) >> _BITS
        inside = ((corners >= 0) & (corners < self._side - 1)).all(axis=1)
        colors = np.array([self._color(class_id) for class_id in class_ids[inside]]).reshape(-1, 3)
        columns, rows = corners[inside].T
        for right in (0, 1):
            for down in (0, 1):
                page[rows + down, columns + right] = colors

    def _draw_tracks(self, page: Picture, seconds: float, view: Pose, things: Sequence[Any]) -> None:
        for thing in things:
            self._tracks[thing.id].append((seconds, _xyz(thing.position)))
        for number, track in list(self._tracks.items()):
            while track and not seconds - TRACK <= track[0][0] <= seconds:
                track.popleft()
            if not track:
                del self._tracks[number]
        for thing in things:
            track = self._tracks[thing.id]
            for (when, begin), (_, end) in pairwise(track):
                if np.linalg.norm(end - begin) > LEAP:
                    continue
                strength = 0.3 + 0.7 * (1 - (seconds - when) / TRACK)
                line = self._pixels(view.apply(np.stack([begin, end])))
                cv2.polylines(page, [line], False, self._color(thing.class_id, strength), 2, cv2.LINE_AA, _BITS)

    def _draw_thing(self, page: Picture, view: Pose, thing: Any) -> None:
        position, color = _xyz(thing.position), self._color(thing.class_id)
        corners = view.apply(position + _CORNERS * _xyz(thing.size))
        outline = cv2.convexHull(self._pixels(corners))
        if thing.points:
            cv2.fillPoly(page, [outline], self._color(thing.class_id, 0.55), cv2.LINE_AA, _BITS)
        cv2.polylines(page, [outline], True, color, 2 if thing.points else 1, cv2.LINE_AA, _BITS)
        if thing.velocity_known and thing.moving:
            ends = view.apply(np.stack([position, position + ARROW * _xyz(thing.velocity)]))
            begin, end = (self._pixels(ends) >> _BITS).tolist()
            cv2.arrowedLine(page, begin, end, _WHITE, 2, cv2.LINE_AA, tipLength=0.25)
        right, top = outline[:, 0, 0].max() >> _BITS, outline[:, 0, 1].min() >> _BITS
        self._write(page, f"{thing.class_name} {thing.id}", (right + 3, top + 4))

    def _write(self, page: Picture, text: str, place: tuple[int, int]) -> None:
        for color, thickness in ((_BACKGROUND, 3), (_TEXT, 1)):
            cv2.putText(page, text, place, FONT, 0.4, color, thickness, cv2.LINE_AA)

    def _pixels(self, points: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Points (N, 2 or 3), metres ahead of the robot and to its left, in OpenCV's coordinates (N, 2)."""
        ahead, left = np.asarray(points, np.float64)[:, :2].T
        pixels = np.stack([self._side / 2 - left * self._scale, (AHEAD - ahead) * self._scale], axis=1)
        return np.round(pixels * (1 << _BITS)).astype(np.int32)

    def _color(self, class_id: int, strength: float = 1.0) -> Color:
        # A bag may have been recorded with another table of classes.
        color = self._colors[class_id] if class_id < len(self._colors) else _TEXT
        return tuple(round(strength * level) for level in color)


def _xyz(vector: Any) -> Array:
    return np.array([vector.x, vector.y, vector.z], np.float64)
