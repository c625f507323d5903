"""The tree is clean for ruff and mypy, with the settings of pyproject.toml."""

from __future__ import annotations

import subprocess
import sys

from test import ROOT


def test_ruff_finds_nothing() -> None:
    answer = _run("ruff", "check", "--no-cache", "--output-format=concise", ".")
    assert answer.returncode == 0, answer.stdout + answer.stderr


# A first run reads all of torch.
def test_mypy_finds_nothing() -> None:
    answer = _run("mypy")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
