"""What an evaluation may write over, and what it never touches."""

from __future__ import annotations

from pathlib import Path

import pytest

from eomt_ros.evaluation import results
from eomt_ros.evaluation.output_folder import OutputFolderError, make_ready, nothing_half
from test.evaluation.examples import short_run

MADE = (
    "bag/bag.mcap",
    "bag/metadata.yaml",
    "frames.csv",
    "objects.csv",
    "overlay.mp4",
    "report.html",
    "worst/01_input.jpg",
    "worst/01_objects_input.jpg",
    "worst/12_truth.jpg",
)
FOREIGN = ("notes.txt", "worst/holiday.jpg", "worst/01_input.png", "bags/other.mcap", "overlay.avi")


def fill(out: Path, *names: str) -> None:
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name)


def evaluation(out: Path) -> Path:
    fill(out, *MADE)
    results.write_results(short_run(), out)
    return out


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    make_ready(tmp_path / "a" / "b", [], overwrite=False)
    assert files(tmp_path / "a" / "b") == {results.FILE}


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    make_ready(tmp_path, [], overwrite=False)
    assert files(tmp_path) == {results.FILE}


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    evaluation(tmp_path)
    with pytest.raises(OutputFolderError, match="is not empty: give another folder, or --overwrite"):
        make_ready(tmp_path, [], overwrite=False)
    assert files(tmp_path) == {*MADE, results.FILE}


def test_overwriting_removes_an_evaluation_and_nothing_else(tmp_path: Path) -> None:
    fill(evaluation(tmp_path), *FOREIGN)
    make_ready(tmp_path, [], overwrite=True)
    assert files(tmp_path) == {*FOREIGN, results.FILE}


def test_overwriting_leaves_no_empty_folders(tmp_path: Path) -> None:
    make_ready(evaluation(tmp_path), [], overwrite=True)
    assert list(tmp_path.iterdir()) == [tmp_path / results.FILE]


def test_an_evaluation_of_another_version_is_overwritten_too(tmp_path: Path) -> None:
    fill(tmp_path, *MADE)
    (tmp_path / results.FILE).write_text('{"schema_version": 0}')
    make_ready(tmp_path, [], overwrite=True)
    assert files(tmp_path) == {results.FILE}


@pytest.mark.parametrize("came_to", [(), ("overlay.mp4",), ("bag/bag.mcap", "overlay.mp4", ".metrics.json.4711")])
def test_what_a_killed_evaluation_left_is_overwritten_too(came_to: tuple[str, ...], tmp_path: Path) -> None:
    make_ready(tmp_path, [], overwrite=False)
    fill(tmp_path, *came_to)
    make_ready(tmp_path, [], overwrite=True)
    assert files(tmp_path) == {results.FILE}
    with pytest.raises(results.ResultsError, match="was ended before its first frame was scored"):
        results.read_results(tmp_path)


@pytest.mark.parametrize("content", [None, "{}", "not JSON", "[]"])
def test_what_is_no_evaluation_is_not_overwritten(content: str | None, tmp_path: Path) -> None:
    fill(tmp_path, *MADE)  # a folder of somebody's bag and pictures, for all one knows
    if content is not None:
        (tmp_path / results.FILE).write_text(content)
    before = files(tmp_path)
    with pytest.raises(OutputFolderError, match="holds no evaluation"):
        make_ready(tmp_path, [], overwrite=True)
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", [".", "bag", "bag/bag.mcap"])
def test_a_folder_with_the_input_in_it_is_refused(name: str, tmp_path: Path) -> None:
    evaluation(tmp_path)
    with pytest.raises(OutputFolderError, match="holds the input"):
        make_ready(tmp_path, [tmp_path / name], overwrite=True)
    assert files(tmp_path) == {*MADE, results.FILE}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    fill(tmp_path, "out")
    with pytest.raises(OutputFolderError, match="is a file, expected a folder"):
        make_ready(tmp_path / "out", [], overwrite=True)


def test_an_error_before_there_are_figures_leaves_nothing(tmp_path: Path) -> None:
    make_ready(tmp_path, [], overwrite=False)
    fill(tmp_path, *FOREIGN)
    with pytest.raises(KeyboardInterrupt), nothing_half(tmp_path):  # noqa: PT012
        fill(tmp_path, *MADE)
        raise KeyboardInterrupt
    assert files(tmp_path) == set(FOREIGN)


def test_an_error_leaves_the_figures_that_there_are(tmp_path: Path) -> None:
    make_ready(tmp_path, [], overwrite=False)
    with pytest.raises(KeyboardInterrupt), nothing_half(tmp_path):  # noqa: PT012
        evaluation(tmp_path)
        raise KeyboardInterrupt
    assert files(tmp_path) == {*MADE, results.FILE}


def test_what_goes_well_stays(tmp_path: Path) -> None:
    with nothing_half(tmp_path):
        evaluation(tmp_path)
    assert files(tmp_path) == {*MADE, results.FILE}
