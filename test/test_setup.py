"""The set-up on machines that lack something: one message, which names it and the command that installs it."""

from __future__ import annotations

import ast
import fcntl
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from environment import SetupError, layout, machine, workspace
from test import ROOT
from test.patience import PATIENCE

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = Path(sys.base_prefix, "bin", f"python{VERSION}")

needs_wheels = pytest.mark.skipif(
    not machine.WHEEL_PYTHONS[0] <= sys.version_info[:2] <= machine.WHEEL_PYTHONS[1] or platform.machine() != "x86_64",
    reason="no wheels for this machine's Python or processor",
)


class Machine:
    """A clone without `.venv`, on a machine that has the given programs only."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        self.programs = folder / "bin"
        self.modules = folder / "modules"
        self.variables: dict[str, str] = {}
        for name in ("environment", "requirements", "msg"):
            shutil.copytree(ROOT / name, self.clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Makefile", "setup.py", "pyproject.toml", "package.xml", "CMakeLists.txt"):
            shutil.copy(ROOT / name, self.clone)
        self.programs.mkdir()
        self.modules.mkdir()
        self.add_programs("bash", "sh", "make")

    def add_programs(self, *names: str) -> None:
        for name in names:
            found = shutil.which(name)
            assert found is not None, f"the test machine has no {name}"
            (self.programs / name).symlink_to(found)

    def start_make(self) -> subprocess.Popen[str]:
        variables = {"PATH": str(self.programs), "PYTHONPATH": str(self.modules), "HOME": str(self.clone.parent)}
        return subprocess.Popen(
            [self.programs / "make", "build", f"PYTHON={PYTHON}"],
            cwd=self.clone,
            env=variables | self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def make_fails(self) -> str:
        """What `make build` says on stderr when it fails, as it must."""
        process = self.start_make()
        try:
            _, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        assert process.returncode != 0
        return errors


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@needs_wheels
def test_a_missing_compiler_is_named_with_the_command_that_installs_it(bare: Machine) -> None:
    errors = bare.make_fails()
    assert errors.count("error:") == 1
    assert "a C++ compiler" in errors
    assert "sudo apt install build-essential\n" in errors
    assert not (bare.clone / ".venv").exists()


@needs_wheels
def test_a_missing_venv_module_is_named_with_the_command_that_installs_it(bare: Machine) -> None:
    bare.add_programs("cc", "c++")
    # As on a Debian without python3-venv: `venv` is there, `ensurepip` is not.
    (bare.modules / "ensurepip.py").write_text("raise ImportError('not packaged')\n")
    errors = bare.make_fails()
    assert "compiler" not in errors
    assert "venv module" in errors
    assert f"sudo apt install python{VERSION}-venv\n" in errors


@needs_wheels
def test_everything_that_is_missing_is_told_at_once(bare: Machine) -> None:
    (bare.modules / "ensurepip.py").write_text("raise ImportError('not packaged')\n")
    errors = bare.make_fails()
    assert errors.count("error:") == errors.count("sudo apt install") == 1
    assert f"sudo apt install build-essential python{VERSION}-venv\n" in errors


def test_an_installed_ros_needs_its_own_cmake_and_colcon(bare: Machine) -> None:
    (bare.modules / "rclpy.py").touch()
    bare.add_programs("cc", "c++")
    bare.variables = {"AMENT_PREFIX_PATH": "/opt/ros/humble", "ROS_DISTRO": "humble"}
    errors = bare.make_fails()
    assert "missing: CMake, colcon." in errors
    assert "sudo apt install cmake python3-colcon-common-extensions\n" in errors


def test_a_missing_python_is_named_with_the_command_that_installs_it(bare: Machine) -> None:
    command = [bare.programs / "make", "build", "PYTHON=python3"]
    answer = subprocess.run(
        command, cwd=bare.clone, env={"PATH": str(bare.programs)}, capture_output=True, text=True, timeout=PATIENCE
    )
    assert answer.returncode != 0
    assert "missing: python3." in answer.stderr
    assert "sudo apt install python3 python3-venv python3-dev\n" in answer.stderr


def test_missing_python_headers_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(SetupError, match=r"Python\.h(.|\n)*sudo apt install .*-dev"):
        machine.check_tools(from_wheels=True)


@needs_wheels
@pytest.mark.parametrize("version", [(3, 10, 12), (3, 15, 0)])
def test_a_python_without_wheels_is_told_which_ones_have_them(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    machine.check_wheels_fit()
    monkeypatch.setattr(sys, "version_info", version)
    expected = rf"Python 3\.11 to 3\.14.*is Python 3\.{version[1]}\.(.|\n)*make PYTHON=python3\.11"
    with pytest.raises(SetupError, match=expected):
        machine.check_wheels_fit()


def test_a_processor_without_wheels_is_told_to_install_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(SetupError, match=r"x86_64, and this is .* aarch64(.|\n)*Install ROS 2"):
        machine.check_wheels_fit()


def test_an_old_python_is_told_so_and_not_shown_a_syntax_error() -> None:
    source = (ROOT / "environment" / "__main__.py").read_text()
    ast.parse(source, feature_version=(3, 4))
    old = f"import sys; sys.version_info = (3, 8, 10); exec({source!r})"
    answer = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True, timeout=PATIENCE)
    assert answer.returncode == 1
    assert "is Python 3.8." in answer.stderr
    assert "make PYTHON=python3.11" in answer.stderr


def test_a_distribution_without_wheels_is_answered_with_those_that_have_them(bare: Machine) -> None:
    bare.variables = {"ROS_DISTRO": "humble"}
    errors = bare.make_fails()
    assert "'humble'" in errors
    assert "source /opt/ros/humble/setup.bash" in errors
    assert "Wheels exist for: jazzy, kilted." in errors


@needs_wheels
def test_a_failed_installation_says_why_and_is_tried_again(bare: Machine) -> None:
    bare.add_programs("cc", "c++")
    bare.variables = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    for _ in range(2):
        errors = bare.make_fails()
        assert "No matching distribution found for" in errors
        assert "log/kilted/pip.log" in errors


@needs_wheels
def test_a_second_make_waits_for_the_first(bare: Machine) -> None:
    folder = os.open(bare.clone, os.O_RDONLY)
    # Shared, which keeps out only those who want the folder to themselves.
    fcntl.flock(folder, fcntl.LOCK_SH)
    process = bare.start_make()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting: another make is setting up this folder\n"
        assert process.poll() is None
        os.close(folder)
        assert "a C++ compiler" in process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("msg/Instance.msg", "eomt_ros/node/outputs.py", "config/segment.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text("first\n")
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    return tmp_path


def test_an_edited_message_is_built_again(sources: Path) -> None:
    before = workspace.content_key()
    (sources / "msg/Instance.msg").write_text("second\n")
    assert workspace.content_key() != before


def test_an_edited_module_or_configuration_needs_no_build(sources: Path) -> None:
    before = workspace.content_key()
    (sources / "eomt_ros/node/outputs.py").write_text("second\n")
    (sources / "config/segment.yaml").write_text("second\n")
    assert workspace.content_key() == before


def test_a_new_or_removed_module_is_installed_by_a_build(sources: Path) -> None:
    before = workspace.content_key()
    (sources / "eomt_ros/node/inputs.py").write_text("first\n")
    added = workspace.content_key()
    (sources / "eomt_ros/node/outputs.py").unlink()
    assert len({before, added, workspace.content_key()}) == 3


def test_the_own_environment_entered_by_hand_is_no_installed_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    own = layout.Layout("kilted", from_wheels=True)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{own.install / 'eomt_ros'}:{own.venv}")
    monkeypatch.setenv("ROS_DISTRO", "kilted")
    assert layout.choose_layout() == own
