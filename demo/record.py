"""Records a world as a rosbag2 with the truth about it: `python -m demo.record --seed 8 --seconds 20 OUT_BAG`.

| topic | type | content |
| --- | --- | --- |
| `/camera/image/compressed` | CompressedImage | JPEG |
| `/camera/camera_info` | CameraInfo | pinhole, no distortion |
| `/camera/depth/compressed` | CompressedImage | PNG of 16UC1: millimetres, 0 unknown (REP 118) |
| `/odom` | Odometry | pose and velocity of `camera_link` (x forward, y left, z up, at the camera's centre) in `odom` |
| `/ground_truth/semantic` | Image mono8 | class ids, see `config/labels/demo.yaml`; 8 is the class of `--extra` |
| `/ground_truth/panoptic` | Image 16UC1 | ids of things that last the whole bag, 0 for stuff |
| `/ground_truth/objects` | eomt_ros/ObjectArray | true boxes and velocities of the things in view, in `odom` |

All seven have the same stamps, `RATE` a second. Pictures are in `camera_optical` (x right, y down, z ahead).

`--camera front=8 --camera left=8@90` records a rig instead, whose cameras are at one place on one robot, at the same
stamps; this left one looks 90 degrees to the left of ahead. All topics are in the namespace of their camera, such as
`/front/odom` and `/front/ground_truth/objects`, and so are `front_optical` and `front_link`; the frame `odom` and the
ids of the truth are those of the world.

With several seeds, `--camera front=8 --camera rear=9`, each camera is in the world of its seed, and has an odometry
frame of its own, such as `front_odom`.

`--site night` has the room dark, with coloured light, grain and other surfaces; `--extra pallet` has pallets standing
about.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from tqdm import tqdm

from demo import BAG_SEED, CLASS_NAMES, EXTRA_CLASSES, add_kind_arguments
from demo.truth import ThingInView
from demo.world import Frame, World
from eomt_ros.evaluation.bag.types import typestore

RATE = 10.0
EPOCH = 1_700_000_000
JPEG_QUALITY, RIG_JPEG_QUALITY = 84, 62  # a rig has several times the pictures
PNG_SETTINGS = [cv2.IMWRITE_PNG_COMPRESSION, 9]
STEREO_BASELINE = 0.12
DISPARITY_STEP = 1 / 8

MOVING = 0.05  # m/s from which on a thing is said to move

TOPICS = {
    "image/compressed": "sensor_msgs/msg/CompressedImage",
    "camera_info": "sensor_msgs/msg/CameraInfo",
    "depth/compressed": "sensor_msgs/msg/CompressedImage",
    "odom": "nav_msgs/msg/Odometry",
    "ground_truth/semantic": "sensor_msgs/msg/Image",
    "ground_truth/panoptic": "sensor_msgs/msg/Image",
    "ground_truth/objects": "eomt_ros/msg/ObjectArray",
}
"""In the namespace of a rig's camera; of a single camera the first three are in `/camera`, the others in none."""

_STORE = typestore()


def write_bag(path: Path, frames: Iterable[Frame], camera_matrix: NDArray[np.float64]) -> None:
    """Write `frames`, which need their depth, as a new bag; `rosbags.rosbag2.WriterError` where `path` exists."""
    topics = [f"/{topic}" if topic.startswith(("odom", "ground_truth")) else f"/camera/{topic}" for topic in TOPICS]
    with _new_bag(path, dict(zip(topics, TOPICS.values(), strict=True))) as write:
        for stamp, messages in _Camera(camera_matrix, JPEG_QUALITY).messages(frames):
            for topic, message in zip(topics, messages, strict=True):
                write(topic, stamp, message)


def write_rig(
    path: Path,
    cameras: Mapping[str, Iterable[Frame]],
    camera_matrix: NDArray[np.float64],
    *,
    one_world: bool,
) -> None:
    """Write the frames of several cameras, by their names, as a new bag; raises as `write_bag` does.

    one_world: they are in one, whose `odom` is that of all.
    """
    topics = {f"/{camera}/{topic}": kind for camera in cameras for topic, kind in TOPICS.items()}
    streams = [
        _Camera(camera_matrix, RIG_JPEG_QUALITY, name, one_world).messages(frames) for name, frames in cameras.items()
    ]
    with _new_bag(path, topics) as write:
        for seen in zip(*streams, strict=True):
            for camera, (stamp, messages) in zip(cameras, seen, strict=True):
                for topic, message in zip(TOPICS, messages, strict=True):
                    write(f"/{camera}/{topic}", stamp, message)


def stereo_depth(depth: NDArray[np.float32], focal: float) -> NDArray[np.uint16]:
    """Depth in millimetres as a stereo camera of focal length `focal` (pixels) would give it, 0 where it sees nothing.

    Its disparity comes in steps of `DISPARITY_STEP` pixels, so that depth is fine nearby and coarse far away, as with
    real ones; that also makes for small files.
    """
    disparity = np.round(focal * STEREO_BASELINE / depth / DISPARITY_STEP) * DISPARITY_STEP
    millimetres = 1000.0 * focal * STEREO_BASELINE / np.maximum(disparity, DISPARITY_STEP)
    return np.where((disparity > 0) & (millimetres < 65535.5), np.round(millimetres), 0).astype(np.uint16)


