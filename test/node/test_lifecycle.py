"""Configuring, activating and back again; and every reason why that may not work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from test.node.conftest import StartRobot
from test.node.robot import NodeProcess, Robot, Station, picture

UNREACHABLE = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture(scope="module")
def robot(start_robot: StartRobot) -> Iterator[Robot]:
    """Beside a node that waits for lifecycle transitions, and has no way to the hub."""
    parameters = {"autostart": False, "policy": "every_frame", "reliability": "reliable", "qos_depth": 100}
    with start_robot(parameters, UNREACHABLE) as robot:
        yield robot


def test_node_without_autostart_waits_unconfigured(robot: Robot) -> None:
    assert robot.state() == "unconfigured"
    answer = robot.reset()
    assert not answer.success
    assert answer.message == "the node is not active, so there is no stream to reset"


def _missing(folder: Path) -> dict[str, Any]:
    return {"model": str(folder / "nowhere")}


def _truncated_weights(folder: Path) -> dict[str, Any]:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return {"model": str(folder)}


def _mismatched_weights(folder: Path) -> dict[str, Any]:
    return _with_config(folder, hidden_size=64)


def _unsupported_architecture(folder: Path) -> dict[str, Any]:
    return _with_config(folder, architectures=["SegformerForSemanticSegmentation"], model_type="segformer")


def _malformed_labels(folder: Path) -> dict[str, Any]:
    labels = folder / "labels.yaml"
    labels.write_text("name: broken\ntask: panoptic\nclasses: 5\n")
    return {"model": str(folder), "labels": str(labels)}


def _with_config(folder: Path, **entries: Any) -> dict[str, Any]:
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **entries}))
    return {"model": str(folder)}


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (_missing, "nowhere"),
        (_truncated_weights, "model.safetensors"),
        (_mismatched_weights, "shape|size"),
        (_unsupported_architecture, "segformer|Segformer"),
        (_malformed_labels, "labels.yaml: classes is 5, expected a list"),
        (lambda folder: {"model": "nobody/no-such-model"}, "nobody/no-such-model"),
        (lambda folder: {"model": str(folder), "device": "cuda"}, "device.*cuda"),
        (lambda folder: {"model": str(folder), "size": 40}, "size is 40, expected a multiple .* such as 32 or 48"),
        (
            lambda folder: {"model": str(folder), "max_latency": 1e-6, "max_latency_image": [64, 48]},
            "max_latency is 1e-06 s, but model takes .* s for an image of 64x48 with 20 things, at size 32, the",
        ),
    ],
)
def test_configuring_fails_with_one_message_that_names_the_trouble(
    robot: Robot, checkpoint: Path, tmp_path: Path, break_it: Callable[[Path], dict[str, Any]], expected: str
) -> None:
    if expected == "device.*cuda" and _has_cuda():
        pytest.skip("there is a CUDA device")
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder)
    wanted = break_it(folder)
    before = {name: robot.get(name) for name in wanted}
    printed = len(robot.process.output)
    assert not robot.set(**wanted)
    try:
        assert not robot.transition("configure")
        robot.process.wait_for_output(f"cannot configure: .*({expected})", after=printed)
        told = robot.process.output[printed:]
        assert told.count("[ERROR]") == 1, told
        assert "Traceback" not in told
        assert robot.state() == "unconfigured"
    finally:
        robot.set(**before)


def test_life_of_a_node(robot: Robot, checkpoint: Path) -> None:
    assert not robot.set(model=str(checkpoint))
    assert robot.transition("configure")
    assert robot.state() == "inactive"
    assert "cannot become 'demo' while the node is configured" in robot.set(model="demo")

    assert robot.transition("activate")
    station = Station(robot)
    before = station.segment(picture(1))

    assert robot.transition("deactivate")
    station.instances.clear()
    assert not station.robot.reset().success
    station.camera.close()

    assert robot.transition("activate")
    station.camera = robot.camera()
    robot.connect(station.camera, station.instances)
    after = station.segment(picture(1))
    assert after.epoch == before.epoch + 1
    assert after.sequence > before.sequence

    assert robot.transition("deactivate")
    assert robot.transition("cleanup")
    assert robot.state() == "unconfigured"
    assert not robot.set(model=str(checkpoint), task="semantic")
    assert robot.transition("configure")
    assert robot.transition("activate")
    robot.connect(station.camera, station.instances)
    assert station.segment(picture(1)).task == "semantic"

    assert robot.transition("shutdown")
    assert robot.state() == "finalized"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"model": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"rate": "fast"}, "parameter rate: got 'fast'"),
        ({"mask_threshold": 7.0}, "mask_threshold"),
        ({"precision": "float8"}, "parameter precision: got 'float8', expected one of 'auto', 'float32'"),
        ({"compile": False}, "parameter compile is gone: frames run as CUDA graphs without it; leave it out"),
        ({"qos_overrides./nobody.subscription.depth": "many", "qos_depth": 0}, "qos_depth"),
    ],
)
def test_node_that_cannot_start_ends_with_one_message_and_a_code(
    domain: dict[str, str], parameters: dict[str, Any], expected: str
) -> None:
    process = NodeProcess("/unstartable", parameters, {}, name="segment")
    assert process.wait_for_end() == 1
    assert expected in process.output
    assert "Traceback" not in process.output
    assert len([line for line in process.output.splitlines() if expected in line and "loading" not in line]) == 1


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
