"""MCAP files, whole or not, in the order of their times: https://mcap.dev/spec.

A file consists of stretches: its chunks, and runs of messages that lie outside of chunks. The summary at the end of the
file says where they are and what is in them; where it does not say all, one look through the file does. A message is
read when its time has come, so that memory holds some stretches, however long the file and whatever its order.
"""

from __future__ import annotations

import heapq
import math
import struct
import zlib
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.bag.contents import LARGEST_MESSAGE, Channel, DamageError, note
from eomt_ros.evaluation.bag.unpacking import unpack, unpack_message
from eomt_ros.printable import printable

CACHE_SIZE = 128 << 20
"""Bytes of unpacked stretches that are kept."""
LONGEST_RUN = 1 << 20
"""Bytes of messages outside of chunks that are one stretch."""

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
_CHUNK_INDEX, _STATISTICS, _DATA_END = 0x08, 0x0B, 0x0F
_HEAD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<H4xQ8x")
_FOOTER_SIZE = _HEAD.size + 20 + len(_MAGIC)

Read = Callable[[int, int], bytes]
"""Reads from a place so many bytes, or those that there are."""


class _Stretch(NamedTuple):
    start: int
    """Time of its first message, in nanoseconds."""
    at: int
    """Byte of the file where it begins: with a chunk's record, or the first of a run of messages."""
    size: int
    """Bytes."""
    channels: frozenset[int] | None
    """The channels of its messages; None where that is not known."""
    is_chunk: bool


