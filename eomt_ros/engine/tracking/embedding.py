"""The looks of a thing as a vector, by which it is found again: the colours that are seen of it.

Of all that was measured in `docs/identity.md` this tells things of one class apart best, the network's own features
included, which say what a thing is rather than which one. It is the same for all networks and backends.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from eomt_ros.engine.postprocess.label_map import LabelMap, Region

BINS = (4, 9, 9)
"""Levels of lightness, and of red against green and blue against yellow (CIELAB). A colour between two counts for both,
by how near it is, so that a little more light does not move it."""
LOWEST, HIGHEST = np.array([0, -60, -60], np.float32), np.array([100, 60, 60], np.float32)
"""CIELAB; colours beyond count as these."""
CHANNELS = math.prod(BINS)
STEPS = np.array([BINS[1] * BINS[2], BINS[2], 1])
"""From a channel to the next one along each of them."""
SAMPLES = 256
"""Pixels of a thing's box that are looked at, evenly spread; more tell no more."""
ENOUGH = 16
"""Pixels under the mask that are enough among these."""


def embeddings_of(image: np.ndarray, label_map: LabelMap) -> list[np.ndarray | None]:
    """The embedding of each region, (CHANNELS,) float32 of unit length; None for stuff and for what is fully covered.

    image: (H, W, 3) uint8 RGB. An embedding is the root of the share of each colour, so that the cosine of two is the
    overlap of their colours (Bhattacharyya coefficient).
    """
    found: list[np.ndarray | None] = [None] * len(label_map.regions)
    samples = {
        index: pixels
        for index, region in enumerate(label_map.regions)
        if region.is_thing and len(pixels := _sampled(image, label_map.winner, region))
    }
    if samples:
        owners = np.repeat(np.arange(len(samples)), [len(pixels) for pixels in samples.values()])
        for index, shares in zip(samples, _shares(np.concatenate(list(samples.values())), owners), strict=True):
            found[index] = np.sqrt(shares)
    return found


def _sampled(image: np.ndarray, winner: np.ndarray, region: Region) -> np.ndarray:
    """Colours of a region of one map, (n, 3)."""
    x, y, width, height = region.box
    spread = math.isqrt(width * height // SAMPLES)
    # Closer, then all, where little of it is seen; each step once, though in a small box they are the same.
    for step in dict.fromkeys((max(1, spread), max(1, spread // 4), 1)):
        part = slice(y, y + height, step), slice(x, x + width, step)
        colours: np.ndarray = image[part][winner[part] == 1 + region.maps[0]]
        if len(colours) >= ENOUGH:
            break
    return colours


def _shares(colours: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The share of each colour in each owner, (owners, CHANNELS) float32. colours: (n, 3) uint8 RGB. owners: (n,)."""
    lab = cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    place = np.clip((lab - LOWEST) / (HIGHEST - LOWEST), 0, 1) * (np.array(BINS, np.float32) - 1)
    low = np.minimum(place.astype(np.int64), np.array(BINS) - 2)
    above = (place - low).T.astype(np.float64)
    nearness = 1 - above, above
    count = int(owners[-1]) + 1
    first = owners * CHANNELS + low @ STEPS
    total = np.zeros(count * CHANNELS)
    for corner in np.ndindex(2, 2, 2):
        weight = nearness[corner[0]][0] * nearness[corner[1]][1] * nearness[corner[2]][2]
        total += np.bincount(first + STEPS @ corner, weight, len(total))
    shares = total.reshape(count, CHANNELS)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)
