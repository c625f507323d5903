"""Recordings on the workers of a Dask cluster that somebody runs: over SSH, SLURM, Kubernetes, or on this machine.

Each worker gets one recording at a time, and the next one when that has ended; Dask carries it there and says which
workers there are. One that joins gets work too, one that goes costs nothing but the recording it had.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from logging import getLogger
from pathlib import Path
from typing import Any

from eomt_ros.engine.model.checkpoint import find_checkpoint
from eomt_ros.evaluation.fleet.local import ATTEMPTS
from eomt_ros.evaluation.fleet.outcome import Outcome, failed
from eomt_ros.evaluation.fleet.unit import Unit
from eomt_ros.evaluation.fleet.work import FleetError, FleetJob, evaluate_unit
from eomt_ros.extras import missing
from eomt_ros.printable import printable

CONNECT_S, RETURN_S = 20.0, 300.0
"""s that a scheduler may take to answer, and to come back."""
LOOK = 1.0
"""s between two looks at the workers, and at whether to stop."""

log = getLogger(__name__)
_ONE_AT_A_TIME = threading.Lock()
"""Of a worker's process, whose model is one for all its threads."""


class _LostError(Exception):
    """The scheduler went away."""


def run_units(
    units: Sequence[Unit],
    job: FleetJob,
    *,
    scheduler: str,
    resources: Mapping[str, float] | None = None,
    on_outcome: Callable[[Outcome], None],
    stop: threading.Event,
    patience: float = RETURN_S,
) -> None:
    """Evaluates units on the workers of a scheduler, and tells of each when it has ended; ends early at `stop`.

    Recordings, model and the job's folder have to be at the same paths for all workers; workers with another version of
    the package, or without the folder, get no work. Each computes with its own number of threads, if the job has none.
    resources: of Dask, that one recording takes (`{"GPU": 1}`). patience: s that a scheduler may stay away, which
    loses nothing but what was under way. Raises `FleetError` where the scheduler is not there or stays away, and where
    no worker can be used; what `on_outcome` raises.
    """
    job = replace(job, out=job.out.absolute(), request=_from_anywhere(job))
    waiting = deque((_unit_from_anywhere(unit), 1) for unit in units)
    within = min(CONNECT_S, patience)
    while waiting and not stop.is_set():
        client = _connected(scheduler, within, stop)
        if client is None:
            return
        try:
            _Crew(client, scheduler, job, dict(resources or {}), waiting, on_outcome, stop).work()
        except _LostError:
            log.warning("the scheduler %s went away: waiting %g s for it to come back", scheduler, patience)
            within = patience
        finally:
            _close(client)


