"""What can still be read of a damaged or unfinished rosbag2 file, message by message from its start.

`rosbags` reads through the index at the end of an MCAP file and the index of an SQLite file, and refuses a file without
them as a whole. MCAP: https://mcap.dev/spec. SQLite: https://sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import sqlite3
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import lz4.frame  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LARGEST_RECORD = 1 << 30
"""Bytes: a length above it is garbage."""

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_ZSTD_START = b"\x28\xb5\x2f\xfd"


class Salvaged(NamedTuple):
    """A message that could be read."""

    topic: str
    kind: str
    """Such as `sensor_msgs/msg/Image`."""
    recorded: int
    """Nanoseconds."""
    data: bytes | memoryview
    """CDR."""


class _DamageError(Exception):
    """Damage that a chunk or a record has."""


def messages(path: Path, faults: list[str]) -> Iterator[Salvaged]:
    """The messages of an .mcap or .db3 file in the order in which they lie there, as far as they are whole.

    What is wrong with the file is added to `faults`, at the end at the latest. Raises `OSError`.
    """
    return READERS[path.suffix](path, faults)


def _sqlite(path: Path, faults: list[str]) -> Iterator[Salvaged]:
    # A log that was not merged belongs to the file; without one nothing may want to write.
    options = "mode=ro" if unmerged_log(path) else "mode=ro&immutable=1"
    try:
        address = f"file:{quote(str(path.resolve()))}?{options}"
        with closing(sqlite3.connect(address, uri=True, check_same_thread=False)) as database:
            # Without this a file that is shorter than its header says is refused as a whole.
            database.execute("PRAGMA writable_schema=ON")
            topics = {
                number: (name, kind) for number, name, kind in database.execute("SELECT id, name, type FROM topics")
            }
            # Not by time: the pages of that index are spread over the file, and those at its end are missing.
            for number, recorded, data in database.execute(
                "SELECT topic_id, timestamp, data FROM messages ORDER BY id"
            ):
                if number in topics:
                    yield Salvaged(*topics[number], recorded, _unpacked(data))
    except (sqlite3.Error, zstd.ZstdError) as error:
        faults.append(f"{path.name}: {error}")


def _unpacked(data: bytes) -> bytes:
    """A message that may have been compressed by itself: CDR begins with 0."""
    return zstd.decompress(data) if data.startswith(_ZSTD_START) else data


def unmerged_log(path: Path) -> bool:
    """Whether an SQLite file has messages in a write-ahead log beside it, as one has that was not closed."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _mcap(path: Path, faults: list[str]) -> Iterator[Salvaged]:
    schemas: dict[int, str] = {}
    channels: dict[int, tuple[str, str]] = {}
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            faults.append(f"{path.name} does not begin as an MCAP file")
            return
        while True:
            at = file.tell()
            head = file.read(9)
            if len(head) < 9:
                faults.append(f"{path.name} ends at byte {at + len(head)} without an end marker")
                return
            opcode, length = struct.unpack("<BQ", head)
            if opcode in (_DATA_END, _FOOTER):
                return
            if opcode == 0 or length > LARGEST_RECORD:
                faults.append(f"{path.name} has no valid record at byte {at}")
                return
            body = file.read(length)
            whole = len(body) == length
            try:
                records = _chunk(body, whole) if opcode == _CHUNK else [(opcode, memoryview(body))] if whole else []
                for kind, content in records:
                    if kind == _SCHEMA:
                        number, name = _schema(content)
                        schemas[number] = name
                    elif kind == _CHANNEL:
                        number, schema, topic = _channel(content)
                        channels[number] = topic, schemas.get(schema, "")
                    elif kind == _MESSAGE:
                        number, recorded, data = _message(content)
                        if number in channels:
                            yield Salvaged(*channels[number], recorded, data)
            except (_DamageError, struct.error, UnicodeDecodeError) as error:
                faults.append(f"{path.name} has a damaged record at byte {at}: {error}")


def _chunk(body: bytes, whole: bool) -> Iterator[tuple[int, memoryview]]:
    """The records in a chunk, or in the part of one that is left."""
    if len(body) < 32:
        return
    size, checksum, name_length = struct.unpack_from("<16xQII", body)
    compression = body[32 : 32 + name_length].decode()
    if compression not in _DECOMPRESSORS:
        raise _DamageError(f"compression '{compression}' is not known, expected zstd, lz4 or none")
    try:
        records = _DECOMPRESSORS[compression](body[32 + name_length + 8 :])
    except (zstd.ZstdError, RuntimeError) as error:
        raise _DamageError(str(error)) from error
    if whole and (len(records) != size or (checksum and zlib.crc32(records) != checksum)):
        raise _DamageError("its content is not what its size and checksum say")
    view, at = memoryview(records), 0
    while at + 9 <= len(view):
        opcode, length = struct.unpack_from("<BQ", view, at)
        if at + 9 + length > len(view):
            return
        yield opcode, view[at + 9 : at + 9 + length]
        at += 9 + length


def _schema(content: memoryview) -> tuple[int, str]:
    number, length = struct.unpack_from("<HI", content)
    return number, bytes(content[6 : 6 + length]).decode()


def _channel(content: memoryview) -> tuple[int, int, str]:
    number, schema, length = struct.unpack_from("<HHI", content)
    return number, schema, bytes(content[8 : 8 + length]).decode()


def _message(content: memoryview) -> tuple[int, int, memoryview]:
    number, recorded = struct.unpack_from("<H4xQ8x", content)
    return number, recorded, content[22:]


# Streams, because they give what they can of data that ends too early.
_DECOMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "zstd": lambda data: zstd.ZstdDecompressor().decompress(data),
    "lz4": lambda data: lz4.frame.LZ4FrameDecompressor().decompress(data),
}

READERS: dict[str, Callable[[Path, list[str]], Iterator[Salvaged]]] = {".mcap": _mcap, ".db3": _sqlite}
