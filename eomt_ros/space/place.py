"""Where the centres of things are, from what is seen of them in a frame and what is known of their sizes.

Across and up (see `measure`) two edges are measured, each with a variance: a small one where the edge is seen, a large
one where it is outside the picture or behind something. With the known extent, which has a variance too, both edges are
corrected by least squares, and the centre is between them. Along the ray the centre is half a known extent behind the
near edge. What is never seen whole stands on the same ground as the rest, and is as large as others of its class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eomt_ros.space.measure import DIRECTIONS, Flags, Floats, Sight, depth_noise
from eomt_ros.space.shape import Shapes

_LIKELY_DEPTH = 0.3  # standard deviation of a hidden extent, as a share of the likely one
_CUT, _SMALL = 2.0, 0.4  # that of an extent that is cut, as a share of it, or of so many metres where less is seen
_SLANT = 0.35  # of the width that is not seen, by which it may be nearer than what is
_TALL = 1.5  # times its height; deeper is nothing that is seen whole
_CUT_NOISE = 4.0  # times the variance of a centre from both edges is that from one, frame for frame
_DOUBT = 0.06  # m, of what is seen in part: its edges may be hidden where none is seen to be
_ROWS = 1.5  # of pixels between the last known middle of one on a top and its far edge: one is eroded
_UNKNOWN = 1e6


@dataclass(frozen=True, eq=False)
class Placed:
    """The centres of N things: `centre (N, 3)` m.

    Their covariances are the sum of `noise (N, 3, 3)` m^2, which differs from frame to frame, and `bias (N, 3, 3)` m^2,
    which stays, as long as the same part of the thing is hidden.
    """

    centre: Floats
    noise: Floats
    bias: Floats


def placed(
    seen: Sight, origin: Floats, ground: tuple[float, float], shapes: Shapes, moving: Flags, passed: Floats
) -> Placed:
    """Where the things' centres are; `shapes`, those of these things, learn from what is seen.

    origin: (3,) the camera. ground: the height of what things stand on, and its variance. moving: (N,). passed: (N,)
    seconds since each was seen before.
    """
    shapes.forget(moving, passed)
    noise, edge = depth_noise(seen.distance), (0.7 * seen.pixel + 0.01) ** 2
    right = np.stack([seen.ray[:, 1], -seen.ray[:, 0]], axis=1)
    cut_across, cut_up = np.any(seen.cut[:, :2], axis=1), np.any(seen.cut[:, 2:], axis=1)
    across, across_variance = _edges(seen.across, seen.cut[:, :2], edge)
    up, up_variance = _edges(seen.up, seen.cut[:, 2:], edge)
    stands = seen.cut[:, 2] & ~seen.cut[:, 3] & (ground[1] < up_variance[:, 0])
    up[stands, 0] = np.minimum(up[stands, 0], ground[0] - origin[2])
    up_variance[stands, 0] = ground[1]
    shapes.foot[~seen.cut[:, 2]] = up[~seen.cut[:, 2], 0] + origin[2]

    likely, likely_variance = _likely_depth(seen, noise)
    facing = (seen.ray @ DIRECTIONS.T) ** 2
    variance = across_variance.sum(axis=1)[:, None] * (1 - facing) + (likely_variance + noise**2)[:, None] * facing
    alone = seen.ray * (seen.near + likely / 2)[:, None] + right * across.mean(axis=1)[:, None]
    centred = alone @ DIRECTIONS.T
    width = 2 * np.maximum(seen.high - centred, centred - seen.low)
    shapes.learn_widths(width, variance, seen.high - seen.low - 2 * noise[:, None])
    height = up[:, 1] - up[:, 0]
    shapes.learn_heights(height, up_variance.sum(axis=1), seen.up[:, 1] - seen.up[:, 0] - 2 * np.sqrt(edge))

    depth, depth_variance = shapes.towards(seen.ray)
    known_across, known_variance = shapes.towards(right)
    middle, middle_variance = _centre(across, across_variance, known_across, known_variance)
    upright, upright_variance = _centre(up, up_variance, shapes.height, shapes.height_variance)
    offset = np.stack([seen.near + depth / 2, middle], axis=1) - seen.middle
    shapes.learn_offsets(offset, np.logical_not(cut_across), passed)
    along, middle = (seen.middle + shapes.offset).T
    unseen = np.where(cut_across, np.maximum(known_across - (across[:, 1] - across[:, 0]), 0.0), 0.0)

    axes = np.zeros((len(along), 3, 3))
    axes[:, :2, 0], axes[:, :2, 1], axes[:, 2, 2] = seen.ray, right, 1.0
    fast = [noise**2, edge * np.where(cut_across, _CUT_NOISE, 1.0), edge * np.where(cut_up, _CUT_NOISE, 1.0)]
    doubt = np.where(cut_across | cut_up, _DOUBT**2, 0.0)
    slow = [depth_variance / 4 + (_SLANT * unseen) ** 2 + doubt, middle_variance + doubt, upright_variance + doubt]
    covariances = (np.einsum("nij,jn,nkj->nik", axes, np.array(each), axes) for each in (fast, slow))
    return Placed(np.einsum("nij,jn->ni", axes, np.array([along, middle, upright])) + origin, *covariances)


def _edges(edges: Floats, cut: Flags, edge: Floats) -> tuple[Floats, Floats]:
    """A copy of edges (N, 2), and their variances."""
    extent = edges[:, 1:] - edges[:, :1]
    variance = np.where(cut, (_CUT * np.maximum(extent, _SMALL)) ** 2, edge[:, None])
    return edges.copy(), variance


def _centre(edges: Floats, variance: Floats, extent: Floats, extent_variance: Floats) -> tuple[Floats, Floats]:
    """The middle (N,) of edges (N, 2) that are corrected by a known extent, and its variance."""
    lower, upper = variance.T
    total = lower + upper + extent_variance
    missing = extent - (edges[:, 1] - edges[:, 0])
    centre = edges.mean(axis=1) + missing * (upper - lower) / (2 * total)
    return centre, (lower + upper) / 4 - (upper - lower) ** 2 / (4 * total)


def _likely_depth(seen: Sight, noise: Floats) -> tuple[Floats, Floats]:
    """A thing's extent along the ray and its variance: as wide as it is across, unless its far end is seen."""
    across, height = seen.across[:, 1] - seen.across[:, 0], seen.up[:, 1] - seen.up[:, 0]
    cut = seen.cut.any(axis=1)
    guess = np.where(cut, np.maximum(across, np.minimum(height, _SMALL)), np.minimum(across, _TALL * height))
    variance = (np.where(cut, 1.0, _LIKELY_DEPTH) * guess) ** 2
    # A row of pixels on a top that is seen flat covers much of it; one is eroded, and of the next the middle is known.
    row = seen.pixel / seen.distance * (seen.near + seen.depth) ** 2 / np.maximum(-seen.up[:, 1], 0.02)
    far = seen.depth + _ROWS * row
    far_variance = np.where(seen.flat_top & ~seen.cut[:, 3], (0.7 * row) ** 2 + noise**2, _UNKNOWN)
    total = 1 / variance + 1 / far_variance
    depth = (guess / variance + far / far_variance) / total
    return np.maximum(depth, seen.depth - 2 * noise), 1 / total
