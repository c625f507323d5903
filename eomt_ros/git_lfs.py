"""Files that a clone without Git LFS has in place of large ones."""

from pathlib import Path

from eomt_ros.regular_file import open_regular

ADVICE = "is a Git LFS pointer, not the file itself: get that with `git lfs pull`"

_START = b"version https://git-lfs"


def is_pointer(path: Path) -> bool:
    """Whether a file only says where Git LFS keeps its content. Raises `OSError` where it is no regular file."""
    with open_regular(path) as file:
        return file.read(len(_START)) == _START
