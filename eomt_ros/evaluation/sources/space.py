"""What a bag has to place and score things in metres: depth, intrinsics, odometry, and the true boxes of things.

They belong to a frame by their stamps. Where the camera is in the frame that the odometry moves (its `child_frame_id`)
comes from `/tf_static`; in a bag without that topic it is at the origin, looking along x.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eomt_ros.errors import UserError
from eomt_ros.evaluation.bag import Bag, BagError, Stamped
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import TrueObject, Vector
from eomt_ros.evaluation.sources.sequence import FrameInSpace, Problems, SourceFrame
from eomt_ros.printable import printable

if TYPE_CHECKING:
    from eomt_ros.space.pose import Pose

OBJECTS_TOPIC = "/ground_truth/objects"
OBJECTS_TYPE = "eomt_ros/msg/ObjectArray"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
STATIC_TOPIC = "/tf_static"

TOLERANCE = 50_000_000
"""ns by which depth and true boxes may be beside their frame, as `depth_slop` of the node."""
NO_PLACES = "the places of things are not known"
LONGEST_GAP = 500_000_000
"""ns between two messages of odometry, between which a pose is known."""


class SpaceTopics(NamedTuple):
    """The topics of a camera."""

    depth: str
    camera_info: str
    odometry: str
    objects: str | None
    """None where there are no true boxes."""


def space_topics(
    bag: Bag, images: str, problems: Problems, *, alone: bool, boxes: bool, places: bool
) -> SpaceTopics | None:
    """The topics that belong to those images; None where what is wanted of them is not there, or not clear.

    Depth and intrinsics are in the namespace of the images; so is odometry, or there is one topic of it elsewhere. The
    true boxes are there too, or, if the camera is `alone`, in no namespace. boxes: true boxes are wanted. places: the
    rest is wanted without them.
    """
    there = {topic: kind for topic, kind in bag.topics.items() if bag.count(topic)}
    space = images.removesuffix("/compressed").rpartition("/")[0]
    named = OBJECTS_TOPIC if alone and OBJECTS_TOPIC in there else space + OBJECTS_TOPIC
    objects = named if boxes and there.get(named) == OBJECTS_TYPE else None
    if objects is None and not places:
        return None
    beside = {topic: kind for topic, kind in there.items() if topic.startswith(f"{space}/")}
    depths = [topic for topic in bag.image_topics if topic in beside and "depth" in topic.removeprefix(space).lower()]
    odometries = [topic for topic, kind in there.items() if kind == ODOMETRY_TYPE]
    found = {
        "depth images": [topic for topic in depths if topic.rpartition("/")[0] not in depths],
        CAMERA_INFO_TYPE: [topic for topic, kind in beside.items() if kind == CAMERA_INFO_TYPE],
        ODOMETRY_TYPE: [topic for topic in odometries if topic in beside] or odometries,
    }
    if objects is None and not all(found.values()):
        return None  # most recordings have no depth
    for what, topics in found.items():
        if len(topics) != 1:
            where = "" if what == ODOMETRY_TYPE else f" in {space or '/'}"
            problems.append(
                f"{unused(objects)}: expected one topic of {what}{where}, found "
                f"{printable(', '.join(sorted(topics))) or 'none'}"
            )
            return None
    depth, camera_info, odometry = (topic for (topic,) in found.values())
    chosen = SpaceTopics(depth, camera_info, odometry, objects)
    fault = _fault(bag, images, chosen)
    problems += [f"{unused(objects)}: {fault}"] if fault else []
    return None if fault else chosen


def unused(objects: str | None) -> str:
    """The beginning of a sentence that says why the topics are not used."""
    return f"{objects} is not used" if objects else NO_PLACES


def _fault(bag: Bag, images: str, topics: SpaceTopics) -> str | None:
    """Why these topics do not go together, by their first messages; None where they do."""
    frames = {}
    for topic in filter(None, (images, *topics)):
        if bag.is_unstamped(topic):
            return f"the headers of {topic} have no stamps"
        try:
            frames[topic] = next(bag.messages(topic)).content.header.frame_id
        except (BagError, StopIteration) as error:
            return f"{topic}: {error}"
    for topic, other in ((topics.depth, images), (topics.objects or topics.odometry, topics.odometry)):
        if frames[topic] != frames[other]:
            return (
                f"{topic} is in the frame {printable(frames[topic], 60)!r}, {other} in {printable(frames[other], 60)!r}"
            )
    return None


class SpaceReader:
    """Adds to frames what is known of them in metres.

    messages: of depth and of true boxes for every frame, None where there is none. Raises `UserError` where intrinsics,
    odometry or static transforms cannot be used.
    """

    def __init__(self, bag: Bag, topics: SpaceTopics, messages: Iterable[tuple[Any, Any]], problems: Problems) -> None:
        from eomt_ros.space.pinhole import Pinhole

        info = next(bag.messages(topics.camera_info)).content
        self._pinhole = Pinhole.of(info)
        self._motion = _Motion(list(bag.messages(topics.odometry)), _static(bag), info.header.frame_id)
        self._has_boxes = topics.objects is not None
        self._messages = enumerate(messages)
        self._problems = problems

    def place(self, index: int, frame: SourceFrame) -> SourceFrame:
        """The frame, the `index`-th of all, with what is known of it; frames come in order."""
        depth, objects = next(each for place, each in self._messages if place == index)
        return replace(frame, space=self._read(frame, depth, objects))

    def _read(self, frame: SourceFrame, depth: Any, objects: Any) -> FrameInSpace | None:
        from eomt_ros.space.depth import decode_depth, depth_at

        at = f"at {frame.stamp} ns"
        pose = self._motion.at(frame.stamp)
        needed = {"depth": depth, "odometry": pose, **({"true boxes": objects} if self._has_boxes else {})}
        for what, known in needed.items():
            if known is None:
                self._leave_out(f"without {what}", at)
                return None
        assert pose is not None
        height, width, _ = frame.image.shape
        try:
            image = depth_at(decode_depth(depth), height, width)
            pinhole = self._pinhole.at(height, width)
        except UserError as error:
            self._leave_out("whose depth cannot be used", f"{at} {error}")
            return None
        truth = None if objects is None else _true_objects(objects)
        return FrameInSpace(image, pinhole, pose.pose, truth, pose.jumps)

    def _leave_out(self, what: str, example: str) -> None:
        if self._has_boxes:
            self._problems.tally(
                f"frame {what} is not scored in metres", f"frames {what} are not scored in metres", example
            )
        else:
            self._problems.tally(f"frame {what}: {NO_PLACES}", f"frames {what}: {NO_PLACES}", example)


class _Known(NamedTuple):
    """Where the camera was, and how often it had jumped until then."""

    pose: Pose
    jumps: int


class _Motion:
    """Where the camera was, by the odometry. static: parent and pose of frames that do not move. camera: its frame."""

    def __init__(self, odometry: list[Stamped[Any]], static: Mapping[str, tuple[str, Pose]], camera: str) -> None:
        from eomt_ros.space.jumps import Steps
        from eomt_ros.space.pose import OPTICAL_IN_BODY

        body = odometry[0].content.child_frame_id
        mounted = _between(static, body, camera) if static else OPTICAL_IN_BODY
        known = {message.stamp: _pose_of(message.content.pose.pose) @ mounted for message in odometry}
        self._stamps = sorted(known)
        steps = Steps()
        self._poses: list[_Known] = []
        for stamp in self._stamps:
            steps.add(stamp, known[stamp])
            self._poses.append(_Known(known[stamp], steps.jumps))

    def at(self, stamp: int) -> _Known | None:
        """The camera in the odometry's frame; None where no message is near enough, and on a jump."""
        from eomt_ros.space.pose import Pose

        place = bisect_left(self._stamps, stamp)
        if place < len(self._stamps) and self._stamps[place] == stamp:
            return self._poses[place]
        if not 0 < place < len(self._stamps):
            return None
        before, after = self._stamps[place - 1 : place + 1]
        first, second = self._poses[place - 1 : place + 1]
        if after - before > LONGEST_GAP or first.jumps != second.jumps:
            return None
        share = (stamp - before) / (after - before)
        return _Known(Pose.between(first.pose, second.pose, share), second.jumps)


