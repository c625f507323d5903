"""What a run went through, in `validations.json`: its data, all validations, and what went wrong.

The report is made of it, so it is written anew after every change; it is there whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from eomt_ros.evaluation.json_file import JsonFileError, from_json, parse_json, write_json
from eomt_ros.regular_file import read_bytes
from eomt_ros.training.data_summary import DataSummary, summary_of
from eomt_ros.training.dataset import Dataset
from eomt_ros.training.errors import TrainingError
from eomt_ros.training.validation import Validation

HISTORY_FILE = "validations.json"
HISTORY_VERSION = 1
LARGEST_HISTORY = 1 << 28
"""Bytes of the file."""


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """The content of `validations.json`."""

    version: int
    data: DataSummary
    validations: tuple[Validation, ...] = ()
    """In the order of their steps. Only the best has pictures."""
    notes: tuple[str, ...] = ()
    """What went wrong, a sentence each."""

    @property
    def start(self) -> Validation | None:
        """The one before the first step; None where there was none."""
        return next((each for each in self.validations if each.step == 0), None)

    @property
    def best(self) -> Validation | None:
        """The one with the highest score, the latest of equal ones; None before the first step.

        The start is no result, however good it is. Where nothing has a score, the latest is the best.
        """
        results = [each for each in self.validations if each.step]
        return max(results, key=lambda each: (each.score is not None, each.score or 0.0, each.step), default=None)


class HistoryFile:
    """The history of a run, kept in the run's folder.

    `history`: all so far. Each method raises `OSError` where the file cannot be written, and then nothing has changed.
    """

    def __init__(self, folder: Path, dataset: Dataset, *, resume: bool = False) -> None:
        """resume: goes on with the file that is there. Raises `TrainingError` where there is none to be read."""
        self._path = folder / HISTORY_FILE
        self.history = (
            read_history(folder) if resume else RunHistory(version=HISTORY_VERSION, data=summary_of(dataset.folder))
        )
        self._write(self.history)

    def add(self, validation: Validation) -> bool:
        """Adds a validation; whether its network is the best so far, and to be kept.

        What is known of later steps is forgotten, as by `forget_after`, and so is a validation of the same step.
        """
        earlier = [each for each in self.history.validations if each.step < validation.step]
        history = replace(self.history, validations=(*earlier, validation))
        best = history.best or validation
        pictured = tuple(each if each is best else replace(each, worst_frames=()) for each in history.validations)
        self._write(replace(history, validations=pictured))
        return best is validation and validation.step > 0

    def forget_after(self, step: int) -> None:
        """Forgets the validations after a step, for a run that goes on from there."""
        kept = tuple(each for each in self.history.validations if each.step <= step)
        self._write(replace(self.history, validations=kept))

    def note(self, sentence: str) -> None:
        """Adds what went wrong."""
        self._write(replace(self.history, notes=(*self.history.notes, sentence)))

    def _write(self, history: RunHistory) -> None:
        write_json(history, self._path)
        self.history = history


def read_history(folder: Path) -> RunHistory:
    """The history of the run in a folder. Raises `TrainingError`."""
    path = folder / HISTORY_FILE
    try:
        content = parse_json(read_bytes(path, LARGEST_HISTORY).decode("utf-8"))
        if content.get("version") != HISTORY_VERSION:
            raise JsonFileError(f"version is {content.get('version')}, expected {HISTORY_VERSION}")
        return from_json(RunHistory, content)
    except FileNotFoundError as error:
        raise TrainingError(f"{folder} has no {HISTORY_FILE}: expected a folder that a training wrote") from error
    except (OSError, UnicodeDecodeError, JsonFileError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error
