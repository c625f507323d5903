"""The recordings that inputs stand for (paths, URLs, patterns, lists in files, folders), and their names."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from eomt_ros.errors import UserError
from eomt_ros.evaluation.bag.storage import METADATA, is_bag
from eomt_ros.evaluation.fleet.remote import is_url, is_url_pattern, urls_of
from eomt_ros.evaluation.results import FILE as RESULTS
from eomt_ros.evaluation.sources.datasets import dataset_layout
from eomt_ros.evaluation.sources.image_files import PICTURE_SUFFIXES
from eomt_ros.regular_file import read_bytes

LIST = "@"
"""Begins an input that is a file with an input in each line."""
LARGEST_LIST = 16 << 20
"""Bytes: a hundred thousand paths."""
LONGEST_NAME = 150
"""Bytes, which leaves room for what is put around it."""
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
"""Of videos that are looked for in folders; a video that is named itself may have any."""
_PART_OF_BAG = re.compile(r"_\d+$")
_TAKEN = re.compile(r"metrics\.json|report\.html|.*\.csv|.*\.xml|log.*\.txt", re.IGNORECASE)
"""Files of the output folder, which no recording may be called."""


def expand(inputs: Sequence[Path | str]) -> list[Path | str]:
    """The recordings that inputs stand for, each once, in the order of the inputs.

    An input is a recording; a folder with recordings somewhere in it; a pattern such as `day*/*.mcap`, where no file is
    called so; `@FILE`, a text file with an input in each line, relative to its folder, `#` for comments; or a URL of a
    recording, or of several by a pattern. A path that does not exist is a recording that cannot be read. Raises
    `UserError` for a pattern that nothing fits, a list that cannot be read, a folder without recordings, and a URL of
    a protocol that is not there.
    """
    found = [each for text in inputs for each in _expanded(str(text))]
    return list(dict.fromkeys(found))


def stands_for_several(text: Path | str) -> bool:
    """True for an input that may be any number of recordings: a list, a pattern, a folder of recordings."""
    text = str(text)
    if is_url(text):
        return is_url_pattern(text)
    return text.startswith(LIST) or _is_pattern(text) or (Path(text).is_dir() and not _is_recording(Path(text)))


def is_picture(recording: Path | str) -> bool:
    """True for a picture that is named singly, which is a recording together with the others beside it."""
    return isinstance(recording, Path) and recording.suffix.lower() in PICTURE_SUFFIXES and not recording.is_dir()


def unit_names(recordings: Sequence[Path | str]) -> list[str]:
    """A name for each recording, different from all others, that can be a folder's: what its file or folder is called.

    Where several are called alike, the folders above go before it, as many as tell them apart.
    """
    parts = [_parts(each) for each in recordings]
    names = _told_apart(parts)
    counts = Counter(names)
    return [
        _fitting(name if counts[name] == 1 else f"{name}-{_hash(each)}", each)
        for name, each in zip(names, recordings, strict=True)
    ]


def _expanded(text: str) -> Iterator[Path | str]:
    if is_url(text):
        yield from urls_of(text)
    elif text.startswith(LIST) and not Path(text).exists():
        yield from _listed(Path(text[len(LIST) :]))
    elif _is_pattern(text):
        there = sorted(glob.glob(os.path.expanduser(text), recursive=True))
        if not there:
            raise UserError(f"nothing fits the pattern {text}")
        for each in there:
            yield from _in_path(Path(each))
    else:
        yield from _in_path(Path(text))


def _in_path(path: Path) -> Iterator[Path]:
    """The recording of that path, or those in it."""
    if not path.is_dir() or _is_recording(path):
        yield path
        return
    found = list(_below(path))
    if not found:
        raise UserError(f"{path} holds no recordings: no bag, no video, no pictures, and no data set")
    yield from found


def _below(folder: Path) -> Iterator[Path]:
    """The recordings in a folder at any depth, by name; what an evaluation left there is none."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            if is_bag(path) or path.suffix.lower() in VIDEO_SUFFIXES:
                yield path
        elif _is_recording(path):
            yield path
        elif not (path / RESULTS).exists():
            yield from _below(path)


def _is_recording(folder: Path) -> bool:
    """True for a folder that is one recording: a bag, pictures, a data set."""
    if is_bag(folder):
        # Without the file that says what belongs to a bag, its parts are those that differ by their numbers only.
        parts = {_PART_OF_BAG.sub("", each.name.split(".")[0]) for each in folder.iterdir() if is_bag(each)}
        return (folder / METADATA).exists() or len(parts) == 1
    return dataset_layout(folder) is not None or any(
        child.suffix.lower() in PICTURE_SUFFIXES for child in folder.iterdir()
    )


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not Path(text).exists()


def _listed(file: Path) -> Iterator[Path | str]:
    try:
        lines = read_bytes(file, LARGEST_LIST).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the list {file} cannot be read: {error}") from error
    inputs = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not inputs:
        raise UserError(f"the list {file} names no recording")
    for text in inputs:
        if text.startswith(LIST):
            raise UserError(f"the list {file} names another list, {text}: give that one beside it")
        yield from _expanded(text if is_url(text) else os.path.join(file.parent, os.path.expanduser(text)))


def _parts(recording: Path | str) -> tuple[str, ...]:
    """The names of the folders above a recording, and its own without the ending of a file."""
    if isinstance(recording, str):
        address = recording.split("://", 1)[1].split("?")[0].rstrip("/").split("/")
        return (*address[:-1], _stem(address[-1]))
    path = Path(os.path.abspath(recording))
    return (*path.parts[1:-1], path.name if path.is_dir() else _stem(path.name))


def _stem(name: str) -> str:
    return Path(name.removesuffix(".zstd")).stem


def _told_apart(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """The shortest end of each one's parts that no other has, joined."""
    lengths = [1] * len(parts)
    while True:
        ends = [own[-length:] for own, length in zip(parts, lengths, strict=True)]
        counts = Counter(ends)
        alike = [place for place, end in enumerate(ends) if counts[end] > 1 and lengths[place] < len(parts[place])]
        if not alike:
            return ["-".join(end) for end in ends]
        for place in alike:
            lengths[place] += 1


def _fitting(name: str, recording: Path | str) -> str:
    """A name that a folder can have, is not hidden, and is none of the files beside it."""
    name = name.lstrip(".") or "recording"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f"{os.fsencode(name)[:LONGEST_NAME].decode(errors='ignore')}-{_hash(recording)}"
    return f"{name}_" if _TAKEN.fullmatch(name) else name


def _hash(recording: Path | str) -> str:
    path = recording if isinstance(recording, str) else os.path.abspath(recording)
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:8]