@dataclass
class _Crew:
    """The workers of a cluster, and what they do."""

    client: Any
    """Of dask.distributed."""
    scheduler: str
    job: FleetJob
    resources: dict[str, float]
    waiting: deque[tuple[Unit, int]]
    """With the number of the attempt."""
    on_outcome: Callable[[Outcome], None]
    stop: threading.Event
    _running: dict[str, tuple[Any, Unit, int]] = field(default_factory=dict)
    """By worker: its future, the recording, and the number of the attempt."""
    _threads: dict[str, int] = field(default_factory=dict)
    """Of each worker that is there."""
    _fit: dict[str, bool] = field(default_factory=dict)
    """The workers that were looked at, and whether they can be used."""
    _unfit: str = ""
    """Why the last one that cannot be used cannot."""
    _idle: bool = False
    """There was no worker at the last look."""
    _ended: queue.Queue[Any] = field(default_factory=queue.Queue)

    def work(self) -> None:
        """Goes on until all have ended, or `stop` is set. Raises `_LostError`, and as `run_units`."""
        try:
            while (self.waiting or self._running) and not self.stop.is_set():
                self._look()
                for worker in [each for each, fit in self._fit.items() if fit and each not in self._running]:
                    if self.waiting:
                        self._begin(worker, *self.waiting.popleft())
                self._wait()
        except _LostError:
            self.waiting.extendleft((unit, attempt) for _, unit, attempt in self._running.values())
            raise
        finally:
            if self.client.status == "running":
                self.client.cancel([future for future, _, _ in self._running.values()])

    def _look(self) -> None:
        """Looks which workers there are; takes back what those had that are gone."""
        self._threads = there = self._asked(self.client.nthreads)
        for worker in self._fit.keys() - there.keys():
            self._fit.pop(worker)
            if worker in self._running:
                self._again(worker)
        if new := [worker for worker in there if worker not in self._fit]:
            look = _look_at_worker(str(self.job.out), self.resources)
            # One that is gone again meanwhile has no answer.
            for worker, found in self._asked(lambda: self.client.run(look, workers=new, on_error="ignore")).items():
                self._judge(worker, found)
        if not there and not self._idle:
            log.warning("no worker at %s: waiting for one", self.scheduler)
        self._idle = not there
        if there and not any(self._fit.values()) and len(self._fit) == len(there):
            raise FleetError(f"no worker of {self.scheduler} can be used: {self._unfit}")

    def _judge(self, worker: str, found: dict[str, Any]) -> None:
        reason = ""
        if found["version"] != self.job.version:
            reason = f"has {found['version'] or 'no'} eomt_ros, expected {self.job.version}: install that there"
        elif not found["out"]:
            reason = f"has no folder {self.job.out}: give one that all machines have at the same path"
        elif found["lacking"]:
            reason = f"offers no {found['lacking']}, which its option --resources gives it"
        self._fit[worker] = not reason
        if reason:
            self._unfit = f"{worker} on {printable(found['host'])} {reason}"
            log.warning("not used: %s", self._unfit)

    def _begin(self, worker: str, unit: Unit, attempt: int) -> None:
        future = self.client.submit(
            _evaluate_alone,
            unit,
            replace(self.job, threads=self.job.threads or self._threads[worker]),
            attempt,
            key=f"eomt_ros-{unit.name}-{uuid.uuid4().hex}",
            workers=[worker],
            resources=self.resources or None,
            pure=False,
        )
        self._running[worker] = future, unit, attempt
        future.add_done_callback(self._ended.put)

    def _wait(self) -> None:
        """Waits until a recording has ended, or for a moment."""
        try:
            ended = self._ended.get(timeout=LOOK)
        except queue.Empty:
            return
        worker = next((each for each, (future, _, _) in self._running.items() if future.key == ended.key), None)
        if worker is None:
            return
        if ended.status == "finished":
            self._running.pop(worker)
            self.on_outcome(ended.result())
        elif ended.status == "error":
            self._failed(worker, ended.exception())
        else:
            raise _LostError

    def _failed(self, worker: str, error: BaseException) -> None:
        from distributed import KilledWorker

        if isinstance(error, FleetError):
            raise FleetError(f"{error} (on the worker {worker})") from error
        if isinstance(error, KilledWorker):
            self._again(worker)
            return
        _, unit, attempt = self._running.pop(worker)
        self.on_outcome(failed(unit, printable(f"{type(error).__name__}: {error}"), attempts=attempt))

    def _again(self, worker: str) -> None:
        """Takes back the recording of a worker that is gone."""
        future, unit, attempt = self._running.pop(worker)
        future.cancel()
        if attempt < ATTEMPTS:
            self.waiting.append((unit, attempt + 1))
            return
        reason = f"its worker was lost each time, {worker} as the last: see its log; perhaps it had too little memory"
        self.on_outcome(failed(unit, reason, attempts=attempt))

    def _asked(self, question: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The answer of the scheduler. Raises `_LostError`."""
        try:
            if self.client.status == "running":
                return question()
        except OSError as error:  # those of Dask, and of its time limits, are such too
            raise _LostError from error
        raise _LostError


def _evaluate_alone(unit: Unit, job: FleetJob, attempt: int) -> Outcome:
    """As `evaluate_unit`, one recording after the other: a run before, or another user's, may be still at one.

    It ends early where nobody waits for it any more.
    """
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]
    stop, ended = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK):
            if task.state == "cancelled":
                stop.set()

    threading.Thread(target=watch, daemon=True).start()
    try:
        with _ONE_AT_A_TIME:
            return evaluate_unit(unit, job, attempt, stop)
    finally:
        ended.set()


def _look_at_worker(out: str, resources: Mapping[str, float]) -> Callable[..., dict[str, Any]]:
    """What a worker is asked, as a function that is sent whole: it may have no such module, or another one."""

    def look(dask_worker: Any) -> dict[str, Any]:
        import contextlib
        import importlib
        import os
        import socket

        version = ""
        with contextlib.suppress(ImportError):
            version = importlib.import_module("eomt_ros").__version__
            importlib.import_module("eomt_ros.openmp").wait_asleep()  # torch is not loaded yet
        offered = dask_worker.state.total_resources
        lacking = ", ".join(f"{name}={count:g}" for name, count in resources.items() if offered.get(name, 0) < count)
        return {"version": version, "out": os.path.isdir(out), "lacking": lacking, "host": socket.gethostname()}

    return look


def _connected(scheduler: str, within: float, stop: threading.Event) -> Any:
    """A client of the scheduler; None once `stop` is set. Raises `FleetError` where none answers within so many s."""
    try:
        from distributed import Client
    except ImportError as error:
        raise FleetError(f"--scheduler {scheduler}: {missing(error, 'cluster')}") from error
    ends = time.monotonic() + within
    while not stop.is_set():
        try:
            timeout = min(within, CONNECT_S / 4)
            return Client(scheduler, timeout=timeout, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) or time.monotonic() > ends:
                raise FleetError(
                    f"--scheduler {scheduler} does not answer ({printable(str(error))}): start one (dask scheduler); "
                    "--resume goes on with what was begun"
                ) from error
    return None


def _close(client: Any) -> None:
    try:
        client.close(timeout=CONNECT_S / 4)
    except OSError as error:
        log.info("the connection was not closed in order: %s", error)


def _from_anywhere(job: FleetJob) -> Any:
    """The job's request with absolute paths, because a worker has a folder of its own."""
    request = job.request
    model = replace(
        request.model,
        model=_of_model(request.model.model) if not request.predictions else request.model.model,
        labels=_absolute(request.model.labels),
        taxonomy=_absolute(request.model.taxonomy),
        ignore_mask=_absolute(request.model.ignore_mask),
    )
    folder = request.truth.folder
    truth = replace(request.truth, folder=None if folder is None else folder.absolute())
    predictions = request.predictions if request.recorded is None else str(request.recorded.absolute())
    return replace(request, model=model, truth=truth, predictions=predictions)


def _of_model(model: str) -> str:
    """The model, with the whole path where it is a folder; what the package or the hub has, each worker gets itself."""
    return str(find_checkpoint(model)[0]) if model != "demo" and os.path.isdir(os.path.expanduser(model)) else model


def _absolute(path: str) -> str:
    return os.path.abspath(path) if path and os.path.exists(path) else path


def _unit_from_anywhere(unit: Unit) -> Unit:
    return replace(unit, path=unit.path.absolute()) if isinstance(unit.path, Path) else unit
