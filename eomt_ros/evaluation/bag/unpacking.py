"""Unpacks Zstandard and LZ4 within a limit of memory and of space on the disk."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]

from eomt_ros.evaluation.bag.contents import LARGEST_MESSAGE, DamageError, note

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LARGEST_RATIO = 1000
"""A file that unpacks to more than so many times its size holds no recording."""
SPARE = 1 << 30
"""Bytes that unpacking leaves free on the disk."""

_ZSTD_START = b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 20
_DECOMPRESSORS = {"zstd": zstd.ZstdDecompressor, "lz4": lz4.frame.LZ4FrameDecompressor}


def unpack_message(data: bytes) -> bytes:
    """Unpacks a message that was packed by itself; CDR begins with 0, what is packed does not. Raises `DamageError`."""
    if not data.startswith(_ZSTD_START):
        return data
    unpacked, ended = _unpack(data, "zstd", LARGEST_MESSAGE)
    if not ended:
        raise DamageError("what is packed breaks off")
    return unpacked


def unpack(data: bytes | memoryview, compression: str, size: int) -> bytes:
    """Unpacks a chunk of MCAP: `size` bytes, or fewer where the data break off. Raises `DamageError`."""
    if size > LARGEST_MESSAGE:
        raise DamageError(f"it says that it unpacks to {size} bytes, expected {LARGEST_MESSAGE} at most")
    if not compression:
        return bytes(data[:size])
    if compression not in _DECOMPRESSORS:
        raise DamageError(f"compression {compression!r} is not known, expected zstd, lz4 or none")
    return _unpack(data, compression, size)[0]


def unpack_file(path: Path, folder: Path, faults: list[str]) -> Path:
    """Unpacks a file into a folder, as far as it is whole. Raises `DamageError` where it grows too large, `OSError`."""
    target = folder / path.stem
    most = min(LARGEST_RATIO * path.stat().st_size, shutil.disk_usage(folder).free - SPARE)
    with zstd.open(path, "rb") as packed, target.open("wb") as file:
        try:
            while block := packed.read(_BLOCK):
                if file.tell() + len(block) > most:
                    raise DamageError(f"{path.name} unpacks to more than {most} bytes, expected at most that")
                file.write(block)
        except (zstd.ZstdError, EOFError) as error:
            note(faults, f"{path.name} breaks off: {error}")
    return target


def _unpack(data: bytes | memoryview, compression: str, most: int) -> tuple[bytes, bool]:
    """At most so many bytes, and whether they end where what was packed does."""
    decompressor = _DECOMPRESSORS[compression]()
    try:
        unpacked = decompressor.decompress(data, max_length=most + 1)
    except (zstd.ZstdError, RuntimeError, MemoryError) as error:
        raise DamageError(str(error) or "there is no memory for what it unpacks to") from error
    if len(unpacked) > most:
        raise DamageError(f"it unpacks to more than {most} bytes")
    return unpacked, decompressor.eof
