"""`python -m bench.gpu`: the engine on a GPU beside Hugging Face's VidEoMT, plain and compiled, on the same frames.

Random weights, no ROS, no network. A frame is a uint8 image in the host's memory, and done when its label images are
there. `--device cpu` runs the same on a CPU, for a look at the program and not at the figures. A run that is broken off
leaves the results of the models before.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench import models, table
from bench.engine import HuggingFace, Ours
from bench.pictures import picture
from bench.targets import GPU_TARGETS, judge
from bench.timing import Row
from eomt_ros.engine import FrameResult, Segmenter, free_devices
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.networks import QueryVit

SIZE = (1080, 1920)
MODELS = ("ViT-S 640", "ViT-B 640", "ViT-L 640")
TASKS = ("panoptic", "semantic")
CAMERAS = (1, 2, 4, 8)
FRAMES = 200
WARM_UP = 10
PICTURES = 8
"""Different ones, shown in turn."""
COMPARED = 4
"""Frames whose labels are held to those of the CPU in float32."""
MATRIX = 8192
KERNELS = 12
"""That take the most time."""
CHANGING = 10_000
"""Frames of changing sizes and numbers of cameras."""
SIZES = 20
"""More than graphs are kept for."""
BATCHES = 20
"""That pass before the next change, each of which captures a graph."""
SAME = 0.995
"""Share of the pixels: several frames at once are summed in another order than one."""


class Bench:
    """The measurements of every model."""

    def __init__(self, device: str, frames: int, out: Path) -> None:
        """out: where the profiler's tables go."""
        self._device = device
        self._frames = frames
        self._out = out
        self._pictures = [picture(*SIZE, seed) for seed in range(PICTURES)]

    def rows(self, name: str, folder: Path) -> Iterator[Row]:
        """Whole frames, the step alone, cameras together, agreement, stages and memory of one model."""
        model = models.write(name, self._pictures[0], folder / name)
        before = self._held()
        ours: dict[str, list[float]] = {}
        for task in TASKS:
            segmenter = self._load(model, task=task)
            ours[task] = self.times(Ours(segmenter).segment)
            yield self._in_a_row(name, segmenter)
            yield self._agreement(name, model, segmenter)
            yield self._stages(name, segmenter)
        yield from self._kernels(name, segmenter)
        yield self._step(name, model, segmenter)
        yield from self._cameras(name, self._load(model, task="panoptic"))
        del segmenter
        yield self._memory(name, model, before)
        yield from self._hugging_face(name, model, ours)

    def _hugging_face(self, name: str, model: Path, ours: dict[str, list[float]]) -> Iterator[Row]:
        """The reference on the same frames: as it comes, and as the authors measure it, compiled and in float16."""
        for how, settings in (("eager", {}), ("compiled", {"compiled": True, "autocast": self._device != "cpu"})):
            theirs = HuggingFace(model, self._device, **settings)
            for task in TASKS:
                reference = self.times(partial(theirs.segment, task=task))
                yield Row.of(
                    f"whole frame, 1920x1080, {name}, {task}, Hugging Face {how}",
                    ours[task],
                    reference,
                    note="theirs in float32" if how == "eager" else "theirs in float16 by autocast",
                )
            del theirs
            self._free()

    @torch.inference_mode()
    def times(self, work: Callable[[np.ndarray], object]) -> list[float]:
        """Seconds of each frame, the device waited for, after a warm-up."""
        seconds = []
        for number in range(WARM_UP + self._frames):
            self._wait()
            start = time.perf_counter()
            work(self._pictures[number % PICTURES])
            self._wait()
            seconds.append(time.perf_counter() - start)
        return seconds[WARM_UP:]

    def matrix_rate(self) -> tuple[float, Row]:
        """FLOP/s of a large product in bfloat16, which is what a network can get at most."""
        size = MATRIX if self._device != "cpu" else MATRIX // 8
        one, other = torch.randn(2, size, size, device=self._device, dtype=torch.bfloat16)
        seconds = statistics.median(self.times(lambda _: one @ other))
        rate = 2 * size**3 / seconds
        return rate, Row.of(f"product of two {size}x{size}, bfloat16", [seconds], note=f"{rate / 1e12:.1f} TFLOP/s")

    def _load(self, model: Path, **settings: Any) -> Segmenter:
        segmenter = Segmenter.load(model, device=self._device, backend="torch", fuse_stuff=False, **settings)
        segmenter.warm_up(*SIZE)
        return segmenter

    def _in_a_row(self, name: str, segmenter: Segmenter) -> Row:
        """Frames of a recording, from one result to the next."""
        stream = segmenter.open_stream()
        moments = []
        for image in itertools.islice(itertools.cycle(self._pictures), WARM_UP + self._frames + 1):
            segmenter.segment(image, stream)
            moments.append(time.perf_counter())
        seconds = np.diff(moments)[WARM_UP:].tolist()
        rate = len(seconds) / (moments[-1] - moments[WARM_UP])
        note = f"{rate:.0f} frames/s; {segmenter.precision}"
        return Row.of(f"frames in a row, 1920x1080, {name}, {segmenter.task}", seconds, note=note)

    def _cameras(self, name: str, segmenter: Segmenter) -> Iterator[Row]:
        """A frame of each of several cameras in one pass of the network."""
        alone: list[float] = []
        for count in CAMERAS:
            streams = [segmenter.open_stream() for _ in range(count)]
            images = self._pictures[:count]
            together = self.times(lambda _, images=images, streams=streams: segmenter.segment_batch(images, streams))
            alone = alone or together
            note = f"{count / statistics.median(together):.0f} frames/s in all"
            each = [seconds / count for seconds in together]
            yield Row.of(f"{count} cameras together, 1920x1080, {name}, for one frame", each, note=note)
            yield Row.of(f"{count} cameras together, 1920x1080, {name}, beside one by one", each, alone)

    @torch.inference_mode()
    def _step(self, name: str, model: Path, segmenter: Segmenter) -> Row:
        """The network alone, as a CUDA graph, and what part of a large product's rate it reaches."""
        network = load_checkpoint(model).network
        assert isinstance(network, QueryVit)
        side = network.settings.image_size
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, side, side), network.first_queries())
        step = segmenter._pipeline.active.step
        pixels = torch.randn(1, 3, side, side, device=step.device, dtype=step.dtype)
        run: Callable[[], object] = lambda: step(pixels, step.first_queries)  # noqa: E731
        if self._device != "cpu":
            beside = torch.cuda.Stream()
            with torch.cuda.stream(beside):
                run()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=beside):
                run()
            run = graph.replay
        seconds = self.times(lambda _: run())
        product, _ = self.matrix_rate()
        flops = counter.get_total_flops()
        rates = [flops / each for each in seconds]
        note = f"{flops / 1e9:.0f} GFLOP, {statistics.median(rates) / 1e12:.1f} TFLOP/s"
        return Row.of(
            f"network step, {name}, beside a matrix product's rate",
            seconds,
            [flops / product] * len(seconds),
            note=note,
        )

    def _agreement(self, name: str, model: Path, segmenter: Segmenter) -> Row:
        """In how many pixels classes and ids are those of the CPU in float32."""
        reference = Segmenter.load(
            model, device="cpu", precision="float32", backend="torch", task=segmenter.task, fuse_stuff=False
        )
        streams = segmenter.open_stream(), reference.open_stream()
        classes, ids = [], []
        for image in self._pictures[:COMPARED]:
            one, other = segmenter.segment(image, streams[0]), reference.segment(image, streams[1])
            classes.append(np.mean(one.semantic == other.semantic))
            ids.append(np.mean(one.panoptic == other.panoptic))
        note = f"classes {np.mean(classes):.2%}, ids {np.mean(ids):.2%} of the pixels"
        return Row(f"agreement with the CPU in float32, {name}, {segmenter.task}", note=note)

    def _stages(self, name: str, segmenter: Segmenter) -> Row:
        """Where the time of a frame goes that is waited for, as the host sees it."""
        stream = segmenter.open_stream()
        stages: dict[str, list[float]] = {}
        for number in range(WARM_UP + min(self._frames, 50)):
            result: FrameResult = segmenter.segment(self._pictures[number % PICTURES], stream)
            for stage, seconds in vars(result.timings).items():
                stages.setdefault(stage, []).append(seconds)
        said = ", ".join(f"{stage} {1e3 * statistics.median(times[WARM_UP:]):.2f}" for stage, times in stages.items())
        return Row(f"stages, 1920x1080, {name}, {segmenter.task}", note=f"ms: {said}")

    def _kernels(self, name: str, segmenter: Segmenter) -> Iterator[Row]:
        """The device's time, kernel by kernel."""
        if self._device == "cpu":
            return
        stream = segmenter.open_stream()
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            for image in self._pictures:
                segmenter.segment(image, stream)
        found = profiler.key_averages()
        file = self._out / f"kernels-{name.replace(' ', '-').lower()}.txt"
        file.write_text(found.table(sort_by="self_cuda_time_total", row_limit=100, max_name_column_width=100))
        kernels = sorted(found, key=lambda kernel: -kernel.self_device_time_total)
        for place, kernel in enumerate(kernels[:KERNELS], start=1):
            ms = kernel.self_device_time_total / 1e3 / PICTURES
            note = f"{ms:.3f} ms a frame, {kernel.count / PICTURES:.0f} times: {kernel.key[:90]}"
            yield Row(f"kernel {place}, {name}, {segmenter.task}", note=note)

    def _memory(self, name: str, model: Path, before: int) -> Row:
        """The device's memory for the model, for frames of a size and for one more camera, and what is left."""
        if self._device == "cpu":
            return Row(f"memory, {name}", note="skipped: not on a GPU")
        segmenter = Segmenter.load(model, device=self._device, backend="torch", task="panoptic")
        weights = self._held() - before
        segmenter.warm_up(*SIZE)
        frames = self._held() - before - weights
        streams = [segmenter.open_stream() for _ in range(4)]
        for stream in streams:
            segmenter.segment(self._pictures[0], stream)
        camera = (self._held() - before - weights - frames) / len(streams)
        reserved = torch.cuda.memory_reserved()
        del segmenter, streams, stream
        free_devices()
        left = self._held() - before
        note = (
            f"MiB: weights {weights / 2**20:.0f}, frames of a size {frames / 2**20:.0f}, a camera "
            f"{camera / 2**20:.2f}, reserved {reserved / 2**20:.0f}, left {left / 2**20:.2f}"
        )
        return Row(f"memory, 1920x1080, {name}", note=note)

    def changing(self, frames: int) -> Row:
        """Frames of the demo model whose size and number of cameras change: wrong maps, and the memory that is held."""
        segmenter = Segmenter.load("demo", device=self._device, backend="torch", task="panoptic")
        images = [picture(120 + 24 * size, 480 - 12 * size, size) for size in range(SIZES)]
        expected = [segmenter.segment(image, segmenter.open_stream()).panoptic for image in images]
        drawn, held, wrong, done = np.random.default_rng(0), 0, 0, 0
        while done < frames:
            places = drawn.integers(0, SIZES, drawn.integers(1, max(CAMERAS) + 1))
            for _ in range(BATCHES):
                streams = [segmenter.open_stream() for _ in places]
                results = segmenter.segment_batch([images[place] for place in places], streams)
                shares = [np.mean(one.panoptic == expected[at]) for one, at in zip(results, places, strict=True)]
                wrong += sum(share < SAME for share in shares)
            before, done = done, done + BATCHES * len(places)
            if before < frames // 2 <= done:
                results = streams = None
                held = self._held()
        results = streams = None
        growth = (self._held() - held) / 2**20
        note = f"{wrong} wrong maps of {done}; held {held / 2**20:.0f} MiB at half-time"
        return Row(f"frames of {SIZES} sizes, 1 to {max(CAMERAS)} cameras", growth_mib=growth, note=note)

    def _held(self) -> int:
        self._free()
        return torch.cuda.memory_allocated() if self._device != "cpu" else 0

    def _wait(self) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize()

    def _free(self) -> None:
        gc.collect()
        if self._device != "cpu":
            torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"only these: {', '.join(MODELS)}, demo")
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each measurement (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=table.RESULTS, help="folder of the results (default: %(default)s)")
    options = parser.parse_args()
    unknown = sorted(set(options.models) - {*MODELS, "demo"})
    if unknown:
        parser.error(f"no model is called {unknown[0]!r}, expected {', '.join(MODELS)} or demo")
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no GPU here; --device cpu tries the program out")
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.device, options.frames, options.out)
    table.head()
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(judge(row, GPU_TARGETS))
        print(table.line(rows[-1]), flush=True)

    tell(bench.matrix_rate()[1])
    tell(bench.changing(CHANGING if options.device != "cpu" else options.frames))
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models or MODELS:
            for row in bench.rows(name, Path(folder)):
                tell(row)
            table.write(rows, options.out)
    print(f"\nwritten to {table.write(rows, options.out)}")


if __name__ == "__main__":
    main()
