"""Slices of recordings: by patterns of their paths, and by a YAML beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eomt_ros.evaluation.slices import SliceError, SlicePattern, one_recording_slices, tags_of
from test.evaluation.examples import short_run


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("night_*", "/bags/night_3", True),
        ("night_*", "/night_1/3", False),
        ("night/*", "/bags/night/3", True),
        ("night/*", "/bags/night/deep/3", False),
        ("/bags/*/3", "/bags/night/3", True),
        ("/bags/*", "/other/bags/3", False),
        ("night/*.mcap", "s3://fleet/night/3.mcap", True),
        ("s3://fleet/*/*", "s3://fleet/night/3.mcap", True),
        ("NIGHT_*", "/bags/night_3", False),
    ],
)
def test_a_pattern_fits_the_last_parts_of_a_path_or_all_of_it(pattern: str, path: str, fits: bool) -> None:
    slice_pattern = SlicePattern.parse(f"site=night:{pattern}")
    assert (slice_pattern.tag, slice_pattern.pattern) == ("site=night", pattern)
    assert tags_of(path, [slice_pattern]) == (("site=night",) if fits else ())


def test_a_relative_path_is_the_same_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "night").mkdir()
    monkeypatch.chdir(tmp_path / "night")
    assert tags_of(Path("3"), [SlicePattern.parse("night:night/*")]) == ("night",)
    assert tags_of(Path("../night/3"), [SlicePattern.parse("night:night/*")]) == ("night",)


@pytest.mark.parametrize("text", ["", "night", "night:", ":x*", "site=:x*", "=night:x*", " : ", "a\nb:x"])
def test_a_slice_without_tag_or_pattern_is_refused(text: str) -> None:
    with pytest.raises(SliceError, match=r"--slice .*: expected a tag and a pattern of paths, such as site=night:"):
        SlicePattern.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("site: night\nweather: [rain, dark]\n", ("site=night", "weather=dark", "weather=rain")),
        ("[night, rain, night]", ("night", "rain")),
        ("day: 2026-11-29\nfloor: 3\nrain: true", ("day=2026-11-29", "floor=3", "rain=true")),
        ("", ()),
    ],
)
def test_tags_are_read_from_the_yaml_beside_a_recording(text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag.tags.yaml").write_text(text)
    assert tags_of(tmp_path / "bag", []) == expected
    assert tags_of(f"{tmp_path}/bag/", []) == expected
    assert tags_of(tmp_path / "bag", [SlicePattern.parse("mine:bag")]) == tuple(sorted((*expected, "mine")))


def test_recordings_of_one_stem_have_tags_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.mp4.tags.yaml").write_text("[video]")
    (tmp_path / "a.mcap.tags.yaml").write_text("[bag]")
    assert tags_of(tmp_path / "a.mp4", []) == ("video",)
    assert tags_of(tmp_path / "a.mcap", []) == ("bag",)
    assert tags_of(tmp_path / "a", []) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("just text", "it holds 'just text', expected entries such as `site: night`"),
        ("site: {a: b}", "is no text or number"),
        ("site: null", "None is no text or number"),
        ("site: ''", "'site=' is no tag"),
        ("site: [[a]]", "is no text or number"),
        (f"site: {'x' * 200}", "is no tag of at most 100 characters"),
        ("site: !!python/object/apply:os.system ['true']", "cannot be read"),
        ("a: &a [1]\nb: *a", "has an alias"),
        ("a: [", "cannot be read"),
        (f"[{', '.join(map(str, range(60)))}]", "has 60 tags, expected at most 50"),
        ("#" * 70_000, "it has 70000 bytes, expected at most 65536"),
    ],
)
def test_a_yaml_by_a_stranger_is_refused_in_one_line_that_names_it(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "bag.tags.yaml").write_text(text)
    with pytest.raises(SliceError) as refusal:
        tags_of(tmp_path / "bag", [])
    message = str(refusal.value)
    assert message.startswith(str(tmp_path / "bag.tags.yaml"))
    assert expected in message
    assert "\n" not in message


def test_a_pipe_in_place_of_the_yaml_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bag.tags.yaml")
    with pytest.raises(SliceError, match="it is a pipe, expected a regular file"):
        tags_of(tmp_path / "bag", [])


def test_a_single_recording_has_its_own_figures_in_each_of_its_slices() -> None:
    run = short_run()
    slices = one_recording_slices(run, ("night", "rain"))
    assert list(slices) == ["night", "rain"]
    for each in slices.values():
        assert (each.miou, each.class_iou, each.frames, each.predicted) == (
            run.miou,
            run.class_iou,
            run.frames,
            run.predicted,
        )
