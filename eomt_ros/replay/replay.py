"""Plays a bag to a segmentation node that runs, records its results, and finds out what became of every image."""

from __future__ import annotations

import csv
import math
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eomt_ros.cli.stopping import TOO_EARLY, StoppedError
from eomt_ros.errors import UserError
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.latency import Percentiles
from eomt_ros.evaluation.output_bag import NODE, OutputBag, ResultTopics
from eomt_ros.evaluation.progress import Progress
from eomt_ros.evaluation.results import ReplayFigures
from eomt_ros.node.diagnostics import PERCENTILES
from eomt_ros.node.parameters import RULES
from eomt_ros.printable import printable
from eomt_ros.replay.children import Child, ChildError
from eomt_ros.replay.participant import Participant
from eomt_ros.replay.recorder import MetreTopics, Recorder, Report

AHEAD = 8  # images of which results may be due: enough that the node never waits, and that a bad image holds nothing up
START_PATIENCE = 180.0  # s for the node to load its model, or download it
ANSWER_PATIENCE = 30.0  # s for the node to tell its parameters
INTRODUCTION_PATIENCE = 60.0  # s for the player to start, and for the node to hear of it
RESULT_PATIENCE = 180.0  # s for the next result: a large model takes half a minute a frame on a busy CPU
STOPPED_PATIENCE = 3.0  # s for the same where the node may be on its way out too
READY = ("active", "inactive")
METRES_PATIENCE = 2.0  # s for the results in metres that follow the others
LATE = 2.0  # s after which an image that has not reached the node is lost


_Published = Sequence[tuple[int, int]]
"""Stamp and moment of publishing (ns of time.monotonic) of every image of a camera, in order."""


class ReplayError(UserError):
    """There is nothing to evaluate; the message says why."""


@dataclass(frozen=True)
class Replayed:
    """The outcome of playing a bag."""

    replay: ReplayFigures
    """Of all cameras."""
    by_topic: Mapping[str, ReplayFigures]
    """Of each camera, by the topic of its images."""
    silent: Sequence[str]
    """The topics of those that gave no result at all."""
    cameras_in_metres: Mapping[str, str]
    """The node's name of each camera that gave objects in metres, by the topic of its images."""
    parameters: Mapping[str, Any]
    """Parameters of the node."""
    report: Report
    """The last report of the node; of several cameras, that on the one whose frames took longest."""
    results_per_second: float
    problems: tuple[str, ...]
    """Why not all came that should have, a sentence each."""
    complete: bool
    """The bag was played to its end, and what became of every image is known."""


