"""Folders as a training leaves them."""

from __future__ import annotations

import base64
import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eomt_ros.evaluation.results import Figures
from eomt_ros.overlay import to_jpeg
from eomt_ros.training.dataset import Dataset
from eomt_ros.training.history import HistoryFile
from eomt_ros.training.settings import SETTINGS_FILE, TrainingSettings, settings_text
from eomt_ros.training.validation import Validation, WorstValidationFrame
from test.evaluation.examples import short_run
from test.training.data_sets import write_dataset

COLUMNS = ("step", "loss", "class_0", "mask_0", "dice_0", "class", "mask", "dice", "learning_rate", "seconds")
NOTE = "the loss is not finite at step 31, on images/a/000002.jpg; back to step 20, with half the learning rate"


def picture(seed: int) -> str:
    """A JPEG in base64."""
    noise = np.random.default_rng(seed).integers(0, 255, (36, 64, 3), np.uint8)
    return base64.b64encode(to_jpeg(noise)).decode("ascii")


WORST = tuple(
    WorstValidationFrame(
        picture=f"c/{number:06}.jpg", miou=0.3 + number / 10, truth=picture(number), prediction=picture(9)
    )
    for number in range(2)
)


def validation(step: int, miou: float, vpq: float | None, **changes: Any) -> Validation:
    """The scores after some steps; `changes` of the figures."""
    run = short_run()
    figures = Figures(**{name: getattr(run, name) for name in Figures.__dataclass_fields__})
    class_iou = {"floor": miou + 0.1, "wall": miou, "box": miou - 0.1, "ball": None}
    figures = replace(figures, **{"miou": miou, "vpq": vpq, "class_iou": class_iou, **changes})
    return Validation(step=step, task="panoptic", frames=3, seconds=2.0, figures=figures, worst_frames=WORST)


def write_log(folder: Path, steps: int = 40) -> None:
    """A log whose loss falls from 8 to 0 by 8 / steps, with the rate 1e-4."""
    with (folder / "training.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for step in range(1, steps + 1):
            rows.writerow([step, 8 * (1 - step / steps), 1, 1, 1, 0.5, 1.0, 1.5, 1e-4, 0.5])


def write_run(folder: Path, *validations: Validation, notes: tuple[str, ...] = (), steps: int = 40) -> Path:
    """A run in the folder `run` on a data set beside it."""
    data = Dataset.open(write_dataset(folder / "data"))
    run = folder / "run"
    run.mkdir()
    made_with = {"data": str(data.folder), "start": "demo", "versions": {"torch": "2.13.0"}}
    (run / SETTINGS_FILE).write_text(settings_text(TrainingSettings(size=64), made_with))
    file = HistoryFile(run, data)
    for each in validations:
        file.add(each)
    for note in notes:
        file.note(note)
    if steps:
        write_log(run, steps)
    return run
