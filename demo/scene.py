"""A layout as a MuJoCo model: what each class looks like."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from demo import CLASS_NAMES, textures
from demo.layout import BALL, BARREL, BOX, CONE, Layout, Shelf, Thing

FLOOR, WALL, SHELF = (CLASS_NAMES.index(name) for name in ("floor", "wall", "shelf"))
CAMERA = "camera"
JOINTS = ("left_hip", "left_knee", "right_hip", "right_knee", "left_shoulder", "left_elbow", "right_shoulder", "right_elbow")
FIELD_OF_VIEW = 50.0

_BOX, _SPHERE, _CAPSULE, _CYLINDER, _PLANE, _ELLIPSOID, _MESH = (
    getattr(mujoco.mjtGeom, f"mjGEOM_{name}") for name in ("BOX", "SPHERE", "CAPSULE", "CYLINDER", "PLANE", "ELLIPSOID", "MESH")
)


@dataclass(frozen=True)
class Scene:
    """A compiled model and what its parts are.

    `classes (ngeom,) uint8` and `instances (ngeom,) uint16` by geom id; thing number `i` of the layout has instance `i + 1` and moves with
    mocap body `i`. `joints[i]` are the places of a person's `JOINTS` in qpos; other things have none.
    """

    model: mujoco.MjModel
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    joints: dict[int, NDArray[np.int64]]


def build_scene(layout: Layout, rng: np.random.Generator, width: int, height: int, fine: bool) -> Scene:
    """Compile the model of `layout`, with looks drawn from `rng`, for pictures of `width` x `height` pixels; `fine` as in `World`."""
    builder = _Builder(rng, width, height, fine)
    builder.room(layout)
    builder.lights(layout)
    steel = textures.shade(rng.choice([0.6, 0.08, 0.38, 0.0]), rng.choice([0.1, 0.75]), rng.uniform(0.35, 0.7))
    plank = textures.shade(rng.uniform(0.06, 0.1), rng.uniform(0.0, 0.3), rng.uniform(0.45, 0.7))
    for shelf in layout.shelves:
        builder.shelf(shelf, steel, plank)
    for number, thing in enumerate(layout.things):
        builder.thing(number, thing)
    return builder.compile(layout)


class _Builder:
    def __init__(self, rng: np.random.Generator, width: int, height: int, fine: bool) -> None:
        self._rng = rng
        self._spec = spec = mujoco.MjSpec()
        self._labels: dict[str, tuple[int, int]] = {}
        self._label = (WALL, 0)
        self._body = spec.worldbody
        spec.stat.extent, spec.stat.center = 10.0, [0.0, 0.0, 0.0]
        spec.visual.map.znear, spec.visual.map.zfar = 0.005, 4.0
        spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
        quality = spec.visual.quality
        quality.shadowsize, quality.offsamples = (2048, 4) if fine else (512, 0)
        quality.numslices, quality.numstacks, quality.numquads = 16, 10, 1
        spec.visual.map.shadowclip = 1.0
        camera = spec.worldbody.add_body(name=CAMERA, mocap=True).add_camera(name=CAMERA, fovy=FIELD_OF_VIEW)
        camera.quat = [0.5, 0.5, -0.5, -0.5]

    def compile(self, layout: Layout) -> Scene:
        model = self._spec.compile()
        labels = np.array([self._labels[model.geom(index).name] for index in range(model.ngeom)])
        joints = {
            number: np.array([model.joint(f"{joint}{number}").qposadr[0] for joint in JOINTS])
            for number, thing in enumerate(layout.things)
            if CLASS_NAMES[thing.class_id] == "person"
        }
        return Scene(model, labels[:, 0].astype(np.uint8), labels[:, 1].astype(np.uint16), joints)

    def room(self, layout: Layout) -> None:
        rng, length, width, height = self._rng, layout.length, layout.width, layout.height
        middle = np.array([length / 2, width / 2, 0.0])
        floor = self._material(textures.floor(rng), repeat=(length / 2.4, width / 2.4), cube=False)
        wall = textures.wall(rng)
        self._label = (FLOOR, 0)
        self._plane(middle, (1, 0, 0), (0, 1, 0), (length / 2, width / 2), floor)
        if rng.random() < 0.6:
            paint = textures.shade(rng.choice([0.14, 0.33, 0.0]), rng.choice([0.0, 0.75]), rng.uniform(0.7, 0.9))
            for offset in rng.uniform(0.2, 0.8) * width + np.array([-0.9, 0.9]):
                self._geom(_BOX, (length / 2, np.clip(offset, 0.1, width - 0.1), 0.0), (length / 2, 0.04, 0.002), paint)
        self._label = (WALL, 0)
        gray = rng.uniform(0.6, 0.95)
        self._plane(middle + [0, 0, height], (1, 0, 0), (0, -1, 0), (length / 2, width / 2), None, (gray, gray, gray * 0.98))
        for normal, half, offset in (((1, 0, 0), width / 2, length / 2), ((0, 1, 0), length / 2, width / 2)):
            material = self._material(wall, repeat=(2 * half / height, 1.0), cube=False)
            for sign in (1, -1):
                inward = sign * np.array(normal, dtype=float)
                centre = middle - inward * offset + [0, 0, height / 2]
                right = np.cross((0, 0, 1), inward)
                self._plane(centre, right, (0, 0, 1), (half, height / 2), material)
                self._fixture(centre - [0, 0, height / 2] + rng.uniform(-0.75, 0.75) * half * right, right, inward)
        for x in np.arange(1.5, length - 0.5, 3.0):
            for y in np.arange(1.8, width - 0.5, 3.2):
                self._geom(_BOX, (x, y, height - 0.03), (0.6, 0.12, 0.02), (1.0, 1.0, 0.97), emission=1.0)

    def _fixture(self, foot: NDArray[np.float64], right: NDArray[np.float64], inward: NDArray[np.float64]) -> None:
        """A door, a notice board, a cable duct, or nothing, on the wall above `foot`."""
        rng = self._rng
        half_x, half_y = np.abs(right), np.abs(inward)
        kind = rng.integers(4)
        if kind == 0:
            tone = textures.shade(rng.random(), rng.uniform(0.05, 0.45), rng.uniform(0.35, 0.75))
            self._geom(_BOX, foot + [0, 0, 1.05], half_x * 0.5 + half_y * 0.03 + [0, 0, 1.05], tone * 0.7)
            self._geom(_BOX, foot + [0, 0, 1.02], half_x * 0.45 + half_y * 0.04 + [0, 0, 1.0], tone)
            self._geom(_BOX, foot + inward * 0.05 + right * 0.37 + [0, 0, 1.0], half_x * 0.06 + half_y * 0.02 + [0, 0, 0.015], (0.8, 0.8, 0.8))
        elif kind == 1:
            self._geom(_BOX, foot + [0, 0, 1.6], half_x * 0.5 + half_y * 0.02 + [0, 0, 0.35], textures.shade(rng.random(), 0.3, 0.8))
            for place in (-0.25, 0.1, 0.3):
                sheet = foot + right * place + [0, 0, rng.uniform(1.5, 1.7)]
                self._geom(_BOX, sheet, half_x * 0.09 + half_y * 0.025 + [0, 0, 0.13], (0.95, 0.95, 0.92))
        elif kind == 2:
            self._geom(_BOX, foot + [0, 0, 2.2], half_x * 1.2 + half_y * 0.05 + [0, 0, 0.06], (0.7, 0.71, 0.72))

    def lights(self, layout: Layout) -> None:
        rng = self._rng
        tint = 1.0 + rng.uniform(-0.12, 0.12) * np.array([1.0, 0.1, -1.0])
        exposure, ambient = rng.uniform(0.85, 1.15), rng.uniform(0.4, 0.6)
        headlight = self._spec.visual.headlight
        headlight.ambient = exposure * ambient * tint
        headlight.diffuse = 0.15 * exposure * tint
        headlight.specular = [0.0, 0.0, 0.0]
        share = rng.uniform(0.35, 0.65)
        for number, strength in enumerate((share, 1.0 - share)):
            light = self._spec.worldbody.add_light(castshadow=number == 0)
            light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
            light.pos = [layout.length / 2, layout.width / 2, layout.height - 0.1]
            light.dir = [*rng.uniform(-0.55, 0.55, 2), -1.0]
            light.ambient = [0.0, 0.0, 0.0]
            light.diffuse = exposure * (1.0 - ambient) * 1.25 * strength * tint
            light.specular = [0.15, 0.15, 0.15]

    def shelf(self, shelf: Shelf, steel: textures.Color, plank: textures.Color) -> None:
        rng = self._rng
        self._label = (SHELF, 0)
        for x in (-1, 1):
            for y in (-1, 1):
                place = (shelf.x + x * (shelf.half_x - 0.025), shelf.y + y * (shelf.half_y - 0.025), shelf.height / 2)
                self._geom(_BOX, place, (0.03, 0.03, shelf.height / 2), steel)
        levels = int(np.clip(round(shelf.height / 0.5), 3, 5))
        along_x = shelf.half_x > shelf.half_y
        half_long, half_deep = (shelf.half_x, shelf.half_y) if along_x else (shelf.half_y, shelf.half_x)
        # a sheet in the middle: what one sees between the goods is shelf too, not a wall that shines through in slivers
        sheet = (shelf.half_x, 0.01) if along_x else (0.01, shelf.half_y)
        tone = textures.shade(rng.uniform(0.5, 0.62), rng.uniform(0.0, 0.1), rng.uniform(0.25, 0.5))
        self._geom(_BOX, (shelf.x, shelf.y, shelf.height / 2 + 0.04), (*sheet, shelf.height / 2 - 0.06), tone)
        for level in range(levels):
            z = 0.12 + level * (shelf.height - 0.16) / (levels - 1)
            self._geom(_BOX, (shelf.x, shelf.y, z), (shelf.half_x, shelf.half_y, 0.02), plank)
            if level == levels - 1:
                continue
            room = (shelf.height - 0.16) / (levels - 1) - 0.06
            place = -half_long + 0.06
            while place < half_long - 0.2:
                long, tall = rng.uniform(0.18, 0.42), room * rng.uniform(0.45, 0.95)
                long = min(long, half_long - 0.05 - place)
                if rng.random() < 0.85:
                    tone = textures.shade(rng.uniform(0.5, 0.62), rng.uniform(0.0, 0.14), rng.uniform(0.3, 0.85))
                    along, deep = place + long / 2, rng.uniform(0.6, 0.9) * half_deep
                    offset, half = ((along, 0.0), (long / 2 - 0.012, deep)) if along_x else ((0.0, along), (deep, long / 2 - 0.012))
                    self._geom(_BOX, (shelf.x + offset[0], shelf.y + offset[1], z + 0.02 + tall / 2), (*half, tall / 2), tone)
                place += long

    def thing(self, number: int, thing: Thing) -> None:
        self._label = (thing.class_id, number + 1)
        self._body = self._spec.worldbody.add_body(name=f"thing{number}", mocap=True)
        if thing.class_id == BOX:
            material = self._material(textures.cardboard(self._rng), cube=True)
            self._geom(_BOX, (0, 0, thing.size[2]), thing.size, material=material)
        elif thing.class_id == BALL:
            self._geom(_SPHERE, (0, 0, 0), thing.size, material=self._material(textures.ball(self._rng), cube=True, shine=0.4))
        elif thing.class_id == CONE:
            self._cone(thing)
        elif thing.class_id == BARREL:
            self._barrel(thing)
        else:
            self._person(number, thing)
        self._body = self._spec.worldbody

    def _cone(self, thing: Thing) -> None:
        tall, rng = 2 * thing.size[2], self._rng
        orange = textures.shade(rng.uniform(0.005, 0.06), rng.uniform(0.85, 1.0), rng.uniform(0.8, 1.0))
        dark = orange if rng.random() < 0.6 else (0.12, 0.12, 0.13)
        self._geom(_BOX, (0, 0, 0.02), (thing.size[0], thing.size[1], 0.02), dark)
        bands = (0.04, 0.42, 0.68, tall) if rng.random() < 0.6 else (0.04, 0.3, 0.5, 0.64, 0.82, tall)
        edges = [bands[0], *(tall * part for part in bands[1:-1]), tall]
        for band, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            bottom, top = (0.17 * tall * (1.06 - z / tall) for z in (low, high))
            self._frustum(low, high, bottom, top, orange if band % 2 == 0 else (0.95, 0.95, 0.95))

    def _frustum(self, low: float, high: float, bottom: float, top: float, color: textures.Color | tuple[float, ...]) -> None:
        name = f"frustum{len(self._labels)}"
        mesh = self._spec.add_mesh(name=name)
        angles = np.arange(18) * 2 * np.pi / 18
        ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(18)], axis=1)
        mesh.uservert = np.concatenate([ring * bottom + [0, 0, low], ring * top + [0, 0, high], [[0, 0, low], [0, 0, high]]]).ravel()
        now, after = np.arange(18), np.roll(np.arange(18), -1)
        sides = [(now, after, after + 18), (now, after + 18, now + 18), (after, now, np.full(18, 36)), (now + 18, after + 18, np.full(18, 37))]
        mesh.userface = np.concatenate([np.stack(side, axis=1) for side in sides]).ravel()
        self._geom(_MESH, (0, 0, 0), (0, 0, 0), color, mesh=name)

    def _barrel(self, thing: Thing) -> None:
        rng, radius, half = self._rng, thing.size[0], thing.size[2]
        color = textures.shade(rng.choice([0.6, 0.36, 0.0, 0.14]) + rng.uniform(-0.02, 0.02), rng.uniform(0.65, 0.95), rng.uniform(0.4, 0.8))
        self._geom(_CYLINDER, (0, 0, half), (radius, half - 0.015, 0), color, shine=0.5)
        ring = color * 0.6 if rng.random() < 0.5 else (0.75, 0.77, 0.8)
        for z in (0.02, 0.68 * half, 1.32 * half, 2 * half - 0.02):
            self._geom(_CYLINDER, (0, 0, z), (radius + 0.014, 0.02, 0), ring, shine=0.5)
        self._geom(_CYLINDER, (0, 0, 2 * half - 0.01), (radius - 0.03, 0.012, 0), color * 0.8)
        self._geom(_CYLINDER, (radius * 0.55, 0, 2 * half + 0.002), (0.04, 0.012, 0), (0.15, 0.15, 0.15))

    def _person(self, number: int, thing: Thing) -> None:
        rng, tall = self._rng, thing.size[2]
        skin = textures.shade(rng.uniform(0.05, 0.08), rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.95))
        hair = textures.shade(rng.uniform(0.04, 0.12), rng.uniform(0.1, 0.7), rng.choice([0.08, 0.2, 0.55, 0.75], p=[0.4, 0.35, 0.15, 0.1]))
        shirt = textures.shade(rng.random(), rng.uniform(0.2, 0.85), rng.uniform(0.35, 0.95))
        trousers = textures.shade(rng.choice([0.6, 0.08, 0.3]), rng.uniform(0.05, 0.5), rng.uniform(0.12, 0.45))
        sleeves = shirt if rng.random() < 0.6 else skin
        wide = rng.uniform(0.92, 1.12)
        body = self._body
        hips, shoulders = 0.5 * tall, 0.8 * tall
        self._capsule((0, -0.07, hips), (0, 0.07, hips), 0.105 * wide, trousers)
        self._geom(_ELLIPSOID, (0, 0, 0.645 * tall), (0.12 * wide, 0.165 * wide, 0.175 * tall), shirt)
        self._capsule((0, -0.13 * wide, shoulders - 0.04), (0, 0.13 * wide, shoulders - 0.04), 0.075, shirt)
        if rng.random() < 0.4:
            vest = textures.shade(rng.choice([0.17, 0.07]), 0.95, 1.0)
            self._geom(_ELLIPSOID, (0, 0, 0.66 * tall), (0.13 * wide, 0.174 * wide, 0.172 * tall), vest)
            for z in (0.58, 0.68):
                self._geom(_ELLIPSOID, (0, 0, z * tall), (0.132 * wide, 0.176 * wide, 0.025), (0.85, 0.86, 0.88))
        self._capsule((0, 0, 0.8 * tall), (0, 0, 0.88 * tall), 0.05, skin)
        self._geom(_ELLIPSOID, (0.01, 0, 0.925 * tall), (0.09, 0.078, 0.07 * tall), skin)
        if rng.random() < 0.3:
            helmet = textures.shade(rng.choice([0.14, 0.6, 0.0]), rng.choice([0.0, 0.9]), 0.95)
            self._geom(_ELLIPSOID, (-0.003, 0, 0.957 * tall), (0.108, 0.095, 0.048 * tall), helmet)
        else:
            self._geom(_ELLIPSOID, (-0.018, 0, 0.942 * tall), (0.092, 0.086, 0.06 * tall), hair)
        for side, name in ((1, "left"), (-1, "right")):
            thigh = self._limb(body, f"{name}_hip{number}", (0, side * 0.09 * wide, hips))
            self._capsule((0, 0, 0), (0, 0, -0.245 * tall), 0.075 * wide, trousers)
            self._limb(thigh, f"{name}_knee{number}", (0, 0, -0.245 * tall))
            self._capsule((0, 0, 0), (0, 0, -0.2 * tall), 0.055 * wide, trousers)
            self._geom(_ELLIPSOID, (0.05, 0, -0.255 * tall + 0.05), (0.13, 0.05, 0.05), trousers * 0.4)
            upper = self._limb(body, f"{name}_shoulder{number}", (0, side * 0.21 * wide, shoulders - 0.04))
            self._capsule((0, 0, 0), (0, 0, -0.165 * tall), 0.05, shirt)
            self._limb(upper, f"{name}_elbow{number}", (0, 0, -0.165 * tall))
            self._capsule((0, 0, 0), (0, 0, -0.12 * tall), 0.042, sleeves)
            self._geom(_SPHERE, (0, 0, -0.155 * tall), (0.05, 0, 0), skin)
        self._body = body

    def _limb(self, parent: mujoco.MjsBody, name: str, place: tuple[float, float, float]) -> mujoco.MjsBody:
        """Hang the next geoms on a new hinge that swings them forward for positive angles."""
        self._body = parent.add_body(name=name, pos=place)
        self._body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, -1, 0])
        return self._body

    def _capsule(self, start: tuple[float, ...], end: tuple[float, ...], radius: float, color: textures.Color) -> None:
        middle = (np.array(start) + np.array(end)) / 2
        along = np.array(end) - np.array(start)
        geom = self._geom(_CAPSULE, middle, (radius, float(np.linalg.norm(along)) / 2, 0), color)
        if abs(along[1]) > abs(along[2]):
            geom.quat = [np.sqrt(0.5), np.sqrt(0.5), 0, 0]

    def _plane(self, centre, right, up, half, material, color=(0.8, 0.8, 0.8)) -> None:  # type: ignore[no-untyped-def]
        right, up = np.array(right, dtype=float), np.array(up, dtype=float)
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, np.stack([right, up, np.cross(right, up)], axis=1).ravel())
        geom = self._geom(_PLANE, centre, (*half, 1.0), color, material=material)
        geom.quat = quat
        geom.castshadow = False

    def _geom(self, kind, place, size, color=(0.8, 0.8, 0.8), material=None, mesh=None, emission=0.0, shine=0.0):  # type: ignore[no-untyped-def]
        name = f"geom{len(self._labels)}"
        self._labels[name] = self._label
        geom = self._body.add_geom(name=name, type=kind, pos=list(place), contype=0, conaffinity=0)
        if mesh is None:
            geom.size = list(size)
        else:
            geom.meshname = mesh
        if material is None:
            material = f"material{len(self._labels)}"
            self._spec.add_material(name=material, rgba=[*color, 1.0], emission=emission, specular=shine, shininess=0.6)
        geom.material = material
        return geom

    def _material(self, picture: textures.Picture, *, cube: bool, repeat: tuple[float, float] = (1.0, 1.0), shine: float = 0.0) -> str:
        name = f"surface{len(self._spec.textures)}"
        kind = mujoco.mjtTexture.mjTEXTURE_CUBE if cube else mujoco.mjtTexture.mjTEXTURE_2D
        texture = self._spec.add_texture(name=name, type=kind, height=picture.shape[0], width=picture.shape[1], nchannel=3)
        texture.data = picture.tobytes()
        material = self._spec.add_material(name=name, texrepeat=list(repeat), specular=shine, shininess=0.6)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        return name