@dataclass
class _Index:
    schemas: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Name and definition."""
    channels: dict[int, tuple[int, str, str]] = field(default_factory=dict)
    """Schema, topic and encoding."""
    counts: Counter[int] = field(default_factory=Counter)
    span: tuple[int, int] | None = None
    stretches: list[_Stretch] = field(default_factory=list)

    def add(self, opcode: int, content: bytes) -> None:
        """Adds the content of a schema's or a channel's record."""
        if opcode == _SCHEMA:
            number, name, encoding, definition = _fields(content, "Hsss")
            self.schemas[number] = name, definition if encoding == "ros2msg" else ""
        else:
            number, schema, topic, encoding = _fields(content, "HHss")
            self.channels[number] = schema, topic, encoding

    def channel(self, number: int) -> Channel:
        """A channel with its schema, which has no order among the records of a summary."""
        schema, topic, encoding = self.channels[number]
        kind, definition = self.schemas.get(schema, ("", ""))
        return Channel(printable(topic), printable(kind), printable(encoding), definition)

    def add_stretch(self, counts: Counter[int], first: int, last: int, at: int, size: int, *, is_chunk: bool) -> None:
        """Adds what was found between two places, to the run before it where it goes on with that."""
        self.counts += counts
        self.span = (min(first, self.span[0]), max(last, self.span[1])) if self.span else (first, last)
        channels, before = frozenset(counts), self.stretches[-1] if self.stretches else None
        goes_on = before is not None and not is_chunk and not before.is_chunk and before.at + before.size == at
        if before is not None and goes_on and before.size + size <= LONGEST_RUN:
            self.stretches.pop()
            first, at, size = min(first, before.start), before.at, before.size + size
            channels |= before.channels or frozenset()
        self.stretches.append(_Stretch(first, at, size, channels, is_chunk))


class _Content(NamedTuple):
    """The messages of a stretch, of some channels, in the order of their times."""

    records: bytes
    times: npt.NDArray[np.uint64]
    places: npt.NDArray[np.uint32]
    """Byte of the records where the content of each message begins."""

    @property
    def memory(self) -> int:
        """Bytes."""
        return len(self.records) + self.times.nbytes + self.places.nbytes


class McapFile:
    """An MCAP file, see `Contents`. faults: gets its damage. Raises `DamageError` where it is none, `OSError`."""

    def __init__(self, path: Path, faults: list[str]) -> None:
        self._path = path
        with path.open("rb") as file:
            read, size = _reader(file), path.stat().st_size
            if read(0, len(_MAGIC)) != _MAGIC:
                raise DamageError(f"{path.name} does not begin as an MCAP file")
            index = _from_summary(read, size) or self._looked_through(read, size, faults)
        self.channels = {number: index.channel(number) for number in index.channels}
        self.counts, self.span = index.counts, index.span
        self._stretches = index.stretches

    def messages(self, channels: Collection[int], faults: list[str]) -> Iterator[tuple[int, int, bytes]]:
        """See `Contents`. Of equal times, the message that lies earlier in the file comes first."""
        wanted = frozenset(channels)
        # Of each stretch, its number and which of its messages is next; of those not read yet the time is the first's.
        heads = [
            (stretch.start, number, 0)
            for number, stretch in enumerate(self._stretches)
            if stretch.channels is None or stretch.channels & wanted
        ]
        heapq.heapify(heads)
        with self._path.open("rb") as file:
            kept = _Kept(lambda number: self._content(_reader(file), self._stretches[number], wanted, faults))
            while heads:
                _, number, next_one = heapq.heappop(heads)
                content = kept.content(number)
                for at in range(next_one, len(content.times)):
                    time = int(content.times[at])
                    if heads and (time, number, at) > heads[0]:
                        heapq.heappush(heads, (time, number, at))
                        break
                    place = int(content.places[at])
                    _, size = _HEAD.unpack_from(content.records, place - _HEAD.size)
                    channel, _ = _MESSAGE_HEAD.unpack_from(content.records, place)
                    data = content.records[place + _MESSAGE_HEAD.size : place + size]
                    try:
                        yield channel, time, unpack_message(data)
                    except DamageError as error:
                        note(faults, f"{self._path.name} has a damaged message at {time} ns: {error}")
                else:
                    kept.forget(number)

    def _looked_through(self, read: Read, size: int, faults: list[str]) -> _Index:
        """The index of a file without one, or without all of it: what can be read from its start."""
        index, name = _Index(), self._path.name
        place = len(_MAGIC)
        try:
            for opcode, at, length in _records(read, place, size):
                place = at - _HEAD.size
                if opcode in (_DATA_END, _FOOTER):
                    break
                try:
                    _look_at(index, read, opcode, at, length)
                except DamageError as error:
                    note(faults, f"{name} has a damaged record at byte {place}: {error}")
                if at + length > size:
                    note(faults, f"{name} breaks off in its record at byte {place}")
        except DamageError as error:
            note(faults, f"{name} has a damaged record after byte {place}: {error}")
        if read(size - len(_MAGIC), len(_MAGIC)) != _MAGIC:
            note(faults, f"{name} ends at byte {size} without an end marker")
        return index

    def _content(self, read: Read, stretch: _Stretch, wanted: frozenset[int], faults: list[str]) -> _Content:
        times, places = array("Q"), array("I")
        records = b""
        try:
            records = read(stretch.at, min(stretch.size, _HEAD.size + LARGEST_MESSAGE))
            if stretch.is_chunk:
                if records[: _HEAD.size] != _HEAD.pack(_CHUNK, stretch.size - _HEAD.size):
                    raise DamageError("there is no chunk")
                records = _unpacked(memoryview(records)[_HEAD.size :], whole=len(records) == stretch.size)
            for channel, time, place in _messages_in(records):
                if channel in wanted:
                    times.append(time)
                    places.append(place)
        except DamageError as error:
            note(faults, f"{self._path.name} has a damaged record at byte {stretch.at}: {error}")
        columns = np.frombuffer(times, np.uint64), np.frombuffer(places, np.uint32)
        in_order = np.argsort(columns[0], kind="stable")
        return _Content(records, columns[0][in_order], columns[1][in_order])


class _Kept:
    """Keeps the stretches that were used last, and reads others again when they are needed again."""

    def __init__(self, read: Callable[[int], _Content]) -> None:
        self._read = read
        self._contents: OrderedDict[int, _Content] = OrderedDict()
        self._memory = 0

    def content(self, number: int) -> _Content:
        if number in self._contents:
            self._contents.move_to_end(number)
            return self._contents[number]
        while self._memory > CACHE_SIZE:
            self.forget(next(iter(self._contents)))
        content = self._contents[number] = self._read(number)
        self._memory += content.memory
        return content

    def forget(self, number: int) -> None:
        self._memory -= self._contents.pop(number).memory


def _reader(file: BinaryIO) -> Read:
    def read(at: int, count: int) -> bytes:
        file.seek(at)
        return file.read(count)

    return read


def _look_at(index: _Index, read: Read, opcode: int, at: int, length: int) -> None:
    """Adds the content of a record, or of the part of one that is left. Raises `DamageError` after that."""
    if opcode not in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
        return
    if length > LARGEST_MESSAGE:
        raise DamageError(f"it has {length} bytes, expected {LARGEST_MESSAGE} at most")
    place, size = at - _HEAD.size, _HEAD.size + length
    if opcode == _CHUNK:
        chunk = read(at, length)
        _look_into(index, _unpacked(chunk, whole=len(chunk) == length), place, size)
    elif opcode != _MESSAGE:
        index.add(opcode, read(at, length))
    elif length >= _MESSAGE_HEAD.size and read(at + length - 1, 1):
        channel, time = _MESSAGE_HEAD.unpack(read(at, _MESSAGE_HEAD.size))
        index.add_stretch(Counter([channel]), time, time, place, size, is_chunk=False)


def _look_into(index: _Index, records: bytes, place: int, size: int) -> None:
    counts: Counter[int] = Counter()
    first, last = math.inf, 0
    try:
        for channel, time, _ in _messages_in(records, index):
            counts[channel] += 1
            first, last = min(first, time), max(last, time)
    finally:
        if counts:
            index.add_stretch(counts, int(first), last, place, size, is_chunk=True)


def _messages_in(records: bytes, index: _Index | None = None) -> Iterator[tuple[int, int, int]]:
    """Channel, time and place of each message in some records; index: gets their schemas and channels."""
    for opcode, at, length in _records(lambda at, count: records[at : at + count], 0, len(records)):
        if at + length > len(records):
            return
        if opcode == _MESSAGE and length >= _MESSAGE_HEAD.size:
            yield *_MESSAGE_HEAD.unpack_from(records, at), at
        elif opcode in (_SCHEMA, _CHANNEL) and index is not None:
            index.add(opcode, records[at : at + length])


def _records(read: Read, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Opcode, place and length of the content of each record, of which the last may break off."""
    while at < end:
        head = read(at, _HEAD.size)
        if len(head) < _HEAD.size:
            return
        opcode, length = _HEAD.unpack(head)
        if not opcode:
            raise DamageError("there is no record")
        at += _HEAD.size
        yield opcode, at, length
        at += length


