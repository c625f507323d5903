"""What tests with small random models share."""

from __future__ import annotations

from pathlib import Path

import pytest

from test.engine.checkpoints import TABLE


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The label table of the small models' classes."""
    path = tmp_path_factory.mktemp("labels") / "table.yaml"
    path.write_text(TABLE)
    return path