@dataclass(eq=False)
class Replayer:
    """Plays a bag to the node `/segment`, and records its results."""

    participant: Participant
    bag: Path
    topics: Sequence[str]
    """Topics of the images, one for each camera."""
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
        self._cameras: dict[str, str] = {}
        """Topic of the images by the name of the node's camera."""
        self._problems: list[str] = []
        self._to_undo: list[str] = []
        """Lifecycle transitions that bring the node back to where it was, the last first."""

    def wait_for_node(self) -> Mapping[str, Report]:
        """Return the node's reports when it takes images, or, having been configured, waits to be activated.

        Raises ReplayError if it does not within a few minutes or has other cameras, ChildError if a child fails,
        StoppedError.
        """
        recorder = self._recorder
        self.participant.serve(lambda: self._is_given_up or recorder.state != "", START_PATIENCE)
        if not self._cameras and not self._is_given_up and recorder.reports:
            self._cameras = _cameras_of(self.topics, recorder.reports)
            recorder.record(self._cameras, in_metres=self._parameters(["depth"])["depth"] != "none")
            self.participant.serve(lambda: self._is_given_up or recorder.state != "", START_PATIENCE)
        if recorder.state == "unconfigured" and not self._is_given_up:
            self._change_state("configure", "cleanup")
        active = self.participant.serve(
            lambda: self._is_given_up or (recorder.state in READY and not self._node_is_gone), START_PATIENCE
        )
        for child in self.children:
            child.check()
        if self.stop.is_set():
            raise StoppedError(TOO_EARLY)
        if not active or recorder.state not in READY:
            state = printable(recorder.state)
            last = f"the last says '{state}'" if state else "none came"
            raise ReplayError(
                f"the node {NODE} did not report within {START_PATIENCE:.0f} s that it is active ({last}); "
                "it has to run, with the same ROS_DOMAIN_ID"
            )
        return dict(recorder.reports)

    def play(self, images: int) -> Replayed:
        """Play the bag, which has so many images, and return the outcome. Raises as `wait_for_node` does."""
        before = self.wait_for_node()
        parameters = self._parameters(list(RULES))
        try:
            with tempfile.TemporaryDirectory(prefix="eomt_ros_replay_") as folder:
                log = Path(folder) / "published.csv"
                command = self._command(parameters, log)
                with (
                    Child("the player", command, Path(folder) / "player.log", ends=True) as player,
                    Progress(images) as progress,
                ):
                    if self._recorder.state == "inactive":
                        self._change_state("activate", "deactivate")
                    self._introduce(player, before)
                    ended = self._follow(player, progress, images)
                published = _published(log, self._cameras)
            settled = self._settle(before, published, time.monotonic())
            return self._replayed(parameters, before, published, complete=ended and settled)
        finally:
            # It would go on to wait for images, and warn that none come, while its results are scored.
            while self._to_undo and not self._node_is_gone:
                self.participant.change_state(NODE, self._to_undo.pop(), ANSWER_PATIENCE)

    def _parameters(self, names: list[str]) -> dict[str, Any]:
        parameters = self.participant.parameters_of(NODE, names, ANSWER_PATIENCE)
        if not parameters:
            raise ReplayError(f"the node {NODE} did not tell its parameters within {ANSWER_PATIENCE:.0f} s")
        return parameters

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
        return not any(map(self.participant.node.count_publishers, self._results))

    @property
    def _results(self) -> list[str]:
        """The topics of instances, in the order of the cameras."""
        return [ResultTopics.of_camera(camera).instances for camera in self._cameras]

    @property
    def _is_over(self) -> bool:
        return self._is_given_up or self._node_is_gone

    def _command(self, parameters: Mapping[str, Any], log: Path) -> list[str]:
        every_frame = parameters["policy"] == "every_frame"
        rate = (0.0 if every_frame else 1.0) if self.rate is None else self.rate
        command = [sys.executable, "-m", "eomt_ros.replay.play_bag", str(self.bag), "--rate", f"{rate:g}"]
        command += ["--wait-for", *self._cameras.values(), "--hold", "--log", str(log)]
        if every_frame:
            # So that no queue on the way, the node's included, has more to hold than it can.
            ahead = min(AHEAD, parameters["queue_size"], parameters["qos_depth"])
            command += ["--ahead", str(ahead), "--of", *self._results, "--patience", f"{RESULT_PATIENCE:g}"]
            command += ["--max-gap", str(parameters["max_gap"])]
        return command

    def _introduce(self, player: Child, before: Mapping[str, Report]) -> None:
        """Let the player begin once the node knows of it: what it misses before would count as lost on the way."""
        recorder = self._recorder

        def is_known() -> bool:
            return recorder.state == "active" and all(
                recorder.reports[camera].publishers > before[camera].publishers for camera in self._cameras
            )

        self.participant.serve(lambda: self._is_over or player.code is not None or is_known(), INTRODUCTION_PATIENCE)
        player.tell("go")

    def _follow(self, player: Child, progress: Progress, images: int) -> bool:
        """Record until the player has ended, and say whether it came to the end of the bag."""

        def over() -> bool:
            if came := self._recorder.results - progress.frames:
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
            self._problems.append(f"{why} after {self._recorder.results:,} of {counted(images, 'result')}")
        return False

    def _settle(self, before: Mapping[str, Report], published: Mapping[str, _Published], ended: float) -> bool:
        """Record what is still under way, and say whether it came."""
        recorder = self._recorder
        news = (ended, -1)

        def settled(camera: str) -> bool:
            report = recorder.reports[camera]
            if report.arrived < ended or not report.settled:
                return False
            received = report.received - before[camera].received
            if received < len(published[camera]) and report.arrived < ended + LATE:
                return False
            processed = report.processed - before[camera].processed
            return all(recorder.counts[topic] >= processed for topic in ResultTopics.of_camera(camera))

        def over() -> bool:
            nonlocal news
            if recorder.results != news[1]:
                news = time.monotonic(), recorder.results
            patience = STOPPED_PATIENCE if self._is_over else RESULT_PATIENCE
            return all(map(settled, self._cameras)) or time.monotonic() - news[0] > patience

        self.participant.serve(over)
        if all(map(settled, self._cameras)):
            self.participant.serve(self._has_all_in_metres, METRES_PATIENCE)
            return True
        topics = [topic for camera in self._cameras for topic in ResultTopics.of_camera(camera)]
        counts = ", ".join(f"{recorder.counts[topic]} on {topic}" for topic in topics)
        self._problems.append(
            f"the node's last report does not account for all images; its results that came: {counts}"
        )
        return False

    def _has_all_in_metres(self) -> bool:
        """True if none of them is to come; where a frame had no depth, nobody can tell."""
        counts = self._recorder.counts
        came = [
            (counts[MetreTopics.of_camera(each).objects], counts[ResultTopics.of_camera(each).instances])
            for each in self._cameras
        ]
        return all(objects in (0, results) for objects, results in came)

    def _replayed(
        self,
        parameters: Mapping[str, Any],
        before: Mapping[str, Report],
        published: Mapping[str, _Published],
        *,
        complete: bool,
    ) -> Replayed:
        recorder = self._recorder
        if not recorder.results:
            if self.stop.is_set():
                raise StoppedError(TOO_EARLY)
            images = sum(map(len, published.values()))
            problems = "; ".join(self._problems) or f"{counted(images, 'image was', 'images were')} published"
            raise ReplayError(f"no result came from the node {NODE}: {problems}")

        def figures(cameras: Iterable[str]) -> ReplayFigures:
            return _figures(recorder, cameras, before, published, policy=parameters["policy"], complete=complete)

        silent = [topic for camera, topic in self._cameras.items() if not recorder.arrivals[camera]]
        self._problems += [f"no result came for {topic}" for topic in silent]
        arrivals = sorted(moment for arrived in recorder.arrivals.values() for moment in arrived.values())
        elapsed = (arrivals[-1] - arrivals[0]) * 1e-9
        return Replayed(
            replay=figures(self._cameras),
            by_topic={topic: figures([camera]) for camera, topic in self._cameras.items()},
            silent=silent,
            cameras_in_metres={
                topic: camera
                for camera, topic in self._cameras.items()
                if recorder.counts[MetreTopics.of_camera(camera).objects]
            },
            parameters=parameters,
            report=max((recorder.reports[camera] for camera in self._cameras), key=_engine_time),
            results_per_second=(len(arrivals) - 1) / elapsed if elapsed else float("nan"),
            problems=tuple(self._problems),
            complete=complete,
        )


