"""Recordings of a folder add up to one run over all of them; those without figures are told of."""

from __future__ import annotations

import itertools
import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from eomt_ros.evaluation.counts import counts_of
from eomt_ros.evaluation.fleet.merge import FRAMES_OF_ONE, MOST_SLICES, Merger, merge
from eomt_ros.evaluation.fleet.outcome import DONE, FAILED, Outcome, write_outcome
from eomt_ros.evaluation.fleet.outcome import FILE as OUTCOME
from eomt_ros.evaluation.fleet.settings import DifferentModelsError
from eomt_ros.evaluation.json_file import plain
from eomt_ros.evaluation.results import (
    FILE,
    Figures,
    Results,
    ResultsError,
    read_results,
    write_results,
)
from test.evaluation import bags
from test.evaluation.fleet.recordings import evaluated

LENGTHS = {"monday": 12, "night 1": 5, "night 2": 20}
TAGS = {"monday": ["day"], "night 1": ["night", "rain"], "night 2": ["night"]}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bags")
    return {name: bags.write_scene(folder / name, frames) for name, frames in LENGTHS.items()}


@pytest.fixture(scope="module")
def whole(recordings: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One run over all recordings."""
    return evaluated(recordings.values(), tmp_path_factory.mktemp("whole") / "out")


@pytest.fixture(scope="module")
def alone(recordings: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each recording evaluated by itself."""
    out = tmp_path_factory.mktemp("alone")
    for name, path in recordings.items():
        settings = {"tags": TAGS[name], "fingerprint": f"of {name}", "input": [str(path)]}
        evaluated([path], out / name, settings)
    return out


@pytest.fixture
def out(alone: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    for name in LENGTHS:
        (tmp_path / name).mkdir()
        write_results(read_results(alone / name), tmp_path / name)
    return tmp_path


def figures_of(out: Path) -> Results:
    """The figures of all together."""
    return merge(out)[0]


def end(folder: Path, state: str, error: str = "") -> None:
    """Says what became of the recording of a folder."""
    write_outcome(Outcome(folder.name, f"/bags/{folder.name}", "k", state, error), folder)


def change(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / FILE).read_text())
    for name, value in changes.items():
        (content if name in content else content["settings"])[name] = value
    (folder / FILE).write_text(json.dumps(content))


def test_merged_figures_are_those_of_one_run_over_all(alone: Path, whole: Results) -> None:
    merged = figures_of(alone)
    assert merged.vpq is not None
    assert 0 < merged.vpq < 1
    assert merged.id_switches
    # How long ids lasted is kept by the recordings alone.
    assert merged.counts["scores"]["partial"] == whole.counts["scores"]["partial"]
    assert merged.counts["scores"]["breakdown"] == whole.counts["scores"]["breakdown"]
    timed = ("fps", "latency_ms", "stages_ms", "latency_histogram")
    others = ("class_names", "is_thing", "sequences", "frames", "frames_scored", "seconds", "predicted", "sweep")
    for name in (*timed, *others, *(each.name for each in fields(Figures))):
        assert getattr(merged, name) == getattr(whole, name), name


def test_any_order_gives_the_same_to_the_last_digit(alone: Path) -> None:
    found = []
    for order in itertools.permutations(LENGTHS):
        merger = Merger(alone)
        for name in order:
            merger.add(name)
        found.append(merger.results())
    assert all(each == found[0] for each in found[1:])
    assert found[0] == figures_of(alone)


def test_a_recording_keeps_its_figures_folder_fingerprint_and_tags(alone: Path) -> None:
    merged = figures_of(alone)
    assert [each.name for each in merged.recordings] == sorted(LENGTHS)
    for each in merged.recordings:
        own = read_results(alone / each.name)
        assert (each.folder, each.fingerprint, each.tags) == (each.name, f"of {each.name}", tuple(TAGS[each.name]))
        assert (each.miou, each.vpq, each.frames, each.fps) == (own.miou, own.vpq, own.frames, own.fps)


def test_slices_have_the_figures_of_one_run_over_their_recordings(
    alone: Path, recordings: dict[str, Path], tmp_path: Path
) -> None:
    night = evaluated([recordings["night 1"], recordings["night 2"]], tmp_path / "night")
    merged = figures_of(alone)
    assert list(merged.slices) == ["day", "night", "rain"]
    for name in ("frames", "predicted", "fps", "latency_ms", *(each.name for each in fields(Figures))):
        assert getattr(merged.slices["night"], name) == getattr(night, name), name
    assert merged.slices["rain"].vpq == read_results(alone / "night 1").vpq


def test_what_was_written_is_read_again(alone: Path, tmp_path: Path) -> None:
    merged = figures_of(alone)
    write_results(merged, tmp_path)
    assert read_results(tmp_path) == merged


def test_worst_frames_are_of_all_recordings_with_the_paths_of_their_pictures(alone: Path) -> None:
    merged = figures_of(alone)
    own = [frame for name in LENGTHS for frame in read_results(alone / name).worst_frames[:FRAMES_OF_ONE]]
    assert [each.miou for each in merged.worst_frames] == sorted(each.miou for each in own)
    by_objects = [
        sum((each.missed or 0, each.ghosts or 0, each.switches or 0)) for each in merged.worst_frames_by_objects
    ]
    assert by_objects == sorted(by_objects, reverse=True)
    assert by_objects[0] > 0
    for frame in merged.worst_frames:
        assert frame.input.startswith(f"{frame.sequence}/worst/")
        assert (alone / frame.truth).is_file()


def test_a_picture_outside_of_its_folder_is_left_out(out: Path) -> None:
    picture = figures_of(out).worst_frames[0]
    stranger = {**vars(picture), "input": "../../secret.jpg"}
    change(out / "monday", worst_frames=[stranger, {**stranger, "input": "/secret.jpg"}])
    assert {each.sequence for each in figures_of(out).worst_frames} == {"night 1", "night 2"}


def test_settings_that_agree_stand_once_and_those_that_differ_side_by_side(out: Path) -> None:
    change(out / "monday", device="cuda", precision="float16", topics=["/front"], date="2026-01-02T00:00:00+00:00")
    merged = figures_of(out)
    assert merged.settings["task"] == "panoptic"
    assert merged.settings["device"] == ["cpu", "cuda"]
    assert merged.settings["topics"] == sorted(["/front", bags.IMAGES])
    assert merged.settings["date"] > "2026-01-02T00:00:00+00:00"
    assert not {"fingerprint", "tags", "input"} & set(merged.settings)
    assert merged.settings["versions"] == read_results(out / "monday").settings["versions"]
    assert "recordings differ in precision: float16, float32" in merged.problems


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"weights_sha256": "another"},
            "weights_sha256 is None, in monday it is another: .*evaluate one of",
        ),
        ({"score_threshold": 0.5}, "score_threshold is None, in monday it is 0.5"),
        ({"convention": "stq"}, "convention is standard, in monday it is stq"),
    ],
)
def test_recordings_of_different_models_are_refused(out: Path, changes: dict[str, Any], expected: str) -> None:
    change(out / "monday", **changes)
    with pytest.raises(DifferentModelsError, match=rf"night 1/metrics.json: {expected}"):
        figures_of(out)


