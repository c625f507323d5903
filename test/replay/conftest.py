"""The network of the tests' own that the node's tests have, and one for programs that look for the node /segment."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from eomt_ros.node.fast_dds import profile_variables
from test import ROOT, domains
from test.node.conftest import domain, ros

__all__ = ["domain", "ros"]

if find_spec("rclpy") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="module")
def variables(domain: dict[str, str]) -> dict[str, str]:
    """The environment of a network of a module's own, because the evaluation looks for a node called /segment."""
    return {
        **os.environ,
        **domain,
        **profile_variables(ROOT / "config" / "fastdds.xml"),
        "ROS_DOMAIN_ID": domains.domain(domains.Of.REPLAYS),
    }
