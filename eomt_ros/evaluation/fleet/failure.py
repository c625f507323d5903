"""`failed.json`: why a recording has no figures. It stands in the folder that these would have, for other processes."""

from __future__ import annotations

from pathlib import Path

from eomt_ros.evaluation.json_file import JsonFileError, from_json, parse_json, write_json
from eomt_ros.evaluation.results import FailedRecording, ResultsError
from eomt_ros.regular_file import read_bytes

FAILURE = "failed.json"
LARGEST = 1 << 20
"""Bytes of the file: a name, a path and a sentence."""


def write_failure(failed: FailedRecording, folder: Path) -> Path:
    """Writes the file into the folder of a recording, which is made, and returns its path. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(failed, folder / FAILURE)
    return folder / FAILURE


def read_failure(folder: Path) -> FailedRecording | None:
    """Why the recording of a folder failed; None where nothing says that it did. Raises `ResultsError`."""
    path = folder / FAILURE
    try:
        return from_json(FailedRecording, parse_json(read_bytes(path, LARGEST).decode("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, JsonFileError) as error:
        raise ResultsError(f"{path} does not say why a recording failed: {error}") from error
