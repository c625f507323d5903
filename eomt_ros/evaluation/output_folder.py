"""The folder that an evaluation writes into. Only files that an evaluation made are ever removed from it.

`metrics.json` is there from the start, so that a folder is known for what it is however the evaluation ends.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from eomt_ros.errors import UserError
from eomt_ros.evaluation import results
from eomt_ros.evaluation.formats.names import EXPORTED_FORMATS
from eomt_ros.evaluation.json_file import unfinished

REPORT = "report.html"
OVERLAY = "overlay.mp4"
BAG = "bag"
EXPORTS = "exports"
WORST_FOLDER = "worst"
FRAMES, OBJECTS = "frames.csv", "objects.csv"
LOG = "log.txt"
"""Of an evaluation of many recordings."""
TABLES = ("figures.csv", "recordings.csv", FRAMES, OBJECTS)
_WORST_PICTURE = re.compile(r"\d+_\w+\.jpg")


class OutputFolderError(UserError):
    """A folder that must not be written into; the message says why and what to do."""


def make_ready(out: Path, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Makes the folder `out`. Removes an earlier evaluation there, whole or half; everything else in it stays.

    Raises `OutputFolderError` where something is in it that `overwrite` does not allow to remove, or is one of the
    inputs; `OSError`.
    """
    expect_no_input(out, inputs)
    if out.exists() and not out.is_dir():
        raise OutputFolderError(f"--out {out} is a file, expected a folder")
    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise OutputFolderError(f"--out {out} is not empty: give another folder, or --overwrite")
        if not results.has_begun(out):
            raise OutputFolderError(
                f"--out {out} is not empty and holds no evaluation ({results.FILE}), so nothing in it is overwritten: "
                "give another folder, or remove this one"
            )
        clear(out)
    out.mkdir(parents=True, exist_ok=True)
    results.begin(out)


def expect_no_input(out: Path, inputs: Iterable[Path]) -> None:
    """Raises `OutputFolderError` where the folder is one of the inputs, or holds it."""
    for path in inputs:
        if out.resolve() in (path.resolve(), *path.resolve().parents):
            raise OutputFolderError(f"--out {out} holds the input {path}, expected another folder")


@contextmanager
def nothing_half(out: Path) -> Iterator[None]:
    """Removes the evaluation from a folder if an error ends the `with` block before there are figures."""
    try:
        yield
    except BaseException:
        if results.has_begun(out) and not results.has_figures(out):
            clear(out)
        raise


def clear_unfinished(out: Path) -> None:
    """Removes what processes left that were killed while they wrote a file of the evaluation. Raises `OSError`."""
    for name in (REPORT, *TABLES, results.FILE):
        for path in unfinished(out / name):
            path.unlink(missing_ok=True)


def clear(out: Path) -> None:
    """Removes the files of an evaluation, and no others. Raises `OSError`."""
    for path in (out / WORST_FOLDER).glob("*.jpg"):
        if _WORST_PICTURE.fullmatch(path.name):
            path.unlink()
    if (out / WORST_FOLDER).is_dir() and not any((out / WORST_FOLDER).iterdir()):
        (out / WORST_FOLDER).rmdir()
    for folder in (out / BAG, *(out / EXPORTS / name for name in EXPORTED_FORMATS)):
        if folder.is_dir():
            shutil.rmtree(folder)
    if (out / EXPORTS).is_dir() and not any((out / EXPORTS).iterdir()):
        (out / EXPORTS).rmdir()
    clear_unfinished(out)
    # The figures last: until then the folder is known for what it is.
    for name in (REPORT, OVERLAY, *TABLES, LOG, results.FILE):
        (out / name).unlink(missing_ok=True)
