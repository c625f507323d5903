"""Scores a segmentation node that runs: `python -m eomt_ros.replay.evaluate_bag BAG --out FOLDER`.

Plays the bag to the node, records its results, compares them with the ground truth, and writes the same folder as
`eomt-ros evaluate`, with counts of the images on their way through the node. `evaluate.launch.py` starts both.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.utilities import remove_ros_args

from eomt_ros.extras import missing

try:
    from eomt_ros.cli.evaluate import summary
    from eomt_ros.cli.evaluation_arguments import add_output_arguments, add_truth_arguments, truth_source
    from eomt_ros.cli.stopping import STOPPED, StopSignals, exit_code_of
    from eomt_ros.errors import UserError
    from eomt_ros.evaluation import run
    from eomt_ros.evaluation.bag import Bag
    from eomt_ros.evaluation.counting import counted
    from eomt_ros.evaluation.output_bag import OutputBag
    from eomt_ros.evaluation.output_folder import BAG, OVERLAY, make_ready, nothing_half
    from eomt_ros.evaluation.recorded import RecordedPredictions
    from eomt_ros.evaluation.report import write_report
    from eomt_ros.evaluation.report.figures import Kind, as_text
    from eomt_ros.evaluation.results import ReplayFigures, Results, nothing_scored, write_results
    from eomt_ros.evaluation.sources import FrameSequence, TruthSource, open_sequences
    from eomt_ros.evaluation.sources.space import ODOMETRY_TYPE
    from eomt_ros.node.fast_dds import profile_variables
    from eomt_ros.package_data import shipped
    from eomt_ros.replay.bag_images import played_topics
    from eomt_ros.replay.children import Child
    from eomt_ros.replay.participant import Participant
    from eomt_ros.replay.replay import Replayed, Replayer
    from eomt_ros.replay.result_video import ResultVideo
except ImportError as error:
    sys.exit(f"evaluate_bag: {missing(error, 'evaluation')}")

COMMAND = ("python3", "-m", "eomt_ros.replay.evaluate_bag")


@dataclass(frozen=True)
class ReplayOptions:
    """The bag, its ground truth, and the folder to write."""

    bag: Path
    out: Path
    overwrite: bool = False
    topics: Sequence[str] = ()
    """Topics of the images, one for each camera; none: that of the only one."""
    truth: TruthSource = field(default_factory=TruthSource)
    rate: float | None = None
    """Speed of the bag, 1 for its own, see `Replayer`."""
    video: bool = True
    """Write the overlay video."""
    words: Sequence[str] = ()
    """The command, to be written down."""


@dataclass(frozen=True)
class Evaluation:
    """The results, in the output folder too, and whether they are of the whole bag."""

    results: Results
    complete: bool
    report: Path


def evaluate_bag(
    options: ReplayOptions, participant: Participant, stop: StopSignals, children: Sequence[Child] = ()
) -> Evaluation:
    """Play a bag to the node and score its results, or those that came until somebody stops it.

    children: see `Replayer`. Raises UserError, OSError, and StoppedError where nothing came before it was to stop.
    """
    with stop.at_once():
        sequences = open_sequences([options.bag], topics=options.topics, truth=options.truth)
        topics = played_topics(options.bag, sequences)
    inputs = [path for path in (options.bag, options.truth.folder) if path is not None]
    make_ready(options.out, inputs, overwrite=options.overwrite)
    with nothing_half(options.out), OutputBag(options.out / BAG) as recorded:
        replayer = Replayer(participant, options.bag, topics, recorded, stop.for_replay, options.rate, children)
        print("[1/3] waiting until the node takes images", flush=True)
        replayer.wait_for_node()
        images = sum(sequence.count or 0 for sequence in sequences)
        seconds = sequences[0].seconds or 0.0
        print(f"[2/3] playing {', '.join(topics)}: {counted(images, 'image')}, {seconds:.0f} s", flush=True)
        replayed = replayer.play(images)
    stop.begin_scoring()
    print("[3/3] scoring the results that came", flush=True)
    found = _score(options, sequences, replayed, stop)
    return Evaluation(found, replayed.complete, write_report(options.out))


def _score(
    options: ReplayOptions, sequences: Sequence[FrameSequence], replayed: Replayed, stop: StopSignals
) -> Results:
    """Compare the results that came with the ground truth; those of a camera that gave none are missing."""
    came = [each for each in sequences if each.topic not in replayed.silent]
    of_node = replayed.parameters
    predictions_of = partial(
        RecordedPredictions,
        options.out / BAG,
        labels=Path(of_node["labels"]) if of_node["labels"] else None,
        taxonomy=of_node["taxonomy"],
        classes=of_node["classes"] or (),
        max_gap=of_node["max_gap"],
    )
    target = of_node["target_frame"]
    in_metres = replayed.cameras_in_metres if not target or _is_of_odometry(target, options.bag) else {}
    # A video of one camera's images alone is written on the way.
    apart = len(came) > 1 or bool(in_metres)
    scoring = run.EvaluationOptions(
        _settings(options, replayed),
        video=options.video and not apart,
        complete=lambda scored: _with_replay(scored, sequences, replayed),
        stop=stop.for_scores,
    )
    with predictions_of(came) as predictions:
        found = run.evaluate(came, predictions, options.out, scoring)
    if not options.video or not apart or stop.for_scores.is_set():
        return found
    video = ResultVideo(options.out / BAG, predictions_of, in_metres, fixed=bool(target))
    problem = video.write(options.out / OVERLAY, came, stop.for_scores)
    files = found.files if problem else {**found.files, "overlay": OVERLAY}
    found = replace(found, files=files, problems=(*found.problems, *([problem] if problem else [])))
    write_results(found, options.out)
    return found


def _is_of_odometry(frame: str, path: Path) -> bool:
    """True if the bag's odometry is in that frame: by it the camera's place there is known."""
    with Bag(path) as bag:
        topics = [topic for topic, kind in bag.topics.items() if kind == ODOMETRY_TYPE and bag.count(topic)]
        return any(next(bag.messages(topic)).content.header.frame_id == frame for topic in topics)


def _settings(options: ReplayOptions, replayed: Replayed) -> dict[str, Any]:
    given = {name: value for name, value in replayed.parameters.items() if value not in ("", [""])}
    return {
        **given,
        "score_threshold": replayed.report.score_threshold,
        "device": replayed.report.device,
        "backend": replayed.report.backend,
        "precision": replayed.report.precision,
        "play_rate": options.rate,
        "command": list(options.words),
        "input": [os.path.abspath(options.bag)],
    }


def _with_replay(scored: Results, sequences: Sequence[FrameSequence], replayed: Replayed) -> Results:
    """The results, with what the node says of its speed, and what became of the images."""
    stages = dict(replayed.report.stages_ms)
    several = {each.name: replayed.by_topic[each.topic] for each in sequences if each.topic and len(sequences) > 1}
    return replace(
        scored,
        settings={name: value for name, value in scored.settings.items() if name != "predictions"},
        problems=(*replayed.problems, *scored.problems),
        fps=replayed.results_per_second,
        latency_ms=stages.pop("engine", scored.latency_ms),
        stages_ms=stages,
        replay=replayed.replay,
        replays=several,
        files={**scored.files, "bag": BAG},
    )


def replay_summary(found: Results) -> str:
    """Counts of the images on their way through the node, and ages of the results, for a terminal."""
    replay = found.replay
    if replay is None:
        return ""
    lines = [f"through the node, policy {replay.policy}"]
    if found.replays:
        return "\n".join([*lines, *_camera_lines({**found.replays, "all": replay})])
    counts = {"published": replay.published, "processed": replay.processed, "dropped": replay.dropped}
    lines += [f"  {name:<22}{count:>12}" for name, count in counts.items()]
    lines[-1] += _reasons(replay)
    if replay.lost_on_the_way:
        lines.append(f"  {'lost on the way':<22}{replay.lost_on_the_way:>12}")
    age = replay.age_ms
    lines.append(f"  {'age of a result':<22}{age.p50:>9.1f} ms  (p95 {age.p95:.1f}, p99 {age.p99:.1f})")
    return "\n".join(lines)


def _camera_lines(replays: Mapping[str, ReplayFigures]) -> list[str]:
    """The same as a table with a line for each."""
    heads = ("published", "processed", "dropped", "lost on the way", "age of a result", "p95 of it")
    width = max(len("camera"), *map(len, replays))
    lines = [f"  {'camera':<{width}}" + "".join(f"{head:>{len(head) + 2}}" for head in heads)]
    for name, replay in replays.items():
        counts = (replay.published, replay.processed, replay.dropped, replay.lost_on_the_way)
        cells = [
            *map(str, counts),
            *(as_text(age, Kind.MILLISECONDS) for age in (replay.age_ms.p50, replay.age_ms.p95)),
        ]
        row = "".join(f"{cell:>{len(head) + 2}}" for cell, head in zip(cells, heads, strict=True))
        lines.append(f"  {name:<{width}}{row}{_reasons(replay)}")
    return lines


def _reasons(replay: ReplayFigures) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in replay.dropped_by_reason.items())
    return f"  ({reasons})" if reasons else ""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eomt_ros.replay.evaluate_bag",
        description="Play a bag to the segmentation node that runs, and score its results.",
    )
    parser.add_argument("bag", type=Path, help="a rosbag2")
    add_output_arguments(parser)
    add_truth_arguments(parser)
    parser.add_argument(
        "--rate",
        type=float,
        help="how many times as fast the bag is played (default: with the node's policy latest 1, and with every_frame "
        "as fast as results come)",
    )
    words = remove_ros_args(sys.argv)
    arguments = parser.parse_args(words[1:])
    if arguments.rate is not None and not 0.01 <= arguments.rate <= 100:
        parser.error(f"--rate is {arguments.rate:g}, expected 0.01 to 100")
    os.environ.update(profile_variables(shipped("config", "config") / "fastdds.xml"))

    def run_it() -> int:
        options = ReplayOptions(
            arguments.bag,
            arguments.out,
            arguments.overwrite,
            arguments.topics,
            truth_source(arguments),
            arguments.rate,
            not arguments.no_video,
            (*COMMAND, *words[1:]),
        )
        with StopSignals() as stop, Participant("evaluate_bag", sys.argv) as participant:
            evaluation = evaluate_bag(options, participant, stop)
        figures = f"{summary(evaluation.results)}\n{replay_summary(evaluation.results)}"
        print(f"\n{figures}\n\n{evaluation.report}", flush=True)
        return exit_code(evaluation, stop)

    return exit_code_of("evaluate_bag", run_it)


def exit_code(evaluation: Evaluation, stop: StopSignals) -> int:
    """The exit code of an evaluation that left a report. Raises `UserError` where nothing was scored."""
    if stop.for_replay.is_set():
        return STOPPED
    if why := nothing_scored(evaluation.results):
        raise UserError(why)
    return int(not evaluation.complete)


if __name__ == "__main__":
    sys.exit(main())
