"""A small simulated robot world: what a robot's camera sees, with the truth about every pixel.

MuJoCo draws it without a screen (`MUJOCO_GL=osmesa` unless the environment says otherwise; Debian's package is
`libosmesa6`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

try:
    import mujoco
except (ImportError, AttributeError) as error:  # PyOpenGL has an AttributeError for an OSMesa that is not there.
    raise ImportError(
        "the demo world needs MuJoCo and a renderer without a screen: pip install mujoco PyOpenGL; "
        f"apt install libosmesa6 ({error})"
    ) from error

from demo.builder import CAMERA, FIELD_OF_VIEW
from demo.layout import BALL, make_layout
from demo.motion import Motion, State
from demo.scene import build_scene
from demo.sites import SITES
from demo.truth import WHOLE, Shapes, ThingInView


@dataclass(frozen=True)
class Frame:
    """One picture and its truth.

    `stamp`: seconds from the start. `image (H, W, 3) uint8` RGB. `classes (H, W) uint8`: class ids, every pixel
    has one. `instances (H, W) uint16`: ids of things that last the whole world, 0 where there is none. `depth (H, W)
    float32`: metres along the optical axis, None where not asked for. `position (3,)` in metres and `orientation (4,)`
    xyzw: the camera's pose in the odom frame, its own axes x forward, y left, z up. `objects`: the things in view, by
    their ids, in the odom frame.
    """

    stamp: float
    image: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    depth: NDArray[np.float32] | None
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    objects: tuple[ThingInView, ...]


class World:
    """The world of one seed, seen in pictures of `width` x `height` pixels; leaving it as a context frees the renderer.

    `fine` smooths edges and sharpens shadows, at about twice the cost. `site`: one of `demo.SITES`. `extra`: one of
    `demo.EXTRA_CLASSES`, which stands about besides all that is there without it.
    """

    def __init__(
        self,
        seed: int,
        width: int = 424,
        height: int = 240,
        *,
        fine: bool = False,
        site: str = "day",
        extra: str | None = None,
    ) -> None:
        layout_rng, motion_rng, look_rng, extra_rng = (np.random.default_rng([seed, part]) for part in range(4))
        self.layout = make_layout(layout_rng, None if extra is None else extra_rng)
        self._seed = seed
        self._site = SITES[site]
        self.motion = Motion(self.layout, motion_rng)
        self._height_over_floor = look_rng.uniform(0.7, 1.0)
        self._pitch = np.radians(look_rng.uniform(0.0, 5.0))
        self._scene = build_scene(self.layout, look_rng, width, height, fine, self._site)
        self._data = mujoco.MjData(self._scene.model)
        self._shapes = Shapes(self._scene.model, self._data, self._scene.instances[:-1])
        self._renderer = mujoco.Renderer(self._scene.model, height, width, max_geom=self._scene.model.ngeom + 50)
        focal = height / 2 / np.tan(np.radians(FIELD_OF_VIEW) / 2)
        self.camera_matrix = np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])

    def __enter__(self) -> "World":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._renderer.close()

    def frames(
        self, seconds: float, rate: float = 10.0, *, start: float = 0.0, depth: bool = True, degrees: int = 0
    ) -> Iterator[Frame]:
        """The frames of `seconds` s at `rate` Hz from time `start` on; the same time always gives the same frame.

        degrees: where the camera looks, to the left of ahead. Those of several cameras can be taken in turns.
        """
        if seconds < 0 or rate <= 0 or start < 0:
            raise ValueError(f"seconds and start must not be negative, rate above 0: got {seconds=}, {rate=}, {start=}")
        return (self._frame(start + number / rate, depth, degrees) for number in range(round(seconds * rate)))

    def _frame(self, stamp: float, with_depth: bool, degrees: int) -> Frame:
        position, orientation = self._pose(self.motion.at(stamp), np.radians(degrees))
        mujoco.mj_kinematics(self._scene.model, self._data)
        mujoco.mj_camlight(self._scene.model, self._data)
        renderer = self._renderer
        renderer.update_scene(self._data, CAMERA)
        # A 0 at the end makes no other generator.
        look_rng = np.random.default_rng([self._seed, 4, round(stamp * 1e6), degrees % 360])
        image = self._site.develop(renderer.render(), look_rng)
        renderer.enable_segmentation_rendering()
        geoms = renderer.render()[..., 0]
        renderer.disable_segmentation_rendering()
        depth = None
        if with_depth:
            renderer.enable_depth_rendering()
            depth = renderer.render()
            renderer.disable_depth_rendering()
        classes, instances = self._scene.classes[geoms], self._scene.instances[geoms]
        objects = tuple(self._objects(stamp, instances))
        return Frame(stamp, image, classes, instances, depth, position, orientation, objects)

    def _objects(self, stamp: float, instances: NDArray[np.uint16]) -> Iterator[ThingInView]:
        """The things in a picture of what is now in the scene."""
        optical = np.diag([1.0, -1.0, -1.0]) @ self._data.cam_xmat[0].reshape(3, 3).T  # OpenGL looks along -z
        projection = self.camera_matrix @ optical @ np.hstack([np.eye(3), -self._data.cam_xpos[0][:, None]])
        velocities = self.motion.velocities(stamp)
        border = np.concatenate([instances[[0, -1]].ravel(), instances[:, [0, -1]].ravel()])
        for number, points in zip(*np.unique(instances[instances > 0], return_counts=True), strict=True):
            low, high = self._shapes.box(number)
            partial = number in border or points < WHOLE * self._shapes.outline(number, projection, *instances.shape)
            yield ThingInView(
                id=int(number),
                class_id=self.layout.things[number - 1].class_id,
                position=(low + high) / 2,
                size=high - low,
                velocity=np.append(velocities[number - 1], 0.0),
                partial=bool(partial),
                points=int(points),
            )

    def _pose(self, state: State, turn: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Put everything where `state` says, the camera turned to the left by `turn` radians; returns its position and
        orientation (xyzw).
        """
        data = self._data
        x, y, yaw = state.robot + np.array([0.0, 0.0, turn])
        position = np.array([x, y, self._height_over_floor])
        half_yaw, half_pitch = yaw / 2, self._pitch / 2
        cy, sy, cp, sp = np.cos(half_yaw), np.sin(half_yaw), np.cos(half_pitch), np.sin(half_pitch)
        quat = np.array([cy * cp, -sy * sp, cy * sp, sy * cp])
        data.mocap_pos[0], data.mocap_quat[0] = position, quat
        for number, thing in enumerate(self.layout.things):
            data.mocap_pos[number + 1] = [*state.positions[number], thing.elevation]
            half = state.headings[number] / 2
            data.mocap_quat[number + 1] = [np.cos(half), 0.0, 0.0, np.sin(half)]
            if thing.class_id == BALL:
                data.mocap_pos[number + 1, 2] += thing.radius
                mujoco.mju_mat2Quat(data.mocap_quat[number + 1], state.rolls[number].ravel())
        for number, places in self._scene.joints.items():
            swing = state.strides[number] * np.sin(state.phases[number])
            lift = state.strides[number] * np.cos(state.phases[number])
            data.qpos[places] = [
                0.5 * swing,
                -0.08 - 0.75 * max(0.0, lift),
                -0.5 * swing,
                -0.08 - 0.75 * max(0.0, -lift),
                -0.45 * swing,
                0.25 + 0.15 * abs(swing),
                0.45 * swing,
                0.25 + 0.15 * abs(swing),
            ]
        return position, quat[[1, 2, 3, 0]]
