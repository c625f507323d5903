"""The same bag through the real node and straight through the engine, in processes of their own."""

from __future__ import annotations

import dataclasses
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from eomt_ros.evaluation.bag import Bag
from eomt_ros.msg import InstanceArray
from test import ROOT
from test.evaluation import bags
from test.node.spinning import spinning
from test.patience import PATIENCE
from test.replay.both_ways import (
    EVERY_FRAME,
    as_the_engine_says_it,
    command,
    evaluate_through_engine,
    evaluate_through_node,
    metrics,
    running_node,
)

FRAMES = 40
GAP_BEFORE, GAP = 30, 3 * 10**9
"""From that frame on all is so many nanoseconds later: more than the node's max_gap."""
LATE, LATE_BY = range(12, 24), 1_250_000_000
"""Frames that are so many nanoseconds older: more in a row than the player is ahead of the results."""
PROCESSED = FRAMES - len(LATE)
SEMANTIC, PANOPTIC, INSTANCES = "/segment/semantic", "/segment/panoptic", "/segment/instances"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of the demo bag, a real scene as a camera compresses it, with a pause and late frames in it."""

    def messages() -> Iterator[tuple[str, int, Any]]:
        with Bag(ROOT / "demo" / "bag") as bag:
            for topic in (bags.IMAGES, bags.SEMANTIC, bags.PANOPTIC):
                for number, message in enumerate(islice(bag.messages(topic), FRAMES)):
                    recorded = message.stamp + (GAP if number >= GAP_BEFORE else 0)
                    stamp = recorded - (LATE_BY if number in LATE else 0)
                    header = dataclasses.replace(message.content.header, stamp=bags.header(stamp).stamp)
                    yield topic, recorded, dataclasses.replace(message.content, header=header)

    path = tmp_path_factory.mktemp("played") / "bag"
    return bags.write_bag(path, sorted(messages(), key=lambda message: message[1]))


@pytest.fixture(scope="module")
def both_ways(played: Path, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The output folders: through the node, and straight through the engine."""
    folder = tmp_path_factory.mktemp("both_ways")
    with running_node(variables, **EVERY_FRAME):
        done = evaluate_through_node(played, folder / "node", variables)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    evaluate_through_engine(played, folder / "engine")
    return folder / "node", folder / "engine"


def test_with_every_frame_nothing_but_late_frames_is_lost(both_ways: tuple[Path, Path]) -> None:
    found = metrics(both_ways[0])
    replay = found["replay"]
    counts = [replay[name] for name in ("published", "processed", "dropped", "lost_on_the_way")]
    assert (replay["policy"], counts) == ("every_frame", [FRAMES, PROCESSED, len(LATE), 0])
    assert replay["dropped_by_reason"] == {"late": len(LATE)}
    assert found["frames"] == found["frames_scored"] == PROCESSED
    (problem,) = found["problems"]
    assert problem.startswith(f"{len(LATE)} frames came late and were dropped; first: its stamp")


