"""The engine beside Hugging Face's processor, model and post-processing: each stage, and whole frames."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import VideomtForUniversalSegmentation, VideomtVideoProcessor

from bench import models
from bench.pictures import picture
from bench.timing import Row, compare, in_turns
from eomt_ros.engine import FrameResult, Segmenter
from eomt_ros.engine.backends.export_cache import exports_beside
from eomt_ros.engine.backends.openvino_backend import openvino_is_installed
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.preprocess.geometry import stretch
from eomt_ros.engine.preprocess.pixels import Preprocessor
from eomt_ros.one_ahead import one_ahead

SIZES = {"1920x1080": (1080, 1920), "640x480": (480, 640)}


RECORDED = 20
"""Frames of a recording."""


@dataclass(frozen=True)
class Plan:
    """The measurements of one model."""

    tasks: dict[str, tuple[str, ...]]
    """By size of the image."""
    pairs: int
    """After one that warms up."""
    smaller: int = 0
    """A size that is measured beside the model's own."""
    plain: bool = False
    """Measure the network's step also beside our own as plain torch."""
    published: bool = False
    """Measure it also as it is published, without an export."""


PLANS = {
    "demo": Plan({"1920x1080": ("panoptic",), "640x480": ("panoptic",)}, 9, plain=True),
    "ViT-S 640": Plan(
        {"1920x1080": ("panoptic", "instance", "semantic"), "640x480": ("panoptic", "instance")},
        5,
        smaller=224,
        plain=True,
        published=True,
    ),
    "ViT-B 640": Plan({"1920x1080": ("panoptic",)}, 3),
    "ViT-L 640": Plan({"1920x1080": ("panoptic",)}, 2),
}


class Stages(NamedTuple):
    """Seconds of one frame."""

    network: float
    whole: float


def rows() -> Iterator[Row]:
    """All measurements of this file, on the CPU and, where there is one, on the GPU."""
    yield from preprocessing()
    yield recording()
    image = picture()
    with tempfile.TemporaryDirectory() as folder:
        for name, plan in PLANS.items():
            model = models.write(name, image, Path(folder) / name)
            ships_export = exports_beside(load_checkpoint(model)).is_dir()
            if ships_export or plan.published or not openvino_is_installed():
                yield from frames(name, model, plan, "cpu")
            if not ships_export and openvino_is_installed():
                models.export(model)
                yield from frames(f"{name}, exported", model, plan, "cpu")
                if plan.published:
                    yield beside_stretch(f"{name}, exported", model, plan.pairs)
            if torch.cuda.is_available():
                yield from frames(name, model, plan, "cuda")
    if not torch.cuda.is_available():
        yield Row("the same on a GPU", note="skipped: this machine has none that torch can use")


def recording() -> Row:
    """A recording in memory, two frames at once beside one after the other."""
    images = [picture(*SIZES["1920x1080"])] * RECORDED
    segmenter = Segmenter.load("demo", device="cpu")

    def two_at_once() -> None:
        stream = segmenter.open_stream()
        for finish in one_ahead(stream.begin(image) for image in images):
            finish()

    def one_by_one() -> None:
        stream = segmenter.open_stream()
        for image in images:
            stream.segment(image)

    means = f"{segmenter.backend} {segmenter.precision}, {RECORDED} frames"
    return compare("recording, 1920x1080, demo, two frames at once", two_at_once, one_by_one, note=means)


def preprocessing() -> Iterator[Row]:
    """An image to the network's 640 x 640."""
    processor = VideomtVideoProcessor()
    ours = Preprocessor(processor.image_mean, processor.image_std)
    fit = stretch((640, 640))
    for size, shape in SIZES.items():
        image = picture(*shape)
        clip = _clip(image)
        yield compare(
            f"preprocessing, {size} to 640x640",
            lambda image=image: ours(image, fit(image.shape[:2])),
            lambda clip=clip: processor(videos=clip, return_tensors="pt"),
        )


@torch.inference_mode()
def frames(name: str, model: Path, plan: Plan, device: str) -> Iterator[Row]:
    """The network's step on the CPU, and whole frames."""
    where = "" if device == "cpu" else f", {device}"
    theirs = HuggingFace(model, device)
    if plan.plain and device == "cpu":
        yield beside_plain_torch(name, model, plan.pairs)
    if plan.smaller and device == "cpu":
        yield at_smaller_size(name, model, plan)
    step_is_told = device != "cpu"  # there the host runs ahead, and the engine's timings do not tell the network's own
    for size, tasks in plan.tasks.items():
        image = picture(*SIZES[size])
        for task in tasks:
            segmenter = Segmenter.load(model, task=task, device=device, fuse_stuff=False)  # as Hugging Face by default
            means = f"{segmenter.backend} {segmenter.precision}"
            result, expected = segmenter.segment(image, segmenter.open_stream()), theirs.segment(image, task)[1]
            ours = Ours(segmenter)
            times = [(ours.segment(image), theirs.segment(image, task)[0]) for _ in range(plan.pairs)]
            our, their = zip(*times, strict=True)
            if not step_is_told:
                step_is_told = True
                reference = [stages.network for stages in their]
                yield Row.of(f"network step, {name}", [stages.network for stages in our], reference, runs=means)
            yield Row.of(
                f"whole frame, {size}, {name}, {task}{where}",
                [stages.whole for stages in our],
                [stages.whole for stages in their],
                note=f"{len(result.segments)} segments, {_agreement(result, expected, task)}",
                runs=means,
            )


