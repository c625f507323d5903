"""Where the seen surface of each thing is in one frame: all things at once, from their masks and the depth.

Things are measured in a frame of their own each: `across` to the right, `along` the horizontal ray from the camera to
the thing, and up. Across and up, a mask shows a thing's both edges; along the ray it shows the near one alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eomt_ros.space.pinhole import Pinhole

Box = tuple[int, int, int, int]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SAMPLES = 512  # pixels of a thing that are used, spread over it
FEWEST = 8  # pixels of a thing that has a place
DIRECTIONS = np.stack([np.cos(np.arange(8) * np.pi / 8), np.sin(np.arange(8) * np.pi / 8)], axis=1)
"""(8, 2): the horizontal directions in which a thing's width is known; the first is x, the fifth y."""

_ERODED = 30  # pixels that have to be left of a thing by erosion
_NEAREST = 0.25  # share of the points that the nearest surface has to have, or it is an occluder's rest
_SPARSE = 0.008  # share of the points that make no surface: flying pixels between two
_NEAR = 0.06  # share of the points before the near edge
_EDGE = 0.004  # share of the points beyond an edge that is seen against the background
_SPREAD = np.linspace(0, 1, SAMPLES)
_SIDES = ((-1, 0), (1, 0), (0, 1), (0, -1))  # left, right, down, up in the picture
_AT_EDGE = 0.15  # share of the extent in which an occluder hides the edge


def depth_noise(distance: Floats) -> Floats:
    """Standard deviation, in metres, of the depth of a surface so far away: it grows with the square, as stereo's."""
    return 0.01 + 0.002 * distance**2


@dataclass(frozen=True, eq=False)
class Sight:
    """The seen surfaces of N things, in a frame whose z is up. Metres."""

    places: npt.NDArray[np.intp]
    """(N,) places of the things in the list that was asked for; those without enough points are left out."""
    points: npt.NDArray[np.intp]
    """(N,) pixels that were used."""
    ray: Floats
    """(N, 2) unit vectors, horizontal, from the camera to the thing."""
    distance: Floats
    """(N,) from the camera."""
    pixel: Floats
    """(N,) size of a pixel at the thing."""
    near: Floats
    """(N,) along the ray from the camera to the near edge."""
    depth: Floats
    """(N,) from the near edge to the farthest that is seen."""
    middle: Floats
    """(N, 2) along and across the ray to the middle of the seen points, which swinging arms and legs hardly move."""
    across: Floats
    """(N, 2) the left and the right edge, across the ray from the camera."""
    up: Floats
    """(N, 2) the lower and the upper edge, from the camera."""
    flat_top: Flags
    """(N,) a flat top is seen to its far end, so that `depth` is the thing's."""
    low: Floats
    high: Floats
    """(N, 8) from the camera to the seen points that are farthest in each of `DIRECTIONS`."""
    cut: Flags
    """(N, 4) the left, right, lower, upper edge is outside the picture or behind something."""

    def surface(self) -> Floats:
        """(N, 2) horizontally from the camera to the middle of the seen points."""
        right = np.stack([self.ray[:, 1], -self.ray[:, 0]], axis=1)
        return self.ray * self.middle[:, :1] + right * self.middle[:, 1:]


