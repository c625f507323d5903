"""What a run leaves in its folder: the best checkpoint, the history of its validations, and the report."""

from __future__ import annotations

from pathlib import Path

from eomt_ros.engine.model.checkpoint import CONFIG
from eomt_ros.engine.model.weights import WEIGHTS
from eomt_ros.engine.networks import QueryVit
from eomt_ros.training.checkpoint import save_checkpoint
from eomt_ros.training.dataset import Dataset
from eomt_ros.training.history import HistoryFile
from eomt_ros.training.report import write_report
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.validation import Validation, validate

SIDE = "checkpoint"
"""Where a checkpoint is written first, within the folder of the run's state."""


class Outcome:
    """The results of one run, in `out`; step: None for a run that begins, else the step at which it goes on.

    Raises `UserError`, `OSError`.
    """

    def __init__(
        self, out: Path, run_folder: Path, dataset: Dataset, settings: TrainingSettings, step: int | None
    ) -> None:
        self._out, self._side = out, run_folder / SIDE
        self._dataset, self._settings = dataset, settings
        self._history = HistoryFile(out, dataset, resume=step is not None)
        self.forget_after(step or 0)

    def validate(self, network: QueryVit, step: int) -> Validation:
        """Scores a network, and keeps it as the checkpoint where it is the best so far."""
        found = validate(network, self._settings, self._dataset, step=step)
        if self._history.add(found):
            self._keep(network)
        return found

    def forget_after(self, step: int) -> None:
        """Forgets the validations after a step, from which the run goes on."""
        self._history.forget_after(step)

    def note(self, sentence: str) -> None:
        """Adds to the report what went wrong."""
        self._history.note(sentence)

    def end(self, network: QueryVit, unfinished: str = "") -> Path:
        """Leaves a checkpoint if there is none yet, and the report, whose path it returns; unfinished: why it is not
        over.
        """
        if not (self._out / CONFIG).exists():
            self._keep(network)
        return write_report(self._out, unfinished)

    def _keep(self, network: QueryVit) -> None:
        """Replaces the checkpoint file by file: but for the weights, which come last, all have the same content."""
        save_checkpoint(network, self._side, self._dataset.classes, self._settings.task, name=self._out.resolve().name)
        for path in sorted(self._side.iterdir(), key=lambda path: path.name == WEIGHTS):
            path.replace(self._out / path.name)
        self._side.rmdir()


def validation_figures(found: Validation) -> dict[str, float]:
    """The figures that there are, by name."""
    figures = found.figures
    named = {"mIoU": figures.miou, "VPQ": figures.vpq, "STQ": figures.stq, "found": figures.objects_found}
    return {name: value for name, value in named.items() if value is not None}


def validation_line(found: Validation) -> str:
    """A validation in one line."""
    told = ", ".join(f"{name} {value:.3f}" for name, value in validation_figures(found).items())
    return f"validation after step {found.step}: {told or 'nothing is to be found in the validation part'}"
