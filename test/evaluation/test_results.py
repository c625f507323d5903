"""`metrics.json`: what is written is read back, and what is not results is refused with the reason."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from eomt_ros.evaluation import results
from eomt_ros.evaluation.latency import Percentiles
from eomt_ros.evaluation.results import Drift, ReplayFigures, Results, ResultsError
from test.evaluation.examples import long_run, rig_run, run_in_metres, run_with_returns, run_without_truth, short_run


def written(run: Results, folder: Path) -> dict[str, Any]:
    """The JSON that is written, read as strictly as the standard says."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    content: dict[str, Any] = json.loads(results.write_results(run, folder).read_text(), parse_constant=refuse)
    return content


@pytest.mark.parametrize("make", [short_run, long_run, rig_run, run_in_metres, run_with_returns, run_without_truth])
def test_results_are_read_as_they_were_written(make: Callable[[], Results], tmp_path: Path) -> None:
    run = replace(make(), drift=Drift(0.5, 0.25, None, 0.125))
    results.write_results(run, tmp_path)
    assert results.read_results(tmp_path) == run


def test_a_replay_is_read_as_it_was_written(tmp_path: Path) -> None:
    replay = ReplayFigures("latest", 20, 17, 3, {"newer image": 3}, 0, Percentiles(1.5, 2.5, 3.5, 4.0))
    results.write_results(replace(short_run(), replay=replay), tmp_path)
    assert results.read_results(tmp_path).replay == replay


def test_the_file_has_the_figures_that_others_look_for(tmp_path: Path) -> None:
    content = written(short_run(), tmp_path)
    names = ("miou", "vpq", "stq", "id_switches", "object_seconds", "objects_found", "fps")
    assert [content[name] for name in names] == [getattr(short_run(), name) for name in names]
    assert content["latency_ms"] == asdict(short_run().latency_ms)
    assert {"p50", "p95", "p99"} <= content["latency_ms"].keys()


def test_what_is_not_a_number_is_null_and_comes_back(tmp_path: Path) -> None:
    run = replace(short_run(), fps=math.nan, latency_ms=Percentiles(math.nan, math.inf, 1.0, 2.0), miou=math.nan)
    content = written(run, tmp_path)
    assert (content["fps"], content["latency_ms"]["p50"], content["latency_ms"]["p95"], content["miou"]) == (None,) * 4
    back = results.read_results(tmp_path)
    assert math.isnan(back.fps)
    assert math.isnan(back.latency_ms.p50)
    assert back.latency_ms.p99 == 1.0
    assert back.miou is None  # where None may stand, it does


def test_names_keep_their_letters(tmp_path: Path) -> None:
    results.write_results(replace(short_run(), sequences=("Straße",)), tmp_path)
    assert "Straße" in (tmp_path / results.FILE).read_text(encoding="utf-8")
    assert results.read_results(tmp_path).sequences == ("Straße",)


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = written(short_run(), folder)
    edit(content)
    (folder / results.FILE).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda content: content.update(schema_version=99), "schema_version is 99, expected 1"),
        (lambda content: content.pop("schema_version"), "schema_version is None, expected 1"),
        (lambda content: content.pop("frames"), "frames is missing"),
        (lambda content: content.update(frames="many"), 'frames is "many", expected int'),
        (lambda content: content.update(frames=True), "frames is true, expected int"),
        (lambda content: content.update(fps="fast"), 'fps is "fast", expected a number'),
        (lambda content: content.update(sequences="one"), 'sequences is "one", expected a list'),
        (lambda content: content.update(class_iou=[]), r"class_iou is \[\], expected an object"),
        (lambda content: content["latency_ms"].pop("p95"), "latency_ms.p95 is missing"),
        (lambda content: content.update(timelines=[3]), r"timelines\[0\] is 3, expected an object"),
        (
            lambda content: content["timelines"][0]["spans"][0].update(returned={"outcome": "<b>", "away": 3.0}),
            "the outcome of a return is '<b>', expected one of right, wrong, new",
        ),
        (
            lambda content: content.update(latency_histogram=[[1.0]]),
            r"latency_histogram\[0\] has 1 entry, expected 2",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    edit: Callable[[dict[str, Any]], object], expected: str, tmp_path: Path
) -> None:
    change(tmp_path, edit)
    with pytest.raises(ResultsError, match=expected) as caught:
        results.read_results(tmp_path)
    assert str(tmp_path / results.FILE) in str(caught.value)


def test_entries_that_a_later_version_adds_are_passed_over(tmp_path: Path) -> None:
    change(tmp_path, lambda content: content.update(weather="fine"))
    assert results.read_results(tmp_path) == short_run()


def test_files_of_versions_without_recordings_are_read(tmp_path: Path) -> None:
    results.write_results(rig_run(), tmp_path)
    content = json.loads((tmp_path / results.FILE).read_text())
    assert [each["name"] for each in content.pop("recordings")] == ["front", "rear"]
    (tmp_path / results.FILE).write_text(json.dumps(content))
    assert results.read_results(tmp_path) == replace(rig_run(), recordings=())


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"schema_version": NaN}'])
def test_a_file_that_is_no_json_object_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / results.FILE).write_text(text)
    with pytest.raises(ResultsError, match="holds no results"):
        results.read_results(tmp_path)


def test_a_file_that_is_none_or_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / results.FILE).write_text("[" * 100_000)
    with pytest.raises(ResultsError, match="holds no results: it is not JSON"):
        results.read_results(tmp_path)
    (tmp_path / results.FILE).unlink()
    (tmp_path / results.FILE).symlink_to("/dev/null")
    with pytest.raises(ResultsError, match=r"cannot be read: .*it is a device, expected a regular file"):
        results.read_results(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="expected a folder that an evaluation wrote"):
        results.read_results(tmp_path)


def test_results_that_cannot_be_written_leave_the_old_ones(tmp_path: Path) -> None:
    results.write_results(short_run(), tmp_path)
    with pytest.raises(TypeError):
        results.write_results(replace(short_run(), settings={"of no kind that JSON knows": object()}), tmp_path)
    assert results.read_results(tmp_path) == short_run()
    assert [path.name for path in tmp_path.iterdir()] == [results.FILE]
