"""The ROS 2 that is used, and the folders of its environment and build."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from environment import SetupError

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_DISTRO = "kilted"


@dataclass(frozen=True)
class Layout:
    """One ROS 2 distribution and the folders that belong to it, so that several live side by side."""

    distro: str
    from_wheels: bool

    @property
    def venv(self) -> Path:
        return ROOT / (".venv" if self.distro == DEFAULT_DISTRO else f".venv-{self.distro}")

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def build(self) -> Path:
        return ROOT / "build" / self.distro

    @property
    def install(self) -> Path:
        return ROOT / "install" / self.distro

    @property
    def log(self) -> Path:
        return ROOT / "log" / self.distro

    @property
    def ros_requirements(self) -> Path:
        return ROOT / "requirements" / f"ros-{self.distro}.txt"

    def variables(self) -> dict[str, str]:
        """The process environment in which the package is built and run."""
        variables = dict(os.environ)
        if self.from_wheels:
            for name in ("PYTHONPATH", "PYTHONHOME", "COLCON_PREFIX_PATH"):
                variables.pop(name, None)
            variables |= dict.fromkeys(("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"), str(self.venv))
        variables["ROS_DISTRO"] = self.distro
        variables["VIRTUAL_ENV"] = str(self.venv)
        variables["PATH"] = os.pathsep.join((str(self.python.parent), variables.get("PATH", os.defpath)))
        return variables


def choose_layout() -> Layout:
    """Take the ROS 2 that is sourced, else the wheels of `ROS_DISTRO` (Kilted when unset).

    Raises SetupError where neither exists.
    """
    if _ros_is_sourced():
        return Layout(os.environ.get("ROS_DISTRO", "sourced"), from_wheels=False)
    layout = Layout(os.environ.get("ROS_DISTRO") or DEFAULT_DISTRO, from_wheels=True)
    if not layout.ros_requirements.exists():
        wheels = sorted(path.stem.removeprefix("ros-") for path in layout.ros_requirements.parent.glob("ros-*.txt"))
        raise SetupError(
            f"ROS_DISTRO is {layout.distro!r}, which is neither sourced nor to be had as wheels.\n"
            f"Source it (source /opt/ros/{layout.distro}/setup.bash), or use wheels: make ROS_DISTRO={wheels[-1]}\n"
            f"Wheels exist for: {', '.join(wheels)}."
        )
    return layout


def _ros_is_sourced() -> bool:
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    rclpy = find_spec("rclpy")
    # Our own wheels and install folder, sourced by hand, are no installed ROS 2.
    return (
        any(ROOT not in prefix.parents for prefix in prefixes)
        and rclpy is not None
        and rclpy.origin is not None
        and ROOT not in Path(rclpy.origin).parents
        and Path(sys.prefix).parent != ROOT
    )
