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

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SAMPLES = 512  # pixels of a thing that are used, spread over it
FEWEST = 8  # pixels of a thing that has a place
DIRECTIONS = np.stack([np.cos(np.arange(8) * np.pi / 8), np.sin(np.arange(8) * np.pi / 8)], axis=1)
"""(8, 2): the horizontal directions in which a thing's width is known; the first is x, the fifth y."""

_ERODED = 30  # pixels that have to be left of a thing by erosion
_NEAREST = 0.25  # share of the points that the nearest surface has to have, or it is an occluder's rest
_SPARSE = 0.015  # share of the points that make no surface: flying pixels between two
_NEAR = 0.06  # share of the points before the near edge
_EDGE = 0.004  # share of the points beyond an edge that is seen against the background
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
    hidden: Floats
    """(N,) share of the outline that is so."""


def sight(
    panoptic: npt.NDArray[Any],
    ids: Sequence[int],
    depth: npt.NDArray[np.float32],
    pinhole: Pinhole,
    rotation: Floats,
) -> Sight:
    """Measure the things with `ids` (N,).

    panoptic: (H, W) ids. depth: (H, W) m, NaN unknown. rotation: (3, 3) of the optical frame in one whose z is up.
    """
    slots = _slots(panoptic, ids)
    inner = _inner(slots)
    pixels, points, eroded = _sampled(slots, inner, depth, len(ids))
    rows = np.flatnonzero(points >= FEWEST)
    pixels, points, eroded = pixels[rows], points[rows], eroded[rows]
    z = depth.ravel()[pixels].astype(np.float64)
    rays = pinhole.rays().reshape(-1, 2)[pixels]
    kept = _nearest_surface(z)
    optical = np.concatenate([rays * z[..., None], z[..., None]], axis=2)
    seen = np.where(kept[..., None], optical @ rotation.T, np.nan)

    counts = np.count_nonzero(kept, axis=1)
    ray = np.nanmedian(seen[..., :2], axis=1)
    ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-9)
    right = np.stack([ray[:, 1], -ray[:, 0]], axis=1)
    along = np.einsum("nsd,nd->ns", seen[..., :2], ray)
    across = np.sort(np.einsum("nsd,nd->ns", seen[..., :2], right), axis=1)
    up = np.sort(seen[..., 2], axis=1)
    ordered = np.sort(along, axis=1)
    distance = np.nanmedian(along, axis=1)
    pixel = np.nanmedian(np.where(kept, z, np.nan), axis=1) / pinhole.matrix[0, 0]
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
    cut, hidden = _cut(slots, inner, depth, rows, len(ids), rotation, right)
    return Sight(
        places=rows,
        points=points,
        ray=ray,
        distance=distance,
        pixel=pixel,
        near=near,
        depth=far - near,
        across=np.stack([_at(across, counts, _EDGE) - pad, _at(across, counts, 1 - _EDGE) + pad], axis=1),
        up=np.stack([bottom - pad, top + np.where(flat_top, 0.0, pad)], axis=1),
        flat_top=flat_top,
        low=low,
        high=high,
        cut=cut,
        hidden=hidden,
    )


def _slots(panoptic: npt.NDArray[Any], ids: Sequence[int]) -> npt.NDArray[np.int16]:
    """(H, W) the place of each pixel's id in `ids`, -1 where it is none of them."""
    table = np.full(np.iinfo(panoptic.dtype).max + 1, -1, np.int16)
    table[list(ids)] = np.arange(len(ids))
    return table[panoptic]


def _inner(slots: npt.NDArray[np.int16]) -> Flags:
    """(H, W) the pixel's neighbours are of the same thing; the picture's border is no neighbour."""
    inner = slots >= 0
    beside, below = slots[:, 1:] == slots[:, :-1], slots[1:] == slots[:-1]
    inner[:, 1:] &= beside
    inner[:, :-1] &= beside
    inner[1:] &= below
    inner[:-1] &= below
    return inner