@contextmanager
def _new_bag(path: Path, topics: Mapping[str, str]) -> Iterator[Callable[[str, float, Any], None]]:
    """Yields what writes a message, from its topic and the seconds of its stamp."""
    # Version 8 is the newest whose metadata Humble still reads.
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=_STORE) for topic, kind in topics.items()}

        def write(topic: str, stamp: float, message: Any) -> None:
            nanoseconds = EPOCH * 10**9 + round(stamp * 1e9)
            writer.write(connections[topic], nanoseconds, _STORE.serialize_cdr(message, topics[topic]))

        yield write


@dataclass
class _Camera:
    """The messages of one camera."""

    matrix: NDArray[np.float64]
    jpeg_quality: int
    name: str = ""
    """Of one of several, before the names of its frames."""
    one_world: bool = True
    """It is in the world of the others."""

    def messages(self, frames: Iterable[Frame]) -> Iterator[tuple[float, list[Any]]]:
        """The stamp and the messages of each frame, in the order of `TOPICS`. Raises ValueError without depth."""
        first_seen: dict[int, int] = {}
        before = None
        for number, frame in enumerate(frames):
            if frame.depth is None:
                raise ValueError(f"frame at {frame.stamp} s has no depth; ask World.frames for it with depth=True")
            picture, world = (_header(frame.stamp, self._frame_id(name)) for name in ("optical", "odom"))
            jpeg = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
            depth = stereo_depth(frame.depth, self.matrix[0, 0])
            ages = [number - first_seen.setdefault(thing.id, number) for thing in frame.objects]
            objects = [_object(thing, age) for thing, age in zip(frame.objects, ages, strict=True)]
            yield (
                frame.stamp,
                [
                    _compressed(picture, "rgb8; jpeg compressed bgr8", _encoded(".jpg", frame.image[..., ::-1], jpeg)),
                    _camera_info(picture, frame, self.matrix),
                    _compressed(picture, "16UC1; png compressed ", _encoded(".png", depth, PNG_SETTINGS)),
                    _odometry(world, self._frame_id("link"), frame, before),
                    _image(picture, frame.classes, "mono8"),
                    _image(picture, frame.instances, "16UC1"),
                    _STORE.types["eomt_ros/msg/ObjectArray"](world, 0, objects),
                ],
            )
            before = frame

    def _frame_id(self, name: str) -> str:
        if name == "odom" and self.one_world:
            return name
        return f"{self.name or 'camera'}_{name}"


def _compressed(header: Any, kind: str, data: NDArray[np.uint8]) -> Any:
    return _STORE.types["sensor_msgs/msg/CompressedImage"](header, kind, data)


def _header(stamp: float, frame_id: str) -> Any:
    seconds, nanoseconds = divmod(round(stamp * 1e9), 10**9)
    time = _STORE.types["builtin_interfaces/msg/Time"](EPOCH + seconds, nanoseconds)
    return _STORE.types["std_msgs/msg/Header"](time, frame_id)


def _encoded(kind: str, image: NDArray[Any], settings: list[int]) -> NDArray[np.uint8]:
    done, data = cv2.imencode(kind, image, settings)
    if not done:
        raise RuntimeError(f"OpenCV could not encode an image of shape {image.shape} as {kind}")
    return data


def _image(header: Any, image: NDArray[Any], encoding: str) -> Any:
    height, width = image.shape
    data = np.ascontiguousarray(image, image.dtype.newbyteorder("<")).view(np.uint8).ravel()
    return _STORE.types["sensor_msgs/msg/Image"](header, height, width, encoding, 0, width * image.itemsize, data)


