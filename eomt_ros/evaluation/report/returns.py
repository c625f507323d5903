"""The table of returns: with which ids objects came back, by how long they were away."""

from __future__ import annotations

from dataclasses import dataclass

from eomt_ros.evaluation.ids import OUTCOMES, ReturnFigures, ReturnNumbers
from eomt_ros.evaluation.report.figures import Kind, as_text
from eomt_ros.evaluation.results import Figures


@dataclass(frozen=True)
class ReturnPart:
    """The returns of a row with one outcome."""

    outcome: str
    count: int
    share: float
    """Percent of the row's."""

    @property
    def text(self) -> str:
        """The share as it prints."""
        return as_text(self.share / 100, Kind.SHARE)


@dataclass(frozen=True)
class ReturnRow:
    """The returns after some time away."""

    time_away: str
    returned: int
    parts: tuple[ReturnPart, ...]
    """In the order of `OUTCOMES`."""


def return_rows(returns: ReturnFigures | None) -> list[ReturnRow]:
    """A row for each time away after which something came back, and one of all; empty where nothing did."""
    if returns is None or not returns.returned:
        return []
    times = {time_away(name): each for name, each in returns.by_time_away.items()}
    return [_row(name, each) for name, each in {**times, "all": returns}.items() if each.returned]


def shares_by_time_away(found: Figures, outcome: str) -> dict[str, float | None]:
    """The share of the returns with an outcome, by time away; None where there is none."""
    if found.returns is None:
        return {}
    return {
        time_away(name): getattr(each, outcome) / each.returned if each.returned else None
        for name, each in found.returns.by_time_away.items()
    }


def time_away(name: str) -> str:
    """A name of `metrics.returns.TIMES_AWAY` as people read it, such as `2 to 5 s`."""
    return f"{name.replace('_', ' ')} s"


def _row(name: str, numbers: ReturnNumbers) -> ReturnRow:
    counts = ((outcome, int(getattr(numbers, outcome))) for outcome in OUTCOMES)
    return ReturnRow(
        name, numbers.returned, tuple(ReturnPart(each, count, 100 * count / numbers.returned) for each, count in counts)
    )