def _static(bag: Bag) -> dict[str, tuple[str, Pose]]:
    """The parent of each frame that does not move, and its pose there."""
    if not bag.count(STATIC_TOPIC):
        return {}
    transforms = [each for message in bag.messages(STATIC_TOPIC) for each in message.content.transforms]
    return {each.child_frame_id: (each.header.frame_id, _pose_of(each.transform)) for each in transforms}


def _between(static: Mapping[str, tuple[str, Pose]], body: str, camera: str) -> Pose:
    """The camera's frame in the body's."""
    (root, in_root), (camera_root, camera_in_root) = _up(static, body), _up(static, camera)
    if root != camera_root:
        raise SourceError(
            f"{STATIC_TOPIC} does not lead from the odometry's frame {printable(body, 60)!r} to the camera's "
            f"{printable(camera, 60)!r}"
        )
    return in_root.inverse() @ camera_in_root


def _up(static: Mapping[str, tuple[str, Pose]], frame: str) -> tuple[str, Pose]:
    """The outermost frame, and the pose of a frame there."""
    from eomt_ros.space.pose import Pose

    pose, passed = Pose(np.eye(3), np.zeros(3)), {frame}
    while frame in static:
        frame, outer = static[frame]
        if frame in passed:
            raise SourceError(f"{STATIC_TOPIC} goes round in a circle at {printable(frame, 60)!r}")
        passed.add(frame)
        pose = outer @ pose
    return frame, pose


def _pose_of(message: Any) -> Pose:
    """From a geometry_msgs Pose or Transform."""
    from eomt_ros.space.pose import Pose

    place, turn = (
        (message.position, message.orientation)
        if hasattr(message, "position")
        else (message.translation, message.rotation)
    )
    return Pose.of((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))


def _true_objects(message: Any) -> dict[int, TrueObject]:
    return {
        each.id: TrueObject(_xyz(each.position), _xyz(each.size), _xyz(each.velocity) if each.velocity_known else None)
        for each in message.objects
    }


def _xyz(vector: Any) -> Vector:
    return np.array([vector.x, vector.y, vector.z], np.float64)
