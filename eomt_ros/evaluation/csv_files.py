"""The figures of an evaluation in CSV, for spreadsheets and data frames: UTF-8, a row of names first, empty cells for
figures that cannot be known.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from eomt_ros.evaluation.figure_names import flat_figures
from eomt_ros.evaluation.json_file import written_whole
from eomt_ros.evaluation.results import Results
from eomt_ros.printable import printable

FIGURES_TABLE = "figures.csv"
"""A row for each figure; a column `all`, and for each slice one such as `in site=night`."""
RECORDINGS_TABLE = "recordings.csv"
"""A row for each of several recordings, also for those that failed; a column for each figure."""

Cell = str | int | float | None


def write_figure_tables(found: Results, folder: Path) -> None:
    """Writes `figures.csv`, and where there are several recordings `recordings.csv`. Raises `OSError`."""
    slices = {f"in {tag}": flat_figures(each) for tag, each in found.slices.items()}
    columns = {"all": flat_figures(found), **slices}
    rows = ({"figure": path, **{name: each.get(path) for name, each in columns.items()}} for path in columns["all"])
    write_table(rows, ("figure", *columns), folder / FIGURES_TABLE)
    recordings = [
        {
            "name": each.name,
            "folder": each.folder,
            "tags": "; ".join(each.tags),
            "fingerprint": each.fingerprint,
            **flat_figures(each),
        }
        for each in found.recordings
    ]
    failed = [{"name": each.name, "error": each.error} for each in found.failed]
    if len(recordings) + len(failed) > 1:
        names = dict.fromkeys(("name", "error", "folder", "tags", "fingerprint"))
        names |= dict.fromkeys(name for row in recordings for name in row)
        write_table([*failed, *recordings], tuple(names), folder / RECORDINGS_TABLE)


def write_table(rows: Iterable[Mapping[str, Cell]], columns: Sequence[str], path: Path) -> None:
    """Writes rows, by the names of columns; the file is there whole or not at all. Raises `OSError`."""
    with written_whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(as_cell, columns))
        writer.writerows([as_cell(row.get(column)) for column in columns] for row in rows)


def as_cell(value: Cell) -> Cell:
    """A cell that is no formula to a spreadsheet, whoever named the recording."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
