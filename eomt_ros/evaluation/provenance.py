"""What repeats a run beside its options: the machine, the versions of libraries, and the revision of this package."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import eomt_ros
from eomt_ros.regular_file import read_bytes

INSTALLED = "revision"
"""File that CMakeLists.txt puts beside the code."""
LONGEST_REVISION = 100
"""Bytes of it."""
LONGEST_GIT = 10.0
"""s that git may take; on a network's drive it may be slow."""


def provenance(device: str | None, backend: str | None) -> dict[str, Any]:
    """Settings for `metrics.json`. device, backend: those that the network runs on; None where none runs."""
    import av  # only here: what describes the machine is of use without it

    on_gpu = device is not None and device.startswith("cuda")
    versions = {
        "eomt_ros": eomt_ros.__version__,
        "python": platform.python_version(),
        **{library.__name__: library.__version__ for library in (torch, np, cv2, av)},
    }
    if on_gpu:
        versions["cuda"] = torch.version.cuda
    if backend is not None and backend not in versions:
        versions[backend] = _version(backend)
    return {
        "machine": platform.platform(),
        "processor": processor(),
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "revision": revision(Path(eomt_ros.__file__)),
        "versions": versions,
    }


@functools.cache
def processor() -> str:
    """The processor's name; where the system does not tell, its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        lines = []
    entries = (line.partition(":") for line in lines)
    names = (value.strip() for name, _, value in entries if name.strip() == "model name")
    return next(names, "") or platform.processor() or platform.machine()


@functools.cache
def revision(file: Path) -> str | None:
    """The git revision of the checkout that has a file, `-dirty` behind it where something in it was changed.

    Of what colcon installed that of its checkout then. None where no checkout has the file, such as one that pip
    installed, or where git does not tell.
    """
    try:
        return read_bytes(file.parent / INSTALLED, LONGEST_REVISION).decode("ascii").strip() or None
    except (OSError, UnicodeDecodeError):  # not installed by colcon
        pass
    # An installed copy may lie in somebody else's checkout, which does not track it.
    if _git(file, "ls-files", "--error-unmatch", "--", file.name) is None:
        return None
    return _git(file, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(file: Path, *words: str) -> str | None:
    command = ["git", "-C", str(file.parent), *words]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_GIT, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # such as onnxruntime-gpu, which has another name
        return None
