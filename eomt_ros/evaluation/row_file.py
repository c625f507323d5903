"""CSV files row by row, in no memory: those of all frames may be large."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TextIO

from eomt_ros.evaluation.csv_files import Cell, as_cell
from eomt_ros.evaluation.json_file import plain, written_whole
from eomt_ros.evaluation.rows import FrameRow, ObjectRow
from eomt_ros.regular_file import open_regular


class RowFile:
    """The file while it is being written; each row is there as soon as it was added."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")

    @classmethod
    @contextmanager
    def open(cls, path: Path, kind: type[FrameRow | ObjectRow]) -> Iterator[RowFile]:
        """Makes the file, with the names of the columns, within a `with` block. Raises `OSError`."""
        with path.open("w", encoding="utf-8", newline="", buffering=1) as file:
            rows = cls(file)
            rows._writer.writerow(each.name for each in fields(kind))
            yield rows

    def add(self, row: FrameRow | ObjectRow) -> None:
        """Adds a row; what is not known is an empty cell, and numbers have 12 digits. Raises `OSError`."""
        self._writer.writerow(as_cell(_without_dust(value)) for value in plain(row).values())


def _without_dust(value: Cell) -> Cell:
    """A number as a reader expects it: 0.6 and not 0.6000000000000001, which is a sum of durations."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def join_rows(out: Path, folders: Iterable[str], name: str, kind: type[FrameRow | ObjectRow]) -> None:
    """Writes the rows of the files `name` in some folders of `out` into one there, after the name of their folder.

    A folder is left out where it has no such file that can be read, or one with another version's columns. Raises
    `OSError`.
    """
    columns = [each.name for each in fields(kind)]
    with written_whole(out / name) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["recording", *columns])
        for folder in folders:
            try:
                source = open_regular(out / folder / name)
            except OSError:
                continue
            with source, io.TextIOWrapper(source, encoding="utf-8", errors="replace", newline="") as text:
                rows = csv.reader(text)
                if next(rows, None) == columns:
                    writer.writerows([as_cell(folder), *row] for row in rows)
