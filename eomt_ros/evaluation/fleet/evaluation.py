"""An evaluation of many recordings: those that are done already are kept, the others run, and all are added up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from eomt_ros.evaluation.fleet.folder import put_failure, remove_halves
from eomt_ros.evaluation.fleet.merge import Merger
from eomt_ros.evaluation.fleet.outcome import DONE, FAILED, Outcome, kept, write_outcome
from eomt_ros.evaluation.fleet.progress import FleetProgress
from eomt_ros.evaluation.fleet.unit import Unit
from eomt_ros.evaluation.fleet.work import FleetJob
from eomt_ros.evaluation.results import FailedRecording, Results, ResultsError, read_results, write_results
from eomt_ros.evaluation.run import KEPT_SHARE
from eomt_ros.evaluation.slices import one_recording_slices

Run = Callable[[Sequence[Unit], FleetJob, Callable[[Outcome], None]], None]
"""Evaluates units in some processes and tells of each that has ended, as `local.run_units` does."""


@dataclass
class Fleet:
    """The recordings that have ended, and their figures together."""

    job: FleetJob
    units: Sequence[Unit]
    notes: Sequence[str] = ()
    """About the inputs, for the problems of the results."""
    outcomes: list[Outcome] = field(default_factory=list)
    write: bool = True
    """Write the figures of all recordings so far while it goes on."""
    _next_write: float = -math.inf

    def __post_init__(self) -> None:
        self._merger = Merger(self.job.out)

    def evaluate(self, run: Run, log: Path, *, resume: bool) -> None:
        """Evaluates the units; with `resume` without those that are done. Raises `FleetError`, `OSError`."""
        todo = [unit for unit in self.units if not (resume and self._keep(unit))]
        with FleetProgress(len(self.units), len(self.outcomes), log) as progress:

            def ended(outcome: Outcome) -> None:
                outcome = self._taken(outcome)
                self.outcomes.append(outcome)
                progress.ended(outcome)
                self._write_now_and_then()

            try:
                run(todo, self.job, ended)
            finally:
                remove_halves(self.job.out, todo)

    def results(self, *, stopped: bool = False) -> Results:
        """The figures of all recordings so far."""
        found = self._merger.results()
        problems = [*self.notes, *found.problems]
        if stopped:
            of_all = f"{len(self.outcomes):,} of {len(self.units):,} recordings"
            problems.insert(0, f"stopped by the user after {of_all}: the figures are of these; --resume goes on")
        return replace(found, problems=tuple(problems))

    @property
    def incomplete(self) -> dict[str, str]:
        """Why the figures of recordings are of a part of them only, by name."""
        return {each.name: each.error for each in self.outcomes if each.error and each.state != FAILED}

    def _keep(self, unit: Unit) -> bool:
        """True where the recording is done already, and its figures are whole."""
        outcome = kept(unit, self.job.out / unit.name)
        if outcome is None:
            return False
        try:
            if outcome.tags != unit.tags:
                outcome = _tagged(outcome, unit, self.job.out / unit.name)
            self._merger.add(unit.name)
        except ResultsError:
            return False
        self.outcomes.append(outcome)
        return True

    def _taken(self, outcome: Outcome) -> Outcome:
        """Adds a recording to the others; one whose figures cannot be added has failed."""
        if outcome.state != FAILED:
            try:
                self._merger.add(outcome.name)
                return outcome
            except ResultsError as error:
                outcome = replace(outcome, state=FAILED, error=str(error))
        self._merger.fail(FailedRecording(outcome.name, outcome.path, outcome.error))
        put_failure(outcome, self.job.out)
        return outcome

    def _write_now_and_then(self) -> None:
        begun = time.monotonic()
        if self.write and begun >= self._next_write:
            write_results(self.results(), self.job.out)
            took = time.monotonic() - begun
            self._next_write = begun + took / KEPT_SHARE


def _tagged(outcome: Outcome, unit: Unit, folder: Path) -> Outcome:
    """Gives the figures of a recording other tags, which change none of them. Raises `ResultsError`, `OSError`."""
    found = read_results(folder)
    settings = {**found.settings, "tags": list(unit.tags)}
    write_results(replace(found, settings=settings, slices=one_recording_slices(found, unit.tags)), folder)
    outcome = replace(outcome, tags=unit.tags)
    write_outcome(replace(outcome, state=DONE), folder)
    return outcome
