"""What tells recordings apart by their content, whatever they are called and wherever they lie."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from eomt_ros.regular_file import open_regular

BLOCK, BLOCKS = 1 << 12, 32
"""Bytes, and number, of the blocks of a file that are looked at between its two ends."""
END = 1 << 16
"""Bytes of each end of a file that are looked at: bags have their index there."""
MOST_FILES = 64
"""Files of a folder that are looked into; of all others the size is known."""


def fingerprint(path: Path | str) -> str:
    """A hash of sizes, and of blocks of the files, of a recording: the same at two paths, within milliseconds.

    Names of files in a folder count, its own does not. Empty where it cannot be read, and for a URL.
    """
    if isinstance(path, str):
        return ""
    try:
        files = [("", path)] if not path.is_dir() else _files_in(path)
        step = -(-len(files) // MOST_FILES)
        parts = [
            f"{name} {_of_file(file) if number % step == 0 else file.stat().st_size}"
            for number, (name, file) in enumerate(files)
        ]
    except OSError:
        return ""
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest() if parts else ""


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    """All files below a folder, by their names in it. Links to folders are not followed."""
    found = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        found += [(os.path.relpath(os.path.join(place, name), folder), Path(place, name)) for name in sorted(names)]
    return found


def _of_file(path: Path) -> str:
    """A hash of a file's size and of some of its blocks; of all of a small one."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        if size <= 2 * END + BLOCK * BLOCKS:
            digest.update(file.read())
        else:
            places = [(0, END), (size - END, END)]
            places += [(END + (size - 2 * END) * number // BLOCKS, BLOCK) for number in range(BLOCKS)]
            for place, length in places:
                file.seek(place)
                digest.update(file.read(length))
    return digest.hexdigest()
