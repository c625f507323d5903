"""The published models that run here, as `eomt-ros models` lists them.

Task and classes of a model are in the label table that fits its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

RUNS_ON = {
    "T": "robot computer",
    "S": "robot computer",
    "B": "Jetson Orin, desktop GPU",
    "L": "desktop GPU",
    "g": "desktop GPU",
}
"""By size of the network, which is most of the cost: about 24, 94, 318 and 1,160 million parameters in ViT-S to ViT-g,
47, 69, 108 and 216 in Swin-T to Swin-L."""

DINOV3 = "DINOv3 License"
MIT = "MIT"
NON_COMMERCIAL = "CC BY-NC 4.0"
"""Licence of all weights in Mask2Former's MODEL_ZOO.md; its code is MIT, and the pages on the hub say "other"."""


@dataclass(frozen=True)
class Published:
    """A model on the Hugging Face hub."""

    id: str
    family: str
    """Key in `FAMILIES`."""
    network: str
    """Backbone and size: "ViT-S", "Swin-T"."""
    image_size: str
    """Pixels of a side of its square input, with the preprocessing that is published beside it."""
    licence: str
    """Licence of the repository that publishes it, and of its backbone; the hub's page has the last word."""

    @property
    def runs_on(self) -> str:
        """The smallest computer on which it keeps up with a robot's camera."""
        if self.image_size in ("1280", "1024"):
            return RUNS_ON["L"]
        return RUNS_ON[self.network[-1]]


def published() -> Iterator[Published]:
    """All published models, by family, small ones first."""
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
    # Whole weights; those of the authors' model zoo, tue-mps/*_dinov3, are differences from a DINOv3.
    for name, size, side in (
        ("coco-panoptic-small-640", "S", "640"),
        ("coco-panoptic-base-640", "B", "640"),
        ("coco-panoptic-large-640", "L", "640"),
        ("coco-panoptic-large-1280", "L", "1280"),
        ("coco-instance-large-640", "L", "640"),
        ("coco-instance-large-1280", "L", "1280"),
        ("ade-semantic-large-512", "L", "512"),
    ):
        yield Published(f"tue-mps/eomt-dinov3-{name}", "eomt_dinov3", f"ViT-{size}", side, f"{MIT}, {DINOV3}")
    for size, data in (
        *(
            (size, data)
            for size in ("tiny", "small", "base", "large")
            for data in ("coco-panoptic", "coco-instance", "ade-semantic")
        ),
        *(("base-IN21k", data) for data in ("coco-instance", "ade-semantic")),
        ("large", "ade-panoptic"),
        *(
            (size, f"cityscapes-{task}")
            for size in ("tiny", "small", "base-IN21k", "large")
            for task in ("panoptic", "instance", "semantic")
        ),
    ):
        name = f"facebook/mask2former-swin-{size}-{data}"
        yield Published(name, "mask2former", f"Swin-{size[0].upper()}", "384", NON_COMMERCIAL)
