"""Ground truth and prediction of one frame, in a form that does not depend on where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from eomt_ros.space.locator import LocatedObject

LabelImage = npt.NDArray[np.integer]
"""(H, W), unsigned: class ids, where the type's largest value (255, 65535) means unlabelled; or ids, 0 none."""
Vector = npt.NDArray[np.float64]
"""(3,) x, y, z."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The ground truth of one frame."""

    classes: LabelImage
    """(H, W) class ids; unlabelled pixels are not counted anywhere."""
    instances: LabelImage | None = None
    """(H, W) ids of things, which last the whole sequence, 0 for stuff; None where only classes are known."""
    listed_first: tuple[int, int] | None = None
    """Class and id of the segment that a data set's list of the video names first; None where there is no list."""
    is_exhaustive: bool = False
    """True if unlabelled pixels are known to be of no class: what is predicted there is wrong, not unjudged."""
    is_still: bool = False
    """True of a picture that does not follow the one before: no window of frames has it."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of a model for one frame."""

    classes: LabelImage
    """(H, W) class ids."""
    segments: LabelImage | None = None
    """(H, W) ids of segments, of things and perhaps of stuff, 0 none; None in the semantic task."""
    epoch: int = 0
    """Ids of different epochs are different ids."""


@dataclass(frozen=True, eq=False)
class TrueObject:
    """The box of a thing of the ground truth, its edges along the axes of a frame that does not move."""

    position: Vector
    """Its centre, in metres."""
    size: Vector
    """Its edges, in metres."""
    velocity: Vector | None
    """Of its centre, in metres per second; None where it is not known."""


@dataclass(frozen=True, eq=False)
class ObjectsInMetres:
    """The things of one frame, true and predicted, in one frame that does not move."""

    truth: Mapping[int, TrueObject]
    """By the ids in the ground truth's image."""
    located: Sequence[LocatedObject]
    camera: Vector
    """Position of the camera, in metres."""
