"""Results of the engine as ROS messages, each with the header it is given."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from sensor_msgs.msg import CompressedImage, RegionOfInterest

from eomt_ros.msg import Instance, InstanceArray
from eomt_ros.overlay import to_jpeg

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from std_msgs.msg import Header

    from eomt_ros.engine import FrameResult, Segment


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
