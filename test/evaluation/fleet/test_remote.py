"""Recordings at URLs are read where they are or from the cache, and what is wrong with them is said in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import av
import fsspec  # type: ignore[import-untyped]
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from eomt_ros.errors import UserError
from eomt_ros.evaluation.bag import Bag, BagError
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.fleet.fingerprint import fingerprint
from eomt_ros.evaluation.fleet.inputs import expand, stands_for_several
from eomt_ros.evaluation.fleet.remote import BLOCK, at_hand, remote_fingerprint, without_secrets
from eomt_ros.evaluation.sources import open_sequences
from test.evaluation.bags import IMAGES, compressed, image, scene, stamp, write_bag, write_scene
from test.evaluation.fleet.web import WebServer, web_server

FRAMES = 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("EOMT_ROS_RECORDINGS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with a bag, which servers show."""
    folder = tmp_path / "shelf"
    write_scene(folder / "night" / "walk", FRAMES)
    return folder


@pytest.fixture
def server(shelf: Path) -> Iterator[WebServer]:
    """A web server that gives parts of files."""
    with web_server(shelf) as server:
        yield server


def frames(place: Path | str) -> list[tuple[int, bytes, bool]]:
    """What the frames of a recording are: stamp, pixels, and whether there is a ground truth."""
    with at_hand(place) as path:
        (sequence,) = open_sequences([path])
        return [(each.stamp, each.image.tobytes(), each.truth is not None) for each in sequence.frames()]


