"""Stamps of messages, in whole nanoseconds."""

from __future__ import annotations

import struct

SECOND = 10**9


def stamp_in(data: bytes) -> int:
    """The header's stamp in nanoseconds, of a message in CDR that begins with a header; 0 where it is cut before that.

    The first 4 bytes tell the byte order (DDSI-RTPS, 10.5).
    """
    if len(data) < 12:
        return 0
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(sec) * SECOND + int(nanosec)


def with_stamp(data: bytes, nanoseconds: int) -> bytes:
    """The same message with another stamp in its header, see `stamp_in`."""
    stamp = struct.pack("<iI" if data[1] & 1 else ">iI", *divmod(nanoseconds, SECOND))
    return data[:4] + stamp + data[4 + len(stamp) :]
