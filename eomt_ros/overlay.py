"""The pictures for people: classes in their colours; an image with its segments coloured, outlined and labelled."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from eomt_ros.engine import Segment
    from eomt_ros.engine.model.labels import Labels

GOLDEN_RATIO = 0.618034
JPEG_QUALITY = 90
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Drawable(Protocol):
    """The part of a `FrameResult` that is seen."""

    @property
    def semantic(self) -> npt.NDArray[Any]:
        """(H, W) class ids."""
        ...

    @property
    def panoptic(self) -> npt.NDArray[Any]:
        """(H, W) segment ids, 0 none; all 0 in the semantic task."""
        ...

    @property
    def segments(self) -> Sequence[Segment]:
        """All segments of the frame."""
        ...


def draw(
    image: npt.NDArray[np.uint8], result: Drawable, labels: Labels, *, alpha: float = 0.5
) -> npt.NDArray[np.uint8]:
    """Draw a frame's segments over its image.

    image: (H, W, 3) uint8 RGB, left as it is; alpha: 0 shows the image, 1 covers it with the segments' colours.
    Returns (H, W, 3) uint8 RGB. A thing has the colour of its id, and so keeps it over frames; stuff that of its class.
    """
    regions, segments = _regions(result)
    palette = np.zeros((256, 1, 3), np.uint8)
    for number, segment in enumerate(segments, start=1):
        palette[number] = _color(segment, labels)

    image = np.ascontiguousarray(image)  # or OpenCV refuses it
    colors = cv2.LUT(cv2.merge([regions] * 3), palette)
    picture = cv2.addWeighted(image, 1 - alpha, colors, alpha, 0).astype(np.uint8, copy=False)
    cv2.copyTo(image, (regions == 0).view(np.uint8), picture)
    _outline(picture, regions, segments)
    for number, segment in enumerate(segments, start=1):
        _write_name(picture, regions, number, segment)
    return picture


def color_classes(semantic: npt.NDArray[Any], labels: Labels) -> npt.NDArray[np.uint8]:
    """Show every class in its colour.

    semantic: (H, W) class ids, uint8 or uint16. Returns (H, W, 3) uint8 RGB, black where there is no class.
    """
    palette = np.zeros((np.iinfo(semantic.dtype).max + 1, 3), np.uint8)
    palette[: len(labels.colors)] = labels.colors
    return palette.take(semantic, axis=0)


def to_jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """Compress a picture, (H, W, 3) uint8 RGB."""
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise RuntimeError(f"OpenCV could not encode a picture of shape {picture.shape}")
    return data.tobytes()


def _regions(result: Drawable) -> tuple[npt.NDArray[np.uint8], list[Segment]]:
    """(H, W) uint8 region numbers, 0 for none, and the segments numbered 1, 2, ... in it: the largest 255."""
    # In the semantic task there are no ids: a region is a class.
    by_class = not result.panoptic.any()
    plane = result.semantic if by_class else result.panoptic
    segments = sorted(result.segments, key=lambda segment: segment.area, reverse=True)[:255]
    numbers = np.zeros(np.iinfo(plane.dtype).max + 1, np.uint8)
    for number, segment in enumerate(segments, start=1):
        numbers[segment.class_id if by_class else segment.id] = number
    return numbers[plane], segments


def _color(segment: Segment, labels: Labels) -> tuple[int, int, int]:
    if not segment.is_thing or segment.id == 0:
        return labels.colors[segment.class_id]
    # Steps of the golden ratio keep the hues of any run of ids apart.
    hue = segment.id * GOLDEN_RATIO % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.9, 0.65)[segment.id % 2], 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _outline(picture: npt.NDArray[np.uint8], regions: npt.NDArray[np.uint8], segments: list[Segment]) -> None:
    """Outlines things, and stuff where it meets others; but no hole, or what nobody found would look found."""
    around = np.ones((3, 3), np.uint8)
    numbers = regions - np.uint8(1)  # what is in no segment is above all others, as borders are for `erode`
    lowest = cv2.erode(numbers, around)
    highest = cv2.dilate(regions, around) - np.uint8(1)
    edges = ((highest > lowest) & (highest < 255) & (regions > 0)).view(np.uint8)
    for number, segment in enumerate(segments, start=1):
        if segment.is_thing:
            x, y, width, height = segment.box
            mask = (regions[y : y + height, x : x + width] == number).view(np.uint8)
            contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(x, y))
            cv2.drawContours(edges, contours, -1, 1)
    edges[[0, -1]] = edges[:, [0, -1]] = 0  # the image ends there, not the thing
    cv2.copyTo(np.full_like(picture, 255), edges, picture)


def _write_name(picture: npt.NDArray[np.uint8], regions: npt.NDArray[np.uint8], number: int, segment: Segment) -> None:
    x, y, width, height = segment.box
    part = regions[y : y + height, x : x + width]
    step = max(1, max(part.shape, default=0) // 64)
    seen = (part[::step, ::step] == number).view(np.uint8)
    inside = cv2.copyMakeBorder(seen, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    _, _, _, (column, row) = cv2.minMaxLoc(distance)
    if distance[row, column] == 0:
        return  # hidden by others

    text = f"{segment.class_name} {segment.id}" if segment.is_thing and segment.id else segment.class_name
    scale = max(0.4, picture.shape[0] / 1000)
    weight = max(1, round(scale))
    (text_width, text_height), below = cv2.getTextSize(text, FONT, scale, weight)
    left = int(np.clip(x + (column - 1) * step - text_width // 2, 0, max(0, picture.shape[1] - text_width)))
    base = int(np.clip(y + (row - 1) * step + text_height // 2, text_height, max(0, picture.shape[0] - below)))
    cv2.rectangle(picture, (left - 2, base - text_height - 2), (left + text_width + 1, base + below), (0, 0, 0), -1)
    cv2.putText(picture, text, (left, base), FONT, scale, (255, 255, 255), weight, cv2.LINE_AA)
