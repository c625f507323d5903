"""A run of training from its data and its start to a folder with a checkpoint, a log and a report."""

from __future__ import annotations

import dataclasses
import os
import platform
import threading
from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from eomt_ros.engine.device import cpu_computes_in
from eomt_ros.evaluation.json_file import unfinished, write_whole
from eomt_ros.training.dataset import Dataset
from eomt_ros.training.errors import TrainingError
from eomt_ros.training.loop import Job, Training
from eomt_ros.training.settings import SETTINGS_FILE, TrainingSettings, read_made_with, read_settings, settings_text
from eomt_ros.training.start import Start, start_network

if TYPE_CHECKING:
    from accelerate import Accelerator

LONGEST_WAIT = timedelta(hours=12)
"""That processes wait for the one that validates."""


def train(
    data: Path,
    start: str,
    settings: TrainingSettings,
    out: Path,
    *,
    replay: Path | None = None,
    resume: bool = False,
    cpu: bool = False,
    stop: threading.Event | None = None,
) -> bool:
    """Trains on the data set in the folder `data`, in as many processes as the launcher started; False: `stop` was set.

    start: see `start_network`. resume: go on with the run in `out`, where there is one. cpu: leave GPUs alone.
    Raises `UserError` where it cannot be done, `OSError`.
    """
    begun = beginning_of(data, start, settings, out, replay=replay, resume=resume)
    accelerator = accelerator_of(settings, cpu=cpu)
    try:
        found = begun.start
        if accelerator.is_main_process:
            for note in found.notes:
                print(f"start: {note}")
            if not begun.is_begun:
                out.mkdir(parents=True, exist_ok=True)
                write_whole(settings_text(settings, begun.made_with), out / SETTINGS_FILE)
        accelerator.wait_for_everyone()
        sized = dataclasses.replace(settings, size=found.network.settings.image_size)
        job = Job(begun.dataset, found, sized, out, begun.replay, stop or threading.Event())
        return Training(job, accelerator).run(resume=resume)
    finally:
        end(accelerator)


@dataclasses.dataclass(frozen=True, eq=False)
class Beginning:
    """What a run begins with."""

    dataset: Dataset
    replay: Dataset | None
    start: Start
    made_with: Mapping[str, Any]
    """See `made_with`."""
    is_begun: bool
    """Whether --out holds it already."""


def beginning_of(
    data: Path, start: str, settings: TrainingSettings, out: Path, *, replay: Path | None = None, resume: bool = False
) -> Beginning:
    """What `train` with these begins with; writes nothing.

    A launcher of several processes calls it, so that a mistake is said once, not by each of them. Raises `UserError`.
    """
    dataset = Dataset.open(data)
    second = Dataset.open(replay) if replay is not None else None
    expect_own_folder(out, [data, *([replay] if replay else [])], start)
    made = made_with(dataset, start, second)
    is_begun = begun_with(out, settings, made, resume=resume)
    torch.manual_seed(settings.seed)  # the same new weights in every process
    return Beginning(dataset, second, start_network(start, settings, dataset.classes), made, is_begun)


def accelerator_of(settings: TrainingSettings, *, cpu: bool) -> Accelerator:
    """What moves, rounds and exchanges tensors."""
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

    on_gpu = torch.cuda.is_available() and not cpu
    computes = torch.cuda.is_bf16_supported() if on_gpu else cpu_computes_in("bfloat16")
    rounded = settings.precision == "bfloat16" or (settings.precision == "auto" and computes)
    return Accelerator(
        cpu=not on_gpu,
        mixed_precision="bf16" if rounded else "no",
        # Single images leave the layer alone that carries queries on.
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )


def end(accelerator: Accelerator) -> None:
    """Leaves nothing of a run in the process: Accelerate keeps devices and precision there, and refuses others."""
    from accelerate.state import AcceleratorState

    accelerator.end_training()
    AcceleratorState._reset_state(reset_partial_state=True)


def expect_own_folder(out: Path, data: list[Path], start: str) -> None:
    """Raises `TrainingError` where the results would get among what they are made of."""
    places = [("the data", each) for each in data] + ([("the start", Path(start))] if Path(start).is_dir() else [])
    for what, path in places:
        if out.resolve() in (path.resolve(), *path.resolve().parents) or path.resolve() in out.resolve().parents:
            raise TrainingError(f"--out {out} and {what}, {path}, hold one another: give another folder")
    if out.exists() and not out.is_dir():
        raise TrainingError(f"--out {out} is a file, expected a folder")


def begun_with(out: Path, settings: TrainingSettings, made: Mapping[str, Any], *, resume: bool) -> bool:
    """Whether `out` holds a run to be resumed. Raises `TrainingError` where it holds anything else."""
    path = out / SETTINGS_FILE
    if not out.exists() or all(each in unfinished(path) for each in out.iterdir()):
        return False
    if not path.exists():
        raise TrainingError(f"--out {out} is not empty and holds no run: give another folder")
    if not resume:
        raise TrainingError(f"--out {out} holds a run: --resume goes on with it; for a new one give another folder")
    before = read_settings(path)
    for each in dataclasses.fields(settings):
        was, now = getattr(before, each.name), getattr(settings, each.name)
        if was != now:
            raise TrainingError(f"--resume: {each.name} is {now}, but the run in {out} has {was}: give the same")
    before_made = read_made_with(path)
    for name in ("start", "fingerprint", "replay_fingerprint"):
        if made.get(name) != before_made.get(name):
            what = {"start": "--start", "fingerprint": "the data"}.get(name, "--replay")
            raise TrainingError(f"--resume: {what} is not what the run in {out} was begun with, or has changed")
    return True


def made_with(dataset: Dataset, start: str, replay: Dataset | None) -> dict[str, Any]:
    """What a run can be repeated from, beside its settings."""
    found: dict[str, Any] = {"data": os.path.abspath(dataset.folder), "fingerprint": dataset.fingerprint}
    if replay is not None:
        found |= {"replay": os.path.abspath(replay.folder), "replay_fingerprint": replay.fingerprint}
    versions = {name: version(name) for name in ("torch", "numpy", "accelerate")}
    return {**found, "start": start, "versions": {"python": platform.python_version(), **versions}}
