"""Files that anybody may have made: read if regular, and not beyond what was agreed on."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from eomt_ros.regular_file import expect_regular, open_regular, read_bytes


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """Whoever reads it waits, but not for ever."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    timer = threading.Timer(10, os.close, [writer])
    timer.start()
    yield path
    timer.cancel()
    if timer.is_alive():
        timer.join()


def test_a_file_is_read_also_where_a_link_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0123").write_bytes(b"content")
    link = tmp_path / "config.json"
    link.symlink_to("blobs/0123")
    assert read_bytes(link, 7) == b"content"
    assert expect_regular(link) == 7


def test_a_pipe_is_refused_and_not_waited_for(pipe: Path) -> None:
    with pytest.raises(OSError, match="it is a pipe, expected a regular file") as refusal:
        read_bytes(pipe, 100)
    assert refusal.value.filename == str(pipe)


def test_a_file_that_becomes_a_pipe_after_it_was_looked_at_is_not_waited_for(
    pipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    before = os.stat(tmp_path / "file")
    monkeypatch.setattr(os, "stat", lambda path: before)
    with pytest.raises(OSError, match="it is a pipe, expected a regular file"):
        open_regular(pipe)


def test_a_device_is_refused_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in ("/dev/zero", tmp_path / "link"):
        with pytest.raises(OSError, match="it is a device, expected a regular file"):
            open_regular(path)


def test_a_socket_and_a_folder_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="it is a socket, expected a regular file"):
            open_regular(tmp_path / "socket")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


def test_a_git_lfs_pointer_is_refused_with_the_command_that_gets_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    for read in (open_regular, expect_regular, lambda path: read_bytes(path, 1000)):
        with pytest.raises(OSError, match="it is a Git LFS pointer, not the file itself: get that with `git lfs pull`"):
            read(tmp_path / "file")


def test_a_file_that_is_larger_than_agreed_on_is_refused_with_both_sizes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 101)
    assert len(read_bytes(tmp_path / "file", 101)) == 101
    with pytest.raises(OSError, match="it has 101 bytes, expected at most 100"):
        read_bytes(tmp_path / "file", 100)


def test_a_huge_file_costs_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(OSError, match=f"it has {1 << 42} bytes, expected at most {1 << 41}"):
        read_bytes(tmp_path / "file", 1 << 41)


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="needs Linux")
def test_a_file_that_is_made_as_it_is_read_is_bounded_although_it_says_it_is_empty() -> None:
    assert expect_regular("/proc/cpuinfo") == 0
    with pytest.raises(OSError, match="it has 11 bytes, expected at most 10"):
        read_bytes("/proc/cpuinfo", 10)