def _from_summary(read: Read, size: int) -> _Index | None:
    """The index at the end of a file; None where it has none, or one that does not say all, as the format allows."""
    end = size - _FOOTER_SIZE
    footer = read(max(end, 0), _FOOTER_SIZE)
    if len(footer) < _FOOTER_SIZE or footer[-len(_MAGIC) :] != _MAGIC:
        return None
    opcode, length, start = struct.unpack_from("<BQQ", footer)
    if (opcode, length) != (_FOOTER, 20) or not len(_MAGIC) <= start < end:
        return None
    index, messages, chunks = _Index(), 0, -1
    sets: dict[frozenset[int], frozenset[int]] = {}
    try:
        for opcode, at, length in _records(read, start, end):
            if at + length > end or length > LARGEST_MESSAGE:
                return None
            if opcode in (_SCHEMA, _CHANNEL):
                index.add(opcode, read(at, length))
            elif opcode == _CHUNK_INDEX:
                first, _, place, chunk_size, offsets = _fields(read(at, length), "QQQQm")
                channels = frozenset(offsets)
                # One object for all chunks with the same channels: there may be many of them.
                channels = sets.setdefault(channels, channels)
                index.stretches.append(_Stretch(first, place, chunk_size, channels or None, is_chunk=True))
            elif opcode == _STATISTICS:
                messages, _, _, _, _, chunks, first, last, counts = _fields(read(at, length), "QHIIIIQQm")
                index.counts.update(counts)
                index.span = (first, last) if messages else None
    except DamageError:
        return None
    known = {0, *index.schemas}
    all_known = all(number in index.channels and index.channels[number][0] in known for number in +index.counts)
    places = {stretch.at for stretch in index.stretches}
    whole = index.counts.total() == messages and chunks == len(index.stretches) == len(places)
    return index if whole and all_known and (places or not messages) else None


def _fields(content: bytes | memoryview, kinds: str) -> list[Any]:
    """The first fields of a record: numbers as `struct` calls them, s: a text, m: a map of channels to numbers."""
    found: list[Any] = []
    at = 0
    try:
        for kind in kinds:
            if kind in "sm":
                (length,) = struct.unpack_from("<I", content, at)
                at += 4
                part = bytes(content[at : at + length])
                if len(part) < length:
                    raise DamageError("a field of it breaks off")
                found.append(part.decode() if kind == "s" else dict(struct.iter_unpack("<HQ", part)))
                at += length
            else:
                found += struct.unpack_from(f"<{kind}", content, at)
                at += struct.calcsize(f"<{kind}")
    except (struct.error, UnicodeDecodeError) as error:
        raise DamageError(str(error)) from error
    return found


def _unpacked(chunk: bytes | memoryview, *, whole: bool) -> bytes:
    """The records in the content of a chunk's record, or in the part of one that is left. Raises `DamageError`."""
    if len(chunk) < 40 and not whole:
        return b""
    size, checksum, compression = _fields(chunk[16:], "QIs")
    at = 32 + len(compression.encode())
    (packed,) = _fields(chunk[at:], "Q")
    records = unpack(memoryview(chunk)[at + 8 : at + 8 + packed], compression, size)
    if whole and (len(records) != size or (checksum and zlib.crc32(records) != checksum)):
        raise DamageError("its content is not what its size and checksum say")
    return records
