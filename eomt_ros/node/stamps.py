"""Stamps of messages: whole nanoseconds, and the one way in which they become seconds."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time


def seconds(stamp: Time) -> float | None:
    """Seconds since 1970, or None for the zero of a driver that does not stamp its images.

    Through whole nanoseconds, as the evaluation reads them: adding up rounded parts ends up to 0.2 microseconds beside
    it, and the two would not decide alike when an object has been away for 2 seconds.
    """
    nanoseconds: int = stamp.sec * 10**9 + stamp.nanosec
    return nanoseconds * 1e-9 if nanoseconds else None


def stamp_in(data: bytes) -> int:
    """The header's stamp in nanoseconds, of a message in CDR that begins with a header.

    The first 4 bytes tell the byte order (DDSI-RTPS, 10.5).
    """
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(sec) * 10**9 + int(nanosec)
