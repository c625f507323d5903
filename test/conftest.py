"""For every test: its mark `slow`, a ROS 2 graph and a cache of its own, and threads that sleep while they wait."""

import os
from collections.abc import Iterator

import pytest

from eomt_ros.openmp import wait_asleep
from test.domains import Of, domain

# Set before anything starts a participant.
os.environ["ROS_DOMAIN_ID"] = domain(Of.ITSELF)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# Before torch: on a busy machine threads that spin make a test take ten times as long.
wait_asleep()

SLOW_FIXTURES = {"start_robot", "variables", "wheel", "bare"}
"""Whose tests are slow: a node, an evaluation beside a node, `pip wheel`, `make`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `slow` the tests that use one of SLOW_FIXTURES, also by way of another fixture.

    Files and single tests that start processes or train say so themselves.
    """
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps exported networks out of the user's cache, and of what the tests see the user's exports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
