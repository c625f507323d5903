"""The work on one recording, in a process that may be on any machine and takes one after the other."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import threading
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import torch

import eomt_ros
from eomt_ros.engine import Segmenter
from eomt_ros.errors import UserError
from eomt_ros.evaluation.csv_files import write_figure_tables
from eomt_ros.evaluation.fleet.folder import half_folder, put_in_place
from eomt_ros.evaluation.fleet.outcome import DONE, Outcome, failed, write_outcome
from eomt_ros.evaluation.fleet.remote import at_hand
from eomt_ros.evaluation.fleet.unit import Unit
from eomt_ros.evaluation.report import write_report
from eomt_ros.evaluation.request import EvaluationRequest, load_segmenters, opened_predictions
from eomt_ros.evaluation.results import nothing_scored
from eomt_ros.evaluation.run import evaluate
from eomt_ros.model_options import ModelOptions


@dataclass(frozen=True, kw_only=True)
class FleetJob:
    """All that the evaluations of a fleet's recordings have in common; it can be sent to other processes."""

    request: EvaluationRequest
    out: Path
    """The folder that holds those of the recordings."""
    threads: int = 0
    """Of torch and OpenCV in each process; 0: as many as they choose."""
    version: str = eomt_ros.__version__
    """Of the package that asks."""


class FleetError(UserError):
    """Not one recording can be evaluated; the message says why and what to do."""


def evaluate_unit(unit: Unit, job: FleetJob, attempt: int = 1, stop: threading.Event | None = None) -> Outcome:
    """Evaluates a recording and puts its folder in place, whole; the model is loaded at the first call.

    attempt: counts those at this recording. stop: gives it up once it is set. One that cannot be evaluated is an
    outcome, and no error. Raises `FleetError` where none can be: for the model, and for a process with another version
    of the package.
    """
    begun = time.monotonic()
    if job.version != eomt_ros.__version__:
        raise FleetError(
            f"a worker has eomt_ros {eomt_ros.__version__}, expected {job.version}: install the same version there"
        )
    _take_threads(job.threads)
    half = half_folder(unit, job.out, _process_number())
    try:
        shutil.rmtree(half, ignore_errors=True)  # of a process of the same number that was killed
        half.mkdir(parents=True)
        with at_hand(unit.path) as path:
            outcome = _evaluate(path, unit, job, half, stop or threading.Event())
        outcome = replace(outcome, seconds=time.monotonic() - begun, attempts=attempt)
        write_outcome(outcome, half)
        put_in_place(half, job.out / unit.name)
        return outcome
    except FleetError:
        raise
    except (UserError, OSError, MemoryError) as error:
        return failed(unit, str(error) or type(error).__name__, seconds=time.monotonic() - begun, attempts=attempt)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _process_number() -> int:
    """A number that no other process has, on any of the machines that write into a folder."""
    return zlib.crc32(socket.gethostname().encode()) * 10**10 + os.getpid()


def _evaluate(path: Path, unit: Unit, job: FleetJob, half: Path, stop: threading.Event) -> Outcome:
    request = job.request.of_recording(unit.name)
    sequences = request.open([path])
    settings = {"input": [unit.address], "fingerprint": unit.fingerprint, "key": unit.key}
    with opened_predictions(request, sequences, _kept_segmenters) as predictions:
        found = evaluate(sequences, predictions, half, request.options(settings, unit.tags, stop=stop, quiet=True))
    if stop.is_set():
        raise UserError("it was stopped")
    write_figure_tables(found, half)
    if why := nothing_scored(found):
        raise UserError(why)
    write_report(half)
    incomplete = any(each.problems.incomplete for each in sequences)
    return Outcome(
        unit.name,
        unit.address,
        unit.key,
        DONE,
        "; ".join(found.problems) if incomplete else "",
        frames=found.frames,
        miou=found.miou,
        tags=unit.tags,
    )


@functools.lru_cache(maxsize=1)
def _kept_segmenters(models: tuple[ModelOptions, ...]) -> list[Segmenter]:
    try:
        return load_segmenters(models)
    except (UserError, OSError) as error:
        raise FleetError(str(error)) from error


def _take_threads(threads: int) -> None:
    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
