"""What killed processes left in shared memory is removed, and nothing else."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from eomt_ros.node import fast_dds
from eomt_ros.node.fast_dds import SETTLED, free_shared_memory_of_the_dead


def segment(folder: Path, name: str, *, age: float = 10 * SETTLED) -> Path:
    """A segment and its lock, made `age` seconds ago; returns the lock."""
    for path in (folder / name, folder / f"{name}_el"):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize("product", ["fastdds", "fastrtps"])
def test_only_segments_whose_owner_is_gone_are_removed(
    product: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_dds, "SHARED_MEMORY", tmp_path)
    segment(tmp_path, f"{product}_0123456789abcdef")
    living = segment(tmp_path, f"{product}_1123456789abcdef")
    new = segment(tmp_path, f"{product}_2123456789abcdef", age=0)
    port = segment(tmp_path, f"{product}_port7410")
    other = segment(tmp_path, "fastfood_0123456789abcdef")
    with living.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        free_shared_memory_of_the_dead()
    kept = (living, new, port, other)
    expected = {path.name for path in kept} | {path.name.removesuffix("_el") for path in kept}
    assert {path.name for path in tmp_path.iterdir()} == expected
    free_shared_memory_of_the_dead()
    assert not living.exists(), "its owner has ended"
