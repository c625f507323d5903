"""How torch's threads wait: said by the programs before torch is loaded, unless the user has said it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from test import ROOT
from test.patience import PATIENCE

pytestmark = pytest.mark.slow

# Whatever loads torch looks at the variable once: what counts is its value at that moment.
WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("at torch:", os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"))
            sys.stdout.flush()
            os._exit(0)
sys.meta_path.insert(0, Watch())
"""
PROGRAMS = {
    "command line": "from eomt_ros.cli.main import main; main(['models'])",
    "node": "from eomt_ros.node.segment_node import main; main([])",
}


def at_torch(program: str, **variables: str) -> str:
    """What a program's environment says when it loads torch."""
    if program == "node":
        pytest.importorskip("rclpy", reason="the node needs ROS 2")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    answer = subprocess.run(
        [sys.executable, "-c", WATCH + PROGRAMS[program]],
        cwd=ROOT,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    (line,) = (line for line in answer.stdout.splitlines() if line.startswith("at torch:"))
    return line.removeprefix("at torch: ")


@pytest.mark.parametrize("program", PROGRAMS)
def test_threads_sleep_while_they_wait(program: str) -> None:
    assert at_torch(program) == "PASSIVE None"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("chosen", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "1000"}], ids=str)
def test_what_the_user_chose_stays(program: str, chosen: dict[str, str]) -> None:
    expected = f"{chosen.get('OMP_WAIT_POLICY')} {chosen.get('GOMP_SPINCOUNT')}"
    assert at_torch(program, **chosen) == expected
