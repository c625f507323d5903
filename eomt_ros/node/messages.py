"""Results of the engine as ROS messages, each with the header it is given."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import CompressedImage, RegionOfInterest

from eomt_ros.msg import Instance, InstanceArray, Object, ObjectArray
from eomt_ros.overlay import to_jpeg

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt
    from std_msgs.msg import Header

    from eomt_ros.engine import FrameResult, Segment
    from eomt_ros.space.locator import LocatedObject


def jpeg_image(picture: npt.NDArray[np.uint8], header: Header) -> CompressedImage:
    """A picture, (H, W, 3) uint8 RGB, with the format by which image_transport knows it."""
    # The setter of `data` checks every element of anything but an array.array.
    return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=array("B", to_jpeg(picture)))


def vector(kind: type[Any], values: Iterable[float]) -> Any:
    """Three numbers as a geometry_msgs Point or Vector3."""
    x, y, z = map(float, values)
    return kind(x=x, y=y, z=z)


def instance_array(
    result: FrameResult,
    header: Header,
    *,
    sequence: int,
    dropped: int,
    task: str,
    model: str,
    identity: str,
    with_embeddings: bool = False,
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
        instances=[_instance(segment, with_embeddings) for segment in result.segments],
    )


def object_array(
    objects: Iterable[LocatedObject], result: FrameResult, header: Header, *, with_embeddings: bool = False
) -> ObjectArray:
    """The things of one image, `result`, in metres."""
    seen = {segment.id: segment for segment in result.segments}
    found = [_object(each, seen.get(each.id) if each.points else None, with_embeddings) for each in objects]
    return ObjectArray(header=header, epoch=result.epoch, objects=found)


def _object(each: LocatedObject, segment: Segment | None, with_embedding: bool) -> Object:
    """segment: that shows it in this image; None for an object that is only predicted."""
    message = Object(
        id=each.id,
        class_id=each.class_id,
        class_name=each.class_name,
        score=each.score,
        position=vector(Point, each.position),
        position_covariance=each.position_covariance.ravel(),
        size=vector(Vector3, each.size),
        size_covariance=each.size_covariance.ravel(),
        partial=each.partial,
        points=each.points,
        age=each.age,
    )
    if each.velocity is not None and each.velocity_covariance is not None:
        message.velocity_known = True
        message.velocity = vector(Vector3, each.velocity)
        message.velocity_covariance = each.velocity_covariance.ravel()
        message.moving = each.moving
    if segment is not None:
        message.returned = segment.returned
        message.embedding = _embedding(segment, with_embedding)
    return message


def _instance(segment: Segment, with_embedding: bool) -> Instance:
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
        returned=segment.returned,
        embedding=_embedding(segment, with_embedding),
    )


def _embedding(segment: Segment, wanted: bool) -> array[float]:
    return array("f", segment.embedding.tobytes() if wanted and segment.embedding is not None else b"")
