"""Plays a bag to a segmentation node that runs, records its results, and finds out what became of every image."""

from __future__ import annotations

import csv
import math
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eomt_ros.cli.stopping import TOO_EARLY, StoppedError
from eomt_ros.errors import UserError
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.output_bag import INSTANCES, NODE, OutputBag
from eomt_ros.evaluation.progress import Progress
from eomt_ros.evaluation.results import Percentiles, ReplayFigures
from eomt_ros.node.diagnostics import PERCENTILES
from eomt_ros.node.parameters import RULES
from eomt_ros.printable import printable
from eomt_ros.replay.children import Child, ChildError
from eomt_ros.replay.participant import Participant
from eomt_ros.replay.recorder import RECORDED, Recorder, Report

AHEAD = 8  # images of which results may be due: enough that the node never waits, and that a bad image holds nothing up
START_PATIENCE = 180.0  # s for the node to load its model, or download it
ANSWER_PATIENCE = 30.0  # s for the node to tell its parameters
INTRODUCTION_PATIENCE = 60.0  # s for the player to start, and for the node to hear of it
RESULT_PATIENCE = 180.0  # s for the next result: a large model takes half a minute a frame on a busy CPU
STOPPED_PATIENCE = 3.0  # s for the same where the node may be on its way out too
READY = ("active", "inactive")
LATE = 2.0  # s after which an image that has not reached the node is lost


class ReplayError(UserError):
    """There is nothing to evaluate; the message says why."""


@dataclass(frozen=True)
class Replayed:
    """The outcome of playing a bag."""

    replay: ReplayFigures
    parameters: Mapping[str, Any]
    """Parameters of the node."""
    report: Report
    """The last report of the node."""
    results_per_second: float
    problems: tuple[str, ...]
    """Why not all came that should have, a sentence each."""
    complete: bool
    """The bag was played to its end, and what became of every image is known."""


