"""The recordings of a folder as one run: their counts are added up, so that the figures are those of all their frames.

Of each recording a line of figures is kept and its counts are let go, so that ten thousand need little memory.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.counts import RunCounts, counts_of
from eomt_ros.evaluation.fleet.outcome import FAILED, read_outcome
from eomt_ros.evaluation.fleet.outcome import FILE as OUTCOME
from eomt_ros.evaluation.fleet.settings import DifferentModelsError, JoinedSettings
from eomt_ros.evaluation.json_file import plain
from eomt_ros.evaluation.results import (
    FILE,
    SCHEMA_VERSION,
    FailedRecording,
    Figures,
    Recording,
    Results,
    ResultsError,
    read_results,
)
from eomt_ros.evaluation.slices import LONGEST_TAG
from eomt_ros.evaluation.wrong import WorstFrame
from eomt_ros.printable import printable

MOST_PROBLEMS = 200
"""Problems of recordings that are told of all together."""
PROBLEMS_OF_ONE = 3
"""Of these, problems of one recording: the others are in its own report."""
LONGEST_PROBLEM = 400
"""Characters."""
MOST_WORST = 24
"""Frames that are kept of all recordings together."""
FRAMES_OF_ONE = 3
"""Of these, frames of one recording: it is read of in its own report."""
MOST_SLICES = 100


class Merger:
    """Adds up the recordings of a fleet, each once, in any order.

    out: the folder in which each recording has a folder of its name.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._settings = JoinedSettings()
        self._first: Results | None = None
        self._counts = RunCounts.empty(0)
        self._slices: dict[str, RunCounts] = {}
        self._recordings: dict[str, Recording] = {}
        self._failed: dict[str, FailedRecording] = {}
        self._problems: dict[str, tuple[str, ...]] = {}
        self._problem_count = 0
        self._worst: list[WorstFrame] = []
        self._worst_by_objects: list[WorstFrame] = []

    def add(self, name: str) -> Recording:
        """Adds the recording that was evaluated into the folder `name`, and returns its figures.

        Raises `ResultsError`, and adds nothing, where its figures are not whole; `DifferentModelsError` where they do
        not belong to the others.
        """
        results = read_results(self._out / name)
        try:
            counts = counts_of(results)
            self._expect_classes(results)
            recording = _line(name, results, counts)
            self._expect_slices(recording.tags)
            self._settings.add(name, results.settings)
        except ResultsError as error:
            raise type(error)(f"{self._out / name / FILE}: {error}") from error
        if self._first is None:
            self._first = replace(results, counts={}, timelines=(), intervals=(), maps=(), recordings=())
            self._counts = RunCounts.empty(len(results.class_names))
        for total in (self._counts, *map(self._slice, recording.tags)):
            total.add(counts)
        self._recordings[name] = recording
        self._problem_count += len(results.problems)
        if results.problems:
            self._problems[name] = tuple(each[:LONGEST_PROBLEM] for each in results.problems[:PROBLEMS_OF_ONE])
        worst = [*self._worst, *_of_recording(name, results.worst_frames)]
        self._worst = sorted(worst, key=lambda frame: (frame.miou, frame.input))[:MOST_WORST]
        worst = [*self._worst_by_objects, *_of_recording(name, results.worst_frames_by_objects)]
        self._worst_by_objects = sorted(worst, key=_by_objects)[:MOST_WORST]
        return recording

    def fail(self, failed: FailedRecording) -> None:
        """Adds a recording that could not be evaluated."""
        self._failed[failed.name] = failed

    def results(self) -> Results:
        """The figures of all that was added so far, the same in whatever order it was."""
        recordings = tuple(self._recordings[name] for name in sorted(self._recordings))
        return Results(
            schema_version=SCHEMA_VERSION,
            settings=self._settings.joined(),
            class_names=self._first.class_names if self._first else (),
            is_thing=self._first.is_thing if self._first else (),
            sequences=tuple(each.name for each in recordings),
            problems=tuple(self._all_problems()),
            **self._figures(self._counts),
            recordings=recordings,
            failed=tuple(self._failed[name] for name in sorted(self._failed)),
            slices={tag: _recording(tag, self._figures(self._slices[tag])) for tag in sorted(self._slices)},
            worst_frames=tuple(self._worst),
            worst_frames_by_objects=tuple(self._worst_by_objects),
            counts=plain(_without_durations(self._counts)),
        )

    def _figures(self, counts: RunCounts) -> dict[str, Any]:
        return counts.figures((), (), Convention.STANDARD) if self._first is None else _figures(counts, self._first)

    def _slice(self, tag: str) -> RunCounts:
        return self._slices.setdefault(tag, RunCounts.empty(len(self._counts.predicted.areas)))

    def _expect_slices(self, tags: tuple[str, ...]) -> None:
        if len(self._slices.keys() | set(tags)) > MOST_SLICES:
            raise ResultsError(f"its tags {', '.join(tags)} make more than {MOST_SLICES} slices, expected fewer")

    def _expect_classes(self, results: Results) -> None:
        first = self._first or results
        if len(results.is_thing) != len(results.class_names):
            raise ResultsError(f"is_thing has {len(results.is_thing)} entries, expected {len(results.class_names)}")
        _convention(results)
        if (results.class_names, results.is_thing) != (first.class_names, first.is_thing):
            raise DifferentModelsError("its classes are not those of the recordings before it")

    def _all_problems(self) -> Iterator[str]:
        yield from self._settings.problems()
        problems = [f"{name}: {each}" for name in sorted(self._problems) for each in self._problems[name]]
        yield from problems[:MOST_PROBLEMS]
        if left := self._problem_count - len(problems[:MOST_PROBLEMS]):
            yield f"{counted(left, 'more problem')} in the reports of the recordings"


