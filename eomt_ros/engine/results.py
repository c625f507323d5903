"""The result of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.postprocess.rle import Box, decode_mask
from eomt_ros.engine.preprocess.pixels import as_image
from eomt_ros.extras import missing
from eomt_ros.overlay import draw

if TYPE_CHECKING:
    import supervision
    from PIL.Image import Image as PilImage


@dataclass(frozen=True)
class Segment:
    """One thing, or one region of stuff, in one frame."""

    id: int
    """Lasts while the object is followed and is never used again in the epoch; 0 in the semantic task."""
    class_id: int
    class_name: str
    is_thing: bool
    score: float
    """0..1."""
    area: int
    """Pixels; in the instance task those of the whole mask, also where a later instance covers it."""
    box: tuple[int, int, int, int]
    """x, y, width, height in pixels, around what the area counts."""
    age: int
    """Frames since the id was given; 0 in the first."""
    mask: tuple[int, ...] | None = None
    """Run lengths over the box, row by row, the first run outside; None unless asked for. See `decode_mask`."""
    image_size: tuple[int, int] | None = None
    """Height and width of the frame; None where they are not known."""
    returned: bool = False
    """This id was lost, and came back in this frame."""
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)
    """(channels,) float32 of unit length: the looks of a thing, by which it is found again; None for stuff, for an
    instance that others cover whole, in the semantic task, and unless asked for where nothing is remembered."""

    def to_coco_rle(self) -> dict[str, Any]:
        """The mask over the whole frame as COCO has it, `{"size": [height, width], "counts": str}`.

        It can be written as JSON, and pycocotools, which this needs, reads it. Raises `ValueError` where the masks were
        not asked for, `ImportError` without pycocotools.
        """
        if self.mask is None or self.image_size is None:
            raise ValueError("the segment has no mask; ask for masks: segment(image, with_masks=True)")
        try:
            from pycocotools.mask import encode
        except ImportError as error:
            raise ImportError(missing(error, "coco")) from error
        found = encode(np.asfortranarray(_whole_mask(self.mask, self.box, self.image_size), np.uint8))
        return {"size": found["size"], "counts": found["counts"].decode("ascii")}


@dataclass(frozen=True)
class Timings:
    """Seconds spent on one frame. On CUDA, where the host runs ahead, the network's share appears under `postprocess`.

    The frames of a batch share the time of their preprocessing and network.
    """

    preprocess: float
    network: float
    postprocess: float
    identity: float


@dataclass(frozen=True, eq=False)
class Logits:
    """The network's numbers, before any threshold."""

    masks: np.ndarray
    """(queries, h, w) float32, at the network's own size."""
    classes: np.ndarray
    """(queries, classes + 1) float32, the last column for "no object"."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame, segmented at its own size."""

    semantic: np.ndarray
    """(H, W) uint8 class ids, 255 unlabelled (uint16 and 65535 above 254 classes)."""
    panoptic: np.ndarray
    """(H, W) uint16 segment ids, 0 none; all 0 in the semantic task."""
    confidence: np.ndarray | None
    """(H, W) uint8, the probability of the pixel's class or segment times 255; None where it was not asked for."""
    segments: list[Segment]
    epoch: int
    """Ids are comparable within one epoch of the stream only."""
    timings: Timings
    labels: Labels
    """The model's classes."""
    logits: Logits | None = None
    reset_reason: str = ""
    """The reason why the stream began a new epoch with this frame; empty where it went on."""

    def plot(self, image: np.ndarray | PilImage, *, alpha: float = 0.5) -> np.ndarray:
        """The image with its segments coloured, outlined and named, (H, W, 3) uint8 RGB, as `~/overlay` shows it.

        image: the one that was segmented. alpha: 0 shows the image alone, 1 covers it with colours. Raises `ValueError`
        for an image of another size.
        """
        array = as_image(image)
        if array.shape[:2] != self.semantic.shape:
            (height, width), (own_height, own_width) = array.shape[:2], self.semantic.shape
            raise ValueError(
                f"image is {width}x{height}, expected the one that was segmented, {own_width}x{own_height}"
            )
        return draw(array, self, self.labels, alpha=alpha)

    def to_supervision(self) -> supervision.Detections:
        """The segments as supervision has them: xyxy, mask, class_id, confidence, tracker_id, and `data["class_name"]`.

        A mask is the pixels that are seen of a segment; in the instance task the whole one, where masks were asked for.
        Without ids, in the semantic task, tracker_id is None. Raises `ImportError` without supervision.
        """
        try:
            from supervision import Detections
        except ImportError as error:
            raise ImportError(missing(error, "supervision")) from error
        if not self.segments:
            return Detections.empty()
        boxes = np.array([segment.box for segment in self.segments], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        ids = np.array([segment.id for segment in self.segments])
        return Detections(
            xyxy=boxes,
            mask=np.stack([self.mask_of(segment) for segment in self.segments]),
            class_id=np.array([segment.class_id for segment in self.segments]),
            confidence=np.array([segment.score for segment in self.segments], np.float32),
            tracker_id=ids if ids.any() else None,
            data={"class_name": np.array([segment.class_name for segment in self.segments])},
        )

    def mask_of(self, segment: Segment) -> np.ndarray:
        """The pixels of a segment, (H, W) bool: those that are seen, or the whole mask where masks were asked for."""
        if segment.mask is None:
            return self.panoptic == segment.id if segment.id else self.semantic == segment.class_id
        return _whole_mask(segment.mask, segment.box, self.semantic.shape)


def _whole_mask(mask: Sequence[int], box: Box, size: tuple[int, ...]) -> np.ndarray:
    """A segment's run lengths as pixels of the whole frame, (H, W) bool."""
    x, y, width, height = box
    whole = np.zeros(size, bool)
    whole[y : y + height, x : x + width] = decode_mask(mask, box)
    return whole
