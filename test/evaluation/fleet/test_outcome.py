"""`outcome.json` says what became of a recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from eomt_ros.evaluation.fleet.outcome import FAILED, FILE, Outcome, read_outcome, write_outcome
from eomt_ros.evaluation.results import ResultsError


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    outcome = Outcome("monday", "/data/Montag, früh", "k", FAILED, "the bag has no images", attempts=3)
    write_outcome(outcome, tmp_path)
    assert read_outcome(tmp_path) == outcome


def test_a_folder_without_the_file_has_no_outcome(tmp_path: Path) -> None:
    assert read_outcome(tmp_path) is None
    assert read_outcome(tmp_path / "nowhere") is None


@pytest.mark.parametrize("text", ["", "[]", '{"name": "a", "path": 3, "key": ""}', "[" * 10**5, " " * (2 << 20)])
def test_a_file_that_says_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ResultsError, match=r"outcome.json does not say what became of a recording"):
        read_outcome(tmp_path)