def merge(out: Path) -> tuple[Results, dict[str, str]]:
    """The results of all recordings of which `out` has a folder; where its figures are not whole, a recording failed.

    Also why the figures of a recording are of a part of it only, by name. Raises `ResultsError` where there is no
    folder of a recording; `DifferentModelsError` where two are of different models.
    """
    merger = Merger(out)
    names = sorted({path.parent.name for file in (FILE, OUTCOME) for path in out.glob(f"*/{file}")})
    names = [name for name in names if not name.startswith(".")]  # under way, or left by a process that was killed
    if not names:
        raise ResultsError(f"{out} has no recordings: expected folders with {FILE} of `eomt-ros evaluate` in it")
    incomplete = {}
    for name in names:
        try:
            outcome = read_outcome(out / name)
            if outcome is not None and outcome.state == FAILED:
                merger.fail(FailedRecording(name, outcome.path, outcome.error))
                continue
            merger.add(name)
            if outcome is not None and outcome.error:
                incomplete[name] = outcome.error
        except DifferentModelsError:
            raise
        except ResultsError as error:
            merger.fail(FailedRecording(name, str(out / name), str(error)))
    return merger.results(), incomplete


def _line(name: str, results: Results, counts: RunCounts) -> Recording:
    """What is kept of a recording."""
    tags = results.settings.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) and len(tag) <= LONGEST_TAG for tag in tags):
        raise ResultsError(f"its tags are {printable(repr(tags), 60)}, expected a list of texts")
    if any(each.folder for each in results.recordings):
        raise ResultsError("it is of many recordings itself, expected the figures of one")
    line = _shortened(_recording(name, _figures(counts, results)))
    fingerprint = str(results.settings.get("fingerprint", ""))[:LONGEST_TAG]
    return replace(line, folder=name, fingerprint=fingerprint, tags=tuple(tags))


def _figures(counts: RunCounts, results: Results) -> dict[str, Any]:
    """The figures of counts, with the classes and the convention of results."""
    return counts.figures(results.class_names, results.is_thing, _convention(results))


def _recording(name: str, figures: Mapping[str, Any]) -> Recording:
    names = {each.name for each in fields(Figures)}
    names |= {"frames", "frames_scored", "seconds", "predicted", "fps", "latency_ms"}
    return Recording(name=name, **{each: figures[each] for each in names})


def _shortened(recording: Recording) -> Recording:
    """A recording in little memory: without classes that are not there, and without parts of parts."""
    metres, returns = recording.objects_in_metres, recording.returns
    return replace(
        recording,
        class_iou={sys.intern(name): iou for name, iou in recording.class_iou.items() if iou is not None},
        objects_in_metres=None if metres is None else replace(metres, by_distance=(), by_class={}),
        returns=None if returns is None else replace(returns, by_time_away={}),
        predicted=replace(recording.predicted, class_area={}),
        by_class={},
    )


def _convention(results: Results) -> Convention:
    try:
        return Convention(results.settings.get("convention", Convention.STANDARD.value))
    except ValueError as error:
        raise ResultsError(f"convention: {error}") from error


def _without_durations(counts: RunCounts) -> RunCounts:
    """Counts without how long ids lasted and what came late: of all recordings these are millions of numbers."""
    objects = replace(counts.scores.objects, delays=Counter())
    scores = replace(counts.scores, objects=objects)
    return replace(counts, scores=scores, predicted=replace(counts.predicted, lives=Counter()))


def _by_objects(frame: WorstFrame) -> tuple[float, float, str]:
    """As in `pictures.by_objects`: the more is wrong, the worse; among equals the lower mIoU."""
    errors = (frame.missed or 0) + (frame.ghosts or 0) + (frame.switches or 0)
    return -errors, frame.miou, frame.input


def _of_recording(name: str, frames: Sequence[WorstFrame]) -> Iterator[WorstFrame]:
    """The worst frames of a recording, with their pictures' paths from the folder of all."""
    for frame in frames[:FRAMES_OF_ONE]:
        paths = [PurePosixPath(path) for path in (frame.input, frame.prediction, frame.truth)]
        # A file of strangers names no pictures elsewhere.
        if not any(path.is_absolute() or ".." in path.parts for path in paths):
            shown, found, true = (f"{name}/{path}" for path in paths)
            yield replace(frame, sequence=name, input=shown, prediction=found, truth=true)
