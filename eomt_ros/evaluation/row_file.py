"""A CSV file that grows row by row, in no memory: that of a whole recording's frames may be large."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TextIO

from eomt_ros.evaluation.csv_files import as_cell
from eomt_ros.evaluation.json_file import plain
from eomt_ros.evaluation.rows import FrameRow, ObjectRow


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
        """Adds a row; what is not known is an empty cell. Raises `OSError`."""
        self._writer.writerow(map(as_cell, plain(row).values()))
