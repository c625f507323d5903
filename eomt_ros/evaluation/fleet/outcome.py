"""What became of a recording; `outcome.json` in its folder says so, also to other processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eomt_ros.evaluation.json_file import JsonFileError, from_json, parse_json, write_json
from eomt_ros.evaluation.results import ResultsError
from eomt_ros.regular_file import read_bytes

if TYPE_CHECKING:
    from eomt_ros.evaluation.fleet.unit import Unit  # which needs torch

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


def read_outcome(folder: Path) -> Outcome | None:
    """What became of the recording of a folder; None where nothing says so. Raises `ResultsError`."""
    path = folder / FILE
    try:
        return from_json(Outcome, parse_json(read_bytes(path, LARGEST).decode("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, JsonFileError) as error:
        raise ResultsError(f"{path} does not say what became of a recording: {error}") from error


def kept(unit: Unit, folder: Path) -> Outcome | None:
    """The outcome that stands in a recording's folder if it has the unit's key; None where it is to be evaluated."""
    try:
        found = read_outcome(folder)
    except ResultsError:
        return None
    if found is None or not unit.fingerprint or found.key != unit.key or found.state != DONE:
        return None
    return replace(found, name=unit.name, path=unit.address, state=KEPT)