def _cameras_of(topics: Sequence[str], reports: Mapping[str, Report]) -> dict[str, str]:
    """The camera of the node that expects each topic, with the topic. Raises ReplayError."""
    if set(reports) == {""} and len(topics) == 1:
        return {"": topics[0]}
    listening = {report.topic: camera for camera, report in reports.items()}
    for topic in topics:
        if topic not in listening:
            others = printable(", ".join(listening))
            raise ReplayError(
                f"no camera of the node {NODE} listens to {topic}, only to {others}: see its parameters cameras and "
                "image_transport, and its remapping"
            )
        if listening[topic] not in topic.split("/"):
            raise ReplayError(
                f"{topic} goes to the camera {listening[topic]} of the node {NODE}, expected a topic that has "
                "the camera as a step of its name: by it its results are told from those of the others"
            )
    return {listening[topic]: topic for topic in topics}


def _figures(
    recorder: Recorder,
    cameras: Iterable[str],
    before: Mapping[str, Report],
    published: Mapping[str, _Published],
    *,
    policy: str,
    complete: bool,
) -> ReplayFigures:
    """What became of the images of these cameras, all together."""
    dropped: Counter[str] = Counter()
    ages: list[float] = []
    sent = processed = lost = 0
    for camera in cameras:
        first, last, arrivals = before[camera], recorder.reports[camera], recorder.arrivals[camera]
        # The node's own count may be a second old where it was stopped.
        done = max(last.processed - first.processed, recorder.counts[ResultTopics.of_camera(camera).instances])
        left_out = {reason: count - first.dropped[reason] for reason, count in last.dropped.items()}
        left_out["skipped"] = last.skipped - first.skipped
        images = published[camera]
        sent, processed = sent + len(images), processed + done
        lost += max(0, len(images) - done - sum(left_out.values())) if complete else 0
        dropped.update(left_out)
        ages += [(arrivals[stamp] - moment) * 1e-6 for stamp, moment in images if stamp in arrivals]
    return ReplayFigures(
        policy=policy,
        published=sent,
        processed=processed,
        dropped=dropped.total(),
        dropped_by_reason={reason: count for reason, count in dropped.items() if count},
        lost_on_the_way=lost,
        age_ms=_percentiles(ages),
    )


def _engine_time(report: Report) -> float:
    """Milliseconds of the median frame; nothing where there was none."""
    return report.stages_ms["engine"].p50 if "engine" in report.stages_ms else -1.0


def _percentiles(milliseconds: Sequence[float]) -> Percentiles:
    if not milliseconds:  # the player was killed before it wrote down what it had published
        return Percentiles(math.nan, math.nan, math.nan, math.nan)
    return Percentiles(*(float(value) for value in np.percentile(milliseconds, list(PERCENTILES.values()))))


def _published(log: Path, cameras: Mapping[str, str]) -> dict[str, _Published]:
    """The images of every camera that were published. cameras: topics by name."""
    rows = []
    if log.exists():  # or the player ended before it began
        with log.open(newline="") as file:
            rows = list(csv.reader(file))
    return {
        camera: [(int(stamp), int(moment)) for name, _, stamp, moment in rows if name == topic]
        for camera, topic in cameras.items()
    }