def _camera_info(header: Any, frame: Frame, camera_matrix: NDArray[np.float64]) -> Any:
    height, width = frame.classes.shape
    region = _STORE.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    projection = np.hstack([camera_matrix, np.zeros((3, 1))])
    return _STORE.types["sensor_msgs/msg/CameraInfo"](
        header=header,
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=camera_matrix.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def _object(thing: ThingInView, age: int) -> Any:
    types, exact = _STORE.types, np.zeros(9)
    vector = types["geometry_msgs/msg/Vector3"]
    return types["eomt_ros/msg/Object"](
        id=thing.id,
        class_id=thing.class_id,
        class_name=(*CLASS_NAMES, *EXTRA_CLASSES)[thing.class_id],
        score=1.0,
        position=types["geometry_msgs/msg/Point"](*thing.position),
        position_covariance=exact,
        size=vector(*thing.size),
        size_covariance=exact,
        velocity_known=True,
        velocity=vector(*thing.velocity),
        velocity_covariance=exact,
        moving=bool(np.linalg.norm(thing.velocity) >= MOVING),
        partial=thing.partial,
        points=thing.points,
        age=age,
        returned=False,
        embedding=np.empty(0, np.float32),
    )


def _odometry(header: Any, child: str, frame: Frame, before: Frame | None) -> Any:
    types = _STORE.types
    vector = types["geometry_msgs/msg/Vector3"]
    linear, angular = (np.zeros(3), np.zeros(3)) if before is None else _velocity(before, frame)
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](*frame.position), types["geometry_msgs/msg/Quaternion"](*frame.orientation)
    )
    twist = types["geometry_msgs/msg/Twist"](vector(*linear), vector(*angular))
    return types["nav_msgs/msg/Odometry"](
        header,
        child,
        types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        types["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36)),
    )


def _velocity(before: Frame, frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear (m/s) and angular (rad/s) velocity since the frame before, in the camera's own axes."""
    seconds = frame.stamp - before.stamp
    now, then = _rotation(frame.orientation), _rotation(before.orientation)
    turn = np.asarray(cv2.Rodrigues(then.T @ now)[0], np.float64)
    return now.T @ (frame.position - before.position) / seconds, turn.ravel() / seconds


def _rotation(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation matrix `(3, 3)` of a unit quaternion xyzw."""
    x, y, z, w = quaternion
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def _clear(path: Path) -> None:
    """Remove the bag at `path`, and nothing that is not a bag."""
    is_folder = path.is_dir() and not path.is_symlink()
    if not is_folder or any(entry.suffix not in (".mcap", ".yaml") for entry in path.iterdir()):
        sys.exit(f"{path} is not a bag's folder, so --overwrite leaves it alone: remove it or choose another place")
    shutil.rmtree(path)


class _View(NamedTuple):
    """What a camera of a rig sees: the world of a seed, so many degrees to the left of ahead, 0 to 359."""

    seed: int
    degrees: int


def _camera(text: str) -> tuple[str, _View]:
    """A camera of a rig: its name, and what it sees."""
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9_]*)=(\d+)(?:@(-?\d+))?", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r}, expected a name, a seed and where it looks, such as front=8 or left=8@90"
        )
    return found[1], _View(int(found[2]), int(found[3] or 0) % 360)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.record", description="Record a simulated world as a rosbag2.")
    parser.add_argument("bag", type=Path, help="folder of the bag, which must not exist yet")
    parser.add_argument(
        "--seed", type=int, default=BAG_SEED, help="the world; training uses seeds from 1000 on (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help=f"length, at {RATE:g} frames a second (default: %(default)s)"
    )
    parser.add_argument(
        "--camera",
        type=_camera,
        action="append",
        metavar="NAME=SEED[@DEGREES]",
        help="a camera of a rig: the seed of its world, and how far to the left of ahead it looks (default: 0); once "
        "for each, in place of --seed",
    )
    add_kind_arguments(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace the bag if it exists")
    arguments = parser.parse_args()
    names = [name for name, _ in arguments.camera or ()]
    if len(set(names)) < len(names):
        parser.error(f"--camera: two cameras of one name: {', '.join(names)}")
    rig = dict(arguments.camera or ())
    for view in rig.values():
        alike = [other for other in rig if rig[other] == view]
        if len(alike) > 1:
            parser.error(
                f"--camera: {' and '.join(alike)} look the same way, {view.degrees} degrees to the left in the world "
                f"of seed {view.seed}; expected another way, as {alike[-1]}={view.seed}@{(view.degrees + 90) % 360}"
            )
    if arguments.seed < 0 or not 0.1 <= arguments.seconds <= 3600:
        parser.error(
            f"--seed must be at least 0 and --seconds 0.1 to 3600, got {arguments.seed} and {arguments.seconds:g}"
        )
    if arguments.bag.exists() or arguments.bag.is_symlink():
        if not arguments.overwrite:
            sys.exit(f"{arguments.bag} exists already: choose another place, or add --overwrite to replace it")
        _clear(arguments.bag)
    views = list(rig.values()) or [_View(arguments.seed, 0)]
    count = round(arguments.seconds * RATE)
    with ExitStack() as stack:
        worlds = {
            seed: stack.enter_context(World(seed, fine=True, site=arguments.site, extra=arguments.extra))
            for seed in {view.seed for view in views}
        }
        # The first alone tells how far it is: the others keep pace with it.
        first, *others = (worlds[view.seed].frames(arguments.seconds, RATE, degrees=view.degrees) for view in views)
        frames = [tqdm(first, total=count, unit="frame"), *others]
        camera_matrix = worlds[views[0].seed].camera_matrix
        if rig:
            cameras = dict(zip(rig, frames, strict=True))
            write_rig(arguments.bag, cameras, camera_matrix, one_world=len(worlds) == 1)
        else:
            write_bag(arguments.bag, frames[0], camera_matrix)


if __name__ == "__main__":
    main()
