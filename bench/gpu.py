"""`python -m bench.gpu`: the engine on a GPU beside Hugging Face's VidEoMT, plain and compiled, on the same frames.

Random weights, no ROS, no network. A frame is a uint8 image in the host's memory, and done when its label images are
there. `--device cpu` runs the same on a CPU, for a look at the program and not at the figures.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import models, table
from bench.engine import HuggingFace, Ours
from bench.pictures import picture
from bench.targets import judge
from bench.timing import Row
from eomt_ros.engine import FrameResult, Segmenter, checkpoint
from eomt_ros.engine.networks import QueryVit

SIZE = (1080, 1920)
MODELS = ("ViT-S 640", "ViT-B 640", "ViT-L 640")
TASKS = ("panoptic", "semantic")
CAMERAS = (1, 2, 4, 8)
FRAMES = 200
WARM_UP = 10
PICTURES = 8
"""Different ones, shown in turn."""
COMPARED = 8
"""Frames whose labels are held to those of the CPU in float32."""
MATRIX = 8192


class Bench:
    """What is measured of every model."""

    def __init__(self, device: str, frames: int) -> None:
        self._device = device
        self._frames = frames
        self._pictures = [picture(*SIZE, seed) for seed in range(PICTURES)]

    def rows(self, name: str, folder: Path) -> Iterator[Row]:
        """Whole frames, the step alone, cameras together, agreement and memory of one model."""
        model = models.write(name, self._pictures[0], folder / name)
        for task in TASKS:
            segmenter = self._load(model, task=task)
            ours = self.times(Ours(segmenter).segment)
            for how in ("eager", "compiled"):
                theirs = HuggingFace(model, self._device, compiled=how == "compiled")
                reference = self.times(lambda image, theirs=theirs, task=task: theirs.segment(image, task))
                yield self._row(
                    f"whole frame, 1920x1080, {name}, {task}, Hugging Face {how}", ours, reference, segmenter
                )
                del theirs
                self._free()
            yield self._agreement(name, model, segmenter)
            yield self._timeline(name, segmenter)
        yield self._step(name, model, segmenter)
        yield from self._cameras(name, segmenter)
        yield self._memory(name, segmenter)
        del segmenter
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

    def _load(self, model: Path, **settings: object) -> Segmenter:
        return Segmenter.load(model, device=self._device, backend="torch", fuse_stuff=False, **settings)  # type: ignore[arg-type]

    def _row(self, name: str, ours: Sequence[float], theirs: Sequence[float], segmenter: Segmenter) -> Row:
        rate = 1 / statistics.median(ours)
        return Row.of(name, ours, theirs, note=f"{rate:.0f} frames/s; {segmenter.precision}; Hugging Face in float32")

    def _cameras(self, name: str, segmenter: Segmenter) -> Iterator[Row]:
        """A frame of each of several cameras in one pass of the network."""
        for count in CAMERAS:
            streams = [segmenter.open_stream() for _ in range(count)]
            images = self._pictures[:count]
            together = self.times(lambda _, images=images, streams=streams: segmenter.segment_batch(images, streams))
            rate = count / statistics.median(together)
            yield Row.of(f"{count} camera(s) together, 1920x1080, {name}", together, note=f"{rate:.0f} frames/s in all")

    @torch.inference_mode()
    def _step(self, name: str, model: Path, segmenter: Segmenter) -> Row:
        """The network alone, and what part of a large product's rate it reaches."""
        network = checkpoint.load(model).network
        assert isinstance(network, QueryVit)
        side = network.settings.image_size
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, side, side), network.first_queries())
        step = segmenter._step
        pixels = torch.randn(1, 3, side, side, device=step.device, dtype=step.dtype)
        seconds = self.times(lambda _: step(pixels, step.first_queries))
        rate = counter.get_total_flops() / statistics.median(seconds)
        most, _ = self.matrix_rate()
        note = (
            f"{counter.get_total_flops() / 1e9:.0f} GFLOP, {rate / 1e12:.1f} TFLOP/s, {rate / most:.0%} of a product's"
        )
        return Row.of(f"network step, {name}", seconds, note=note)

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

    def _timeline(self, name: str, segmenter: Segmenter) -> Row:
        """Where a frame's time goes, each stage waited for, which costs some of it."""
        stream = segmenter.open_stream()
        stages: dict[str, list[float]] = {}
        for number in range(WARM_UP + min(self._frames, 50)):
            result: FrameResult = segmenter.segment(self._pictures[number % PICTURES], stream)
            for stage, seconds in vars(result.timings).items():
                stages.setdefault(stage, []).append(seconds)
        said = ", ".join(f"{stage} {1e3 * statistics.median(times[WARM_UP:]):.2f}" for stage, times in stages.items())
        return Row(f"stages, 1920x1080, {name}, {segmenter.task}", note=f"ms: {said}")

    def _memory(self, name: str, segmenter: Segmenter) -> Row:
        """What the device holds of the model, and what a camera adds."""
        if self._device == "cpu":
            return Row(f"memory, {name}", note="skipped: not on a GPU")
        self._free()
        before = torch.cuda.memory_allocated()
        streams = [segmenter.open_stream() for _ in range(4)]
        for stream in streams:
            segmenter.segment(self._pictures[0], stream)
        camera = (torch.cuda.memory_allocated() - before) / len(streams)
        peak = torch.cuda.max_memory_allocated()
        note = f"weights {before / 2**20:.0f} MiB, a camera {camera / 2**20:.2f} MiB, at most {peak / 2**20:.0f} MiB"
        return Row(f"memory, {name}", note=note)

    def _wait(self) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize()

    def _free(self) -> None:
        gc.collect()
        if self._device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"only these: {', '.join(MODELS)}, demo")
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each measurement (default: %(default)s)")
    options = parser.parse_args()
    unknown = sorted(set(options.models) - {*MODELS, "demo"})
    if unknown:
        parser.error(f"no model is called {unknown[0]!r}, expected {', '.join(MODELS)} or demo")
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no GPU here; --device cpu tries the program out")
    bench = Bench(options.device, options.frames)
    rows = [bench.matrix_rate()[1]]
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models or MODELS:
            for row in map(judge, bench.rows(name, Path(folder))):
                rows.append(row)
                print(row.name, flush=True)
    table.head()
    for row in rows:
        print(table.line(row))
    if options.device != "cpu" and not options.models:
        print(f"\nwritten to {table.write(rows)}")


if __name__ == "__main__":
    main()
