"""The models that are published and known to be of a family that runs here. `eomt-ros models` lists them.

Task and classes are not said here: the label table that fits an id says them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

RUNS_ON = {
    "S": "robot computer",
    "T": "robot computer",
    "B": "Jetson Orin, desktop GPU",
    "L": "desktop GPU",
    "g": "desktop GPU",
}
"""By the size of the network, which is most of its cost: 24, 48, 94, 318 and 1,160 million parameters and about."""

DINOV3 = "DINOv3 License"
MIT = "MIT"


@dataclass(frozen=True)
class Published:
    """A model on the Hugging Face hub."""

    id: str
    family: str
    """As in `FAMILIES`."""
    network: str
    """Its backbone and size: "ViT-S", "Swin-T"."""
    image_size: str
    """What it was trained at, in pixels: of a square, or "aspect kept"."""
    licence: str
    """Of the repository that publishes it, and of what it was made from; the hub's page has the last word."""

    @property
    def runs_on(self) -> str:
        """The smallest computer on which it keeps up with a robot."""
        if self.image_size in ("1280", "1024"):
            return RUNS_ON["L"]
        return RUNS_ON[self.network[-1]]


def published() -> Iterator[Published]:
    """All of them, by family, small ones first."""
    for size, data in (
        ("small", "ytvis2019"),
        ("base", "ytvis2019"),
        *(("large", data) for data in ("ytvis2019", "ytvis2021", "ytvis2022", "ovis", "vipseg", "vspw")),
    ):
        side = "1280" if data in ("vipseg", "vspw") else "640"
        yield Published(f"tue-mps/videomt-dinov2-{size}-{data}", "videomt", f"ViT-{size[0].upper()}", side, MIT)
    for name, size, side in (
        ("coco_panoptic_eomt_small_640_2x", "S", "640"),
        ("coco_panoptic_eomt_base_640_2x", "B", "640"),
        ("coco_panoptic_eomt_large_640", "L", "640"),
        ("coco_panoptic_eomt_large_1280", "L", "1280"),
        ("coco_panoptic_eomt_giant_640", "g", "640"),
        ("coco_panoptic_eomt_giant_1280", "g", "1280"),
        ("coco_instance_eomt_large_640", "L", "640"),
        ("coco_instance_eomt_large_1280", "L", "1280"),
        ("ade20k_panoptic_eomt_large_640", "L", "640"),
        ("ade20k_panoptic_eomt_large_1280", "L", "1280"),
        ("ade20k_panoptic_eomt_giant_640", "g", "640"),
        ("ade20k_panoptic_eomt_giant_1280", "g", "1280"),
        ("ade20k_semantic_eomt_large_512", "L", "512"),
        ("cityscapes_semantic_eomt_large_1024", "L", "1024"),
    ):
        yield Published(f"tue-mps/{name}", "eomt", f"ViT-{size}", side, MIT)
    for name, size, side in (
        ("coco_panoptic_eomt_small_640_dinov3", "S", "640"),
        ("coco_panoptic_eomt_base_640_dinov3", "B", "640"),
        ("coco_panoptic_eomt_large_640_dinov3", "L", "640"),
        ("coco_panoptic_eomt_large_1280_dinov3", "L", "1280"),
        ("coco_instance_eomt_large_640_dinov3", "L", "640"),
        ("coco_instance_eomt_large_1280_dinov3", "L", "1280"),
        ("ade_semantic_eomt_large_512_dinov3", "L", "512"),
    ):
        yield Published(f"tue-mps/{name}", "eomt_dinov3", f"ViT-{size}", side, f"{MIT}, {DINOV3}")
    for size in ("tiny", "small", "base", "large"):
        swin = f"Swin-{size[0].upper()}"
        tasks = ["coco-instance", "coco-panoptic", "ade-semantic"] + ["ade-panoptic"] * (size == "large")
        for task in tasks:
            yield Published(f"facebook/mask2former-swin-{size}-{task}", "mask2former", swin, "aspect kept", MIT)
        trained = "base-IN21k" if size == "base" else size
        for task in ("semantic", "instance", "panoptic"):
            name = f"facebook/mask2former-swin-{trained}-cityscapes-{task}"
            yield Published(name, "mask2former", swin, "aspect kept", MIT)
