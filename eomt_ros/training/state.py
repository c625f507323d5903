"""The state of a run on disk, from which `--resume` goes on: there whole or not at all."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eomt_ros.engine.errors import first_line
from eomt_ros.training.errors import TrainingError

STATE_FILE = "state.pt"


@dataclass
class RunState:
    """All that the next step depends on beside the settings: randomness comes from the seed and the step alone."""

    step: int = 0
    """Steps done."""
    stage: int = 0
    """Number of the stage that the optimizers and the streams are of."""
    stage_step: int = 0
    """Steps done in it."""
    frames: int = 0
    """Frames trained on."""
    seconds: float = 0.0
    """Time taken by the steps."""
    went_back: bool = False
    """Whether the loss was not finite once, so that the rate is half."""
    validations: int = 0
    """Validations done."""
    finished: bool = False
    network: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    optimizers: list[dict[str, Any]] = field(default_factory=list)
    sampler: dict[str, Any] = field(default_factory=dict)
    streams: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By slot: the carried queries, and the record of which thing each has."""


def save_state(state: RunState, folder: Path) -> None:
    """Writes the state into a folder, in place of the one before. Raises `TrainingError` where that cannot be done."""
    path = folder / STATE_FILE
    new = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as file:
            torch.save({each.name: getattr(state, each.name) for each in dataclasses.fields(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer raises a RuntimeError of its own over the disk's error
        reason = next((each.strerror for each in (error, error.__context__) if isinstance(each, OSError)), None)
        kept = "; --resume goes on from the state before it, once there is room" if path.exists() else ""
        raise TrainingError(f"{new} cannot be written: {reason or first_line(error)}{kept}") from error
    finally:
        new.unlink(missing_ok=True)


def load_state(folder: Path) -> RunState | None:
    """The state in a folder, on the CPU; None where there is none. Raises `TrainingError` where it is no state."""
    path = folder / STATE_FILE
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return RunState(**content)
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever torch's reader makes of a damaged file
        raise TrainingError(f"{path} is no state of a run: {first_line(error)}; give another --out") from error
