"""A node that loads no model, and an RViz that shows nothing."""

import os
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def idle(tmp_path: Path) -> Path:
    """A params_file with values of its own, under which the node loads no model."""
    values = {"autostart": False, "model": "from_the_file", "rate": 7.0, "policy": "every_frame", "qos_depth": 9}
    path = tmp_path / "parameters.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    return path


@pytest.fixture
def rviz(tmp_path: Path) -> dict[str, str]:
    """Environment variables under which launch finds a program rviz2, which prints what it was given."""
    program = tmp_path / "lib" / "rviz2" / "rviz2"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "rviz2 was given: $@" >&2\n')
    program.chmod(0o755)
    marker = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / "rviz2"
    marker.parent.mkdir(parents=True)
    marker.touch()
    return {"AMENT_PREFIX_PATH": f"{tmp_path}:{os.environ['AMENT_PREFIX_PATH']}"}
