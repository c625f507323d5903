"""`make bench`: everything that is measured, as one table and as `bench/results/<machine>.json`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from bench import (
    cameras,
    engine,
    evaluation,
    families,
    growth,
    identity,
    node,
    page,
    places,
    postprocess,
    precision,
    recordings,
    returns,
    space,
    table,
    topics,
)
from bench.targets import TARGETS, judge
from bench.timing import Row

PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "postprocess": postprocess.rows,
    "engine": engine.rows,
    "families": families.rows,
    "node": node.rows,
    "topics": topics.rows,
    "cameras": cameras.rows,
    "growth": growth.rows,
    "evaluation": evaluation.rows,
    "recordings": recordings.rows,
    "precision": precision.rows,
    "returns": returns.rows,
    "space": space.rows,
    "identity": identity.rows,
    "places": places.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    wanted = parser.parse_args().parts or list(PARTS)
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"no part is called {unknown[0]!r}, expected {', '.join(PARTS)}")

    table.head()
    is_whole = wanted == list(PARTS)
    rows = []
    for part in wanted:
        for row in map(judge, PARTS[part]()):
            rows.append(row)
            print(table.line(row), flush=True)
        if is_whole:
            written = table.write(rows)  # so far: a part that fails takes no other's half an hour with it
    if not is_whole:
        return
    print(f"\nwritten to {written}")
    if written == page.MEASURED:
        page.write()
    for name in sorted(TARGETS.keys() - {row.name for row in rows}):
        print(f"not measured, though it has a target: {name}")


if __name__ == "__main__":
    main()
