"""Class and instance ids out of the masks of VIPSeg and VSPW.

Both have the same 124 classes, numbered from 0 in the data set's order. Class ids here are those of
`config/labels/vipseg.yaml` and `vspw.yaml`: things first, then stuff, each in the data set's order, as the published
models are trained (videomt/data_video/datasets/vps.py and vss.py of github.com/tue-mps/videomt).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.label_image import pack
from eomt_ros.evaluation.sources.image_files import read_picture, read_png

CLASS_COUNT = 124
_UNLABELLED = 255

THINGS = (
    *(2, 4, 8, 10, 41, 43, 44, 46, 47, 48, 49, 50, 51, 52, 54, 55, 56, 60, 61),
    *(62, 63, 64, 65, 72, 74, 76, 77, 78, 79, 82, 83, 84, 85, 86, 87, 88, 89, 90),
    *(91, 92, 95, 96, 97, 99, 100, 101, 102, 106, 107, 108, 109, 114, 115, 116, 117, 118, 122, 123),
)
"""The data set's numbers, from 0, of the classes that are things (panoVIPSeg_categories.json)."""


NUMBERS = (*THINGS, *(number for number in range(CLASS_COUNT) if number not in THINGS))
"""The data set's number, from 0, of each of our class ids."""


def _class_of() -> npt.NDArray[np.uint8]:
    """Our class id for each number of the data set, and unlabelled for all that is none."""
    classes = np.full(256, _UNLABELLED, np.uint8)
    classes[list(NUMBERS)] = np.arange(CLASS_COUNT)
    return classes


_CLASS_OF = _class_of()


def vspw_truth(mask: Path) -> Truth:
    """The classes in a mask of VSPW. Raises `SourceError`."""
    # Number + 1; 0, "others", wraps to the largest value, which is no class, as 255 is none.
    return Truth(_CLASS_OF[np.minimum(read_png(mask) - 1, _UNLABELLED)])


def vipseg_truth(mask: Path) -> Truth:
    """The classes and instances in a mask of VIPSeg as it is downloaded. Raises `SourceError`.

    Values: 0 void, number + 1 for stuff, 100 * (number + 1) + instance for things; a thing without an instance, with
    number + 1 alone, is one more thing. The published conversion to COCO's format lists segments by value.
    """
    values = read_png(mask).astype(np.uint16, copy=False)
    first = int(values.min(where=values > 0, initial=2**16 - 1))
    listed_first = (int(_CLASS_OF_VALUE[first]), first * int(_IS_THING_VALUE[first])) if values.any() else None
    return Truth(_CLASS_OF_VALUE[values], np.where(_IS_THING_VALUE[values], values, np.uint16(0)), listed_first)


def _value_tables() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    values = np.arange(1 << 16)
    # The published conversion to COCO's format parts them so (create_panoptic_video_labels.py).
    numbers = np.where(values <= CLASS_COUNT, values, values // 100) - 1
    numbers[(numbers < 0) | (numbers >= CLASS_COUNT)] = _UNLABELLED
    return _CLASS_OF[numbers], np.isin(numbers, THINGS)


_CLASS_OF_VALUE, _IS_THING_VALUE = _value_tables()


class CocoVideo:
    """A video in COCO's panoptic format: a pixel's segment is R + 256 G + 65536 B, its class is in the JSON.

    segments: for each frame's name those in it, in the order of the JSON, with the data set's number of their class.
    """

    def __init__(self, segments: Mapping[str, Collection[tuple[int, int]]]) -> None:
        self._segments = {name: sorted(each) for name, each in segments.items()}
        # Small ids, the same for the whole video.
        things = sorted({segment for each in self._segments.values() for segment, number in each if number in THINGS})
        self._ids = {segment: number + 1 for number, segment in enumerate(things)}
        first = next((segment for each in segments.values() for segment in each), None)
        self._listed_first = None if first is None else (int(_CLASS_OF[first[1]]), self._ids.get(first[0], 0))

    def truth(self, mask: Path) -> Truth:
        """The classes and instances in one of the masks. Raises `SourceError`."""
        segments = pack(read_picture(mask))
        known = self._segments[mask.stem]
        # By place in the sorted list of segments, 0 for void and for what the JSON does not know.
        listed = np.array([segment for segment, _ in known], np.int32)
        place = np.searchsorted(listed, segments).astype(np.intp)
        place = np.where(np.append(listed, 0)[place] == segments, place + 1, 0) if known else np.zeros_like(place)
        classes = _CLASS_OF[[_UNLABELLED, *(number for _, number in known)]]
        instances = np.array([0, *(self._ids.get(segment, 0) for segment, _ in known)], np.uint16)
        return Truth(classes[place], instances[place], self._listed_first)
