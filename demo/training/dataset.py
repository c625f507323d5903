"""Clips of simulated worlds on disk, at the size the network sees, for training.

Rendering is the slow part of training on a CPU, so every world is rendered once. A clip is three files:

- `images.npy` (F, 256, 256, 3) uint8, stretched as the engine stretches a camera image
- `segments.npy` (F, 128, 128) uint8, class ids for stuff and 3 + i for the i-th thing
- `classes.npy` (S,) uint8, the class of each segment value
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import tqdm

from demo import FIRST_THING

IMAGE_SIZE = 256
LABEL_SIZE = 128
NUM_STUFF = FIRST_THING
FRAMES = 40
RATE = 10.0


@dataclass(frozen=True)
class Clip:
    """The frames of one world, in order (memory-mapped)."""

    images: np.ndarray
    segments: np.ndarray
    classes: np.ndarray


def load_clip(folder: Path) -> Clip:
    """One rendered clip."""
    return Clip(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        segments=np.load(folder / "segments.npy", mmap_mode="r"),
        classes=np.load(folder / "classes.npy"),
    )


def rendered(data: Path) -> list[Path]:
    """The folders of the clips that are complete, in the order of their seeds."""
    return sorted(folder.parent for folder in data.glob("*/classes.npy"))


def stretched(image: np.ndarray) -> np.ndarray:
    """An image, (H, W, 3) uint8, at the size the network sees, as the engine stretches it."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    resized = F.interpolate(pixels, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def render_clip(data: Path, seed: int) -> None:
    """Renders the world of one seed into `data/<seed>/`; does nothing where it is there already."""
    from demo.world import World  # MuJoCo: needed to remake the data only

    folder = data / f"{seed:06d}"
    if (folder / "classes.npy").exists():
        return
    start = float(np.random.default_rng(seed).uniform(0, 60))
    images, segments = [], []
    thing_class: dict[int, int] = {}
    with World(seed) as world:
        for frame in world.frames(FRAMES / RATE, RATE, start=start, depth=False):
            images.append(stretched(frame.image))
            labels = np.where(frame.instances > 0, frame.instances + (NUM_STUFF - 1), frame.classes)
            segments.append(
                cv2.resize(labels.astype(np.uint8), (LABEL_SIZE, LABEL_SIZE), interpolation=cv2.INTER_NEAREST_EXACT)
            )
            for instance in np.unique(frame.instances[frame.instances > 0]):
                thing_class[int(instance)] = int(frame.classes[frame.instances == instance][0])
    classes = np.zeros(NUM_STUFF + max(thing_class, default=0), np.uint8)
    classes[:NUM_STUFF] = range(NUM_STUFF)
    for instance, class_id in thing_class.items():
        classes[NUM_STUFF + instance - 1] = class_id
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", np.stack(images))
    np.save(folder / "segments.npy", np.stack(segments))
    np.save(folder / "classes.npy", classes)  # written last: its presence says that the clip is whole


def render(data: Path, seeds: range, workers: int) -> None:
    """Renders the worlds of all seeds, side by side in `workers` processes."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        jobs = pool.imap_unordered(_render_job, [(data, seed) for seed in seeds])
        for _ in tqdm.tqdm(jobs, total=len(seeds), desc="rendering worlds", unit="world"):
            pass


def _render_job(job: tuple[Path, int]) -> None:
    cv2.setNumThreads(1)
    render_clip(*job)
