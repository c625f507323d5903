"""What tells recordings apart by their content, whatever they are called and wherever they lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from eomt_ros.regular_file import open_regular

BLOCK, BLOCKS = 1 << 12, 32
"""Bytes, and number, of the blocks of a file that are looked at between its two ends."""
END = 1 << 16
"""Bytes of each end of a file that are looked at: bags have their index there."""
MOST_FILES = 64
"""Files of a folder that are looked into; of all others the size is known."""


def fingerprint(path: Path) -> str:
    """A hash of sizes, and of blocks of the files, of a recording: the same at two paths, within milliseconds.

    Names of files in a folder count, its own does not. Empty where it cannot be read.
    """
    try:
        files = [("", path)] if not path.is_dir() else _files_in(path)
        return hash_of_files([(name, file.stat().st_size, partial(_of_file, file)) for name, file in files])
    except OSError:
        return ""


def hash_of_files(files: Sequence[tuple[str, int, Callable[[], str]]]) -> str:
    """The fingerprint of files by their names, sizes, and what gives the `hash_of_file` of each; empty of none."""
    step = -(-len(files) // MOST_FILES)
    parts = [
        f"{name} {of_file() if number % step == 0 else size}"
        for number, (name, size, of_file) in enumerate(sorted(files, key=lambda file: file[0]))
    ]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest() if parts else ""


def blocks_of(size: int) -> list[tuple[int, int]]:
    """Places and lengths of the blocks of a file of that size that are looked at, bytes; all of a small one."""
    if size <= 2 * END + BLOCK * BLOCKS:
        return [(0, size)]
    between = [(END + (size - 2 * END) * number // BLOCKS, BLOCK) for number in range(BLOCKS)]
    return [(0, END), (size - END, END), *between]


def hash_of_file(size: int, blocks: Iterable[bytes]) -> str:
    """A hash of a file's size, bytes, and of its `blocks_of`."""
    digest = hashlib.sha256(str(size).encode())
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    """All files below a folder, by their names in it. Links to folders are not followed."""
    return [
        (os.path.relpath(os.path.join(place, name), folder), Path(place, name))
        for place, _, names in os.walk(folder)
        for name in names
    ]


def _of_file(path: Path) -> str:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return hash_of_file(size, (_block(file, *block) for block in blocks_of(size)))


def _block(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)