def at_smaller_size(name: str, model: Path, plan: Plan) -> Row:
    """What a smaller size gains on a whole frame."""
    image = picture(*SIZES["1920x1080"])
    segmenters = [Segmenter.load(model, device="cpu", task="panoptic", size=size) for size in (plan.smaller, 0)]
    smaller, own = map(Ours, segmenters)
    segments = [len(each.segment(image, each.open_stream()).segments) for each in segmenters]
    return Row.of(
        f"whole frame, 1920x1080, {name}, size {plan.smaller}, panoptic",
        *in_turns(lambda each: each.segment(image).whole, smaller, own, plan.pairs),
        note=f"reference: size {segmenters[1].size}; {segments[0]} and {segments[1]} segments",
        runs=f"{segmenters[0].backend} {segmenters[0].precision}",
    )


def beside_plain_torch(name: str, model: Path, pairs: int) -> Row:
    """Gain of the backend: the step as it comes, and the same as torch runs it layer by layer."""
    image = picture(*SIZES["640x480"])
    segmenter = Segmenter.load(model, device="cpu")
    ours, plain = Ours(segmenter), Ours(Segmenter.load(model, device="cpu", backend="torch", precision="float32"))
    return Row.of(
        f"network step, {name}, beside plain torch",
        *in_turns(lambda each: each.segment(image).network, ours, plain, pairs),
        note="reference: our own step, eager, float32",
        runs=f"{segmenter.backend} {segmenter.precision}",
    )


def beside_stretch(name: str, model: Path, pairs: int) -> Row:
    """Gain of keeping the aspect as models of YouTube-VIS are used: the step beside that of the stretched image."""
    image = picture(*SIZES["1920x1080"])
    segmenter = Segmenter.load(model, device="cpu", fit="keep_aspect", size=448)
    kept, stretched = Ours(segmenter), Ours(Segmenter.load(model, device="cpu"))
    return Row.of(
        f"network step, {name}, keep_aspect, 1920x1080",
        *in_turns(lambda each: each.segment(image).network, kept, stretched, pairs),
        note="800x448; reference: stretch, 640x640",
        runs=f"{segmenter.backend} {segmenter.precision}",
    )


class Ours:
    """The engine on one stream."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._stream = segmenter.open_stream()

    def segment(self, image: np.ndarray) -> Stages:
        """Segments an image in memory to label images in memory."""
        start = time.perf_counter()
        result = self._segmenter.segment(image, self._stream)
        return Stages(result.timings.network, time.perf_counter() - start)


class HuggingFace:
    """Hugging Face's processor, model and post-processing, on clips of one frame."""

    def __init__(self, model: Path, device: str, *, compiled: bool = False, autocast: bool = False) -> None:
        """compiled, autocast: by torch, and in float16, as the authors measure it on a GPU."""
        self._device = device
        self._autocast = torch.autocast(torch.device(device).type, torch.float16, enabled=autocast)
        # By default it computes in the type of the file, which for the demo is float16.
        network = VideomtForUniversalSegmentation.from_pretrained(model, dtype=torch.float32)
        size = network.config.image_size
        self._network = network.eval().to(device)
        if compiled:
            self._network.compile()
        self._processor = VideomtVideoProcessor(size={"height": size, "width": size})

    def segment(self, image: np.ndarray, task: str) -> tuple[Stages, np.ndarray]:
        """Segments an image in memory; also gives the label image, (H, W): -1 or a segment, or a class."""
        start = time.perf_counter()
        prepared = self._processor(videos=_clip(image), return_tensors="pt").to(self._device)
        begin = self._now()
        with self._autocast:
            output = self._network(**prepared)
        end = self._now()
        method = getattr(self._processor, f"post_process_{task}_segmentation")
        output.masks_queries_logits = output.masks_queries_logits.float()
        output.class_queries_logits = output.class_queries_logits.float()
        (found,) = method(output, target_sizes=[image.shape[:2]])
        labels = (found if task == "semantic" else found["segmentation"]).cpu().numpy()
        return Stages(end - begin, time.perf_counter() - start), labels

    def _now(self) -> float:
        if self._device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()


def _clip(image: np.ndarray) -> torch.Tensor:
    """(1, 3, H, W), as Hugging Face's processor takes it."""
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def _agreement(ours: FrameResult, theirs: np.ndarray, task: str) -> str:
    """In how many pixels the segmentations differ."""
    if task == "semantic":
        differ = ours.semantic != theirs
    else:
        number = {segment.id: index for index, segment in enumerate(ours.segments)}
        order = np.array([number.get(segment_id, -1) for segment_id in range(1 + max(number, default=0))])
        differ = order[ours.panoptic] != theirs
    return f"{np.count_nonzero(differ)} of {differ.size} pixels differ"
