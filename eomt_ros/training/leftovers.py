"""Folders that processes write to one side, by their own number, and leave when they are killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def side_folder(parent: Path, name: str) -> Path:
    """The folder of this process beside what is named so; removes those of processes that have ended."""
    for left in parent.glob(f"{name}.*"):
        number = left.suffix[1:]
        if number.isdecimal() and left.is_dir() and not left.is_symlink() and not _runs(int(number)):
            shutil.rmtree(left)
    return parent / f"{name}.{os.getpid()}"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
