"""`make bench`: everything that is measured, as one table and as `bench/results/<machine>.json`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from bench import engine, evaluation, families, growth, machine, node, postprocess, topics
from bench.targets import TARGETS, judge
from bench.timing import Row

PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "postprocess": postprocess.rows,
    "engine": engine.rows,
    "families": families.rows,
    "node": node.rows,
    "topics": topics.rows,
    "growth": growth.rows,
    "evaluation": evaluation.rows,
}
RESULTS = Path(__file__).parent / "results"
NAME = 58
"""Columns for a row's name."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    wanted = parser.parse_args().parts or list(PARTS)
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"no part is called {unknown[0]!r}, expected {', '.join(PARTS)}")

    described = machine.describe()
    for name, value in described.items():
        print(f"{name}: {value}")
    print(f"\n{'':{NAME}} {'ours':>10} {'reference':>11} {'ratio':>8}  {'lowest - highest':18} target", flush=True)
    rows = []
    for part in wanted:
        for row in map(judge, PARTS[part]()):
            rows.append(row)
            print(line(row), flush=True)
    if wanted != list(PARTS):
        return
    path = RESULTS / f"{machine.slug()}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([{"name": "machine", **described}, *map(asdict, rows)], indent=2) + "\n")
    print(f"\nwritten to {path}")
    for name in sorted(TARGETS.keys() - {row.name for row in rows}):
        print(f"not measured, though it has a target: {name}")


def line(row: Row) -> str:
    """The row as people read it."""
    ours = "" if row.ours_ms is None else f"{row.ours_ms:.1f} ms"
    reference = "" if row.reference_ms is None else f"{row.reference_ms:.1f} ms"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} x"
    if row.ratio is not None:
        spread = f"{row.ratio_low:.2f} - {row.ratio_high:.2f} x"
    else:
        spread = "" if row.ours_low_ms is None else f"{row.ours_low_ms:.1f} - {row.ours_high_ms:.1f} ms"
    target = "" if row.met is None else f"{row.target} {'met' if row.met else 'NOT MET'}"
    return f"{row.name:{NAME}} {ours:>10} {reference:>11} {ratio:>8}  {spread:18} {target:18} {row.note}".rstrip()


if __name__ == "__main__":
    main()