def test_recordings_of_different_classes_are_refused(out: Path) -> None:
    change(out / "monday", class_names=[f"class {n}" for n in range(len(read_results(out / "monday").class_names))])
    with pytest.raises(DifferentModelsError, match=r"its classes are not those of the recordings before it"):
        figures_of(out)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / FILE).write_text("{"), "is not JSON"),
        (lambda folder: (folder / FILE).write_text('{"schema_version": 1}'), "has no figures"),
        (lambda folder: change(folder, counts={}), "has no counts: .*evaluate again"),
        (lambda folder: change(folder, tags="night"), "its tags are 'night', expected a list of texts"),
        (lambda folder: change(folder, tags=[str(n) for n in range(MOST_SLICES + 1)]), "more than 100 slices"),
        (lambda folder: change(folder, tags=["n" * 101]), "expected a list of texts"),
        (lambda folder: change(folder, is_thing=[True]), "is_thing has 1 entries, expected 8"),
        (lambda folder: change(folder, convention="mine"), "convention: 'mine' is not a valid"),
        (lambda folder: end(folder, FAILED, "no images"), "no images"),
        (lambda folder: (folder / OUTCOME).write_text("[]"), "outcome.json does not say what became of a recording"),
    ],
)
def test_a_recording_without_figures_failed_and_the_others_count(
    out: Path, spoil: Callable[[Path], object], expected: str
) -> None:
    healthy = Merger(out)
    healthy.add("monday")
    healthy.add("night 2")
    spoil(out / "night 1")
    merged = figures_of(out)
    (failed,) = merged.failed
    assert failed.name == "night 1"
    assert re.search(expected, failed.error)
    assert replace(merged, failed=()) == healthy.results()