def sight(
    panoptic: npt.NDArray[Any],
    ids: Sequence[int],
    boxes: Sequence[Box],
    depth: npt.NDArray[np.float32],
    pinhole: Pinhole,
    rotation: Floats,
) -> Sight:
    """Measure the things with `ids`.

    panoptic: (H, W) ids. boxes: x, y, width, height in pixels, around all pixels of each. depth: (H, W) m, NaN unknown.
    rotation: (3, 3) of the optical frame in one whose z is up.
    """
    places, masks = _masks(panoptic, ids, boxes, np.isfinite(depth))
    pixels = np.array([mask.samples for mask in masks], np.intp).reshape(-1, SAMPLES)
    points, eroded = np.array([mask.points for mask in masks], np.intp), np.array([mask.eroded for mask in masks], bool)
    z = depth.ravel()[pixels].astype(np.float64)
    rays = pinhole.rays().reshape(-1, 2)[pixels]
    kept = _nearest_surface(z)
    optical = np.concatenate([rays * z[..., None], z[..., None]], axis=2)
    seen = np.where(kept[..., None], optical @ rotation.T, np.nan)

    counts = np.count_nonzero(kept, axis=1)
    ray = np.stack([_at(np.sort(seen[..., axis], axis=1), counts, 0.5) for axis in range(2)], axis=1)
    ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-9)
    right = np.stack([ray[:, 1], -ray[:, 0]], axis=1)
    along = np.einsum("nsd,nd->ns", seen[..., :2], ray)
    across = np.sort(np.einsum("nsd,nd->ns", seen[..., :2], right), axis=1)
    up = np.sort(seen[..., 2], axis=1)
    ordered = np.sort(along, axis=1)
    distance = _at(ordered, counts, 0.5)
    pixel = np.median(z, axis=1) / pinhole.matrix[0, 0]
    pad = pixel * (0.5 + eroded)

    near = _at(ordered, counts, _NEAR)
    far = _at(ordered, counts, 1 - _EDGE)
    top, bottom = _at(up, counts, 1), _at(up, counts, 0)
    # A flat top is as high near the camera as anywhere; what is round, or seen from below, is not.
    front = np.where(along < (near + 0.25 * (far - near))[:, None], seen[..., 2], -np.inf).max(axis=1)
    flat_top = (top < -0.03) & (front > top - 0.08 * (top - bottom) - pixel) & (far - near > 0.05)
    projected = np.sort(seen[..., :2] @ DIRECTIONS.T, axis=1)
    facing = (ray @ DIRECTIONS.T) ** 2
    share = _EDGE + (_NEAR - _EDGE) * facing
    beside = pad[:, None] * (1 - facing)
    low = _at_each(projected, counts, share) - beside
    high = _at_each(projected, counts, 1 - share) + beside
    return Sight(
        places=places,
        points=points,
        ray=ray,
        distance=distance,
        pixel=pixel,
        near=near,
        depth=far - near,
        middle=np.stack([distance, _at(across, counts, 0.5)], axis=1),
        across=np.stack([_at(across, counts, _EDGE) - pad, _at(across, counts, 1 - _EDGE) + pad], axis=1),
        up=np.stack([bottom - pad, top + np.where(flat_top, 0.0, pad)], axis=1),
        flat_top=flat_top,
        low=low,
        high=high,
        cut=_turned(_cut(panoptic, depth, masks), rotation, right),
    )


@dataclass(frozen=True, eq=False)
class _Mask:
    """Flat indices of a thing's pixels in the picture."""

    samples: npt.NDArray[np.intp]
    """(SAMPLES,) with depth; anything where there are too few."""
    points: int
    """The number of those that the samples were taken from."""
    eroded: bool
    """The outline is not among them."""
    outline: npt.NDArray[np.intp]
    at_border: tuple[bool, bool, bool, bool]
    """The mask ends at the picture's left, right, lower, upper border."""


def _masks(
    panoptic: npt.NDArray[Any], ids: Sequence[int], boxes: Sequence[Box], known: Flags
) -> tuple[npt.NDArray[np.intp], list[_Mask]]:
    """Places in the list, and masks, of the things with enough points."""
    masks = [_mask(panoptic, number, box, known) for number, box in zip(ids, boxes, strict=True)]
    places = [place for place, mask in enumerate(masks) if mask.points >= FEWEST]
    return np.array(places, np.intp), [masks[place] for place in places]


