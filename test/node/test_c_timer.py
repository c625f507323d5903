"""What is put off comes while a thread holds Python's lock in C, where nothing of Python's runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from test import ROOT
from test.patience import PATIENCE

PROGRAM = """
import ctypes, os, sys
from eomt_ros.node.c_timer import call_later
call_later(0.1, "unlink", os.fsencode(sys.argv[1]))
call_later(0.4, "_exit", 3)
ctypes.PyDLL(None).pause()
"""


def test_calls_come_while_a_thread_holds_pythons_lock(tmp_path: Path) -> None:
    unwanted = tmp_path / "unwanted"
    unwanted.touch()
    program = subprocess.run([sys.executable, "-c", PROGRAM, unwanted], cwd=ROOT, timeout=PATIENCE)
    assert program.returncode == 3
    assert not unwanted.exists()
