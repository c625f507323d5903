"""Ctrl-C and SIGTERM end the node cleanly; test_slow_model.py has the case of a frame in work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from test.node.robot import PATIENCE, ROOT, NodeProcess


@pytest.fixture
def silent_hub() -> Iterator[str]:
    """The address of a hub that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_impatient_ctrl_c_while_the_model_loads(domain: dict[str, str], silent_hub: str, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": silent_hub, "HF_HOME": str(tmp_path), "HF_HUB_ETAG_TIMEOUT": "1000"}
    process = NodeProcess(f"/loading{os.getpid()}", {"model": "nobody/stalls"}, environment, name="segment")
    process.wait_for_output("loading the model nobody/stalls")
    process.signal(signal.SIGINT)
    process.signal(signal.SIGINT)
    _assert_clean_end(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_idle(domain: dict[str, str], number: signal.Signals) -> None:
    process = NodeProcess(f"/idle{os.getpid()}", {"autostart": False}, {}, name="segment")
    process.wait_for_output("waiting for a lifecycle transition")
    process.signal(number)
    _assert_clean_end(process)


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


def _assert_clean_end(process: NodeProcess) -> None:
    assert process.wait_for_end() == 0
    assert "Traceback" not in process.output
    assert "ERROR" not in process.output
