"""The published models that run here, as `config/models.yaml` lists them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eomt_ros.package_data import shipped
from eomt_ros.plain_yaml import load_plain_yaml

RUNS_ON = {
    "T": "robot computer",
    "S": "robot computer",
    "B": "Jetson Orin, desktop GPU",
    "L": "desktop GPU",
    "g": "desktop GPU",
}
"""By size of the network, which is most of the cost: about 24, 94, 318 and 1,160 million parameters in ViT-S to ViT-g,
47, 69, 108 and 216 in Swin-T to Swin-L."""


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
    """All published models, by family, small ones first; raises `OSError` where their list is missing."""
    path = shipped("config/models.yaml", "config/models.yaml")
    for family, entry in load_plain_yaml(path.read_text(encoding="utf-8")).items():
        for model, (network, image_size) in entry["models"].items():
            yield Published(model, family, network, str(image_size), entry["licence"])
