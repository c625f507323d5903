"""Ctrl-C and SIGTERM end the node cleanly and at once in every state, and nothing of it stays in shared memory."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, cycle
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context

from eomt_ros.msg import InstanceArray
from test import ROOT
from test.engine.checkpoints import write_checkpoint
from test.node.forked import ForkedNode
from test.node.robot import NodeProcess, Robot, picture, stamped
from test.node.shared_memory import fast_dds, left, segments_of
from test.patience import PATIENCE

pytestmark = pytest.mark.slow

ENDS = 10
"""So often a node ends in each state, all at a time."""


@pytest.fixture
def silent_hub() -> Iterator[str]:
    """The address of a hub that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


_numbers = count()


class Nodes:
    """Nodes of one kind, ended by Ctrl-C and SIGTERM in turn."""

    def __init__(self, parameters: dict[str, Any], environment: dict[str, str] | None = None) -> None:
        self.processes = [
            NodeProcess(
                f"/ending{os.getpid()}_{next(_numbers)}",
                parameters,
                environment or {},
                name="segment",
                start=ForkedNode,
            )
            for _ in range(ENDS)
        ]

    def end(self) -> None:
        """End them, and check that each left in peace, with all that it had."""
        held = {process.pid: segments_of(process.pid) for process in self.processes}
        assert all(held.values()), "a node has shared memory"
        for process, number in zip(self.processes, cycle((signal.SIGINT, signal.SIGTERM)), strict=False):
            process.signal(number)
        for process in self.processes:
            assert process.wait_for_end() == 0, process.output
            assert "Traceback" not in process.output, process.output
            assert "ERROR" not in process.output, process.output
            assert not left(held[process.pid]), process.output


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes a tenth of a second or more for an image."""
    many_tokens = {"image_size": 768, "num_hidden_layers": 6, "num_attention_heads": 1}
    return write_checkpoint(tmp_path_factory.mktemp("slow"), **many_tokens)


@fast_dds
def test_node_ends_without_a_trace_while_unconfigured(domain: dict[str, str]) -> None:
    nodes = Nodes({"autostart": False})
    for process in nodes.processes:
        process.wait_for_output("waiting for a lifecycle transition")
    nodes.end()


@fast_dds
def test_node_ends_without_a_trace_while_it_loads_its_model(
    domain: dict[str, str], silent_hub: str, tmp_path: Path
) -> None:
    environment = {"HF_ENDPOINT": silent_hub, "HF_HOME": str(tmp_path), "HF_HUB_ETAG_TIMEOUT": "1000"}
    nodes = Nodes({"model": "nobody/stalls"}, environment)
    for process in nodes.processes:
        process.wait_for_output("loading the model nobody/stalls")
    nodes.end()


@fast_dds
@pytest.mark.parametrize("state", ["inactive", "active", "frame in work"])
def test_node_ends_without_a_trace_while(state: str, ros: Context, checkpoint: Path, slow_model: Path) -> None:
    model = slow_model if state == "frame in work" else checkpoint
    nodes = Nodes({"model": str(model), "autostart": state != "inactive"})
    robots = [Robot(process, ros, name="segment") for process in nodes.processes]
    try:
        if state == "inactive":
            assert all(robot.transition("configure") for robot in robots)
        else:
            for process in nodes.processes:
                process.wait_for_output("active: waiting for images")
        if state == "frame in work":
            _keep_busy(robots)
        nodes.end()
    finally:
        for robot in robots:
            robot.close()


@fast_dds
def test_node_ends_without_a_trace_amid_lifecycle_actions(ros: Context, checkpoint: Path) -> None:
    nodes = Nodes({"model": str(checkpoint), "autostart": False})
    robots = [Robot(process, ros, name="segment") for process in nodes.processes]
    try:
        for robot in robots:
            assert robot.state() == "unconfigured"
            for label in ("configure", "activate", "deactivate", "cleanup") * 3:
                request = ChangeState.Request()
                request.transition.label = label
                last = robot.ask(ChangeState, "change_state", request)
            assert not last.done()
        nodes.end()
    finally:
        for robot in robots:
            robot.close()


def _keep_busy(robots: list[Robot]) -> None:
    """Return when every node has given a result, and has other images to do."""
    cameras = [(robot, robot.camera().connect()) for robot in robots]
    inboxes = [robot.listen(InstanceArray, "~/instances") for robot in robots]
    deadline = time.monotonic() + PATIENCE
    while not all(inbox.all() for inbox in inboxes):
        assert time.monotonic() < deadline, "not every node gave a result"
        for robot, camera in cameras:
            camera.publish(stamped(picture(), robot.next_stamp()))
        time.sleep(0.05)


@fast_dds
def test_what_a_killed_node_left_is_removed_by_the_next(domain: dict[str, str]) -> None:
    killed = NodeProcess(f"/killed{os.getpid()}", {"autostart": False}, {}, name="segment")
    killed.wait_for_output("waiting for a lifecycle transition")
    lives = NodeProcess(f"/lives{os.getpid()}", {"autostart": False}, {}, name="segment")
    lives.wait_for_output("waiting for a lifecycle transition")
    orphans, in_use = segments_of(killed.pid), segments_of(lives.pid)
    killed.signal(signal.SIGKILL)
    killed.wait_for_end()
    for orphan in orphans:  # a quick machine is here before a segment counts as settled
        os.utime(orphan, (0, 0))
    following = NodeProcess(f"/next{os.getpid()}", {"autostart": False}, {}, name="segment")
    following.wait_for_output("waiting for a lifecycle transition")
    assert orphans
    assert not left(orphans)
    assert set(left(in_use)) == in_use
    lives.end()
    following.end()


def test_ctrl_c_while_ros_is_imported(domain: dict[str, str]) -> None:
    """From when the executable runs, not Python's own start: that it maps the ROS client library tells."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "segment_node"],
        env={**os.environ, **domain, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + PATIENCE
    while "librcl.so" not in maps.read_text():
        assert process.poll() is None, f"the node ended by itself: {process.communicate()[0]}"
        assert time.monotonic() < deadline, f"the ROS client library was not loaded within {PATIENCE} s"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Traceback" not in output, output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_node_ends_whichever_of_its_threads_the_signal_interrupts(
    domain: dict[str, str], number: signal.Signals
) -> None:
    process = NodeProcess(f"/interrupted{os.getpid()}", {"autostart": False}, {}, name="segment")
    process.wait_for_output("waiting for a lifecycle transition")
    threads = [int(thread.name) for thread in Path(f"/proc/{process.pid}/task").iterdir()]
    os.kill(next(thread for thread in threads if thread != process.pid), number)
    assert process.wait_for_end() == 0