def kept(cache: Path) -> list[str]:
    """The files in the cache."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


@pytest.mark.parametrize("place", ["night/walk", "night/walk/", "night/walk/walk.mcap"])
def test_an_mcap_is_read_where_it_is(place: str, server: WebServer, shelf: Path, cache: Path) -> None:
    expected = frames(shelf / place)
    assert len(expected) == FRAMES
    assert frames(f"{server.url}/{place}") == expected
    assert not kept(cache)
    with at_hand(f"{server.url}/{place}") as path:
        assert path.stem == "walk"


def test_topics_that_nobody_asks_for_are_not_fetched(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1024, 5 * BLOCK // 1024), np.uint8)
    large = ("/other", stamp(0), image(stamp(0), noise, "mono8"))
    pictures = [(IMAGES, stamp(each), compressed(stamp(each), scene(each)[0])) for each in range(FRAMES)]
    bag = write_bag(tmp_path / "shelf" / "walk", [large, *pictures])
    with web_server(bag.parent) as server:
        with at_hand(f"{server.url}/walk/walk.mcap") as path, Bag(path) as opened:
            assert len(list(opened.messages(IMAGES))) == FRAMES
        assert server.sent < (bag / "walk.mcap").stat().st_size / 2


def test_a_video_is_read_where_it_is(server: WebServer, shelf: Path, cache: Path) -> None:
    with av.open(str(shelf / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", 10)
        stream.width, stream.height = 64, 48
        for number in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(number)[0], format="rgb24")))
        container.mux(stream.encode(None))
    expected = frames(shelf / "film.mp4")
    assert len(expected) == FRAMES
    assert frames(f"{server.url}/film.mp4") == expected
    assert not kept(cache)


def test_a_bag_of_another_format_is_read_from_the_cache(server: WebServer, shelf: Path, cache: Path) -> None:
    write_scene(shelf / "old", FRAMES, StoragePlugin.SQLITE3)
    assert frames(f"{server.url}/old/") == frames(shelf / "old")
    assert kept(cache) == ["metadata.yaml", "old.db3"]
    sent = server.sent
    assert frames(f"{server.url}/old/") == frames(shelf / "old")
    assert server.sent - sent < 1000  # that it is still the same


def test_a_recording_that_has_changed_is_fetched_again(server: WebServer, shelf: Path) -> None:
    bag = write_scene(shelf / "old", FRAMES, StoragePlugin.SQLITE3)
    assert len(frames(f"{server.url}/old/")) == FRAMES
    for file in bag.iterdir():
        file.unlink()
    bag.rmdir()
    write_scene(bag, 2 * FRAMES, StoragePlugin.SQLITE3)
    assert len(frames(f"{server.url}/old/")) == 2 * FRAMES


def test_a_server_that_gives_only_whole_files_is_read_through_the_cache(shelf: Path, cache: Path) -> None:
    with web_server(shelf, parts=False) as server:
        assert frames(f"{server.url}/night/walk/walk.mcap") == frames(shelf / "night" / "walk")
    assert kept(cache) == ["walk.mcap"]


def test_a_storage_of_another_kind_is_read_alike(shelf: Path) -> None:
    storage = fsspec.filesystem("memory")
    storage.put(str(shelf / "night"), "/bucket/", recursive=True)
    try:
        assert frames("memory://bucket/night/walk/walk.mcap") == frames(shelf / "night" / "walk")
        assert remote_fingerprint("memory://bucket/night/walk") == fingerprint(shelf / "night" / "walk")
        assert expand(["memory://bucket/night/*"]) == ["memory:///bucket/night/walk"]
    finally:
        storage.rm("/bucket", recursive=True)


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_the_fingerprint_of_a_file_is_the_same_there_and_here(size: int, server: WebServer, shelf: Path) -> None:
    content = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    content.tofile(shelf / "a.bag")
    before = remote_fingerprint(f"{server.url}/a.bag")
    assert before == fingerprint(shelf / "a.bag")
    content[-1] ^= 1
    content.tofile(shelf / "a.bag")
    assert remote_fingerprint(f"{server.url}/a.bag") == fingerprint(shelf / "a.bag") != before
    assert server.sent <= 2 * min(size, 300_000)


def test_a_file_that_comes_only_whole_has_a_fingerprint_of_its_date(shelf: Path) -> None:
    (shelf / "a.bag").write_bytes(bytes(1_000_000))
    with web_server(shelf, parts=False) as server:
        before = remote_fingerprint(f"{server.url}/a.bag")
        assert before == remote_fingerprint(f"{server.url}/a.bag") != ""
        (shelf / "a.bag").write_bytes(bytes(1_000_001))
        assert remote_fingerprint(f"{server.url}/a.bag") != before


def test_what_cannot_be_read_has_no_fingerprint(server: WebServer) -> None:
    assert remote_fingerprint(f"{server.url}/nothing.mcap") == ""


def test_a_connection_that_breaks_is_taken_up_again(server: WebServer, shelf: Path) -> None:
    with at_hand(f"{server.url}/night/walk/walk.mcap") as path:
        server.breaks = 2
        assert path.open("rb").read() == (shelf / "night" / "walk" / "walk.mcap").read_bytes()


def test_a_connection_that_stays_broken_is_said_in_one_line(server: WebServer, shelf: Path) -> None:
    write_scene(shelf / "old", FRAMES, StoragePlugin.SQLITE3)
    with at_hand(f"{server.url}/night/walk") as path:
        server.breaks = -1
        with pytest.raises(
            BagError, match=r"^http://.*/night/walk is not a bag that can be read: byte 0 did not come: "
        ):
            open_sequences([path])
    with pytest.raises(SourceError) as raised, at_hand(f"{server.url}/old") as path:
        raise AssertionError(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_said_in_one_line(server: WebServer) -> None:
    for url in (f"{server.url}/nothing.mcap", "memory://nothing/at/all.mcap"):
        with pytest.raises(SourceError, match=f"^{url} cannot be read: there is no such file$"), at_hand(url):
            pass


def test_a_server_that_refuses_is_said_in_one_line(server: WebServer) -> None:
    server.refuses = True
    with (
        pytest.raises(SourceError, match=r"walk\.mcap cannot be read: the server answers 403 Forbidden$"),
        at_hand(f"{server.url}/night/walk/walk.mcap"),
    ):
        pass


def test_a_server_that_is_not_there_is_said_in_one_line(shelf: Path) -> None:
    with web_server(shelf) as server:
        url = f"{server.url}/a.mcap"
    with pytest.raises(SourceError, match=r"^http://127.0.0.1:\d+/a.mcap cannot be read: .*onnect.*$"), at_hand(url):
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("foo://bucket/a.mcap", r"foo://bucket/a.mcap: nobody knows foo://, expected s3://, gs://, http://"),
        ("http://[a/b.mcap", r"'http://\[a/b.mcap' is no URL"),
        ("memory://nothing/*.mcap", r"nothing fits the pattern memory://nothing/\*.mcap"),
    ],
)
def test_a_url_that_can_be_none_is_refused_before_anything_is_read(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        expand([url])


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UserError, match=r"^s3://bucket/a.mcap: fsspec is missing: .* -m pip install .*"):
        expand(["s3://bucket/a.mcap"])


def test_a_pattern_stands_for_the_recordings_that_fit(server: WebServer, shelf: Path) -> None:
    write_scene(shelf / "night" / "ride", FRAMES)
    url = f"{server.url}/night/*"
    assert stands_for_several(url)
    assert [str(each).rstrip("/") for each in expand([url])] == [
        f"{server.url}/night/{each}" for each in ("ride", "walk")
    ]
    assert not stands_for_several(f"{server.url}/night/walk")


def test_no_file_leaves_the_cache(server: WebServer, shelf: Path, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (shelf / "evil").mkdir()
    (shelf / "evil" / "index.html").write_text('<a href="..%2f..%2f..%2foutside">a</a> <a href="a.db3">b</a>')
    (shelf / "evil" / "a.db3").write_bytes(b"a")
    with (
        pytest.raises(SourceError, match=r"has a file '[.][.]/.*/outside', which no file here can be called"),
        at_hand(f"{server.url}/evil/"),
    ):
        pass
    assert not kept(cache)
    assert (tmp_path / "outside").read_text() == "secret"


def test_secrets_are_not_shown() -> None:
    url = "https://me:word@host:1/a/b.mcap?X-Signature=1#c"
    assert without_secrets(url) == "https://host:1/a/b.mcap"


@pytest.mark.parametrize("size", ["0", "much", "nan"])
def test_a_size_of_the_cache_that_is_none_is_refused(
    size: str, server: WebServer, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(shelf / "old", FRAMES, StoragePlugin.SQLITE3)
    monkeypatch.setenv("EOMT_ROS_RECORDINGS_CACHE_GB", size)
    with (
        pytest.raises(UserError, match=f"EOMT_ROS_RECORDINGS_CACHE_GB is '{size}', expected"),
        at_hand(f"{server.url}/old"),
    ):
        pass


def test_what_the_cache_has_no_room_for_is_said_in_one_line(
    server: WebServer, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(shelf / "old", FRAMES, StoragePlugin.SQLITE3)
    monkeypatch.setenv("EOMT_ROS_RECORDINGS_CACHE_GB", "0.000001")
    message = r"^http://.*/old: it has .* GB, and the cache in .* at most 1e-06 GB: allow more"
    with pytest.raises(SourceError, match=message), at_hand(f"{server.url}/old"):
        pass
