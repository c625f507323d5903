"""The messages of a bag as they were recorded: of rosbag2 by `Rosbag2`, whole or damaged, of rosbag1 by `Rosbag1`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from eomt_ros.evaluation.bag.contents import BagError, Channel, Contents, DamageError, Recorded, note
from eomt_ros.evaluation.bag.mcap import McapFile
from eomt_ros.evaluation.bag.rosbag1 import Rosbag1
from eomt_ros.evaluation.bag.sqlite import SqliteFile
from eomt_ros.evaluation.bag.types import Types
from eomt_ros.evaluation.bag.unpacking import unpack_file
from eomt_ros.evaluation.counting import counted
from eomt_ros.git_lfs import ADVICE, is_pointer
from eomt_ros.regular_file import read_bytes

METADATA = "metadata.yaml"
LARGEST_METADATA = 16 << 20
"""Bytes."""

_READERS: dict[str, type[McapFile] | type[SqliteFile]] = {".mcap": McapFile, ".db3": SqliteFile}
_PACKED = ".zstd"
_NAMES = re.compile(r"^ *relative_file_paths:((?:\n *- .*)+)", re.MULTILINE)
CDR = "cdr"


class Storage(Protocol):
    """The files of a bag, open."""

    topics: dict[str, str]
    """The type of every topic, such as `sensor_msgs/msg/Image`."""
    counts: Counter[str]
    """How many messages every topic has."""
    seconds: float
    """From the first message to the last."""

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """The messages of some topics.

        Raises `BagError` at the end where these were not all, because the rest is damaged or reading ended too early.
        """
        ...

    def deserialize(self, topic: str, data: bytes) -> Any:
        """The message in `data`; raises `BagError` where it has none."""
        ...

    def close(self) -> None:
        """Closes the files."""
        ...


def open_storage(path: Path) -> tuple[Storage, list[str]]:
    """Opens a rosbag2 folder (with its metadata.yaml or without), a file of one, or a rosbag1 .bag file.

    Returns it, and what is wrong with it, a sentence each. Raises `BagError` where nothing can be read.
    """
    problems: list[str] = []
    try:
        if path.suffix == ".bag" and not path.is_dir():
            _check(path, None)
            return Rosbag1(path), problems
        files = _listed(path, problems) if path.is_dir() else [path]
        return Rosbag2(path, files, problems), problems
    except OSError as error:
        raise BagError(f"{path} is not a bag that can be read: {error.strerror or error}") from error


def is_bag(path: Path) -> bool:
    """Whether a path is a bag by its looks."""
    if path.is_dir():
        return (path / METADATA).exists() or bool(_files(path))
    return path.suffix == ".bag" or _kind(path) in _READERS


class Rosbag2:
    """The files of a rosbag2, one after the other, see `Storage`. What is wrong with them is added to `problems`.

    Raises `BagError`, `OSError`.
    """

    def __init__(self, path: Path, files: list[Path], problems: list[str]) -> None:
        self._contents: list[Contents] = []
        faults: list[str] = []
        with ExitStack() as resources:
            for file in files:
                _check(file, path if path.is_dir() else None)
                self._open(file, resources, faults)
            channels = [channel for contents in self._contents for channel in contents.channels.values()]
            if not channels or (faults and not any(contents.counts.total() for contents in self._contents)):
                reason = "; ".join(faults) or "it has no topics"
                raise BagError(f"{path} is not a bag that can be read: {reason}")
            if all(channel.encoding == "ros1" for channel in channels):
                raise BagError(f"{path} has messages of ROS 1, not read from MCAP: give the .bag it was made from")
            self._resources = resources.pop_all()
        # Of several types of a topic, the first.
        self.topics = {channel.topic: _type(channel) for channel in reversed(channels)}
        self.counts: Counter[str] = Counter()
        for contents in self._contents:
            for number in self._numbers(contents, self.topics):
                self.counts[contents.channels[number].topic] += contents.counts[number]
        if faults:
            read = counted(self.counts.total(), "message")
            problems.append(f"{path.name} is damaged ({'; '.join(faults)}): {read} could be read")
        times = [time for contents in self._contents for time in contents.span or ()]
        self.seconds = (max(times) - min(times)) * 1e-9 if times else 0.0
        self._types = Types({channel.kind: channel.definition for channel in channels if channel.definition})

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """See `Storage`."""
        count, faults = 0, list[str]()
        for contents in self._contents:
            try:
                for number, time, data in contents.messages(self._numbers(contents, topics), faults):
                    count += 1
                    yield Recorded(contents.channels[number].topic, time, data)
            except OSError as error:
                note(faults, str(error))
        expected = sum(self.counts[topic] for topic in set(topics))
        if count != expected:
            reasons = "; ".join(faults) or "the bag's own count is wrong, or it was changed"
            raise BagError(f"{count:,} of {counted(expected, 'message')} could be read: {reasons}")

    def deserialize(self, topic: str, data: bytes) -> Any:
        """See `Storage`."""
        return self._types.message(self.topics[topic], data)

    def close(self) -> None:
        """See `Storage`."""
        self._resources.close()

    def _open(self, file: Path, resources: ExitStack, faults: list[str]) -> None:
        try:
            reader = _READERS[_kind(file)]
            if file.suffix == _PACKED:
                folder = resources.enter_context(TemporaryDirectory(prefix="eomt_ros_bag_"))
                file = unpack_file(file, Path(folder), faults)
            contents: Contents = reader(file)
        except DamageError as error:
            note(faults, str(error))
            return
        self._contents.append(contents)
        for fault in contents.faults:
            note(faults, fault)

    def _numbers(self, contents: Contents, topics: Collection[str]) -> list[int]:
        return [
            number
            for number, channel in contents.channels.items()
            if channel.topic in topics and _type(channel) == self.topics[channel.topic]
        ]


def _type(channel: Channel) -> str:
    """Of what is no ROS 2 message, no type that is asked for anywhere."""
    return channel.kind if channel.encoding == CDR else f"{channel.kind} as {channel.encoding or 'nothing known'}"


def _kind(path: Path) -> str:
    return PurePath(path.stem).suffix if path.suffix == _PACKED else path.suffix


def _files(folder: Path) -> list[Path]:
    """The files of a rosbag2 in a folder, in the order of their numbers; of one that is there packed too, itself."""
    files = {child for child in folder.iterdir() if _kind(child) in _READERS}
    return sorted(
        (file for file in files if file.suffix != _PACKED or file.with_suffix("") not in files), key=_by_number
    )


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts bag_10 after bag_9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _listed(folder: Path, problems: list[str]) -> list[Path]:
    """The files of the bag in a folder: those that its metadata.yaml names, or that are there where it names none.

    Nothing but their names is asked of it, as text: the files say the rest themselves.
    """
    there = _files(folder)
    try:
        found = _NAMES.search(read_bytes(folder / METADATA, LARGEST_METADATA).decode(errors="replace"))
    except FileNotFoundError:
        problems.append(f"{folder.name} has no {METADATA}, as a recording has that was not ended; it was read without")
        return there
    except OSError as error:
        note(problems, f"{METADATA} of {folder.name} was not read: {error.strerror}")
        return there
    # Without their folders, which older ones have: nothing outside the bag belongs to it.
    names = [PurePath(line.strip(" -'\"\r")).name for line in (found[1] if found else "").split("\n")]
    named = [folder / name for name in dict.fromkeys(names) if name]
    files = [file for file in named if file in there]
    if not files:
        # Whoever renames a bag's files seldom thinks of the metadata.
        note(problems, f"{METADATA} of {folder.name} names no file that is there; those that are there were read")
        return there
    for what, others in (
        ("is missing", [file for file in named if file not in there]),
        ("is not named there and was left out", [file for file in there if file not in named]),
    ):
        if others:
            note(problems, f"{others[0].name}, one of {len(others)} beside {METADATA} of {folder.name}, {what}")
    return files


def _check(file: Path, folder: Path | None) -> None:
    """Raises `BagError` where one of a bag's files is nothing that may be read as such, `OSError` where it is missing.

    folder: that of the bag; None where the user named the file itself, which may be a link to anywhere.
    """
    beside = [file.with_name(file.name + ending) for ending in ("-wal", "-shm")]
    out = folder is not None and folder.resolve() not in file.resolve().parents
    if out or any(other.is_symlink() for other in beside):
        raise BagError(f"{file} is a link that leads out of the bag, which is not followed: give the file itself")
    if is_pointer(file):
        raise BagError(f"{file} {ADVICE}")
