"""Calls of the C library at a later time, whatever thread has Python's lock by then, and for however long."""

from __future__ import annotations

import ctypes
import time

SIGEV_THREAD = 2


class _Event(ctypes.Structure):
    """`sigevent` of Linux."""

    _fields_ = (
        ("argument", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("unused", ctypes.c_char * 64),
    )


class _Times(ctypes.Structure):
    """`itimerspec` of Linux."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns"))


_arguments: list[ctypes.Array[ctypes.c_char]] = []
"""Kept for the calls to come."""


def call_later(delay: float, function: str, argument: int | bytes) -> None:
    """Call a function of the C library that takes one number or text, `delay` seconds from now, on a thread of its own.

    Raises `OSError` where the system has no timers for that.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if isinstance(argument, bytes):
        _arguments.append(ctypes.create_string_buffer(argument))
        argument = ctypes.addressof(_arguments[-1])
    event = _Event(
        argument=argument, notify=SIGEV_THREAD, function=ctypes.cast(getattr(library, function), ctypes.c_void_p).value
    )
    timer = ctypes.c_void_p()
    times = _Times(first_s=int(delay), first_ns=int(delay % 1 * 1e9))
    try:
        failed = library.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer))
        failed = failed or library.timer_settime(timer, 0, ctypes.byref(times), None)
    except AttributeError as error:  # glibc before 2.34 has them in a library of their own
        raise OSError(str(error)) from error
    if failed:
        raise OSError(ctypes.get_errno(), "no timer")
