"""The network of the tests' own that the node's tests have."""

from __future__ import annotations

from importlib.util import find_spec

from test.node.conftest import domain, ros

__all__ = ["domain", "ros"]

if find_spec("rclpy") is None:
    collect_ignore_glob = ["test_*.py"]