def test_it_is_known_which_recordings_were_read_in_part_only(out: Path) -> None:
    for name in LENGTHS:
        end(out / name, DONE, "12 of 60 messages could be read" if name == "night 2" else "")
    found, incomplete = merge(out)
    assert incomplete == {"night 2": "12 of 60 messages could be read"}
    assert (len(found.recordings), found.failed) == (3, ())


def test_folders_under_way_and_other_files_are_passed_over(out: Path) -> None:
    expected = figures_of(out)
    (out / ".tuesday.123").mkdir()
    (out / ".tuesday.123" / FILE).write_text("{")
    (out / "notes").mkdir()
    (out / "log.txt").write_text("")
    write_results(expected, out)
    assert figures_of(out) == expected


def test_a_fleet_within_a_fleet_is_no_recording(out: Path, tmp_path: Path) -> None:
    write_results(figures_of(out), out)
    out.rename(tmp_path.parent / f"{tmp_path.name}_within")
    tmp_path.mkdir()
    (tmp_path.parent / f"{tmp_path.name}_within").rename(tmp_path / "shard")
    (failed,) = figures_of(tmp_path).failed
    assert "it is of many recordings itself" in failed.error


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"has no recordings: expected folders with metrics.json"):
        figures_of(tmp_path)


def test_nothing_but_failures_has_no_figures(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    end(tmp_path / "a", FAILED, "no images")
    merged = figures_of(tmp_path)
    assert (merged.frames, merged.miou, merged.recordings, len(merged.failed)) == (0, None, (), 1)
    write_results(merged, tmp_path)
    assert read_results(tmp_path).failed == merged.failed


def test_memory_for_a_recording_is_little(out: Path) -> None:
    merger = Merger(out)
    results = read_results(out / "monday")
    sizes = []
    tracemalloc.start()
    try:
        for number in range(60):
            counts = counts_of(results)
            # Other durations than those of all other recordings, as they are measured.
            counts.predicted.lives.update(range(10**9 + 20 * number, 10**9 + 20 * number + 20))
            (out / f"r{number}").mkdir()
            write_results(replace(results, counts=plain(counts)), out / f"r{number}")
            merger.add(f"r{number}")
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # Ten thousand of them take 150 MB.
    assert (sizes[-1] - sizes[9]) / 50 < 15_000
    assert len(merger.results().recordings) == 60


def test_problems_of_recordings_are_told_of_under_their_names(out: Path) -> None:
    change(out / "night 1", problems=["stamps do not match", "b", "c", "d", "e"])
    change(out / "night 2", problems=["x" * 10_000])
    merged = figures_of(out)
    assert merged.problems[0] == "night 1: stamps do not match"
    assert max(map(len, merged.problems)) < 500
    assert merged.problems[-1] == "2 more problems in the reports of the recordings"
