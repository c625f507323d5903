"""What became of a recording; `outcome.json` in its folder says so of one that has figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from eomt_ros.evaluation.fleet.unit import Unit
from eomt_ros.evaluation.json_file import JsonFileError, from_json, parse_json, write_json
from eomt_ros.regular_file import read_bytes

FILE = "outcome.json"
LARGEST = 1 << 20
"""Bytes of the file."""
DONE, FAILED, KEPT = "done", "failed", "kept"


@dataclass(frozen=True)
class Outcome:
    """The end of a recording's evaluation."""

    name: str
    path: str
    key: str
    """As in `Unit`."""
    state: str
    """`DONE`; `FAILED`: it has no figures; `KEPT`: it was done before, with the same key."""
    error: str = ""
    """Why it failed; of one with figures: why they are of a part of it only."""
    seconds: float = 0.0
    """Time that the last attempt took."""
    attempts: int = 1
    frames: int = 0
    miou: float | None = None
    tags: tuple[str, ...] = ()
    """As in `Unit`, when it was evaluated."""


def failed(unit: Unit, error: str, *, seconds: float = 0.0, attempts: int = 1) -> Outcome:
    """The outcome of a recording without figures."""
    return Outcome(unit.name, unit.address, unit.key, FAILED, error, seconds, attempts)


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Writes it into the folder of a recording. Raises `OSError`."""
    write_json(outcome, folder / FILE)


def kept(unit: Unit, folder: Path) -> Outcome | None:
    """The outcome that stands in a recording's folder if it has the unit's key; None where it is to be evaluated."""
    try:
        found = from_json(Outcome, parse_json(read_bytes(folder / FILE, LARGEST).decode()))
    except (OSError, UnicodeDecodeError, JsonFileError):
        return None
    if not unit.fingerprint or found.key != unit.key or found.state != DONE:
        return None
    return replace(found, name=unit.name, path=unit.address, state=KEPT)
