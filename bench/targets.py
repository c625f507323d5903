"""Targets of the rows, on two cores without a GPU and on an H200."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from bench.timing import Row


@dataclass(frozen=True)
class AtLeast:
    """A number of times as fast as the reference."""

    ratio: float

    def __str__(self) -> str:
        return f">= {self.ratio:g} x"

    def met(self, row: Row) -> bool:
        """True if the row's ratio is high enough; False for a row without one."""
        return row.ratio is not None and row.ratio >= self.ratio


@dataclass(frozen=True)
class AtMost:
    """A time in milliseconds."""

    ms: float

    def __str__(self) -> str:
        return f"<= {self.ms:g} ms"

    def met(self, row: Row) -> bool:
        """True if the row's time is short enough; False for a row without one."""
        return row.ours_ms is not None and row.ours_ms <= self.ms


@dataclass(frozen=True)
class GrowsAtMost:
    """A growth of memory in MiB: noise."""

    mib: float

    def __str__(self) -> str:
        return f"<= {self.mib:g} MiB"

    def met(self, row: Row) -> bool:
        """True if the row's growth is that low."""
        return row.growth_mib is not None and row.growth_mib <= self.mib


@dataclass(frozen=True)
class Within:
    """Ratios that are 1 up to so much."""

    part: float

    def __str__(self) -> str:
        return f"within {self.part:.0%}"

    def met(self, row: Row) -> bool:
        """True if the lowest and the highest of the row's ratios are; False for a row without any."""
        if row.ratio_low is None or row.ratio_high is None:
            return False
        return row.ratio_low >= 1 - self.part and row.ratio_high <= 1 + self.part


@dataclass(frozen=True)
class NoSlower:
    """A time that is not longer than the reference's beyond noise: not in every pair."""

    def __str__(self) -> str:
        return "no slower"

    def met(self, row: Row) -> bool:
        """True if ours was as quick in one of the row's pairs; False for a row without any."""
        return row.ratio_high is not None and row.ratio_high >= 1


@dataclass(frozen=True)
class Equal:
    """Results that are the reference's in every pixel."""

    def __str__(self) -> str:
        return "all pixels"

    def met(self, row: Row) -> bool:
        """True if the row's results are; False for a row that compared none."""
        return row.differing == 0


class Target(Protocol):
    """A figure that a row has to reach."""

    def met(self, row: Row) -> bool:
        """True if the row reaches it."""
        ...


TARGETS: dict[str, Target] = {
    **{
        f"post-processing, 1920x1080, {task}, {structure}": AtLeast(ratio)
        for structure, ratios in {"blobs": (35, 150, 25), "noise": (15, 60, 12)}.items()
        for task, ratio in zip(("panoptic", "instance", "semantic"), ratios, strict=True)
    },
    "post-processing, 1920x1080, semantic, noise, no class sure": AtLeast(4),
    "network step, ViT-S 640, exported": AtLeast(3.3),
    **{  # where the network computes in bfloat16
        f"whole frame, 1920x1080, ViT-S 640, exported, {task}": AtLeast(ratio)
        for task, ratio in {"panoptic": 6.5, "instance": 17, "semantic": 3.5}.items()
    },
    **{
        f"post-processing, 1920x1080, {family}, {task}": AtLeast(10)
        for family in ("EoMT", "Mask2Former")
        for task in ("panoptic", "instance", "semantic")
    },
    "recording, 1920x1080, demo, two frames at once": AtLeast(1.4),
    "network step, ViT-S, keep_aspect, 1920x1080, YouTube-VIS": AtLeast(1.2),
    "network step, ViT-S, keep_aspect, 1920x1080, VIPSeg": AtLeast(1.2),
    "node beyond the engine, 640x480, raw, profile": AtMost(6),
    "node beyond the engine, 1920x1080, raw, profile": AtMost(25),
    "node beside the engine's own loop, demo, 640x480": AtLeast(0.95),
    "node, demo, 424x240": AtMost(20),
    "node start-up, demo, 424x240": AtMost(2500),
    "4 cameras in a batch, each beside itself alone": Equal(),
    "4 cameras in one node, demo, 640x480, beside a node each": AtLeast(1.15),
    "memory of a node with 4 cameras beside one with 1": AtLeast(0.8),  # 1.25 x as much
    "shares of 4 cameras in an overloaded node": Within(0.1),
    "latency of a 10 Hz camera beside 3 silent ones": NoSlower(),
    "ids of 30 things, 1000 remembered, no newcomer": AtMost(1),
    "ids of 30 things, 1000 remembered, 1 newcomer": AtMost(1),
    "memory over 10000 frames": GrowsAtMost(2),
    "points, obstacles and objects, 640x480, 12 things": AtMost(8),
    "points, obstacles and objects, 640x480, 12 things, beside a plain loop": AtLeast(10),
    "node with depth that nobody wants, demo, 640x480": NoSlower(),
    "evaluation, demo bag, beside the engine": AtLeast(0.87),  # 15 % on top
    "memory of an evaluation over 10000 frames": GrowsAtMost(2),
    "12 recordings, --jobs 2, beside one after the other": AtLeast(1.6),
    "12 recordings, Dask on 2 local workers, beside one after the other": AtLeast(1.5),
    "a recording that is done already": AtMost(50),
    "memory of merging 10000 recordings": GrowsAtMost(300),
}
"""By the names of rows."""


@dataclass(frozen=True)
class PerSecond:
    """A number of frames per second."""

    frames: float

    def __str__(self) -> str:
        return f">= {self.frames:g}/s"

    def met(self, row: Row) -> bool:
        """True if the row's time for one frame is short enough; False for a row without one."""
        return row.ours_ms is not None and 1e3 / row.ours_ms >= self.frames


GPU_TARGETS: dict[str, Target] = {
    **{
        f"frames in a row, 1920x1080, {model}, {task}": PerSecond(frames)
        for model, frames in {"ViT-S 640": 700, "ViT-B 640": 500, "ViT-L 640": 300}.items()
        for task in ("panoptic", "semantic")
    },
    "network step, ViT-L 640, beside a matrix product's rate": AtLeast(0.45),
    "4 cameras together, 1920x1080, ViT-S 640, for one frame": PerSecond(1400),
    "4 cameras together, 1920x1080, ViT-S 640, beside one by one": AtLeast(2),
    **{
        f"whole frame, 1920x1080, {model}, {task}, Hugging Face {how}": AtLeast(ratio)
        for model in ("ViT-S 640", "ViT-B 640", "ViT-L 640")
        for task in ("panoptic", "semantic")
        for how, ratio in {"eager": 12, "compiled": 6}.items()
    },
    "frames of 20 sizes, 1 to 8 cameras": GrowsAtMost(8),
}
"""By the names of rows of `python -m bench.gpu`; stated for an H200."""


def judge(row: Row, targets: Mapping[str, Target] = TARGETS) -> Row:
    """The row with its target, if it has one, and whether that is met."""
    target = targets.get(row.name)
    return row if target is None else replace(row, target=str(target), met=target.met(row))
