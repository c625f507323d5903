"""`make bench`: everything that is measured, as one table and as `bench/results/<machine>.json`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from bench import engine, evaluation, machine, node, postprocess
from bench.timing import Row

PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "postprocess": postprocess.rows,
    "engine": engine.rows,
    "node": node.rows,
    "evaluation": evaluation.rows,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    wanted = parser.parse_args().parts or list(PARTS)
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"no part is called {unknown[0]!r}, expected {', '.join(PARTS)}")

    for name, value in machine.describe().items():
        print(f"{name}: {value}")
    print(f"\n{'':54} {'ours':>10} {'reference':>10} {'ratio':>7}  (lowest - highest)", flush=True)
    rows = []
    for part in wanted:
        for row in PARTS[part]():
            rows.append(row)
            print(_line(row), flush=True)
    if wanted == list(PARTS):
        path = RESULTS / f"{machine.slug()}.json"
        path.parent.mkdir(exist_ok=True)
        machine_row = {"name": "machine", **machine.describe()}
        path.write_text(json.dumps([machine_row, *map(asdict, rows)], indent=2) + "\n")
        print(f"\nwritten to {path}")


def _line(row: Row) -> str:
    ours = "" if row.ours_ms is None else f"{row.ours_ms:.1f} ms"
    reference = "" if row.reference_ms is None else f"{row.reference_ms:.1f} ms"
    ratio = "" if row.ratio is None else f"{row.ratio:.1f} x  ({row.ratio_low:.1f} - {row.ratio_high:.1f})"
    return f"{row.name:54} {ours:>10} {reference:>10} {ratio:>7}  {row.note}"


if __name__ == "__main__":
    main()
