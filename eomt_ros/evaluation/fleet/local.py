"""Recordings in processes of this machine: one that dies is replaced, and costs nothing but the recording it had."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait as wait_for_end

from pebble import ProcessExpired, ProcessPool

from eomt_ros.evaluation.fleet.outcome import Outcome, failed
from eomt_ros.evaluation.fleet.unit import Unit
from eomt_ros.evaluation.fleet.work import FleetError, FleetJob, evaluate_unit

ATTEMPTS = 3
"""Times that a recording is begun whose worker dies."""
LOOK = 0.2
"""s between two looks whether to stop."""


def run_units(
    units: Sequence[Unit],
    job: FleetJob,
    *,
    jobs: int,
    on_outcome: Callable[[Outcome], None],
    stop: threading.Event,
) -> None:
    """Evaluates units in so many processes, and tells of each when it has ended; ends early once `stop` is set.

    The processes share the processor's threads out, unless the job says how many each has. Raises `FleetError` where
    none can be evaluated, and what `on_outcome` raises; the processes have ended then too.
    """
    jobs = max(1, min(jobs, len(units)))
    job = job if job.threads else replace(job, threads=max(1, cores() // jobs))
    waiting = deque((unit, 1) for unit in units)
    broken = 0
    while waiting and not stop.is_set():
        with _pool(min(jobs, len(waiting))) as pool:
            done = _run(pool, waiting, job, jobs, on_outcome, stop)
        broken = 0 if done else broken + 1
        if broken == ATTEMPTS:
            raise FleetError("the processes that evaluate end at once: evaluate one recording alone to see why")


def cores() -> int:
    """Number of the processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(
    pool: ProcessPool,
    waiting: deque[tuple[Unit, int]],
    job: FleetJob,
    jobs: int,
    on_outcome: Callable[[Outcome], None],
    stop: threading.Event,
) -> bool:
    """Takes units until none is left, `stop` is set or the pool is broken; returns whether any has ended.

    waiting: with the number of the attempt; has those that are left, also of a broken pool.
    """
    running: dict[Future[Outcome], tuple[Unit, int]] = {}
    ended = False
    while (waiting or running) and not stop.is_set():
        with suppress(RuntimeError):  # it broke just now
            while waiting and len(running) < jobs:
                unit, attempt = waiting[0]
                begun = pool.schedule(evaluate_unit, args=(unit, job, attempt))
                running[begun] = waiting.popleft()
        if not pool.active:
            waiting.extendleft(running.values())
            return ended
        for future in wait(running, LOOK, FIRST_COMPLETED).done:
            unit, attempt = running.pop(future)
            error = future.exception()
            if isinstance(error, FleetError):
                raise error
            if isinstance(error, BrokenProcessPool):
                waiting.appendleft((unit, attempt))
                continue
            if isinstance(error, ProcessExpired) and attempt < ATTEMPTS:
                waiting.append((unit, attempt + 1))
                continue
            ended = True
            on_outcome(_outcome(future, unit, attempt))
    return ended


def _outcome(future: Future[Outcome], unit: Unit, attempt: int) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, ProcessExpired):
        return failed(unit, f"its process ended each time, with {_exit(error.exitcode)}", attempts=attempt)
    return failed(unit, f"{type(error).__name__}: {error}", attempts=attempt)


def _exit(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "SIGKILL, perhaps for want of memory: try fewer --jobs"
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPool]:
    """So many processes, which have ended after the `with` block, or when this process has, however it ends."""
    # Started afresh, since a fork has none of the threads of torch, and must not touch a GPU.
    pool = ProcessPool(jobs, initializer=_end_with_parent, context=multiprocessing.get_context("spawn"))
    # Ctrl-C in a terminal goes to all processes. Those of the pool are ended by this one; the threads that the pool
    # starts have the mask of this moment, and so have the processes that they start, also later ones.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        started = pool.active
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        assert started
        yield pool
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def _end_with_parent() -> None:
    """Ends a process of the pool as soon as the process that started it has ended: nobody would take its results."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for_end([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
