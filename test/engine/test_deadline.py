"""The largest size that keeps a latency: it is found in few tries, and what nothing keeps is refused."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from eomt_ros.engine import Segmenter, deadline, pipeline
from eomt_ros.engine.backends.torch_backend import TorchBackend
from eomt_ros.engine.deadline import ACROSS, DOWN, Tick, load_within
from eomt_ros.engine.errors import DeadlineError, OutOfMemoryError
from eomt_ros.engine.networks import StepResult
from eomt_ros.model_options import ModelOptions
from test.engine.checkpoints import SMALL, write_checkpoint, write_eomt, write_mask2former
from test.engine.pictures import picture

SIDE = 128
TICK = Tick((48, 80))


class Clock:
    """Time that stands still but while the network runs, which takes it by its pixels."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sizes: dict[int, int] = {}
        """Steps of the network at each size."""
        self.too_large = math.inf
        """Size from which on a device has no memory."""

    def __call__(self) -> float:
        return self.now

    @staticmethod
    def seconds(size: int) -> float:
        return 0.1 * (size / SIDE) ** 2

    def step(self, pixels: Tensor) -> None:
        size = pixels.shape[-1]
        if size >= self.too_large:
            raise OutOfMemoryError("a made-up device has no memory left")
        self.sizes[size] = self.sizes.get(size, 0) + 1
        self.now += self.seconds(size) * len(pixels)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock, step = Clock(), TorchBackend.__call__

    def timed(self: TorchBackend, pixels: Tensor, queries: Tensor) -> StepResult:
        clock.step(pixels)
        return step(self, pixels, queries)

    monkeypatch.setattr(TorchBackend, "__call__", timed)
    monkeypatch.setattr(deadline, "perf_counter", clock)
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(perf_counter=clock))
    monkeypatch.setattr(deadline, "LONGEST_S", 0.0)
    return clock


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("models") / "model", seed=2, image_size=SIDE)


def options(model: Path, **others: Any) -> ModelOptions:
    return ModelOptions(model=str(model), device="cpu", precision="float32", **others)


@pytest.mark.parametrize("size", [32, 48, 112, 128])
def test_the_largest_size_that_keeps_the_latency_is_used_and_told(
    model: Path, clock: Clock, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    limit = (clock.seconds(size) + clock.seconds(size + 16)) / 2
    with caplog.at_level(logging.INFO):
        segmenter = load_within(options(model), limit, TICK)
    assert segmenter.size == size
    assert len(clock.sizes) <= 4, "few of the 7 sizes"
    assert (
        f"size {size} of at most {SIDE}, which takes {clock.seconds(size):.3g} s for an image of 80x48" in caplog.text
    )
    # What was measured with is gone: it finds what the model finds.
    image = picture(60, 90, 1)
    usual = Segmenter.load(options(model, size=size))
    assert segmenter.options == usual.options
    found, expected = (each.segment(image, each.open_stream()) for each in (segmenter, usual))
    assert found.segments == expected.segments


def test_what_holds_for_every_size_is_said_once(model: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    anywhere = ModelOptions(model=str(model), task="semantic")
    with caplog.at_level(logging.INFO):
        Segmenter.load(anywhere)
        expected = caplog.messages.copy()
        caplog.clear()
        load_within(anywhere, clock.seconds(64), TICK)
    assert len(clock.sizes) > 1
    # Not counting what is said of the measurement itself.
    assert [message for message in caplog.messages if "size" not in message] == expected
    caplog.clear()
    with caplog.at_level(logging.INFO):
        Segmenter.load(anywhere)
    assert caplog.messages == expected


def test_what_nothing_keeps_is_refused_with_the_least_that_is_possible(model: Path, clock: Clock) -> None:
    with pytest.raises(DeadlineError, match=r"max_latency is 0.001 s, but model takes 0.00625 s .* at size 32, the sm"):
        load_within(options(model), 0.001, TICK)
    assert list(clock.sizes) == [32]


def test_size_is_the_largest_that_is_tried(model: Path, clock: Clock) -> None:
    assert load_within(options(model, size=64), 100.0, TICK).size == 64
    assert set(clock.sizes) == {32, 64}


def test_cameras_have_one_deadline_together(model: Path, clock: Clock) -> None:
    limit = 3.01 * clock.seconds(64)
    assert load_within(options(model), limit, Tick((48, 80), cameras=3)).size == 64


def test_a_size_that_the_device_has_no_memory_for_is_too_large(model: Path, clock: Clock) -> None:
    clock.too_large = 100
    assert load_within(options(model), 100.0, TICK).size == 96
    clock.too_large = 0
    with pytest.raises(OutOfMemoryError):
        load_within(options(model), 100.0, TICK)


def test_a_size_that_is_too_slow_is_not_measured_to_the_end(model: Path, clock: Clock) -> None:
    load_within(options(model), 1.01 * clock.seconds(32), TICK)
    others = [steps for size, steps in clock.sizes.items() if size > 32]
    assert others
    assert max(others) <= deadline.WARM_UPS + 2


@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
@pytest.mark.parametrize("write", [partial(write_checkpoint, num_queries=30), write_eomt, write_mask2former])
def test_what_is_post_processed_has_20_things(
    write: Callable[..., Path], task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or as many as there are queries."""
    folder, found = write(tmp_path / "model"), []
    segment_batch = Segmenter.segment_batch

    def watched(self: Segmenter, *args: Any, **wanted: Any) -> Any:
        results = segment_batch(self, *args, **wanted)
        found.extend(results)
        return results

    monkeypatch.setattr(Segmenter, "segment_batch", watched)
    monkeypatch.setattr(deadline, "LONGEST_S", 0.0)
    load_within(options(folder, task=task, size=64), 100.0, Tick((96, 128), with_masks=True))
    things = min(SMALL["num_queries"] if write in (write_eomt, write_mask2former) else 30, ACROSS * DOWN)
    for result in found:
        if task != "semantic":
            assert len(result.segments) == things
            assert (result.panoptic != 0).mean() > 0.8 * things / (ACROSS * DOWN)
    assert found


def test_a_model_that_resizes_no_image_has_no_size_to_choose(tmp_path: Path) -> None:
    folder = write_mask2former(tmp_path / "model")
    file = folder / "preprocessor_config.json"
    file.write_text(file.read_text().replace('"do_resize": true', '"do_resize": false'))
    with pytest.raises(ValueError, match=r"max_latency needs a size to choose, but the processor of model resizes no"):
        load_within(options(folder), 1.0, TICK)
