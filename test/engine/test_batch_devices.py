"""Several cameras on a device that has no memory for all of them, that is lost, or whose precision is too low."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from eomt_ros.engine import DeviceLostError, FrameResult, NotFiniteError, OutOfMemoryError, Segmenter, backends
from eomt_ros.engine.device import PRECISIONS
from test.engine.checkpoints import FOUND, WRITERS
from test.engine.cuda.machine import Recorder, on_gpu, pipeline_of
from test.engine.devices import LoadOnDevice, alone, assert_same, on_device
from test.engine.pictures import clip, picture
from test.engine.test_segmenter import without_red
from test.patience import PATIENCE

FRAMES = 3


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_where_there_is_no_memory_for_all_frames_fewer_go_at_a_time_and_are_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    segmenter, device = on_device("demo", device="cpu", precision="float32")
    images = [clip(FRAMES, seed=seed) for seed in range(5)]
    segmenter.score_threshold = 0.1
    expected = [alone(segmenter, each) for each in images]
    device.frames = 2
    device.asked.clear()
    streams = [segmenter.open_stream() for _ in images]
    found = [segmenter.segment_batch(tick, streams) for tick in zip(*images, strict=True)]
    assert device.asked == [5, 2, 2, 1] + [2, 2, 1] * 2
    for ours, theirs in zip(zip(*found, strict=True), expected, strict=True):
        assert_same(ours, theirs, rounding=0)
    (warning,) = warnings(caplog)
    assert "cpu has no memory left for more images at a time than 2" in warning


def test_each_time_that_there_is_less_memory_is_told_once(
    load_on_device: LoadOnDevice, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter, device = load_on_device()
    images = clip(4)
    streams = [segmenter.open_stream() for _ in images]
    for device.frames in (2, 2, 1, 1, 4):
        segmenter.segment_batch(images, streams)
    assert device.asked == [4, 2, 2] + [2, 2] + [2, 1, 1, 1, 1] + [1] * 8
    assert [message.split(" at a time than ")[1][0] for message in warnings(caplog)] == ["2", "1"]


def test_a_frame_that_there_is_no_memory_for_fails_alone(load_on_device: LoadOnDevice) -> None:
    segmenter, device = load_on_device(fit="keep_aspect")
    large = clip(FRAMES, 60, 160)
    small = clip(FRAMES, 60, 60)
    expected = alone(segmenter, small)
    device.pixels = 64 * 64
    streams = [segmenter.open_stream() for _ in range(3)]
    found = []
    for tick in range(FRAMES):
        images = [small[tick], large[tick], small[tick]]
        first, failure, last = segmenter.segment_batch(images, streams, return_exceptions=True)
        assert isinstance(failure, OutOfMemoryError)
        assert str(failure) == (
            "cpu has no memory left for an image: CUDA out of memory. Tried to allocate 2 GiB. Use a smaller model or "
            "precision float16, or free the device of other programs."
        )
        found.append((first, last))
    for ours in zip(*found, strict=True):
        assert_same(ours, expected)
    with pytest.raises(OutOfMemoryError):
        segmenter.segment_batch([small[0], large[0]], streams[:2])
    device.pixels *= 2
    assert_same(alone(segmenter, large, streams[1]), alone(segmenter, large))


def test_one_camera_that_there_was_no_memory_for_once_does_not_slow_down_others(load_on_device: LoadOnDevice) -> None:
    segmenter, device = load_on_device()
    streams = [segmenter.open_stream() for _ in range(3)]
    device.frames = 0
    with pytest.raises(OutOfMemoryError):
        streams[0].segment(picture(60, 80, 0))
    device.frames = 3
    device.asked.clear()
    segmenter.segment_batch(clip(3), streams)
    assert device.asked == [3]


def test_warming_up_for_several_cameras_finds_out_whether_they_fit(
    load_on_device: LoadOnDevice, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter, device = load_on_device()
    segmenter.warm_up(60, 80, images=3)
    assert (device.asked, warnings(caplog)) == ([3], [])
    device.frames = 1
    segmenter.warm_up(60, 80, images=3)
    assert len(warnings(caplog)) == 1
    device.asked.clear()
    segmenter.segment_batch(clip(3), [segmenter.open_stream() for _ in range(3)])
    assert device.asked == [1, 1, 1]
    device.frames = 0
    with pytest.raises(OutOfMemoryError):
        segmenter.warm_up(60, 80, images=2)


def test_threads_that_find_no_memory_at_once_all_have_their_results(
    load_on_device: LoadOnDevice, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter, device = load_on_device()
    images = [[clip(FRAMES, seed=10 * thread + camera) for camera in range(4)] for thread in range(2)]
    expected = [[alone(segmenter, each) for each in own] for own in images]
    device.frames = 1
    found: dict[int, list[list[FrameResult]]] = {}
    begin = threading.Barrier(2)

    def work(thread: int) -> None:
        streams = [segmenter.open_stream() for _ in range(4)]
        begin.wait(PATIENCE)
        found[thread] = [segmenter.segment_batch(tick, streams) for tick in zip(*images[thread], strict=True)]

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)
    for thread in range(2):
        for ours, theirs in zip(zip(*found[thread], strict=True), expected[thread], strict=True):
            assert_same(ours, theirs)
    assert warnings(caplog)[-1].split(" at a time than ")[1].startswith("1:")


def test_graphs_are_made_for_as_many_frames_as_there_is_memory_for(
    load_on_device: LoadOnDevice, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter, device = load_on_device()
    images = [clip(FRAMES, seed=seed) for seed in range(4)]
    expected = [alone(segmenter, each) for each in images]
    recorder = Recorder()
    on_gpu(segmenter, recorder)
    device.frames = 2
    streams = [segmenter.open_stream() for _ in images]
    found = [segmenter.segment_batch(tick, streams) for tick in zip(*images, strict=True)]
    for ours, theirs in zip(zip(*found, strict=True), expected, strict=True):
        assert_same(ours, theirs)
    assert recorder.captured == 2  # the network of two frames, and the post-processing
    assert len(pipeline_of(segmenter)._graphs) == 2, "a graph that never ran is kept"
    assert len(warnings(caplog)) == 1


# --- a device or a precision that is lost


def test_where_the_device_is_lost_all_frames_are_and_the_next_run_on_the_cpu(load_on_device: LoadOnDevice) -> None:
    segmenter, device = load_on_device(device="auto")
    images = clip(2)
    expected = alone(segmenter, images)
    streams = [segmenter.open_stream() for _ in range(2)]
    segmenter.segment_batch([images[0]] * 2, streams)
    device.is_lost = True
    failed = segmenter.segment_batch([*images, None], [*streams, segmenter.open_stream()], return_exceptions=True)
    assert [type(each) for each in failed] == [DeviceLostError, DeviceLostError, ValueError]
    assert all("frames run on cpu from now on" in str(each) for each in failed[:2])
    for result in segmenter.segment_batch([images[1]] * 2, streams):
        assert_same([result], expected[1:])


def test_where_the_device_is_lost_between_two_parts_of_a_batch_no_stream_changes(load_on_device: LoadOnDevice) -> None:
    segmenter, device = load_on_device()
    images = clip(2)
    expected = alone(segmenter, [*images])
    device.frames = 1
    streams = [segmenter.open_stream() for _ in range(2)]
    assert_same([segmenter.segment_batch([images[0]] * 2, streams)[0]], expected[:1])
    step, device.asked = device._step, []

    def lost_after_one(*given: Any) -> Any:
        device.is_lost = len(device.asked) == 1
        return step(*given)

    device._step = lost_after_one
    results = segmenter.segment_batch([images[1]] * 2, streams, return_exceptions=True)
    assert [type(each) for each in results] == [DeviceLostError] * 2
    device.is_lost, device._step = False, step
    for stream in streams:
        assert_same([segmenter.segment(images[1], stream)], expected[1:])


@pytest.fixture
def overflowing(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Segmenter, Segmenter]]:
    """Loads a model that float16 is too small for where there is red, in float16 as on a GPU, and in float32."""
    monkeypatch.setattr(
        backends, "choose_precision", lambda precision, _: PRECISIONS.get(precision, PRECISIONS["float16"])
    )

    def load(family: str) -> tuple[Segmenter, Segmenter]:
        model = WRITERS[family](tmp_path, seed=3)
        weights = load_file(model / "model.safetensors")
        weights["embeddings.patch_embeddings.projection.weight"][0, 0] = 6e4
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
        (processor,) = model.glob("*preprocessor_config.json")
        processor.write_text(processor.read_text().replace("0.485", "0.0"))
        usual = {"backend": "torch", "device": "cpu", "labels": table, "score_threshold": FOUND["panoptic"]}
        return Segmenter.load(model, **usual), Segmenter.load(model, precision="float32", **usual)

    return load


@pytest.mark.parametrize(
    ("family", "precision"), [("videomt", "float32"), ("videomt", "bfloat16"), ("eomt", "float32")]
)
def test_where_one_frame_overflows_the_other_streams_keep_their_queries_and_ids(
    overflowing: Callable[[str], tuple[Segmenter, Segmenter]],
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    precision: str,
) -> None:
    monkeypatch.setattr(backends, "dtype_after_overflow", lambda _: PRECISIONS[precision])
    segmenter, exact = overflowing(family)
    images = without_red(clip(1))
    streams = [segmenter.open_stream() for _ in range(2)]
    for _ in range(3):
        before = segmenter.segment_batch(images * 2, streams)
    good, failure = segmenter.segment_batch([*images, picture(60, 80, 0)], streams, return_exceptions=True)
    assert isinstance(good, FrameResult)
    assert isinstance(failure, NotFiniteError)
    assert f"frames run in {precision} from now on" in str(failure)
    assert segmenter.precision == precision
    after = segmenter.segment_batch(images * 2, streams, with_logits=True)
    for one, other, age in zip(before, after, (4, 3), strict=True):
        assert (other.epoch, other.reset_reason) == (0, "")
        kept = {segment.id for segment in one.segments} & {segment.id for segment in other.segments}
        assert kept
        assert max(segment.age for segment in other.segments) == age
    fresh, _ = exact.segment_batch(images * 2, [exact.open_stream() for _ in range(2)], with_logits=True)
    assert after[0].logits is not None
    assert fresh.logits is not None
    apart = np.abs(after[0].logits.masks - fresh.logits.masks).max()
    if family == "videomt":
        assert apart > 1.0, "it does not start from its queries"
    else:
        assert apart == 0, "it starts from queries that float16 has rounded"
