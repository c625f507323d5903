"""Brings label images whose values or colours are not the model's class ids to these: `--truth-map`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.evaluation.label_image import LabelImageError
from eomt_ros.plain_yaml import load_plain_yaml
from eomt_ros.printable import printable
from eomt_ros.regular_file import read_bytes

CHANNELS = {"r": 0, "g": 8, "b": 16}
"""Bits by which they are shifted in a colour."""
GREY = 0x010101
LARGEST_MAP = 1 << 20
"""Bytes: thousands of classes; a larger file was given by mistake."""
_UNLABELLED = 65535

_COLOUR = re.compile(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", re.IGNORECASE)
_EXPECTED = "expected offset=-1, ignore=0, channel=r, and classes of values (7=road) or of colours (#804080=road)"


@dataclass(frozen=True)
class TruthMap:
    """The rules by which label images become class ids; by default they hold them already."""

    offset: int | None = None
    """Added to the values that are not in `classes`; what falls below 0 is unlabelled."""
    ignore: frozenset[int] = frozenset()
    """Values, or colours, that are unlabelled, as the largest value of an image's type always is."""
    channel: str | None = None
    """The channel of colour images that has the values: r, g or b; None where all three have them."""
    classes: Mapping[int, int | str] = field(default_factory=dict)
    """The class, by id or name, of values, or colours; without an offset all others are unlabelled."""
    by_colour: bool = False
    """True if `ignore` and `classes` have colours, R + 256 G + 65536 B."""
    text: str = ""
    """As the user typed it."""

    def values(self, labels: LabelImage) -> LabelImage:
        """The values in (H, W) `labels`, or the colours where the map has those; int32 labels are colours.

        Raises `LabelImageError` where the image does not have what the map is about.
        """
        if labels.dtype != np.int32:
            if self.by_colour:
                raise LabelImageError("a label image of one channel, expected the colours of --truth-map")
            return labels
        if self.by_colour:
            return labels
        if self.channel is None and (labels % GREY).any():
            raise LabelImageError(
                "a colour image, expected a label image: say with --truth-map which channel has the class "
                "(channel=r), or the class of each colour ('#804080=road,#f423e8=sidewalk')"
            )
        return (labels >> CHANNELS[self.channel or "r"]).astype(np.uint8)


class ClassIds:
    """Brings label images to the class ids of a model by a map.

    Raises `SourceError` where the map has a class that the model does not have.
    """

    def __init__(self, truth_map: TruthMap, class_names: Sequence[str]) -> None:
        self.count = len(class_names)
        self._map = truth_map
        classes = {value: _class_id(each, class_names) for value, each in truth_map.classes.items()}
        named = sorted({**dict.fromkeys(truth_map.ignore, _UNLABELLED), **classes}.items())
        self._named = np.array([value for value, _ in named], np.int64)
        self._classes = np.array([class_id for _, class_id in named], np.int64)
        self._offset = 0 if truth_map.offset is None and not truth_map.classes else truth_map.offset

    def of(self, labels: LabelImage) -> tuple[LabelImage, int | None]:
        """(H, W) class ids, and one of the values that the map does not speak of, None where there is none.

        Raises `LabelImageError` as `TruthMap.values`.
        """
        values = self._map.values(labels)
        if not self._named.size and not self._offset:
            return values, None
        place = np.searchsorted(self._named, values)
        is_named = np.append(self._named, -1)[place] == values
        wide = values.astype(np.int64)
        others = np.full_like(wide, _UNLABELLED) if self._offset is None else wide + self._offset
        classes = np.where(is_named, np.append(self._classes, _UNLABELLED)[place], others)
        is_largest = values == np.iinfo(values.dtype).max
        classes[(classes < 0) | (is_largest & ~is_named)] = _UNLABELLED
        unnamed = values[~is_named & ~is_largest] if self._offset is None else values[:0]
        return np.minimum(classes, _UNLABELLED).astype(np.uint16), int(unnamed.flat[0]) if unnamed.size else None


def parse_truth_map(text: str) -> TruthMap:
    """Reads what a user typed: entries such as `offset=-1,ignore=0`, or a YAML file of them. Raises `SourceError`."""
    try:
        return replace(_truth_map(_entries(text) if "=" in text else _file_entries(Path(text))), text=text)
    except (ValueError, yaml.YAMLError) as error:
        raise SourceError(f"--truth-map {text}: {printable(str(error))}") from error


def _entries(text: str) -> Iterable[tuple[Any, Any]]:
    for entry in text.split(","):
        key, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or not key or not value:
            raise ValueError(f"{entry!r}, {_EXPECTED}, or the path of a YAML file")
        yield key, value


def _file_entries(path: Path) -> Iterable[tuple[Any, Any]]:
    try:
        content = load_plain_yaml(read_bytes(path, LARGEST_MAP).decode("utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); {_EXPECTED}, or the path of a YAML file") from error
    if not isinstance(content, dict):
        raise ValueError(f"has no entries; {_EXPECTED.replace('=', ': ')}")
    return content.items()


def _truth_map(entries: Iterable[tuple[Any, Any]]) -> TruthMap:
    offset: int | None = None
    channel: str | None = None
    ignore: list[Any] = []
    classes: dict[Any, int | str] = {}
    for key, value in entries:
        if key == "offset":
            offset = _number(value)
        elif key == "channel":
            channel = str(value).lower()
        elif key == "ignore":
            ignore += value if isinstance(value, list) else [value]
        elif isinstance(value, int | str) and not isinstance(value, bool):
            classes[key] = _number(value) if str(value).isdecimal() else str(value)
        else:
            raise ValueError(f"{key} is {value!r}, expected the id or the name of a class")
    if channel is not None and channel not in CHANNELS:
        raise ValueError(f"channel is {channel}, expected {', '.join(CHANNELS)}")
    colours = [_COLOUR.fullmatch(str(key)) is not None for key in (*ignore, *classes)]
    by_colour = any(colours)
    if by_colour and (not all(colours) or offset is not None or channel is not None):
        raise ValueError("colours go with no values, offset or channel, give either")
    return TruthMap(
        offset,
        frozenset(_value(each) for each in ignore),
        channel,
        {_value(key): each for key, each in classes.items()},
        by_colour,
    )


def _value(key: Any) -> int:
    found = _COLOUR.fullmatch(str(key))
    if found is None:
        return _number(key)
    red, green, blue = (int(each, 16) for each in found.groups())
    return red | green << 8 | blue << 16


def _number(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,5}", str(value)):
        raise ValueError(f"{value}, {_EXPECTED}")
    return int(value)


def _class_id(entry: int | str, names: Sequence[str]) -> int:
    if isinstance(entry, int):
        return entry
    if entry in names:
        return names.index(entry)
    like = difflib.get_close_matches(entry, names, 1)
    hint = f"; did you mean {like[0]!r}?" if like else f"; it has {', '.join(names[:8])}" + " ..." * (len(names) > 8)
    raise SourceError(f"--truth-map: the model has no class {entry!r}{hint}")
