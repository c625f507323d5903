"""The table as people read it, and as it is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench import machine
from bench.timing import Row

RESULTS = Path(__file__).parent / "results"
NAME = 62
"""Columns for a row's name."""


def head() -> None:
    """Prints what the figures are measured on, and the names of the columns."""
    for name, value in machine.describe().items():
        print(f"{name}: {value}")
    print(f"\n{'':{NAME}} {'ours':>10} {'reference':>11} {'ratio':>8}  {'lowest - highest':18} target", flush=True)


def line(row: Row) -> str:
    """The row as people read it."""
    ours = "" if row.ours_ms is None else f"{row.ours_ms:.1f} ms"
    reference = "" if row.reference_ms is None else f"{row.reference_ms:.1f} ms"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} x"
    if row.ratio is not None:
        spread = f"{row.ratio_low:.2f} - {row.ratio_high:.2f} x"
    else:
        spread = "" if row.ours_low_ms is None else f"{row.ours_low_ms:.1f} - {row.ours_high_ms:.1f} ms"
    told = "; ".join(filter(None, (row.runs, row.note)))
    target = "" if row.met is None else f"{row.target} {'met' if row.met else 'NOT MET'}"
    return f"{row.name:{NAME}} {ours:>10} {reference:>11} {ratio:>8}  {spread:18} {target:18} {told}".rstrip()


def write(rows: Sequence[Row], folder: Path = RESULTS) -> Path:
    """Writes the machine and the rows into its file in the folder; returns that."""
    path = folder / f"{machine.slug()}.json"
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps([{"name": "machine", **machine.describe()}, *map(asdict, rows)], indent=2) + "\n")
    return path
