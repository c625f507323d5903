"""What an evaluation of many recordings may write over, and what it never touches."""

from __future__ import annotations

from pathlib import Path

import pytest

from eomt_ros.evaluation import results
from eomt_ros.evaluation.fleet.folder import Shard, make_fleet_ready, put_failure, put_in_place
from eomt_ros.evaluation.fleet.outcome import FAILED, FILE, Outcome, read_outcome
from eomt_ros.evaluation.fleet.unit import Unit
from eomt_ros.evaluation.output_folder import OutputFolderError
from test.evaluation.examples import short_run
from test.evaluation.fleet.made_files import touch

UNITS = [Unit(name, Path("/data") / name, name, name) for name in ("monday", "tuesday", "friday")]


def ready(
    out: Path, units: list[Unit] = UNITS, *, overwrite: bool = False, resume: bool = False, shard: Shard | None = None
) -> None:
    own = units if shard is None else units[shard.number - 1 :: shard.of]
    make_fleet_ready(out, units, own, overwrite=overwrite, resume=resume, shard=shard)


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def half_done(out: Path) -> Path:
    """One recording done, one failed, and a process killed at the third."""
    ready(out)
    touch(out, f"monday/{FILE}", f"tuesday/{FILE}", ".friday.4711/metrics.json", ".friday.4711.before/x", "log.txt")
    return out


@pytest.mark.parametrize("shard", [None, Shard(2, 3)])
def test_a_run_that_was_killed_at_once_goes_on(shard: Shard | None, out: Path) -> None:
    ready(out, shard=shard)
    assert results.has_begun(out) == (shard is None)
    ready(out, shard=shard, resume=True)


def test_a_second_run_is_refused_unless_it_goes_on_or_overwrites(half_done: Path) -> None:
    with pytest.raises(OutputFolderError, match="is not empty: give another folder, --resume to go on there, or --ov"):
        ready(half_done)
    touch(half_done, f".{results.FILE}.4711")  # killed while it wrote the figures of all
    ready(half_done, resume=True)
    assert files(half_done) == {results.FILE, f"monday/{FILE}", f"tuesday/{FILE}", "log.txt"}


def test_overwriting_removes_recordings_and_nothing_that_is_not_ours(half_done: Path) -> None:
    touch(half_done, "notes.txt", "mine/video.mp4", ".friday.old/x", ".sunday.12/x")
    ready(half_done, overwrite=True)
    foreign = {"notes.txt", "mine/video.mp4", ".friday.old/x", ".sunday.12/x"}
    assert files(half_done) == {results.FILE, "log.txt", *foreign}
    assert (half_done / "log.txt").read_text() == ""


def test_recordings_of_another_run_are_refused(half_done: Path) -> None:
    with pytest.raises(OutputFolderError, match="holds tuesday, which is none of the recordings and would count too"):
        ready(half_done, UNITS[:1], resume=True)
    ready(half_done, UNITS[:1], overwrite=True)
    assert not (half_done / "tuesday").exists()


@pytest.mark.parametrize("made", ["one evaluation", "other files"])
def test_a_folder_of_something_else_is_not_gone_on_with(made: str, out: Path) -> None:
    touch(out, "notes.txt")
    if made == "one evaluation":
        results.write_results(short_run(), out)
    with pytest.raises(OutputFolderError, match="holds no evaluation of several recordings to --resume"):
        ready(out, resume=True)
    if made == "other files":
        with pytest.raises(OutputFolderError, match="so nothing in it is overwritten"):
            ready(out, overwrite=True)


def test_shards_share_a_folder_and_touch_their_own_recordings_alone(out: Path) -> None:
    first, second = Shard(1, 2), Shard(2, 2)
    ready(out, shard=first)
    touch(out, f"monday/{FILE}", "log-1-of-2.txt", ".friday.12/x")
    ready(out, shard=second)
    touch(out, f"tuesday/{FILE}", "log-2-of-2.txt")
    assert (out / ".friday.12").exists()
    with pytest.raises(OutputFolderError, match="has monday already: --resume to go on, or --overwrite"):
        ready(out, shard=first)
    ready(out, shard=first, overwrite=True)
    assert files(out) == {f"tuesday/{FILE}", "log-1-of-2.txt", "log-2-of-2.txt"}


def test_an_input_is_never_written_into(tmp_path: Path) -> None:
    touch(tmp_path, "out/monday/bag.mcap")
    units = [Unit("monday", tmp_path / "out" / "monday", "f", "k")]
    with pytest.raises(OutputFolderError, match="holds the input"):
        ready(tmp_path / "out", units, overwrite=True)


def test_a_whole_folder_takes_the_place_of_an_earlier_one_and_of_nothing_else(half_done: Path) -> None:
    touch(half_done, f".monday.1/{FILE}", ".monday.1/new", ".own.1/new", "own/holiday.jpg", "monday/old")
    put_in_place(half_done / ".monday.1", half_done / "monday")
    assert files(half_done / "monday") == {FILE, "new"}
    with pytest.raises(OutputFolderError, match="own is there and is no evaluation of a recording: move it away"):
        put_in_place(half_done / ".own.1", half_done / "own")
    assert files(half_done / "own") == {"holiday.jpg"}


def test_a_failure_takes_the_place_of_figures_of_before(half_done: Path) -> None:
    touch(half_done, "monday/metrics.json")
    failed = Outcome("monday", "/data/monday", "k", FAILED, "it is empty")
    put_failure(failed, half_done)
    assert files(half_done / "monday") == {FILE}
    assert read_outcome(half_done / "monday") == failed
