"""A layout as a MuJoCo model that knows the class and the instance of each of its parts."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from demo.builder import ModelBuilder
from demo.layout import BALL, BARREL, BOX, CONE, PALLET, PERSON, Layout
from demo.pallet import add_pallet
from demo.room import WALL, add_room, add_shelves
from demo.sites import Site
from demo.things import JOINTS, add_ball, add_barrel, add_box, add_cone, add_person


@dataclass(frozen=True)
class Scene:
    """A compiled model and the meaning of its parts.

    `classes (ngeom + 1,) uint8` and `instances (ngeom + 1,) uint16` by geom id; the last entry, which -1 finds, is for
    pixels where nothing was drawn, and says wall. The layout's thing `i` has instance `i + 1` and mocap body
    `i + 1`; the camera has mocap body 0. `joints[i]` are the places of a person's `JOINTS` in qpos.
    """

    model: mujoco.MjModel
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    joints: dict[int, NDArray[np.int64]]


def build_scene(layout: Layout, rng: np.random.Generator, width: int, height: int, fine: bool, site: Site) -> Scene:
    """Compile the model of `layout` with looks drawn from `rng`; the size of the pictures and `fine` as in `World`."""
    builder = ModelBuilder(rng, width, height, fine, site.patch, site.face_parts)
    add_room(builder, layout, site)
    site.add_lights(builder, layout)
    add_shelves(builder, layout)
    draw = {BOX: add_box, BALL: add_ball, CONE: add_cone, BARREL: add_barrel, PALLET: add_pallet}
    for number, thing in enumerate(layout.things):
        builder.label = (thing.class_id, number + 1)
        builder.body = builder.spec.worldbody.add_body(name=f"thing{number}", mocap=True)
        if thing.class_id == PERSON:
            add_person(builder, thing, number)
        else:
            draw[thing.class_id](builder, thing)
    model, labels = builder.compile()
    classes, instances = np.append(labels, [(WALL, 0)], axis=0).T
    joints = {
        number: np.array([model.joint(f"{joint}{number}").qposadr[0] for joint in JOINTS])
        for number, thing in enumerate(layout.things)
        if thing.class_id == PERSON
    }
    return Scene(model, classes.astype(np.uint8), instances.astype(np.uint16), joints)
