"""The output folder of many recordings: a folder for each of them. No other folder in it is ever touched."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from eomt_ros.evaluation import results
from eomt_ros.evaluation.fleet import outcome
from eomt_ros.evaluation.fleet.outcome import Outcome, write_outcome
from eomt_ros.evaluation.fleet.unit import Unit
from eomt_ros.evaluation.output_folder import OutputFolderError, clear, clear_unfinished, expect_no_input

_LOG = re.compile(r"log(-\d+-of-\d+)?\.txt")
_HALF = re.compile(r"\.(.+)\.\d+(?:\.before)?")
"""Group: the recording's name."""


class Shard(NamedTuple):
    """A part of the recordings: every `of`-th, from the `number`-th on, counted from 1."""

    number: int
    of: int


def log_of(out: Path, shard: Shard | None) -> Path:
    """The file that gets a line for each recording; each shard has its own, since they may be on several machines."""
    return out / ("log.txt" if shard is None else f"log-{shard.number}-of-{shard.of}.txt")


def is_recordings(folder: Path) -> bool:
    """True for a folder that the evaluation of one of many recordings has left."""
    return not folder.is_symlink() and (folder / outcome.FILE).is_file()


def make_fleet_ready(
    out: Path,
    units: Sequence[Unit],
    own: Sequence[Unit],
    *,
    overwrite: bool,
    resume: bool,
    shard: Shard | None,
) -> None:
    """Makes the folder `out`. own: those of the units that this process evaluates, all of them without a shard.

    overwrite: removes an evaluation that is there, of a shard its own recordings; everything else stays. resume: goes
    on with it. Raises `OutputFolderError` where the folder holds something else, or recordings that are none of the
    units; `OSError`.
    """
    expect_no_input(out, [unit.path for unit in units if isinstance(unit.path, Path)])
    if out.exists() and not out.is_dir():
        raise OutputFolderError(f"--out {out} is a file, expected a folder")
    out.mkdir(parents=True, exist_ok=True)
    there = {each.name for each in out.iterdir() if is_recordings(each)}
    logs = [each for each in out.iterdir() if _LOG.fullmatch(each.name)]
    many = bool(there or logs)
    if any(out.iterdir()):
        _expect_evaluation(out, overwrite=overwrite, resume=resume, many=many, shard=shard)
    names = {unit.name for unit in own}
    if overwrite:
        for name in there if shard is None else there & names:
            shutil.rmtree(out / name)
        if shard is None:
            clear(out)
            for log in logs:
                log.unlink(missing_ok=True)
    elif not resume and there & names:
        raise OutputFolderError(
            f"--out {out} has {min(there & names)} already: --resume to go on, or --overwrite to begin again"
        )
    elif strangers := there - {unit.name for unit in units}:
        raise OutputFolderError(
            f"--out {out} holds {min(strangers)}, which is none of the recordings and would count too: give all "
            "recordings, another folder, or --overwrite"
        )
    remove_halves(out, own)
    log_of(out, shard).touch()  # tells what the folder is, whatever ends the run
    if shard is None:
        clear_unfinished(out)
        results.begin(out)


def remove_halves(out: Path, units: Collection[Unit]) -> None:
    """Removes what processes left that ended in the middle of a recording; none may be at work any more."""
    names = {unit.name for unit in units}
    for path in out.glob(".*"):
        half = _HALF.fullmatch(path.name)
        if half is not None and half[1] in names and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def half_folder(unit: Unit, out: Path, process: int) -> Path:
    """Where a process writes what is not whole yet."""
    return out / f".{unit.name}.{process}"


def put_in_place(half: Path, folder: Path) -> None:
    """Renames a folder that is whole; an earlier evaluation in its place is removed.

    Raises `OutputFolderError` where something else is there, `OSError`.
    """
    if not folder.exists():
        half.rename(folder)
        return
    if not is_recordings(folder):
        raise OutputFolderError(f"{folder} is there and is no evaluation of a recording: move it away")
    before = half.with_name(f"{half.name}.before")
    folder.rename(before)
    half.rename(folder)
    shutil.rmtree(before)


def put_failure(failed: Outcome, out: Path) -> None:
    """Says in a recording's folder that it failed; earlier figures there are removed. Raises as `put_in_place`."""
    half = out / f".{failed.name}.{os.getpid()}"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    write_outcome(failed, half)
    put_in_place(half, out / failed.name)


def _expect_evaluation(out: Path, *, overwrite: bool, resume: bool, many: bool, shard: Shard | None) -> None:
    """Raises `OutputFolderError` where what is in the folder is not to be gone on with, or overwritten."""
    if resume and not many:
        raise OutputFolderError(
            f"--out {out} is not empty and holds no evaluation of several recordings to --resume: give another folder"
        )
    if overwrite and not (many or results.has_begun(out)):
        raise OutputFolderError(
            f"--out {out} is not empty and holds no evaluation ({results.FILE}), so nothing in it is overwritten: "
            "give another folder, or remove this one"
        )
    if not (resume or overwrite or (many and shard is not None)):
        raise OutputFolderError(
            f"--out {out} is not empty: give another folder, --resume to go on there, or --overwrite"
        )
