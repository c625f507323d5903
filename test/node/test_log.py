"""What repeats is told a few times, then seldom, with its count."""

from __future__ import annotations

from typing import Any

from eomt_ros.node.log import AT_ONCE, PERIOD, SparingLog


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def warning(self, message: str) -> None:
        self.told.append(message)

    error = warning


class Times:
    """A clock that stands where it is put."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _log() -> tuple[Any, Times, list[str]]:
    lines, clock = Lines(), Times()
    logger: Any = lines
    return SparingLog(logger, clock), clock, lines.told


def test_the_first_are_told_as_they_come_and_the_rest_counted() -> None:
    log, clock, told = _log()
    for number in range(1000):
        log.warning("size", f"size {number}")
    assert told == [f"size {number}" for number in range(AT_ONCE)]
    clock.now += PERIOD
    log.warning("size", "size again")
    assert told[AT_ONCE:] == [f"size again (and {1000 - AT_ONCE:,} more of this kind, not told)"]


def test_a_day_of_them_is_one_in_a_period() -> None:
    log, clock, told = _log()
    for number in range(30 * 3600):
        clock.now = number / 30
        log.error("size", "size")
    assert len(told) <= AT_ONCE + 3600 / PERIOD


def test_kinds_do_not_hide_each_other_and_quiet_ones_are_told_at_once_again() -> None:
    log, clock, told = _log()
    for _ in range(100):
        log.warning("size", "size")
    log.error("stamp", "stamp")
    assert told[-1] == "stamp"
    clock.now += AT_ONCE * PERIOD
    before = len(told)
    for _ in range(100):
        log.warning("size", "size")
    assert len(told) == before + AT_ONCE
