"""The preprocessing of images that a checkpoint asks for.

Its file is read as Hugging Face reads it. It is followed, or the checkpoint is refused: a network that gets other
numbers than in training finds other things, without any error.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eomt_ros.engine.errors import CheckpointError
from eomt_ros.engine.model.weights import read_json
from eomt_ros.engine.preprocess.geometry import Size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PROCESSORS = "processor_config.json"
"""Holds the settings of several processors, and is looked into first."""
FILES = {
    "video_processor": ("video_preprocessor_config.json", "preprocessor_config.json"),
    "image_processor": ("preprocessor_config.json",),
}
"""Files that are read where `PROCESSORS` is missing or has no settings of this name."""

FIXED: Mapping[str, Any] = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "resample": 2}
"""The only supported values (resample 2: bilinear)."""
LARGEST_SIDE = 8192
"""Pixels."""


@dataclass(frozen=True)
class Processor:
    """Settings of a processor of any family, by Hugging Face's names; None where the file has none."""

    image_mean: tuple[float, ...] = IMAGENET_MEAN
    """Per RGB channel, of pixels scaled to 0..1."""
    image_std: tuple[float, ...] = IMAGENET_STD
    size: Size | None = None
    """(height, width) of every image."""
    shortest_edge: int | None = None
    longest_edge: int | None = None
    size_divisor: int = 32
    """Height and width become a multiple of this; 0 for any."""
    do_resize: bool = True
    do_pad: bool = False
    do_split_image: bool = False

    @property
    def lengths(self) -> set[int]:
        """All lengths that images are resized to, in pixels."""
        return {each for each in (*(self.size or ()), self.shortest_edge, self.longest_edge) if each is not None}


def read_processor(folder: Path, kind: str, fixed: Mapping[str, Any]) -> Processor:
    """Reads the settings of a checkpoint's processor, the defaults where it has none.

    kind: "video_processor" or "image_processor". fixed: values that the family needs, beside `FIXED`.
    Raises `CheckpointError` for other values and for ones that make no sense, `OSError`.
    """
    path, entries = _entries(folder, kind)
    for name, expected in {**FIXED, **fixed}.items():
        value = entries.get(name, expected)
        # Hugging Face takes null and 0 for false.
        same = bool(value) == expected if isinstance(expected, bool) else value == expected
        if not same and not (isinstance(value, float) and math.isclose(value, expected, rel_tol=1e-6)):
            raise CheckpointError(f"{path}: {name} is {reprlib.repr(value)}, supported: {expected!r}")
    std = _per_channel(entries.get("image_std", IMAGENET_STD), f"{path}: image_std")
    if min(std) <= 0:
        raise CheckpointError(f"{path}: image_std is {std}, expected numbers above 0")
    divisor = entries.get("size_divisor", Processor.size_divisor)
    if type(divisor) is not int or divisor > LARGEST_SIDE:
        raise CheckpointError(f"{path}: size_divisor is {reprlib.repr(divisor)}, expected a whole number of pixels")
    return Processor(
        image_mean=_per_channel(entries.get("image_mean", IMAGENET_MEAN), f"{path}: image_mean"),
        image_std=std,
        **_sizes(entries, path, square=kind == "video_processor"),
        size_divisor=max(divisor, 0),
        do_resize=bool(entries.get("do_resize", Processor.do_resize)),
        do_pad=bool(entries.get("do_pad", Processor.do_pad)),
        do_split_image=bool(entries.get("do_split_image", Processor.do_split_image)),
    )


def _entries(folder: Path, kind: str) -> tuple[Path, Mapping[str, Any]]:
    """The file of a processor's settings, and the settings."""
    path = folder / PROCESSORS
    if path.exists():
        entries = read_json(path).get(kind)
        if isinstance(entries, Mapping):
            return path, entries
    path = next((folder / name for name in FILES[kind] if (folder / name).exists()), folder / FILES[kind][0])
    return path, read_json(path) if path.exists() else {}


def _sizes(entries: Mapping[str, Any], path: Path, *, square: bool) -> dict[str, Any]:
    """Reads a size in any of the forms that were ever written (`get_size_dict` in transformers).

    square: True if a single number is both sides, and not the shorter one.
    """
    size, longest = entries.get("size"), entries.get("max_size")
    if size is None:
        given = {"longest_edge": longest}
    elif _length(size) is not None:
        given = {"height": size, "width": size} if square else {"shortest_edge": size, "longest_edge": longest}
    elif isinstance(size, list) and len(size) == 2:
        given = dict(zip(("height", "width"), size, strict=True))
    else:
        given = dict(size) if isinstance(size, Mapping) else {"": size}
    given = {name: value for name, value in given.items() if value is not None}
    lengths = {name: _length(value) for name, value in given.items()}
    known = lengths.keys() in ({"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"})
    if None in lengths.values() or not (known or size is None):
        raise CheckpointError(
            f"{path}: size is {reprlib.repr(size)}, max_size {reprlib.repr(longest)}, expected {{height, width}} or "
            f"{{shortest_edge, longest_edge}} in pixels, at most {LARGEST_SIDE}"
        )
    return {"size": (lengths["height"], lengths["width"])} if "height" in lengths else lengths


def _length(value: Any) -> int | None:
    """The value as a number of pixels; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LARGEST_SIDE:
        return None
    return int(value) if value == int(value) else None


def _per_channel(values: Any, where: str) -> tuple[float, ...]:
    numbers = values if isinstance(values, (list, tuple)) else (values,)
    if len(numbers) not in (1, 3) or not all(type(each) in (int, float) and abs(each) <= 1000 for each in numbers):
        raise CheckpointError(
            f"{where} is {reprlib.repr(values)}, expected one number or three, for pixels from 0 to 1"
        )
    return tuple(float(each) for each in numbers) * (3 // len(numbers))
