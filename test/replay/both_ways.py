"""A bag through the real node and straight through the engine, in processes of their own."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from test import ROOT
from test.patience import PATIENCE

EVERY_FRAME = {"policy": "every_frame", "reliability": "reliable", "qos_depth": 100}


@contextmanager
def running_node(variables: dict[str, str], **parameters: object) -> Iterator[subprocess.Popen[bytes]]:
    """The real node on the topic of the bag's images, as the launch file starts it."""
    command = [sys.executable, "-m", "eomt_ros.node.segment_node", "--ros-args", "-r", "image:=/camera/image"]
    parameters = {"model": "demo", "image_transport": "compressed", **parameters}
    command += [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    process = subprocess.Popen(command, cwd=ROOT, env=variables)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def command(bag: Path, out: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-u", "-m", "eomt_ros.replay.evaluate_bag", *map(str, (bag, "--out", out, *arguments))]


def evaluate_through_node(
    bag: Path, out: Path, variables: dict[str, str], *arguments: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(bag, out, *arguments),
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def evaluate_through_engine(bag: Path, out: Path, *arguments: object) -> None:
    program = "import sys; from eomt_ros.cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "evaluate", str(bag), "--model", "demo", "--out", str(out), "--save-bag"]
    words += ["--places", "none"]  # the nodes of these tests have no depth
    words += map(str, arguments)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def metrics(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


def as_the_engine_says_it(message: Any) -> dict[str, Any]:
    """All that an InstanceArray says of its frame, and not of the node."""
    fields = dataclasses.asdict(message)
    fields.pop("dropped")
    fields["header"].pop("frame_id")
    for instance in fields["instances"]:
        for name in ("mask_rle", "embedding"):
            instance[name] = instance[name].tolist()
    return fields
