"""Puts a MuJoCo model together from coloured shapes, and remembers what each shape is part of."""

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from demo.textures import Picture

Vector = Sequence[float] | NDArray[np.float64]

BOX = mujoco.mjtGeom.mjGEOM_BOX
SPHERE = mujoco.mjtGeom.mjGEOM_SPHERE
CAPSULE = mujoco.mjtGeom.mjGEOM_CAPSULE
CYLINDER = mujoco.mjtGeom.mjGEOM_CYLINDER
ELLIPSOID = mujoco.mjtGeom.mjGEOM_ELLIPSOID
PLANE = mujoco.mjtGeom.mjGEOM_PLANE
MESH = mujoco.mjtGeom.mjGEOM_MESH

CAMERA = "camera"
FIELD_OF_VIEW = 50.0
GRAY = (0.8, 0.8, 0.8)
SEAM = 0.02


class ModelBuilder:
    """A MuJoCo specification under construction.

    Shapes go to the body `body`, places relative to it, and belong to `label`: class id and instance id.
    """

    def __init__(
        self, rng: np.random.Generator, width: int, height: int, fine: bool, patch: float = 1.0, face_parts: int = 1
    ) -> None:
        """MuJoCo lights corners and blends between them: `patch` m apart on planes, on boxes at 1 / `face_parts`."""
        self.rng = rng
        self.spec = spec = mujoco.MjSpec()
        self.body: mujoco.MjsBody = spec.worldbody
        self.label = (0, 0)
        self._labels: dict[str, tuple[int, int]] = {}
        spec.stat.extent, spec.stat.center = 10.0, [0.0, 0.0, 0.0]
        spec.visual.map.znear, spec.visual.map.zfar = 0.005, 4.0
        spec.visual.map.shadowclip = 1.0
        spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
        quality = spec.visual.quality
        quality.shadowsize, quality.offsamples = (2048, 4) if fine else (512, 0)
        quality.numslices, quality.numstacks, quality.numquads = 16, 10, face_parts
        self._patch = patch
        camera = spec.worldbody.add_body(name=CAMERA, mocap=True).add_camera(name=CAMERA, fovy=FIELD_OF_VIEW)
        camera.quat = [0.5, 0.5, -0.5, -0.5]

    def compile(self) -> tuple[mujoco.MjModel, NDArray[np.int64]]:
        """The model and the labels `(ngeom, 2)` of its geoms."""
        model = self.spec.compile()
        return model, np.array([self._labels[model.geom(index).name] for index in range(model.ngeom)])

    def shape(
        self,
        kind: mujoco.mjtGeom,
        place: Vector,
        size: Vector,
        color: Vector = GRAY,
        *,
        material: str | None = None,
        mesh: str | None = None,
        emission: float = 0.0,
        shine: float = 0.0,
    ) -> mujoco.MjsGeom:
        """Add one shape of plain `color`, or of `material`; `size` as MuJoCo wants it for the kind, none for a mesh."""
        name = f"geom{len(self._labels)}"
        self._labels[name] = self.label
        geom = self.body.add_geom(name=name, type=kind, pos=list(place), contype=0, conaffinity=0)
        if mesh is None:
            geom.size = [*size, 0.0, 0.0][:3]
        else:
            geom.meshname = mesh
        if material is None:
            material = f"material{len(self._labels)}"
            self.spec.add_material(name=material, rgba=[*color, 1.0], emission=emission, specular=shine, shininess=0.6)
        geom.material = material
        return geom

    def plane(
        self,
        centre: Vector,
        right: Vector,
        up: Vector,
        half: Vector,
        color: Vector = GRAY,
        *,
        material: str | None = None,
    ) -> None:
        """Add a rectangle seen from where `right` and `up` are so; it casts no shadow.

        It reaches `SEAM` further on all sides, so that no pixel falls between two that meet in a corner.
        """
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, np.stack([right, up, np.cross(right, up)], axis=1).astype(float).ravel())
        geom = self.shape(PLANE, centre, (half[0] + SEAM, half[1] + SEAM, self._patch), color, material=material)
        geom.quat = quat
        geom.castshadow = False

    def capsule(self, start: Vector, end: Vector, radius: float, color: Vector) -> None:
        """Add a capsule between two points that lie above or beside each other (along y)."""
        along = np.subtract(end, start)
        geom = self.shape(CAPSULE, np.add(start, end) / 2, (radius, float(np.linalg.norm(along)) / 2), color)
        if abs(along[1]) > abs(along[2]):
            geom.quat = [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]

    def frustum(self, low: float, high: float, bottom: float, top: float, color: Vector) -> None:
        """Add a cut cone between two heights, with the radii at its bottom and top."""
        count = 18
        name = f"frustum{len(self._labels)}"
        mesh = self.spec.add_mesh(name=name)
        angles = np.arange(count) * 2 * np.pi / count
        ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(count)], axis=1)
        lower, upper = np.array([0.0, 0.0, low]), np.array([0.0, 0.0, high])
        rings = [ring * bottom + lower, ring * top + upper, lower[None], upper[None]]
        now, after = np.arange(count), np.roll(np.arange(count), -1)
        below, above = np.full(count, 2 * count), np.full(count, 2 * count + 1)
        sides = [(now, after, after + count), (now, after + count, now + count)]
        caps = [(after, now, below), (now + count, after + count, above)]
        mesh.uservert = np.concatenate(rings).ravel()
        mesh.userface = np.concatenate([np.stack(corners, axis=1) for corners in sides + caps]).ravel()
        self.shape(MESH, (0, 0, 0), (), color, mesh=name)

    def limb(self, parent: mujoco.MjsBody, joint: str, place: Vector) -> mujoco.MjsBody:
        """Hang a new `body` on a hinge that swings what is below it forward (along x) for positive angles."""
        self.body = parent.add_body(name=joint, pos=list(place))
        self.body.add_joint(name=joint, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, -1, 0])
        return self.body

    def surface(self, picture: Picture, *, repeat: tuple[float, float] = (1.0, 1.0), shine: float = 0.0) -> str:
        """Add a material from a picture, `(n, n, 3)` for planes or `(6n, n, 3)` for a cube; returns its name."""
        name = f"surface{len(self.spec.textures)}"
        height, width = picture.shape[:2]
        kind = mujoco.mjtTexture.mjTEXTURE_2D if height == width else mujoco.mjtTexture.mjTEXTURE_CUBE
        self.spec.add_texture(name=name, type=kind, height=height, width=width, nchannel=3).data = picture.tobytes()
        material = self.spec.add_material(name=name, texrepeat=list(repeat), specular=shine, shininess=0.6)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        return name
