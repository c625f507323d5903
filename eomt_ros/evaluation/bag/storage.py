"""The files that make a bag: a rosbag2 folder, with its metadata.yaml or without, a file of one, or a rosbag1."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from eomt_ros.evaluation.bag.contents import BagError, Contents, DamageError, note
from eomt_ros.evaluation.bag.mcap import McapFile
from eomt_ros.evaluation.bag.rosbag1 import Rosbag1File
from eomt_ros.evaluation.bag.sqlite import SqliteFile
from eomt_ros.evaluation.bag.unpacking import unpack_file
from eomt_ros.regular_file import expect_regular, read_bytes

METADATA = "metadata.yaml"
LARGEST_METADATA = 16 << 20
"""Bytes."""

_ROSBAG2: dict[str, type[McapFile] | type[SqliteFile]] = {".mcap": McapFile, ".db3": SqliteFile}
_ROSBAG1 = ".bag"
_PACKED = ".zstd"
_NAMES = re.compile(r"^ *relative_file_paths:((?:\n *- .*)+)", re.MULTILINE)


def is_bag(path: Path) -> bool:
    """True if a path looks like a bag, by names alone."""
    if path.is_dir():
        return (path / METADATA).exists() or bool(_files_in(path))
    return path.suffix == _ROSBAG1 or _kind(path) in _ROSBAG2


def open_files(path: Path, resources: ExitStack, problems: list[str], faults: list[str]) -> list[Contents]:
    """Opens the files of a bag, those that can be read, in their order.

    resources: closes them. problems, faults: get what is wrong with the folder, and with the files, a sentence each.
    Raises `BagError` for a file that must not be read, `OSError`.
    """
    folder = path if path.is_dir() else None
    opened: list[Contents] = []
    for file in [path] if folder is None else _listed(folder, problems):
        _check(file, folder)
        try:
            opened.append(_open(file, resources, faults))
        except DamageError as error:
            note(faults, str(error))
    return opened


def _open(file: Path, resources: ExitStack, faults: list[str]) -> Contents:
    if file.suffix == _ROSBAG1:
        rosbag1 = Rosbag1File(file)
        resources.callback(rosbag1.close)
        return rosbag1
    reader = _ROSBAG2.get(_kind(file))
    if reader is None:
        raise DamageError(f"{file.name} is no bag by its name, expected .mcap, .db3, .bag, or the folder of a rosbag2")
    if file.suffix == _PACKED:
        folder = resources.enter_context(TemporaryDirectory(prefix="eomt_ros_bag_"))
        file = unpack_file(file, Path(folder), faults)
    return reader(file, faults)


def _kind(path: Path) -> str:
    return PurePath(path.stem).suffix if path.suffix == _PACKED else path.suffix


def _files_in(folder: Path) -> list[Path]:
    """The files of a rosbag2 in a folder, in the order of their numbers; one that is also there packed counts once."""
    files = {child for child in folder.iterdir() if _kind(child) in _ROSBAG2}
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
    there = _files_in(folder)
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
    """Raises `BagError` where one of a bag's files leads out of it, `OSError` where it is missing or not regular.

    folder: that of the bag; None where the user named the file itself, which may be a link to anywhere.
    """
    beside = [file.with_name(file.name + ending) for ending in ("-wal", "-shm")]
    out = folder is not None and folder.resolve() not in file.resolve().parents
    if out or any(other.is_symlink() for other in beside):
        raise BagError(f"{file} is a link that leads out of the bag, which is not followed: give the file itself")
    expect_regular(file)
