"""The recordings that inputs stand for, and what they are called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eomt_ros.errors import UserError
from eomt_ros.evaluation.fleet.inputs import expand, stands_for_several, unit_names
from test.evaluation.fleet.made_files import touch


def test_a_recording_is_one_whether_it_is_there_or_not(tmp_path: Path) -> None:
    inputs = [tmp_path / "gone", *touch(tmp_path, "a/metadata.yaml", "b.mcap", "c.mp4")[1:], tmp_path / "a"]
    assert expand(inputs) == inputs


def test_a_folder_stands_for_the_recordings_at_any_depth_in_it(tmp_path: Path) -> None:
    touch(
        *(tmp_path / "fleet", "monday/one/metadata.yaml", "monday/one/one_0.mcap", "monday/two.mcap", "tuesday/1.jpg"),
        *("video.mp4", "notes.txt", ".hidden/three.mcap", "old_results/metrics.json", "old_results/run/bag/bag.mcap"),
    )
    expected = ["monday/one", "monday/two.mcap", "tuesday", "video.mp4"]
    assert expand([tmp_path / "fleet"]) == [tmp_path / "fleet" / each for each in expected]
    assert stands_for_several(tmp_path / "fleet")


def test_files_that_differ_by_their_numbers_only_are_one_bag(tmp_path: Path) -> None:
    touch(tmp_path / "one", "drive_0.mcap", "drive_1.mcap", "drive_10.mcap.zstd")
    several = touch(tmp_path / "several", "kitchen.mcap", "yard.mcap")
    touch(tmp_path / "named", "kitchen.mcap", "yard.mcap", "metadata.yaml")
    assert expand([tmp_path / "one"]) == [tmp_path / "one"]
    assert expand([tmp_path / "several"]) == several
    assert expand([tmp_path / "named"]) == [tmp_path / "named"]


def test_a_pattern_stands_for_what_fits_it_by_name(tmp_path: Path) -> None:
    files = touch(tmp_path, "day2/a.mcap", "day10/b.mcap", "day2/c.txt")
    assert expand([f"{tmp_path}/day*/*.mcap"]) == [files[1], files[0]]
    assert expand([f"{tmp_path}/**/a.mcap", files[0]]) == [files[0]]
    with pytest.raises(UserError, match=re.escape(f"nothing fits the pattern {tmp_path}/night*")):
        expand([f"{tmp_path}/night*"])


def test_a_file_that_is_called_like_a_pattern_or_a_list_is_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "run[1].mcap", "@home.mcap")
    assert expand(["run[1].mcap", "@home.mcap"]) == [Path("run[1].mcap"), Path("@home.mcap")]


def test_a_list_names_recordings_beside_it(tmp_path: Path) -> None:
    files = touch(tmp_path, "day/a.mcap", "day/b.mcap", "elsewhere/c.mcap")
    listed = tmp_path / "day" / "bags.txt"
    listed.write_text(f"# Monday\n\na.mcap\n  b.mcap  \n{files[2]}\ngone.mcap\nhttps://example.org/d.mcap\n")
    assert expand([f"@{listed}"]) == [*files, tmp_path / "day" / "gone.mcap", "https://example.org/d.mcap"]
    assert stands_for_several(f"@{listed}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n# nothing\n", "names no recording"),
        (b"@other.txt\n", "names another list, @other.txt: give that one beside it"),
        (b"\xff\xfe\n", "cannot be read"),
    ],
)
def test_a_list_that_is_none_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    listed = tmp_path / "bags.txt"
    listed.write_bytes(content)
    with pytest.raises(UserError, match=rf"the list {re.escape(str(listed))} {reason}"):
        expand([f"@{listed}"])


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the list .*none\.txt cannot be read"):
        expand([f"@{tmp_path}/none.txt"])


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "empty", "notes.txt")
    with pytest.raises(UserError, match="empty holds no recordings"):
        expand([tmp_path / "empty"])


def test_recordings_are_called_as_their_files_and_folders(tmp_path: Path) -> None:
    files = touch(tmp_path, "a/kitchen.mcap", "b/yard.v2.mp4", "c/hall.db3.zstd", "run.2024.01/metadata.yaml")
    names = unit_names([*files[:3], tmp_path / "run.2024.01", "s3://bucket/monday/lift.mcap?version=1"])
    assert names == ["kitchen", "yard.v2", "hall", "run.2024.01", "lift"]


def test_two_of_one_name_are_told_apart_by_the_folders_above_them() -> None:
    paths = [Path("/x/monday/front/bag.mcap"), Path("/x/tuesday/front/bag.mcap"), Path("/x/tuesday/other.mcap")]
    assert unit_names(paths) == ["monday-front-bag", "tuesday-front-bag", "other"]
    assert unit_names(paths[::-1]) == ["other", "tuesday-front-bag", "monday-front-bag"]


def test_names_never_meet_and_can_all_be_folders() -> None:
    paths = [
        *(Path("/x/a/b.mcap"), Path("/x/c/b.mcap"), Path("/y/a-b.mcap"), Path("/y/log.txt.mcap"), Path("/y/...mcap")),
        *(Path("/z") / ("long" * 60) / "b.mcap", Path("/b.mcap"), Path("/x/a/b.db3")),
    ]
    names = unit_names(paths)
    assert len(set(names)) == len(paths)
    assert all(name and not name.startswith(".") and len(name) < 200 and "/" not in name for name in names)
    assert "log.txt" not in names
