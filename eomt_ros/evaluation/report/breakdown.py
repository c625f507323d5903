"""Where it goes wrong: tables by class and by size, and what is taken for what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.counts import counts_of
from eomt_ros.evaluation.metrics.breakdown import SIZES, Breakdown
from eomt_ros.evaluation.report.figures import NOTHING, Kind, as_text
from eomt_ros.evaluation.results import Results
from eomt_ros.evaluation.wrong import SegmentFigures

MOST_CLASSES = 40
"""Classes that have a line each."""
LARGEST_MATRIX = 14
"""Classes of a matrix; of more than fit beside each other, a list has the largest confusions."""
MOST_CONFUSIONS = 20
DEEPEST = 60.0
"""Percent of colour in a cell of all: text stays readable on it."""

Shares = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeatCell:
    """A share of its row."""

    text: str
    depth: float
    """Percent of colour."""
    is_right: bool
    title: str


@dataclass(frozen=True)
class HeatRow:
    """A line of a table in which the deeper the colour, the larger the share."""

    name: str
    total: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class HeatTable:
    """Shares of rows in columns."""

    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]


@dataclass(frozen=True)
class TakenFor:
    """A class that is predicted where another one is true."""

    true: str
    predicted: str
    of_class: str
    """Share of the true class."""
    of_errors: str
    """Share of all that is wrong."""


@dataclass(frozen=True)
class WhereWrong:
    """All of it; what cannot be known is empty or None."""

    by_class: tuple[tuple[str, SegmentFigures], ...]
    """Worst first."""
    more_classes: int
    """How many are left out."""
    by_size: tuple[tuple[str, SegmentFigures], ...]
    recall: HeatTable | None
    """Share of the things of each class that are found, by size."""
    things: HeatTable | None
    pixels: HeatTable | None
    confusions: tuple[TakenFor, ...]
    """Of pixels, where there are too many classes for a table."""


def where_wrong(results: Results) -> WhereWrong | None:
    """Lays it out; None where nothing was scored, or an older version wrote the results."""
    if not results.counts or not results.frames_scored:
        return None
    scores, names = counts_of(results).scores, results.class_names
    confusion, breakdown = scores.partial.confusion.counts, scores.breakdown
    present = [number for number in range(len(names)) if confusion[number].any() or confusion[:, number].any()]
    fits = len(present) <= LARGEST_MATRIX
    worst_first = sorted(results.by_class.items(), key=lambda item: item[1].pq)
    sizes = [(f"{name}, {SIZES[name]}", figures) for name, figures in results.by_size.items()]
    return WhereWrong(
        by_class=tuple(worst_first[:MOST_CLASSES]),
        more_classes=max(0, len(worst_first) - MOST_CLASSES),
        by_size=tuple(sizes),
        recall=None if breakdown is None else _recall(breakdown, names),
        things=None if breakdown is None else _things(breakdown, names),
        pixels=_pixels(confusion, present, names) if fits else None,
        confusions=() if fits else tuple(_largest(confusion, names)),
    )


def _recall(breakdown: Breakdown, names: Sequence[str]) -> HeatTable | None:
    true = breakdown.matched + breakdown.only_true
    rows = []
    for number in np.flatnonzero(true.sum(axis=0)).tolist()[:MOST_CLASSES]:
        pairs = zip(breakdown.matched[:, number].tolist(), true[:, number].tolist(), strict=True)
        cells = tuple(
            _cell(found, total, f"{found:,} of {counted(total, 'thing')}", right=True) for found, total in pairs
        )
        rows.append(HeatRow(names[number], f"{true[:, number].sum():,}", cells))
    return HeatTable(tuple(SIZES), tuple(rows)) if rows else None


def _things(breakdown: Breakdown, names: Sequence[str]) -> HeatTable | None:
    """What things are found as; None where there are none, or too many classes of them."""
    counts = breakdown.taken_for
    present = [number for number in range(len(names)) if counts[number].any() or counts[:, number].any()]
    if not present or len(present) > LARGEST_MATRIX:
        return None
    columns = (*(names[number] for number in present), "missed")
    rows = [_row(names[number], counts[number], [*present, -1], columns, number) for number in present]
    ghosts = counts[-1]
    if ghosts.any():
        rows.append(_row("nothing there", ghosts, present, columns, None))
    return HeatTable(columns, tuple(rows))


def _pixels(confusion: Shares, present: Sequence[int], names: Sequence[str]) -> HeatTable | None:
    columns = (*(names[number] for number in present), "unlabelled")
    true = [number for number in present if confusion[number].any()]
    rows = [_row(names[number], confusion[number], [*present, -1], columns, number) for number in true]
    return HeatTable(columns, tuple(rows)) if rows else None


def _row(name: str, counts: Shares, present: Sequence[int], columns: Sequence[str], right: int | None) -> HeatRow:
    """right: the column of what is right."""
    total = int(counts.sum())
    cells = tuple(
        _cell(int(counts[number]), total, f"{name} as {column}: {int(counts[number]):,}", right=number == right)
        for number, column in zip(present, columns, strict=False)
    )
    return HeatRow(name, f"{total:,}", cells)


def _cell(count: int, total: int, title: str, *, right: bool) -> HeatCell:
    if not total:
        return HeatCell(NOTHING, 0.0, right, "none")
    share = count / total
    return HeatCell(as_text(share, Kind.SHARE) if count or right else "", DEEPEST * share, right, title)


def _largest(confusion: Shares, names: Sequence[str]) -> Iterator[TakenFor]:
    """The pairs of classes with most wrong pixels, the largest first."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    columns = (*names, "unlabelled")
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if count := int(wrong[row, column]):
            of_class = as_text(count / int(confusion[row].sum()), Kind.SHARE)
            yield TakenFor(names[row], columns[column], of_class, as_text(count / int(wrong.sum()), Kind.SHARE))
