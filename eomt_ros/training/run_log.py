"""What a run leaves step by step: `training.csv`, and event files for TensorBoard where that is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from eomt_ros.evaluation.json_file import write_whole
from eomt_ros.training.errors import TrainingError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_FILE = "training.csv"
EVENTS = "events"
STEP = "step"


class RunLog:
    """The log of a run in its folder, within a `with` block.

    step: steps done, for a run that is resumed; what was logged after it is removed. Raises `TrainingError`,
    `OSError`.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self._path = folder / LOG_FILE
        self._columns: list[str] = []
        if self._path.exists():
            self._keep(step)
        self._events = _events(folder / EVENTS, step)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Adds what a step was like; the first row's names are the columns."""
        begin = not self._columns
        self._columns = self._columns or [STEP, *values]
        try:
            with self._path.open("w" if begin else "a", encoding="utf-8") as file:
                if begin:
                    file.write(_line(self._columns))
                file.write(_line([str(step), *(f"{values[name]:.8g}" for name in self._columns[1:])]))
        except OSError as error:
            reason = f"{self._path} cannot be written: {error.strerror}"
            raise TrainingError(f"{reason}; --resume goes on from the last state, once there is room") from error
        self.figures(step, "training", values)

    def figures(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Figures for TensorBoard alone."""
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{group}/{name}", value, step)

    def _keep(self, step: int) -> None:
        with self._path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        self._columns = rows[0] if step and rows else []
        kept = [row for row in rows[1:] if len(row) == len(self._columns) and int(row[0]) <= step]
        write_whole("".join(map(_line, [self._columns, *kept] if self._columns else [])), self._path)


def _line(values: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _events(folder: Path, step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    writer: SummaryWriter = SummaryWriter(str(folder), purge_step=step + 1 if step else None)  # type: ignore[no-untyped-call]
    return writer
