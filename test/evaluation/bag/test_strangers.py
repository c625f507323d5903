"""A bag that a stranger gives reads nothing outside itself, waits for nothing, and fills neither memory nor disk."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import lz4.frame
import pytest
from mcap.writer import CompressionType, Writer
from rosbags.rosbag2 import StoragePlugin

from eomt_ros.evaluation.bag import Bag, BagError, unpacking
from eomt_ros.evaluation.bag.unpacking import zstd
from test import ROOT
from test.evaluation import bags

GIB = 1 << 30


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return bags.write_scene(tmp_path / "bag", 3)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return bags.write_scene(tmp_path / "bag", 3, StoragePlugin.SQLITE3) / "bag.db3"


def count(path: Path) -> int:
    with Bag(path) as bag:
        return sum(1 for _ in bag.recorded(bag.topics))


def problems(path: Path) -> list[str]:
    with Bag(path) as bag:
        return bag.problems


@pytest.mark.parametrize(
    "name", ["{other}", "../other/other.mcap", "..", "../..", "/etc/passwd", "'../other/other.mcap'"]
)
def test_metadata_names_no_files_outside_of_the_bag(tmp_path: Path, bag: Path, name: str) -> None:
    other = bags.write_scene(tmp_path / "other", 1) / "other.mcap"
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("- bag.mcap", f"- {name.format(other=other)}", 1))
    assert count(bag) == 9
    assert problems(bag) == ["metadata.yaml of bag names no file that is there; those that are there were read"]


def test_metadata_may_have_the_folder_in_its_names_as_the_first_versions_wrote_it(bag: Path) -> None:
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("- bag.mcap", "- bag/bag.mcap"))
    assert problems(bag) == []


def test_files_that_metadata_names_and_are_missing_or_are_there_unnamed_are_said(tmp_path: Path, bag: Path) -> None:
    shutil.copy(bags.write_scene(tmp_path / "other", 1) / "other.mcap", bag)
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("  - bag.mcap", "  - bag.mcap\n  - gone.mcap"))
    assert count(bag) == 9
    assert problems(bag) == [
        "gone.mcap, one of 1 beside metadata.yaml of bag, is missing",
        "other.mcap, one of 1 beside metadata.yaml of bag, is not named there and was left out",
    ]


@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
def test_a_link_out_of_the_bag_is_refused_and_one_within_it_is_followed(
    tmp_path: Path, database: Path, ending: str
) -> None:
    folder = database.parent
    if not ending:
        database.rename(folder / "data")
        database.symlink_to(folder / "data")
        assert count(folder) == 9
        database.unlink()
        (folder / "data").rename(tmp_path / "data")
    database.with_name(database.name + ending).symlink_to(tmp_path / "data")
    with pytest.raises(BagError, match=r"bag\.db3 is a link that leads out of the bag, which is not followed"):
        count(folder)
    if not ending:
        assert count(database) == 9, "a file that the user names may be a link"


@pytest.mark.parametrize("name", ["bag.mcap", "bag.db3", "bag.mcap.zstd", "bag.bag"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(BagError, match="it is a pipe, expected a regular file"):
        count(tmp_path / name)


def test_metadata_that_is_a_pipe_or_endless_is_not_read(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()
    os.mkfifo(bag / "metadata.yaml")
    assert count(bag) == 9
    assert problems(bag) == ["metadata.yaml of bag was not read: it is a pipe, expected a regular file"]
    (bag / "metadata.yaml").unlink()
    with (bag / "metadata.yaml").open("wb") as file:
        file.truncate(100 * GIB)
    assert "metadata.yaml of bag was not read: it has" in problems(bag)[0]


@pytest.mark.parametrize(
    "statements",
    [
        "DROP TABLE messages; CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 UNION SELECT id + 1 FROM n) "
        "SELECT id, 1 AS topic_id, id AS timestamp, zeroblob(1000000) AS data FROM n",
        "DROP TABLE topics; CREATE VIEW topics AS SELECT 1 AS id, '/a' AS name, 'b' AS type, 'cdr' AS encoding",
        "DROP TABLE messages; CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, "
        "data BLOB AS (zeroblob(500000000))); INSERT INTO messages(topic_id, timestamp) VALUES (1, 1)",
        "DROP TABLE messages; CREATE VIRTUAL TABLE messages USING rtree(id, topic_id, timestamp)",
    ],
    ids=["endless view", "view", "computed column", "virtual table"],
)
def test_a_database_that_computes_is_refused(database: Path, statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(statements)
    with pytest.raises(BagError, match=r"(messages|topics) is computed, expected a table"):
        count(database)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db3")) as connection:
        connection.execute("CREATE TABLE users(name TEXT)")
    with pytest.raises(BagError, match="it has no table topics, as a recording of rosbag2 has"):
        count(tmp_path / "other.db3")


def test_a_page_of_a_database_that_is_its_own_parent_does_not_go_on_for_ever(tmp_path: Path) -> None:
    messages = [("/a", number, bags.header(number)) for number in range(2000)]
    file = bags.write_bag(tmp_path / "bag", messages, StoragePlugin.SQLITE3) / "bag.db3"
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data = bytearray(file.read_bytes())
    root = (page - 1) * size
    assert data[root] == 5, "a page of pages"
    (cells,) = struct.unpack_from(">H", data, root + 3)
    pointers = [struct.unpack_from(">H", data, root + 12 + 2 * cell)[0] for cell in range(cells)]
    first = data[root + pointers[0] : root + pointers[0] + 4]
    for pointer in pointers:
        data[root + pointer : root + pointer + 4] = first
    file.write_bytes(data)
    with pytest.raises(BagError, match="has more messages than bytes"):
        count(file)


def opened_with_little_memory(*paths: Path) -> list[str]:
    """What comes of bags, a line each, in a process of its own that can have little more than it begins with."""
    program = (
        "import sys, resource; from pathlib import Path; from eomt_ros.evaluation.bag import Bag, BagError\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({GIB // 4} + used,) * 2)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        with Bag(Path(path)) as bag: print(sum(1 for _ in bag.recorded(bag.topics)), bag.problems)\n"
        "    except BagError as error: print(error)"
    )
    command = [sys.executable, "-c", program, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def zstd_bomb(size: int) -> bytes:
    compressor = zstd.ZstdCompressor()
    zeros = bytes(1 << 20)
    return b"".join(compressor.compress(zeros) for _ in range(size >> 20)) + compressor.flush()


def mcap_with_chunk(path: Path, compression: str, size: int, packed: bytes) -> Path:
    name = compression.encode()
    chunk = struct.pack("<QQQII", 0, 0, size, 0, len(name)) + name + struct.pack("<Q", len(packed)) + packed
    path.write_bytes(b"\x89MCAP0\r\n" + struct.pack("<BQ", 6, len(chunk)) + chunk)
    return path


def test_a_chunk_that_unpacks_to_more_than_it_says_fills_no_memory(tmp_path: Path) -> None:
    paths = [
        mcap_with_chunk(tmp_path / f"{compression}_{says}.mcap", compression, says, packed)
        for compression, packed in (("zstd", zstd_bomb(GIB)), ("lz4", lz4.frame.compress(bytes(GIB // 2))))
        for says in (100, 1 << 25, 1 << 62)
    ]
    for path, line in zip(paths, opened_with_little_memory(*paths), strict=True):
        assert f"is not a bag that can be read: {path.name} has a damaged record at byte 8: it " in line
        assert re.search(r"unpacks to (more than )?\d+ bytes", line)


def test_a_record_that_says_it_is_longer_than_the_file_fills_no_memory(tmp_path: Path) -> None:
    paths = []
    for opcode, length in itertools.product((0x01, 0x03, 0x04, 0x05, 0x06, 0x09), (1 << 20, 1 << 40, (1 << 64) - 1)):
        paths.append(tmp_path / f"{opcode}_{length}.mcap")
        paths[-1].write_bytes(b"\x89MCAP0\r\n" + struct.pack("<BQ", opcode, length) + bytes(30))
    for path, line in zip(paths, opened_with_little_memory(*paths), strict=True):
        assert f"is not a bag that can be read: {path.name}" in line


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_a_packed_file_that_unpacks_to_terabytes_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"bag{suffix}.zstd"
    path.write_bytes(zstd_bomb(64 << 20))
    unpacked = unpacking.LARGEST_RATIO * path.stat().st_size
    assert unpacked < 64 << 20
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(BagError, match=rf"unpacks to more than {unpacked} bytes, expected at most that"):
        count(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_message_that_unpacks_to_gigabytes_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "LARGEST_MESSAGE", 1 << 20)
    path = tmp_path / "bag.mcap"
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        channel = writer.register_channel("/a", "cdr", writer.register_schema("a/msg/B", "ros2msg", b""))
        for time, data in enumerate((b"\0\1\0\0", zstd_bomb(2 << 20), zstd.compress(b"\0\1\0\0"), b"\0\1\0\0")):
            writer.add_message(channel, time, data, time)
        writer.finish()
    with Bag(path) as bag:
        read = []
        with pytest.raises(
            BagError, match=r"3 of 4 messages could be read: .* damaged message at 1 ns: it unpacks to more"
        ):
            read.extend(recorded.time for recorded in bag.recorded(["/a"]))
        assert read == [0, 2, 3]


def test_names_of_topics_are_shown_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bag.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("a/msg/B", "ros2msg", b"")
        channel = writer.register_channel("/a\n\x1b[31m" + 1000 * "b", "cdr", schema)
        writer.add_message(channel, 1, b"", 1)
        writer.finish()
    with Bag(path) as bag:
        (topic,) = bag.topics
        assert topic.isprintable()
        assert len(topic) < 400
        assert [recorded.topic for recorded in bag.recorded([topic])] == [topic]


def test_git_lfs_pointers_are_told_from_damage(tmp_path: Path, bag: Path) -> None:
    (bag / "bag.mcap").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(
        BagError,
        match=r"bag is not a bag .*: it is a Git LFS pointer, not the file itself: get that with",
    ):
        count(bag)
