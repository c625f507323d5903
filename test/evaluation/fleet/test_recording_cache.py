"""Recordings of other machines are kept within bounds, and none is removed while it is in use."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.fleet.recording_cache import RecordingCache
from test import ROOT
from test.patience import PATIENCE

FILLS_AND_WAITS = """
import sys, threading
from pathlib import Path
from eomt_ros.evaluation.fleet.recording_cache import RecordingCache

def fill(folder):
    (folder / "part").write_bytes(bytes(10))
    print("half", flush=True)
    threading.Event().wait()

with RecordingCache(Path(sys.argv[1]), 100).entry("a", 60, fill):
    pass
"""


def of_size(size: int) -> Callable[[Path], None]:
    """Fills an entry with so many bytes."""

    def fill(folder: Path) -> None:
        (folder / "file").write_bytes(bytes(size))

    return fill


def never(folder: Path) -> None:
    """Fills no entry."""
    raise AssertionError("the entry is there")


def use(cache: RecordingCache, key: str, size: int) -> None:
    """Uses an entry, which is made where it is not there."""
    with cache.entry(key, size, of_size(size)) as folder:
        assert (folder / "file").stat().st_size == size


def kept(cache: RecordingCache) -> set[str]:
    """The entries that are there."""
    return {path.name for path in cache.folder.iterdir() if path.is_dir()}


def test_an_entry_is_made_once_and_found_again(tmp_path: Path) -> None:
    cache = RecordingCache(tmp_path / "cache", 100)
    use(cache, "a", 60)
    with cache.entry("a", 60, never) as folder:
        assert (folder / "file").exists()


def test_the_entries_that_were_not_used_for_the_longest_time_make_room(tmp_path: Path) -> None:
    cache = RecordingCache(tmp_path, 100)
    for key in ("a", "b", "a", "c"):
        use(cache, key, 40)
    assert kept(cache) == {"a", "c"}
    use(cache, "d", 100)
    assert kept(cache) == {"d"}


def test_an_entry_in_use_stays_and_the_next_one_waits_for_it(tmp_path: Path) -> None:
    cache = RecordingCache(tmp_path, 100)
    made = threading.Event()

    def fill(folder: Path) -> None:
        made.set()
        of_size(60)(folder)

    def another() -> None:
        with cache.entry("b", 60, fill):
            pass

    with ThreadPoolExecutor(1) as pool:
        with cache.entry("a", 60, of_size(60)) as folder:
            waiting = pool.submit(another)
            assert not made.wait(0.2)
            assert (folder / "file").exists()
        waiting.result(PATIENCE)
    assert kept(cache) == {"b"}


def test_of_entries_in_use_another_one_goes_first(tmp_path: Path) -> None:
    cache = RecordingCache(tmp_path, 100)
    with cache.entry("a", 40, of_size(40)):
        use(cache, "b", 40)
        use(cache, "c", 40)
        assert kept(cache) == {"a", "c"}


def test_two_that_want_the_same_entry_get_it_once(tmp_path: Path) -> None:
    cache = RecordingCache(tmp_path, 100)
    filled, together = list[Path](), threading.Barrier(2)

    def fill(folder: Path) -> None:
        filled.append(folder)
        of_size(60)(folder)

    def want() -> None:
        together.wait(PATIENCE)
        with cache.entry("a", 60, fill) as folder:
            assert (folder / "file").stat().st_size == 60

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(want), pool.submit(want)]:
            each.result(PATIENCE)
    assert len(filled) == 1


def test_an_entry_that_could_not_be_made_takes_no_room(tmp_path: Path) -> None:
    cache = RecordingCache(tmp_path, 100)

    def broken(folder: Path) -> None:
        of_size(10)(folder)
        raise SourceError("the connection broke")

    with pytest.raises(SourceError, match="the connection broke"), cache.entry("a", 60, broken):
        pass
    assert kept(cache) == set()
    use(cache, "b", 40)
    use(cache, "c", 60)
    assert kept(cache) == {"b", "c"}
    use(cache, "a", 60)


@pytest.mark.slow
def test_what_a_killed_process_left_half_done_is_made_again(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", FILLS_AND_WAITS, str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    cache = RecordingCache(tmp_path, 100)
    use(cache, "b", 90)
    assert kept(cache) == {"b"}
    use(cache, "a", 60)
    assert kept(cache) == {"a"}


def test_what_is_larger_than_the_cache_or_the_disk_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceError, match=r"it has 2 GB, and the cache in .* at most 1 GB: allow more"),
        RecordingCache(tmp_path, 10**9).entry("a", 2 * 10**9, never),
    ):
        pass
    size = shutil.disk_usage(tmp_path).total
    with (
        pytest.raises(SourceError, match=r"the disk of the cache in .* is full"),
        RecordingCache(tmp_path, 2 * size).entry("a", size, never),
    ):
        pass
