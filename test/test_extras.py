"""Optional packages that are missing are named, with a command that installs them in a workspace too."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from eomt_ros.cli.stopping import exit_code_of
from eomt_ros.extras import EXTRAS, install
from test import ROOT

COMMAND_LINE = "import sys; from eomt_ros.cli.main import main; sys.exit(main())"
PROGRAMS = {
    "play_bag": ["-m", "eomt_ros.replay.play_bag", "BAG"],
    "bag_images": ["-m", "eomt_ros.replay.bag_images", "BAG"],
    "evaluate_bag": ["-m", "eomt_ros.replay.evaluate_bag", "BAG", "--out", "OUT"],
    "eomt-ros evaluate": ["-c", COMMAND_LINE, "evaluate", "BAG", "--out", "OUT"],
    "eomt-ros overlay": ["-c", COMMAND_LINE, "overlay", "BAG", "--out", "OUT"],
    "eomt-ros compare": ["-c", COMMAND_LINE, "compare", "A", "B"],
}


def test_the_packages_are_those_of_setup_py() -> None:
    (found,) = [
        ast.literal_eval(keyword.value)
        for keyword in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(keyword, ast.keyword) and keyword.arg == "extras_require"
    ]
    for extra, names in EXTRAS.items():
        requirements = [Requirement(line) for line in found[extra]]
        needed = [one.name for one in requirements if one.marker is None or one.marker.evaluate()]
        assert sorted(names) == sorted(needed)


def test_the_command_keeps_the_numpy_that_is_there() -> None:
    assert install("evaluation").startswith(f"{sys.executable} -m pip install ")
    assert install("evaluation").endswith(f" numpy=={version('numpy')}")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_without_its_packages_names_them_in_one_line(program: str, tmp_path: Path) -> None:
    if program in ("play_bag", "evaluate_bag") and find_spec("rclpy") is None:
        pytest.skip("needs ROS 2")
    # As where they are not installed: the first that is looked for is not found.
    for name in ("rosbags", "tqdm", "av", "jinja2"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name={name!r})")
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    answer = subprocess.run(
        [sys.executable, *PROGRAMS[program]],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert "is missing: " in line
    assert line.endswith(install("evaluation"))


def test_a_broken_import_of_our_own_is_not_told_as_a_missing_package() -> None:
    def program() -> None:
        from eomt_ros.errors import Nothing  # type: ignore[attr-defined]  # noqa: F401

    with pytest.raises(ImportError, match="Nothing"):
        exit_code_of("program", program)
