"""Results of the engine as ROS messages, each with the header it is given."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage, RegionOfInterest

from eomt_ros.msg import Instance, InstanceArray
from eomt_ros.node.cdr import write_image
from eomt_ros.overlay import to_jpeg

if TYPE_CHECKING:
    from std_msgs.msg import Header

    from eomt_ros.engine import FrameResult, Segment


def semantic_image(result: FrameResult, header: Header) -> bytes:
    """Class ids in CDR, mono8 with 255 for unlabelled; 16UC1 with 65535 for a model of more than 254 classes."""
    return write_image(result.semantic, "mono8" if result.semantic.dtype == np.uint8 else "16UC1", header)


def jpeg_image(picture: npt.NDArray[np.uint8], header: Header) -> CompressedImage:
    """A picture, (H, W, 3) uint8 RGB, with the format by which image_transport knows it."""
    # The setter of `data` checks every element of anything but an array.array.
    return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=array("B", to_jpeg(picture)))


def instance_array(
    result: FrameResult, header: Header, *, sequence: int, dropped: int, task: str, model: str, identity: str
) -> InstanceArray:
    """Everything segmented in one frame."""
    height, width = result.semantic.shape
    return InstanceArray(
        header=header,
        epoch=result.epoch,
        sequence=sequence,
        dropped=dropped,
        task=task,
        model=model,
        identity=identity,
        height=height,
        width=width,
        instances=[_instance(segment) for segment in result.segments],
    )


def _instance(segment: Segment) -> Instance:
    x, y, width, height = segment.box
    return Instance(
        id=segment.id,
        class_id=segment.class_id,
        class_name=segment.class_name,
        is_thing=segment.is_thing,
        score=segment.score,
        area=segment.area,
        box=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
        age=segment.age,
        mask_rle=array("I", segment.mask or ()),
    )
