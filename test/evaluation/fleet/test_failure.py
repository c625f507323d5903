"""`failed.json` says why a recording has no figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from eomt_ros.evaluation.fleet.failure import FAILURE, read_failure, write_failure
from eomt_ros.evaluation.results import FailedRecording, ResultsError


def test_a_failure_is_read_as_it_was_written(tmp_path: Path) -> None:
    failed = FailedRecording("monday", "/data/Montag, früh", "the bag has no images")
    assert write_failure(failed, tmp_path / "monday") == tmp_path / "monday" / FAILURE
    assert read_failure(tmp_path / "monday") == failed


def test_a_folder_without_the_file_says_of_no_failure(tmp_path: Path) -> None:
    assert read_failure(tmp_path) is None
    assert read_failure(tmp_path / "nowhere") is None


@pytest.mark.parametrize("text", ["", "[]", '{"name": "a", "path": 3, "error": ""}', "[" * 10**5, " " * (2 << 20)])
def test_a_file_that_says_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / FAILURE).write_text(text)
    with pytest.raises(ResultsError, match=r"failed.json does not say why"):
        read_failure(tmp_path)