def _sampled(
    slots: npt.NDArray[np.int16], inner: Flags, depth: npt.NDArray[np.float32], count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Flags]:
    """(count, SAMPLES) flat indices of pixels with depth, (count,) numbers of such pixels, (count,) if eroded."""
    known = np.isfinite(depth)
    known &= slots >= 0
    eroded_pixels = np.flatnonzero(known & inner)
    numbers = np.bincount(slots.ravel()[eroded_pixels], minlength=count)
    eroded = numbers >= _ERODED
    pixels = eroded_pixels
    if not eroded.all():
        pixels = np.flatnonzero(known & (inner | ~eroded[slots]))
        numbers = np.bincount(slots.ravel()[pixels], minlength=count)
    order = pixels[np.argsort(slots.ravel()[pixels], kind="stable")]
    order = np.append(order, 0)
    first = np.cumsum(numbers) - numbers
    places = first[:, None] + (np.linspace(0, 1, SAMPLES) * (numbers[:, None] - 1)).astype(np.intp)
    return order[places], numbers, eroded


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


def _cut(
    slots: npt.NDArray[np.int16],
    inner: Flags,
    depth: npt.NDArray[np.float32],
    rows: npt.NDArray[np.intp],
    count: int,
    rotation: Floats,
    right: Floats,
) -> tuple[Flags, Floats]:
    """See `Sight.cut` and `Sight.hidden`."""
    height, width = slots.shape
    y, x = np.nonzero((slots >= 0) & ~inner)
    slot = slots[y, x]
    flat_depth = depth[y, x]
    extents = np.zeros((count, 4))
    border = np.zeros((count, 4), np.intp)
    for side, edge in enumerate((slots[:, 0], slots[:, -1], slots[-1], slots[0])):
        border[:, side] = np.bincount(edge[edge >= 0], minlength=count)
    order = np.argsort(slot, kind="stable")
    y, x, slot, flat_depth = y[order], x[order], slot[order], flat_depth[order]
    numbers = np.bincount(slot, minlength=count)
    present = numbers > 0
    first = (np.cumsum(numbers) - numbers)[present]
    if len(first):
        for side, (values, best) in enumerate(((x, np.minimum), (x, np.maximum), (y, np.maximum), (y, np.minimum))):
            extents[present, side] = best.reduceat(values, first)
    extents[border[:, 0] > 0, 0], extents[border[:, 1] > 0, 1] = 0, width - 1
    extents[border[:, 2] > 0, 2], extents[border[:, 3] > 0, 3] = height - 1, 0
    margin = 0.1 + 0.03 * flat_depth
    cut = np.zeros((count, 4), bool)
    hidden = border.sum(axis=1).astype(np.float64)
    outline = numbers + border.sum(axis=1)
    for side, (dx, dy) in enumerate(((-1, 0), (1, 0), (0, 1), (0, -1))):
        there_x, there_y = np.clip(x + 2 * dx, 0, width - 1), np.clip(y + 2 * dy, 0, height - 1)
        outside = slots[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)] != slot
        outside &= slots[there_y, there_x] != slot
        with np.errstate(invalid="ignore"):
            behind = outside & (depth[there_y, there_x] < flat_depth - margin)
        value, other = (x, side ^ 1) if dx else (y, side ^ 1)
        span = np.abs(extents[:, side] - extents[:, other])
        at_edge = np.abs(value - extents[slot, side]) <= np.maximum(_AT_EDGE * span, 1.0)[slot]
        at = np.bincount(slot[outside & at_edge], minlength=count)
        lost = np.bincount(slot[behind & at_edge], minlength=count)
        cut[:, side] = (border[:, side] > 0) | (2 * lost > np.maximum(at, 1))
        hidden += np.bincount(slot[behind], minlength=count)
    return cut[rows], (hidden / np.maximum(outline, 1))[rows]
