"""Fixtures that start the real node, once per module or per test, in a network of the tests' own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from test import domains

if TYPE_CHECKING:
    from rclpy.context import Context

    from eomt_ros.engine import Segmenter
    from test.node.robot import Robot, Station

if find_spec("rclpy") is None:
    collect_ignore_glob = ["test_*.py"]

_numbers = count()


class StartRobot(Protocol):
    """Starts a node and a robot beside it; both end with the `with` block."""

    def __call__(
        self, parameters: dict[str, Any], environment: dict[str, str] | None = None
    ) -> AbstractContextManager[Robot]: ...


@pytest.fixture(scope="session")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment variables that keep the tests' topics to this machine and away from other runs."""
    variables = {
        "ROS_DOMAIN_ID": domains.domain(domains.Of.NODES),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(tmp_path_factory.mktemp("log")),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables


@pytest.fixture(scope="session")
def ros(domain: dict[str, str]) -> Iterator[Context]:
    """The tests' own end of the network."""
    import rclpy
    from rclpy.context import Context

    context = Context()
    rclpy.init(context=context, domain_id=int(domain["ROS_DOMAIN_ID"]))
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture(scope="session")
def start_robot(ros: Context) -> StartRobot:
    """A function that starts a node with the given parameters."""

    from test.node.robot import NodeProcess, Robot

    @contextmanager
    def start(parameters: dict[str, Any], environment: dict[str, str] | None = None) -> Iterator[Robot]:
        # A namespace of its own keeps every node apart from all others, also from those of runs in the same domain.
        namespace = f"/run{os.getpid()}_{next(_numbers)}"
        process = NodeProcess(namespace, parameters, environment or {}, name="segment")
        robot = Robot(process, ros, name="segment")
        try:
            yield robot
        finally:
            robot.close()
            process.end()

    return start


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random panoptic model of five classes."""
    from test.engine.checkpoints import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="session")
def station_of_run(start_robot: StartRobot, checkpoint: Path) -> Iterator[Station]:
    """The one node that most tests share."""
    from test.node.robot import Station

    # float32 is the reference, which the tests compare with to the last bit.
    parameters = {"model": str(checkpoint), "precision": "float32"}
    parameters |= {"policy": "every_frame", "reliability": "reliable", "qos_depth": 100}
    with start_robot(parameters) as robot:
        yield Station(robot)


@pytest.fixture
def station(station_of_run: Station) -> Station:
    """The shared node, with nothing received yet and the stream in a fresh epoch."""
    station_of_run.start_over()
    return station_of_run


@pytest.fixture(scope="module")
def segmenter(checkpoint: Path) -> Iterator[Segmenter]:
    """The engine that the node should agree with, in as many threads."""
    import torch

    from eomt_ros.engine import Segmenter

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Segmenter.load(checkpoint, precision="float32", device="cpu")
    torch.set_num_threads(threads)