def _mask(panoptic: npt.NDArray[Any], number: int, box: Box, known: Flags) -> _Mask:
    """Pixels of the thing with an id; a box at a time, because that much fits into the processor's cache."""
    height, width = panoptic.shape
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[0] + box[2], width), min(box[1] + box[3], height)
    mask = panoptic[top:bottom, left:right] == number
    inner = mask.copy()
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    ends = (left == 0, right == width, bottom == height, top == 0)
    lines = (np.s_[:, 0], np.s_[:, -1], np.s_[-1], np.s_[0])
    for at_end, line in zip(ends, lines, strict=True):
        if not at_end:
            inner[line] = False

    def flat(chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        rows, columns = np.divmod(chosen, right - left)
        return (rows + top) * width + columns + left

    there = known[top:bottom, left:right]
    pixels = np.flatnonzero(inner & there)
    eroded = len(pixels) >= _ERODED
    if not eroded:
        pixels = np.flatnonzero(mask & there)
    # The first and the last pixel are the uppermost and the lowest.
    samples = pixels[(_SPREAD * (len(pixels) - 1)).astype(np.intp)] if len(pixels) else np.zeros(SAMPLES, np.intp)
    at_border = tuple(at_end and bool(mask[line].any()) for at_end, line in zip(ends, lines, strict=True))
    outline = np.flatnonzero(mask & ~inner)
    return _Mask(flat(samples), len(pixels), eroded, flat(outline), at_border)  # type: ignore[arg-type]


def _nearest_surface(z: Floats) -> Flags:
    """(N, S) the points of the nearest of the surfaces, parted by gaps in depth, that is no small part of the thing."""
    order = np.argsort(z, axis=1)
    ordered = np.take_along_axis(z, order, axis=1)
    reach = max(1, round(_SPARSE * z.shape[1]))
    gap = ordered[:, reach:] - ordered[:, :-reach] > 0.15 + 0.01 * ordered[:, :-reach] ** 2
    # A gap begins where the points ahead are sparse, and ends where they are dense again.
    begins = np.zeros(z.shape, bool)
    begins[:, reach:] = gap
    label = np.cumsum(begins & ~np.pad(begins, ((0, 0), (1, 0)))[:, :-1], axis=1)
    number = int(label.max(initial=0)) + 1
    flat = label + number * np.arange(len(z))[:, None]
    sizes = np.bincount(flat.ravel(), minlength=number * len(z)).reshape(len(z), number)
    best = np.argmax(sizes >= np.minimum(_NEAREST * z.shape[1], sizes.max(axis=1, initial=0))[:, None], axis=1)
    kept = np.zeros(z.shape, bool)
    np.put_along_axis(kept, order, label == best[:, None], axis=1)
    return kept


def _at(ordered: Floats, counts: npt.NDArray[np.intp], share: float) -> Floats:
    """(N,) the value with `share` of the row's first `counts` values before it."""
    return ordered[np.arange(len(ordered)), np.round(share * (counts - 1)).astype(np.intp)]


def _at_each(ordered: Floats, counts: npt.NDArray[np.intp], share: Floats) -> Floats:
    """(N, K) the same of (N, S, K), each with a share of its own."""
    places = np.round(share * (counts[:, None] - 1)).astype(np.intp)
    return np.take_along_axis(ordered, places[:, None], axis=1)[:, 0]


def _cut(panoptic: npt.NDArray[Any], depth: npt.NDArray[np.float32], masks: Sequence[_Mask]) -> Flags:
    """(N, 4) the left, right, lower, upper edge in the picture is at its border, or behind something."""
    (height, width), count = panoptic.shape, len(masks)
    cut = np.array([mask.at_border for mask in masks], bool).reshape(count, 4)
    place = np.repeat(np.arange(count), [len(mask.outline) for mask in masks])
    y, x = np.divmod(np.concatenate([np.zeros(0, np.intp), *(mask.outline for mask in masks)]), width)
    own, own_depth = panoptic[y, x], depth[y, x]
    extents = np.array([_extents(*np.divmod(mask.outline, width)) for mask in masks]).reshape(count, 4)
    extents = np.where(cut, np.array([0, width - 1, height - 1, 0]), extents)
    margin = 0.1 + 0.03 * own_depth
    for side, (dx, dy) in enumerate(_SIDES):
        beside = panoptic[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
        # Two pixels away, where no pixel is of both.
        there = np.clip(y + 2 * dy, 0, height - 1), np.clip(x + 2 * dx, 0, width - 1)
        outside = (beside != own) & (panoptic[there] != own)
        with np.errstate(invalid="ignore"):
            behind = outside & (depth[there] < own_depth - margin)
        near = np.maximum(_AT_EDGE * np.abs(extents[:, side] - extents[:, side ^ 1]), 1.0)[place]
        at_edge = np.abs((x if dx else y) - extents[place, side]) <= near
        seen = np.bincount(place[outside & at_edge], minlength=count)
        cut[:, side] |= 2 * np.bincount(place[behind & at_edge], minlength=count) > np.maximum(seen, 1)
    return cut


def _extents(y: npt.NDArray[np.intp], x: npt.NDArray[np.intp]) -> tuple[float, float, float, float]:
    """The outermost columns and rows; 0 for what has no outline, because it fills the picture."""
    return (x.min(), x.max(), y.max(), y.min()) if len(x) else (0.0, 0.0, 0.0, 0.0)


def _turned(cut: Flags, rotation: Floats, right: Floats) -> Flags:
    """(N, 4) edges that are cut in the picture, as edges of the things: a camera may be mounted on its side."""
    sides = np.zeros((len(cut), 4, 3))
    sides[:, 0, :2], sides[:, 1, :2], sides[:, 2, 2], sides[:, 3, 2] = -right, right, -1.0, 1.0
    towards = np.argmax(sides @ (rotation[:, :2] @ np.array(_SIDES).T), axis=1)
    return (cut[:, None] & (towards[:, None] == np.arange(4)[:, None])).any(axis=2)
