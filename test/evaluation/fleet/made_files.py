"""Files that look like recordings, and recordings of a few frames."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from test.patience import PATIENCE

T = TypeVar("T")


def touch(folder: Path, *names: str) -> list[Path]:
    """Makes files with their own names as content, with the folders for them, and returns their paths."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    return paths


def write_noise(path: Path, size: int = 5000) -> Path:
    """Writes a file that is called a bag and is none."""
    path.write_bytes(bytes(number % 251 for number in range(size)))
    return path


def half_of(out: Path, name: str) -> list[Path]:
    """The folders of processes that are at work on a recording."""
    return [path for path in out.glob(f".{name}.*") if path.name.removeprefix(f".{name}.").isdecimal()]


def kill_process_of(half: Path) -> None:
    """Kills the process that is at work on a recording, by the last digits of its folder's name."""
    with suppress(ProcessLookupError):
        os.kill(int(half.suffix[1:]) % 10**10, signal.SIGKILL)


def wait_for(condition: Callable[[], T]) -> T:
    """Waits until something is true, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
    return found