@dataclass(eq=False)
class Replayer:
    """Plays one topic of a bag to the node `/segment`, and records its results."""

    participant: Participant
    bag: Path
    topic: str
    """Topic of the images."""
    out: OutputBag
    stop: threading.Event
    """Set from outside, to end early with what there is."""
    rate: float | None = None
    """How many times as fast, 0 for as fast as results come, None for what suits the node's policy: 0 for
    `every_frame`, 1 for `latest`."""
    children: Sequence[Child] = ()
    """Processes of the caller; if one of them fails, it is over."""

    def __post_init__(self) -> None:
        self._recorder = Recorder(self.participant.node, self.out)
        self._problems: list[str] = []
        self._to_undo: list[str] = []
        """Lifecycle transitions that bring the node back to where it was, the last first."""

    def wait_for_node(self) -> Report:
        """Return the report of the node when it takes images, or, having been configured, waits to be activated.

        Raises ReplayError if it does not within a few minutes, ChildError if a child fails, StoppedError.
        """
        recorder = self._recorder
        self.participant.serve(lambda: self._is_given_up or recorder.report.state != "", START_PATIENCE)
        if recorder.report.state == "unconfigured" and not self._is_given_up:
            self._change_state("configure", "cleanup")
        active = self.participant.serve(
            lambda: self._is_given_up or (recorder.report.state in READY and not self._node_is_gone), START_PATIENCE
        )
        for child in self.children:
            child.check()
        if self.stop.is_set():
            raise StoppedError(TOO_EARLY)
        if not active or recorder.report.state not in READY:
            state = printable(recorder.report.state)
            last = f"the last says '{state}'" if state else "none came"
            raise ReplayError(
                f"the node {NODE} did not report within {START_PATIENCE:.0f} s that it is active ({last}); "
                "it has to run, with the same ROS_DOMAIN_ID"
            )
        return recorder.report

    def play(self, images: int) -> Replayed:
        """Play the bag, which has so many images, and return the outcome. Raises as `wait_for_node` does."""
        before = self.wait_for_node()
        parameters = self.participant.parameters_of(NODE, list(RULES), ANSWER_PATIENCE)
        if not parameters:
            raise ReplayError(f"the node {NODE} did not tell its parameters within {ANSWER_PATIENCE:.0f} s")
        try:
            with tempfile.TemporaryDirectory(prefix="eomt_ros_replay_") as folder:
                log = Path(folder) / "published.csv"
                command = self._command(parameters, log)
                with (
                    Child("the player", command, Path(folder) / "player.log", ends=True) as player,
                    Progress(images) as progress,
                ):
                    if before.state == "inactive":
                        self._change_state("activate", "deactivate")
                    self._introduce(player, before)
                    ended = self._follow(player, progress, images)
                published = _published(log, self.topic)
            settled = self._settle(before, len(published), time.monotonic())
            return self._replayed(parameters, before, published, complete=ended and settled)
        finally:
            # It would go on to wait for images, and warn that none come, while its results are scored.
            while self._to_undo and not self._node_is_gone:
                self.participant.change_state(NODE, self._to_undo.pop(), ANSWER_PATIENCE)

    def _change_state(self, transition: str, undone_by: str) -> None:
        if not self.participant.change_state(NODE, transition, START_PATIENCE):
            raise ReplayError(f"the node {NODE} did not {transition}; its log says why")
        self._to_undo.append(undone_by)

    @property
    def _is_given_up(self) -> bool:
        is_ended = self.stop.is_set() or self._recorder.failure is not None
        return is_ended or any(child.code is not None for child in self.children)

    @property
    def _node_is_gone(self) -> bool:
        """True if it does not offer results any more, or not yet."""
        return not self.participant.node.count_publishers(INSTANCES)

    @property
    def _is_over(self) -> bool:
        return self._is_given_up or self._node_is_gone

    def _command(self, parameters: Mapping[str, Any], log: Path) -> list[str]:
        every_frame = parameters["policy"] == "every_frame"
        rate = (0.0 if every_frame else 1.0) if self.rate is None else self.rate
        command = [sys.executable, "-m", "eomt_ros.replay.play_bag", str(self.bag), "--rate", f"{rate:g}"]
        command += ["--wait-for", self.topic, "--hold", "--log", str(log)]
        if every_frame:
            # So that no queue on the way, the node's included, has more to hold than it can.
            ahead = min(AHEAD, parameters["queue_size"], parameters["depth"])
            command += ["--ahead", str(ahead), "--of", INSTANCES, "--patience", f"{RESULT_PATIENCE:g}"]
            command += ["--max-gap", str(parameters["max_gap"])]
        return command

    def _introduce(self, player: Child, before: Report) -> None:
        """Let the player begin once the node knows of it: what it misses before would count as lost on the way."""
        recorder = self._recorder
        self.participant.serve(
            lambda: (
                self._is_over
                or player.code is not None
                or (recorder.report.state == "active" and recorder.report.publishers > before.publishers)
            ),
            INTRODUCTION_PATIENCE,
        )
        player.tell("go")

    def _follow(self, player: Child, progress: Progress, images: int) -> bool:
        """Record until the player has ended, and say whether it came to the end of the bag."""

        def over() -> bool:
            if came := self._recorder.counts[INSTANCES] - progress.frames:
                progress.update(came)
            return self._is_over or player.code is not None

        self.participant.serve(over)
        try:
            for child in (*self.children, player):
                child.check()
        except ChildError as error:
            self._problems.append(str(error))
        if player.code == 0:
            return True
        player.stop()
        failure = self._recorder.failure
        if failure is not None or self.stop.is_set() or self._node_is_gone:
            why = "the replay was stopped" if self.stop.is_set() else f"the node {NODE} went away"
            if failure is not None:
                why = f"results could not be recorded any more ({failure.strerror}), so the replay was ended"
            self._problems.append(f"{why} after {self._recorder.counts[INSTANCES]:,} of {counted(images, 'result')}")
        return False

    def _settle(self, before: Report, published: int, ended: float) -> bool:
        """Record what is still under way, and say whether it came."""
        recorder = self._recorder
        news = (ended, -1)

        def settled() -> bool:
            report = recorder.report
            if report.arrived < ended or not report.settled:
                return False
            if report.received - before.received < published and report.arrived < ended + LATE:
                return False
            processed = report.processed - before.processed
            return all(recorder.counts[topic] >= processed for topic in RECORDED)

        def over() -> bool:
            nonlocal news
            if recorder.counts[INSTANCES] != news[1]:
                news = time.monotonic(), recorder.counts[INSTANCES]
            patience = STOPPED_PATIENCE if self._is_over else RESULT_PATIENCE
            return settled() or time.monotonic() - news[0] > patience

        self.participant.serve(over)
        if not settled():
            counts = ", ".join(f"{recorder.counts[topic]} on {topic}" for topic in RECORDED)
            self._problems.append(
                f"the node's last report does not account for all images; its results that came: {counts}"
            )
            return False
        return True

    def _replayed(
        self, parameters: Mapping[str, Any], before: Report, published: Sequence[tuple[int, int]], *, complete: bool
    ) -> Replayed:
        recorder = self._recorder
        report = recorder.report
        if not recorder.arrivals:
            if self.stop.is_set():
                raise StoppedError(TOO_EARLY)
            problems = "; ".join(self._problems) or f"{counted(len(published), 'image was', 'images were')} published"
            raise ReplayError(f"no result came from the node {NODE}: {problems}")
        # The node's own count may be a second old where it was stopped.
        processed = max(report.processed - before.processed, recorder.counts[INSTANCES])
        dropped = {reason: count - before.dropped[reason] for reason, count in report.dropped.items()}
        dropped["skipped"] = report.skipped - before.skipped
        received = processed + sum(dropped.values())
        ages = [recorder.arrivals[stamp] - moment for stamp, moment in published if stamp in recorder.arrivals]
        arrivals = sorted(recorder.arrivals.values())
        elapsed = (arrivals[-1] - arrivals[0]) * 1e-9
        replay = ReplayFigures(
            policy=parameters["policy"],
            published=len(published),
            processed=processed,
            dropped=sum(dropped.values()),
            dropped_by_reason={reason: count for reason, count in dropped.items() if count},
            lost_on_the_way=max(0, len(published) - received) if complete else 0,
            age_ms=_percentiles([age * 1e-6 for age in ages]),
        )
        return Replayed(
            replay=replay,
            parameters=parameters,
            report=report,
            results_per_second=(len(arrivals) - 1) / elapsed if elapsed else float("nan"),
            problems=tuple(self._problems),
            complete=complete,
        )


def _percentiles(milliseconds: Sequence[float]) -> Percentiles:
    if not milliseconds:  # the player was killed before it wrote down what it had published
        return Percentiles(math.nan, math.nan, math.nan, math.nan)
    return Percentiles(*(float(value) for value in np.percentile(milliseconds, list(PERCENTILES.values()))))


def _published(log: Path, topic: str) -> list[tuple[int, int]]:
    """Stamp and moment of publishing (ns of time.monotonic) of every image, in order."""
    if not log.exists():  # the player ended before it began
        return []
    with log.open(newline="") as file:
        return [(int(stamp), int(moment)) for name, _, stamp, moment in csv.reader(file) if name == topic]