def test_images_without_stamps_and_of_a_simulation_from_0_are_scored_through_the_node(
    played: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    few = 5
    with Bag(played) as bag:
        recorded = [
            (topic, message.stamp, message.content)
            for topic in (bags.IMAGES, bags.SEMANTIC, bags.PANOPTIC)
            for message in islice(bag.messages(topic), few)
        ]
    start = min(stamp for _, stamp, _ in recorded)
    with running_node(variables, **EVERY_FRAME):
        for name, restamped in (("unstamped", lambda _: 0), ("simulation", lambda stamp: stamp - start)):
            messages = [
                (topic, stamp, dataclasses.replace(content, header=bags.header(restamped(stamp))))
                for topic, stamp, content in recorded
            ]
            path = bags.write_bag(tmp_path / name, sorted(messages, key=lambda message: message[1]))
            done = evaluate_through_node(path, tmp_path / f"{name}_out", variables)
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
            found = metrics(tmp_path / f"{name}_out")
            assert (found["frames"], found["frames_scored"]) == (few, few), found["problems"]
            assert found["miou"] > 0.5


@pytest.mark.parametrize("topic", [SEMANTIC, PANOPTIC])
def test_with_every_frame_every_pixel_is_that_of_the_engine(both_ways: tuple[Path, Path], topic: str) -> None:
    with Bag(both_ways[0] / "bag") as ours, Bag(both_ways[1] / "bag") as theirs:
        messages = list(zip(ours.messages(topic), theirs.messages(topic), strict=True))
        assert len(messages) == PROCESSED
        for mine, other in messages:
            assert mine.stamp == other.stamp
            for field in ("height", "width", "encoding", "is_bigendian", "step"):
                assert getattr(mine.content, field) == getattr(other.content, field)
            np.testing.assert_array_equal(mine.content.data, other.content.data)
        assert len(np.unique(messages[-1][0].content.data)) > 3, "something was found"


def test_with_every_frame_every_instance_is_that_of_the_engine(both_ways: tuple[Path, Path]) -> None:
    with Bag(both_ways[0] / "bag") as ours, Bag(both_ways[1] / "bag") as theirs:
        messages = list(zip(ours.messages(INSTANCES), theirs.messages(INSTANCES), strict=True))
    for mine, other in messages:
        assert as_the_engine_says_it(mine.content) == as_the_engine_says_it(other.content)
    # The pause broke the stream off in both.
    assert [mine.content.epoch for mine, _ in messages] == [0] * (GAP_BEFORE - len(LATE)) + [1] * (FRAMES - GAP_BEFORE)
    assert any(instance.is_thing for mine, _ in messages for instance in mine.content.instances)


def test_with_every_frame_the_scores_are_those_of_the_engine(both_ways: tuple[Path, Path]) -> None:
    ours, theirs = map(metrics, both_ways)
    measured_here = {"fps", "latency_ms", "stages_ms", "latency_histogram", "intervals", "settings", "replay", "files"}
    different = {name for name in theirs if name not in {*measured_here, "counts"} and ours[name] != theirs[name]}
    # Straight through, the evaluation itself tells of the pause.
    assert different == {"problems"}
    for counts in ("scores", "predicted", "frames", "frames_scored"):
        assert ours["counts"][counts] == theirs["counts"][counts], counts
    assert ours["objects"] > 0


def test_with_latest_it_says_what_the_robot_would_have_lost(variables: dict[str, str], tmp_path: Path) -> None:
    bag = bags.write_scene(tmp_path / "played", 20)
    with running_node(variables, policy="latest", reliability="reliable", rate=4.0):  # the bag has ten a second
        done = evaluate_through_node(bag, tmp_path / "out", variables)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = metrics(tmp_path / "out")
    replay = found["replay"]
    assert (replay["policy"], replay["published"]) == ("latest", 20)
    assert 0 < replay["dropped_by_reason"]["skipped"] < 20
    assert replay["processed"] == 20 - replay["dropped"] == found["frames"]
    assert replay["lost_on_the_way"] == 0
    assert 0 < replay["age_ms"]["p50"] <= replay["age_ms"]["highest"]
    assert re.search(rf"^ +dropped +{replay['dropped']}  \({replay['dropped']} skipped\)$", done.stdout, re.MULTILINE)


@pytest.fixture
def first_result(variables: dict[str, str]) -> Iterator[threading.Event]:
    """Set when the node has given a result."""
    context = Context()
    rclpy.init(context=context, domain_id=int(variables["ROS_DOMAIN_ID"]))
    came = threading.Event()
    node = Node("watcher", context=context, start_parameter_services=False)
    node.create_subscription(InstanceArray, INSTANCES, lambda _: came.set(), 10)
    with spinning(node):
        yield came
    node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.mark.parametrize(
    ("ends", "number", "code", "problem"),
    [
        ("the evaluation", signal.SIGINT, 130, "the replay was stopped"),
        ("the evaluation", signal.SIGTERM, 130, "the replay was stopped"),
        ("the node", signal.SIGINT, 1, "the node /segment went away"),
    ],
)
def test_what_came_until_it_ended_early_is_reported(
    ends: str,
    number: int,
    code: int,
    problem: str,
    variables: dict[str, str],
    first_result: threading.Event,
    tmp_path: Path,
) -> None:
    bag = bags.write_scene(tmp_path / "played", 100)
    words = command(bag, tmp_path / "out", "--rate", 0.2)
    with (
        running_node(variables, **EVERY_FRAME) as node,
        subprocess.Popen(
            words, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as evaluation,
    ):
        try:
            assert first_result.wait(PATIENCE), "no result came"
            (node if ends == "the node" else evaluation).send_signal(number)
            output, _ = evaluation.communicate(timeout=PATIENCE)
        finally:
            evaluation.kill()
    assert evaluation.returncode == code, output
    assert "Traceback" not in output
    found = metrics(tmp_path / "out")
    assert 0 < found["frames"] == found["replay"]["processed"] < 100
    assert problem in found["problems"][0]
    assert problem in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_scoring_ends_with_the_scores_there_are(
    number: int, variables: dict[str, str], tmp_path: Path
) -> None:
    """Already the first one, because scoring takes long for a long bag."""
    bag = bags.write_scene(tmp_path / "played", 100)
    words = command(bag, tmp_path / "out")
    with (
        running_node(variables, **EVERY_FRAME),
        subprocess.Popen(
            words, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as evaluation,
    ):
        try:
            assert evaluation.stdout is not None
            next(line for line in evaluation.stdout if line.startswith("[3/3]"))
            evaluation.send_signal(number)
            _, errors = evaluation.communicate(timeout=PATIENCE)
        finally:
            evaluation.kill()
    assert evaluation.returncode == 130, errors
    assert "Traceback" not in errors
    found = metrics(tmp_path / "out")
    assert found["frames"] < found["replay"]["processed"]
    assert any(each.startswith(f"stopped by the user after {found['frames']} of 100") for each in found["problems"])
    assert (tmp_path / "out" / "report.html").exists()


def test_ctrl_c_before_there_is_a_node_leaves_the_folder_as_it_was(variables: dict[str, str], tmp_path: Path) -> None:
    bag = bags.write_scene(tmp_path / "played", 3)
    with subprocess.Popen(
        command(bag, tmp_path / "out"),
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as evaluation:
        try:
            assert evaluation.stdout is not None
            next(line for line in evaluation.stdout if line.startswith("[1/3]"))
            evaluation.send_signal(signal.SIGINT)
            output, _ = evaluation.communicate(timeout=PATIENCE)
        finally:
            evaluation.kill()
    assert evaluation.returncode == 130
    assert output == "evaluate_bag: stopped before there was anything to evaluate\n"
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("bag", "arguments", "code", "complaint"),
    [
        ("gone", [], 1, "evaluate_bag: {bag} does not exist"),
        ("played", ["--topic", "/nothing"], 1, "evaluate_bag: --topic /nothing: {bag} has no such topic; it has /"),
        ("played", ["--rate", 1000], 2, "--rate is 1000, expected 0.01 to 100"),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_anything_is_waited_for(
    bag: str, arguments: list[object], code: int, complaint: str, variables: dict[str, str], tmp_path: Path
) -> None:
    bags.write_scene(tmp_path / "played", 3)
    done = evaluate_through_node(tmp_path / bag, tmp_path / "out", variables, *arguments)
    assert done.returncode == code
    assert complaint.format(bag=tmp_path / bag) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
