"""What every test has: a ROS 2 graph and a cache of its own."""

import os
from collections.abc import Iterator

import pytest

# Set before anything starts a participant. Domains above 101 collide with the ports Linux hands out to programs.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps exported networks out of the user's cache, and of what the tests see the user's exports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