def test_a_node_that_hangs_at_its_end_says_where_and_ends(domain: dict[str, str]) -> None:
    node = _hanging("destroy_node", "threading.Event().wait()", "EXIT_LIMIT = 0.5")
    node.signal(signal.SIGINT)
    assert node.wait_for_end() == 1
    assert re.search(r"^Timeout(.|\n)* in hang$", node.output, re.MULTILINE), node.output


@fast_dds
def test_node_ends_without_a_trace_where_the_middleware_hangs_with_pythons_lock(domain: dict[str, str]) -> None:
    node = _hanging("leave", "ctypes.PyDLL(None).pause()", "LEAVE_LIMIT = 0.5")
    segments = segments_of(node.pid)
    assert segments
    node.signal(signal.SIGINT)
    assert node.wait_for_end() == 0, node.output
    assert "Timeout" not in node.output, node.output
    assert not left(segments)


def _hanging(step: str, hang: str, limit: str) -> NodeProcess:
    """A node that will hang in a step of its end."""
    program = (
        "import ctypes, threading; from eomt_ros.node import segment_node as process\n"
        f"process.{limit}\n"
        f"def hang(node): {hang}\n"
        f"process.SegmentNode.{step} = hang\n"
        "process.main(['--ros-args', '-p', 'autostart:=false'])"
    )

    def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    node = NodeProcess(f"/hangs{os.getpid()}", {}, {}, name="segment", start=start)
    node.wait_for_output("waiting for a lifecycle transition")
    return node
