"""Videos keep the number, size, look and times of their frames, and play in a browser."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from eomt_ros.evaluation.video import VideoWriter
from eomt_ros.video import VideoError, frame_count, read_video

MS = 10**6
START = 1_700_000_000 * 10**9


def grey(level: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def write(path: Path, *frames: tuple[np.ndarray, int], quick: bool = False) -> Path:
    with VideoWriter(path, quick=quick) as video:
        for picture, milliseconds in frames:
            video.write(picture, START + milliseconds * MS)
    return path


@pytest.mark.parametrize("quick", [False, True])
def test_frames_come_back_with_their_times_and_look(quick: bool, tmp_path: Path) -> None:
    times = [0, 100, 200, 500, 533]  # as a camera with drops
    path = write(tmp_path / "a.mp4", *((grey(40 * number), time) for number, time in enumerate(times)), quick=quick)
    frames = list(read_video(path))
    assert [frame.stamp / MS for frame in frames] == pytest.approx(times, abs=0.1)
    for number, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.mean() == pytest.approx(40 * number, abs=3)
    assert frame_count(path) == len(times)


def test_colours_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    frame = next(read_video(write(tmp_path / "a.mp4", (red, 0), (red, 100))))
    assert frame.image.mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=6)


@pytest.mark.parametrize("quick", [False, True])
def test_video_is_h264_in_420_with_its_index_in_front_as_browsers_want_it(quick: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", *((grey(0), 100 * number) for number in range(3)), quick=quick)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_odd_sizes_are_padded_to_even_ones_by_repeating_the_edge(tmp_path: Path) -> None:
    frames = list(read_video(write(tmp_path / "a.mp4", (grey(200, 47, 63), 0), (grey(200, 47, 63), 100))))
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image[-1].mean() == pytest.approx(200, abs=3)


def test_a_frame_of_another_size_is_stretched_to_the_first(tmp_path: Path) -> None:
    frames = list(read_video(write(tmp_path / "a.mp4", (grey(200), 0), (grey(100, 96, 96), 100))))
    assert frames[1].image.shape == (48, 64, 3)
    assert frames[1].image.mean() == pytest.approx(100, abs=3)


def test_time_that_jumps_back_loses_no_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", (grey(0), 0), (grey(90), 1000), (grey(180), 200), (grey(240), 1200))
    assert [round(frame.image.mean(), -1) for frame in read_video(path)] == [0, 90, 180, 240]


def encode(path: Path, frames: int, codec: str = "libx264", rate: int = 10) -> Path:
    """A video with pictures that are predicted from later ones, whose times some containers tell out of order."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            picture = grey(10 * number)
            picture[:, 4 * number % 56 :][:, :8] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def times(path: Path) -> list[float]:
    """What the container says, in the order of the pictures."""
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def test_times_ascend_evenly_where_the_container_tells_them_out_of_order(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", 12)
    assert times(path) != sorted(times(path)), "or this shows nothing"
    frames = list(read_video(path))
    assert np.diff([frame.stamp for frame in frames]).tolist() == [100 * MS] * 11
    assert sorted(frame.image.min() for frame in frames) == [frame.image.min() for frame in frames]


@pytest.mark.parametrize("rate", [10, 50])
def test_a_stream_without_times_goes_at_its_own_rate_and_says_so(rate: int, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.h264", 12, rate=rate)
    assert set(times(path)) == {None}, "or this shows nothing"
    problems: list[str] = []
    stamps = [frame.stamp for frame in read_video(path, problems)]
    assert stamps == [number * 10**9 // rate for number in range(12)]
    assert problems == [f"12 frames have no time: {rate} a second are assumed"]


def test_times_that_begin_again_go_on(tmp_path: Path) -> None:
    """As where two recordings of a transport stream were put into one file."""
    parts = [encode(tmp_path / f"{name}.ts", 12) for name in "ab"]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    stamps = [frame.stamp for frame in read_video(path)]
    assert len(stamps) > 12
    assert min(np.diff(stamps)) > 0


def test_no_file_is_made_or_lost_before_there_is_a_frame(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("from before")
    assert write(tmp_path / "a.mp4").read_text() == "from before"


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"gone/a\.mp4 cannot be written: No such file"):
        write(tmp_path / "gone" / "a.mp4", (grey(0), 0))


@pytest.mark.parametrize("content", [None, b"no video at all"])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be read as a video"):
        next(read_video(path))
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be read as a video"):
        frame_count(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{file}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "ffconcat version 1.0\nfile {file}\n"),
    ],
)
def test_a_list_of_other_files_is_no_video(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path / "other.mp4", (grey(0), 0), (grey(0), 100))
    (tmp_path / name).write_text(text.format(file="other.mp4"))
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.video, "what it is tried with is not what leads elsewhere"
    with pytest.raises(VideoError, match="cannot be read as a video"):
        frame_count(tmp_path / name)
    with pytest.raises(VideoError, match="cannot be read as a video"):
        list(read_video(tmp_path / name))


def test_a_device_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("/dev/zero")
    with pytest.raises(VideoError, match=r"cannot be read as a video: .*it is a device, expected a regular file"):
        frame_count(tmp_path / "a.mp4")


def test_a_disk_that_is_full_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.symlink_to("/dev/full")
    picture = np.zeros((48, 64, 3), np.uint8)

    def write() -> None:
        with VideoWriter(path) as video:
            for number in range(200):
                video.write(picture, number * 10**8)

    with pytest.raises(OSError, match="cannot be written"):
        write()
