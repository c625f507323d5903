"""Of a bag that was cut off, damaged or never ended, what is there is read, and it is said."""

from __future__ import annotations

import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from eomt_ros.evaluation.bag import Bag, BagError
from eomt_ros.evaluation.bag.storage import is_bag
from test.evaluation import bags

FRAMES = 150
TOPICS = (bags.IMAGES, bags.SEMANTIC, bags.PANOPTIC)
SUFFIX = {StoragePlugin.MCAP: ".mcap", StoragePlugin.SQLITE3: ".db3"}


@pytest.fixture(scope="module", params=[StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "sqlite3"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of several chunks and pages."""
    return bags.write_scene(tmp_path_factory.mktemp("whole") / "bag", FRAMES, request.param)


def storage_file(bag: Path) -> Path:
    return next(path for path in bag.iterdir() if path.suffix in SUFFIX.values())


def cut(whole: Path, target: Path, keep: float) -> Path:
    """A copy of a bag of which a share is kept."""
    shutil.copytree(whole, target)
    file = storage_file(target)
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    return target


def content(path: Path, topics: tuple[str, ...] = TOPICS) -> list[tuple[str, bytes]]:
    with Bag(path) as bag:
        return [(message.topic, message.data) for message in bag.recorded(topics)]


def problems(path: Path) -> list[str]:
    with Bag(path) as bag:
        return bag.problems


def test_a_whole_bag_has_no_problems(whole: Path) -> None:
    assert problems(whole) == []


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_what_lies_before_the_cut_is_read(whole: Path, tmp_path: Path, keep: float) -> None:
    original = content(whole)
    bag = cut(whole, tmp_path / "bag", keep)
    read = content(bag)
    assert read == original[: len(read)]
    left = storage_file(bag).read_bytes()
    if storage_file(bag).suffix == ".mcap":
        # Every message whose bytes are all there, and the first that has not all is the first that is missing.
        there = [data in left for _, data in original]
        assert len(read) == there.index(False) if False in there else len(original)
    else:
        # A database keeps its pages about in the order in which they were written.
        assert len(read) > 0.9 * keep * len(original)
    with Bag(bag) as opened:
        assert sum(opened.count(topic) for topic in TOPICS) == len(read)
        assert f"{len(read)} messages could be read" in opened.problems[0]
        assert storage_file(bag).name in opened.problems[0]


def test_images_of_a_bag_that_was_cut_off_are_those_that_were_written(whole: Path, tmp_path: Path) -> None:
    with Bag(cut(whole, tmp_path / "bag", 0.5)) as bag:
        images = list(bags.images(bag, bags.IMAGES))
    assert len(images) > FRAMES * 0.4
    for number, image in enumerate(images):
        assert image.stamp == bags.stamp(number)
        np.testing.assert_array_equal(image.content, bags.scene(number)[0])


def test_a_single_file_that_was_cut_off_is_read_too(whole: Path, tmp_path: Path) -> None:
    file = storage_file(cut(whole, tmp_path / "bag", 0.5))
    assert len(content(file)) == len(content(tmp_path / "bag")) > 0


def test_a_bag_of_which_nothing_is_left_is_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(BagError, match="is not a bag that can be read"), Bag(cut(whole, tmp_path / "bag", 0.0005)):
        pass


def test_a_missing_metadata_file_costs_nothing_but_a_remark(whole: Path, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    shutil.copytree(whole, bag)
    (bag / "metadata.yaml").unlink()
    assert is_bag(bag)
    assert content(bag) == content(whole)
    assert problems(bag) == ["bag has no metadata.yaml, as a recording has that was not ended; it was read without"]


@pytest.mark.parametrize("text", ["", "rosbag2_bagfile_information: {version", "just a word"])
def test_a_broken_metadata_file_costs_nothing_but_a_remark(whole: Path, tmp_path: Path, text: str) -> None:
    bag = tmp_path / "bag"
    shutil.copytree(whole, bag)
    (bag / "metadata.yaml").write_text(text)
    assert content(bag) == content(whole)
    assert problems(bag) == ["metadata.yaml of bag names no file that is there; those that are there were read"]


def test_files_of_an_unfinished_bag_are_read_in_the_order_of_their_numbers(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    folder.mkdir()
    for number in (9, 10):
        messages = [(bags.IMAGES, bags.stamp(number), bags.compressed(bags.stamp(number), bags.scene(number)[0]))]
        part = bags.write_bag(tmp_path / f"part{number}", messages, _plugin(whole))
        shutil.copy(storage_file(part), folder / f"bag_{number}{storage_file(part).suffix}")
    # The last one was still being written.
    last = folder / f"bag_11{storage_file(whole).suffix}"
    last.write_bytes(storage_file(whole).read_bytes()[:-100_000])
    with Bag(folder) as bag:
        stamps = [image.stamp for image in bags.images(bag, bags.IMAGES)]
    assert stamps[:4] == [bags.stamp(9), bags.stamp(10), bags.stamp(0), bags.stamp(1)]


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_of_a_compressed_chunk_that_was_cut_off_the_beginning_is_read(tmp_path: Path, compression: str) -> None:
    whole = tmp_path / "whole"
    writer = Writer(whole, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    # Less than a chunk, of noise, so that compressing it does not make it small.
    noise = np.random.default_rng(0)
    with writer:
        connection = writer.add_connection("/camera", "sensor_msgs/msg/Image", typestore=bags.STORE)
        for number in range(30):
            message = bags.image(bags.stamp(number), noise.integers(0, 256, (100, 100, 3), np.uint8), "rgb8")
            writer.write(connection, bags.stamp(number), bags.STORE.serialize_cdr(message, message.__msgtype__))
    original = content(whole, ("/camera",))
    file = storage_file(whole)
    data = file.read_bytes()
    if compression == "lz4":
        data = _as_lz4(data)
    file.write_bytes(data[: len(data) // 2])
    read = content(whole, ("/camera",))
    assert 10 <= len(read) <= 15
    assert read == original[: len(read)]


def test_a_chunk_with_flipped_bits_is_left_out_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = bags.write_scene(tmp_path / "bag", 2 * FRAMES)
    original = content(whole)
    file = storage_file(whole)
    data = bytearray(file.read_bytes())
    chunks = _chunks(data)
    assert len(chunks) >= 3
    for start, end in chunks:
        data[start + 24 : start + 28] = zlib.crc32(data[start + 40 : end]).to_bytes(4, "little")
    data[sum(chunks[1]) // 2] ^= 0xFF
    # Without the end marker, so that the file is read from its start.
    file.write_bytes(data[: chunks[-1][1]])
    before, lost = _messages_in(data, chunks[0]), _messages_in(data, chunks[1])
    assert content(whole) == original[:before] + original[before + lost :]
    (problem,) = problems(whole)
    assert f"a damaged record at byte {chunks[1][0] - 9}" in problem
    assert f"{len(original) - lost} messages could be read" in problem


def test_messages_in_the_write_ahead_log_of_a_crashed_recorder_are_read(tmp_path: Path) -> None:
    whole = bags.write_scene(tmp_path / "whole", 4, StoragePlugin.SQLITE3)
    original = content(whole)
    file, crashed = storage_file(whole), tmp_path / "crashed"
    crashed.mkdir()
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("INSERT INTO messages SELECT id + 100, topic_id, timestamp + 1, data FROM messages")
        database.commit()
        # As on a disk at the moment of a crash: the recorder has not merged its log yet.
        shutil.copy(file, crashed / "bag.db3")
        shutil.copy(f"{file}-wal", crashed / "bag.db3-wal")
    assert content(crashed) == [message for at in range(0, 12, 3) for message in 2 * original[at : at + 3]]
    assert "bag.db3 was not closed by what recorded it" in problems(crashed)[1]


def test_a_topic_whose_definition_cannot_be_understood_is_no_obstacle(tmp_path: Path) -> None:
    whole = bags.write_scene(tmp_path / "bag", 3)
    file = storage_file(whole)
    data = file.read_bytes()
    # The definition of an enum-like type as some tools write it: valid bytes, but nothing that a parser knows.
    file.write_bytes(data.replace(b"uint32 height", b"u?nt32 height"))
    with Bag(whole) as bag:
        assert len(list(bags.images(bag, bags.IMAGES))) == 3
        assert bag.problems == []


def test_damage_in_the_middle_of_a_bag_is_left_out_and_reading_ends_with_an_error(tmp_path: Path) -> None:
    whole = bags.write_scene(tmp_path / "bag", 2 * FRAMES)
    original = content(whole)
    file = storage_file(whole)
    data = bytearray(file.read_bytes())
    chunk = _chunks(data)[1]
    before, lost = _messages_in(data, _chunks(data)[0]), _messages_in(data, chunk)
    data[chunk[0] + 40 : chunk[1]] = bytes(chunk[1] - chunk[0] - 40)
    file.write_bytes(data)
    read: list[tuple[str, bytes]] = []
    with Bag(whole) as bag, pytest.raises(BagError) as ended:
        read.extend((message.topic, message.data) for message in bag.recorded(TOPICS))
    assert read == original[:before] + original[before + lost :]
    expected = (
        f"bag: {len(read)} of {6 * FRAMES} messages could be read: bag.mcap has a damaged record at byte {chunk[0] - 9}"
    )
    assert expected in str(ended.value)


def _plugin(bag: Path) -> StoragePlugin:
    return next(plugin for plugin, suffix in SUFFIX.items() if storage_file(bag).suffix == suffix)


def _chunks(data: bytes | bytearray) -> list[tuple[int, int]]:
    """Where the contents of the chunk records of an MCAP file begin and end."""
    chunks, at = [], 8
    while data[at] != 0x0F:
        length = int.from_bytes(data[at + 1 : at + 9], "little")
        if data[at] == 0x06:
            chunks.append((at + 9, at + 9 + length))
        at += 9 + length
    return chunks


def _messages_in(data: bytes | bytearray, chunk: tuple[int, int]) -> int:
    count, at = 0, chunk[0] + 40
    while at < chunk[1]:
        count += data[at] == 0x05
        at += 9 + int.from_bytes(data[at + 1 : at + 9], "little")
    return count


def _as_lz4(data: bytes) -> bytes:
    """An MCAP file of one chunk, compressed with zstd, up to the end of the chunk, with lz4 in place of it."""
    from eomt_ros.evaluation.bag.unpacking import zstd

    ((start, end),) = _chunks(data)
    records = lz4.frame.compress(zstd.decompress(data[start + 44 : end]))
    chunk = data[start : start + 28] + b"\x03\0\0\0lz4" + len(records).to_bytes(8, "little") + records
    return data[: start - 8] + len(chunk).to_bytes(8, "little") + chunk
