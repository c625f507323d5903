"""The engine's public face: images of a stream in, segmentations with lasting ids out."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from eomt_ros.engine.backends import BACKENDS, Backend, open_after_overflow, open_backend, open_on_cpu
from eomt_ros.engine.cuda import open_pipeline
from eomt_ros.engine.device import expect_device, expect_precision
from eomt_ros.engine.errors import DeviceLostError, NotFiniteError
from eomt_ros.engine.fallback import OpenFallback, PipelineWithFallback
from eomt_ros.engine.model.checkpoint import Checkpoint, load_checkpoint
from eomt_ros.engine.model.labels import TASKS
from eomt_ros.engine.networks import StepResult
from eomt_ros.engine.pipeline import Frame, Pipeline, Request, Settings, Task
from eomt_ros.engine.postprocess.label_map import LabelMap, Region
from eomt_ros.engine.preprocess.pixels import Preprocessor, as_image
from eomt_ros.engine.results import FrameResult, Logits, Segment, Timings
from eomt_ros.engine.stream import Start, Stream
from eomt_ros.engine.tracking.by_overlap import OverlapIdentities
from eomt_ros.engine.tracking.tracker import Identities, Identity, Observation
from eomt_ros.stamps import Stamp, nanoseconds

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

log = logging.getLogger(__name__)

FITS = ("stretch", "keep_aspect")
MOST_QUERIES = 1 << 16
GONE = {
    "compile": "frames run as CUDA graphs without it; leave it out",
    "segment_stream": "call `segment` with each frame",
    "decode_jpeg": "give `segment` the decoded image",
}
"""Names of former versions, and what to do instead."""


class Segmenter:
    """A network with all that belongs to it. It holds weights and settings only, so any number of streams can share it.

    `score_threshold`, `mask_threshold`, `overlap_threshold` (0..1) and `fuse_stuff` may be changed at any time; each
    frame reads them once.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        backend: Backend,
        task: str,
        fit: str,
        score_threshold: float,
        mask_threshold: float,
        overlap_threshold: float,
        fuse_stuff: bool,
        score_memory: float,
        top_k: int,
        on_device_failure: OpenFallback | None = None,
        on_overflow: OpenFallback | None = None,
    ) -> None:
        """on_device_failure, on_overflow: see `PipelineWithFallback`."""
        self.name = checkpoint.name
        self.folder = checkpoint.folder
        self.labels = checkpoint.labels
        self.task = task
        self.score_threshold = score_threshold
        self.mask_threshold = mask_threshold
        self.overlap_threshold = overlap_threshold
        self.fuse_stuff = fuse_stuff
        self.score_memory = score_memory
        self.top_k = top_k
        self._family = checkpoint.family
        self.fit = fit
        processor = checkpoint.processor
        of_frames = Task(
            name=task,
            family=checkpoint.family,
            place=checkpoint.family.fit(checkpoint.settings, processor, task, fit, checkpoint.labels.short_side),
            is_thing=tuple(checkpoint.labels.is_thing),
            score_memory=score_memory,
            top_k=top_k,
        )

        def pipeline_on(step: Backend) -> Pipeline:
            preprocess = Preprocessor(processor.image_mean, processor.image_std, device=step.device, dtype=step.dtype)
            return open_pipeline(step, preprocess, of_frames)

        self._pipeline = PipelineWithFallback(
            backend, pipeline_on, on_device_failure=on_device_failure, on_overflow=on_overflow
        )

    if not TYPE_CHECKING:  # it would take every name for one that exists

        def __getattr__(self, name: str) -> None:
            raise AttributeError(f"Segmenter has no {name!r}" + (f": {GONE[name]}" if name in GONE else ""))

    @property
    def backend(self) -> str:
        """What runs the network, as in `load`."""
        return self._pipeline.active.step.name

    @property
    def device(self) -> str:
        """What it runs on: "cpu" or "cuda:N"."""
        return self._pipeline.active.step.runs_on

    @property
    def precision(self) -> str:
        """What most of its arithmetic is done in."""
        return self._pipeline.active.step.precision

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
        task: str | None = None,
        fit: str = "stretch",
        score_threshold: float | None = None,
        mask_threshold: float = 0.5,
        overlap_threshold: float = 0.8,
        fuse_stuff: bool = True,
        score_memory: float = 0.0,
        top_k: int = 0,
        labels: str | Path | None = None,
        **gone: object,
    ) -> Segmenter:
        """Loads a checkpoint and makes it ready.

        model: a folder with `config.json` and `model.safetensors`, a hub id, or "demo", which ships with the package.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "float32" (the reference), "bfloat16", "float16", or "auto": float16 on a GPU, and another as soon as
        that overflows; on a CPU bfloat16 where it computes in it, else float32.
        backend: what runs the network: "torch", "openvino", "onnxruntime", or "auto": torch on a GPU; on a CPU OpenVINO
        where it is installed and has an export of the model, else torch. "auto" with precision "float32" is torch, to
        the last bit.
        task: "semantic", "instance" or "panoptic"; None for what the checkpoint is made for.
        fit: how VidEoMT's images are brought to the network: "stretch", as Hugging Face; "keep_aspect", as published:
        the shorter side to what the checkpoint is used with (448 of YouTube-VIS, 544 of OVIS, 720 of VIPSeg and VSPW;
        else 0.7 of its size), the longer to at most 1333, padded to a multiple of 32. The other families have one way
        each, Hugging Face's and their authors' alike.
        score_threshold: None for Hugging Face's default for the family and task (of VidEoMT, panoptic 0.8 and instance
        0.5); the semantic task uses none.
        fuse_stuff: in the panoptic task, all regions of a stuff class are one segment.
        score_memory: for VidEoMT, how much of a query's class scores is remembered from frame to frame: 0 nothing, as
        Hugging Face; 1 the mean of all frames of the stream, which after the last one is what the authors' evaluation
        averages over a video (`post_processing` in videomt.py); between, an exponential mean.
        top_k: in VidEoMT's and EoMT's instance task, how many pairs of query and class can be instances, as in the
        authors' evaluation (`MAX_NUM` of VidEoMT, with class probabilities for scores; `eval_top_k_instances` of EoMT);
        0: each query with its likeliest class, as Hugging Face.
        labels: a label table to use instead of the one that fits the checkpoint.

        OpenVINO and ONNX Runtime run an export of the network, which `eomt-ros export` makes, or the first load that
        names them, and which is kept next to the checkpoint or in the user's cache. Every load holds its answer to
        torch's in float32.

        Raises `CheckpointError` or `LabelsError` for what cannot be loaded, `BackendError` for a backend that was asked
        for by name and is not installed or fails, `OutOfMemoryError` where a device that was asked for by name has no
        memory left, `ValueError` for an argument that is not one of the above.
        """
        for name in gone:
            raise TypeError(f"Segmenter.load takes no {name!r}: {GONE.get(name, 'see its docstring')}")
        _expect("backend", backend, BACKENDS)
        _expect("fit", fit, FITS)
        _expect("task", task, (None, *TASKS))
        for name, threshold in (
            ("score_threshold", score_threshold),
            ("mask_threshold", mask_threshold),
            ("overlap_threshold", overlap_threshold),
            ("score_memory", score_memory),
        ):
            if threshold is not None and not 0.0 <= threshold <= 1.0:
                raise ValueError(f"{name} is {threshold!r}, expected a number from 0 to 1")
        if top_k < 0:
            raise ValueError(f"top_k is {top_k!r}, expected a whole number, 0 for Hugging Face's way")
        expect_device(device)
        expect_precision(precision)
        loaded = load_checkpoint(model, labels)
        chosen_task = task or loaded.task
        if chosen_task != loaded.task:
            log.warning(
                "task %r, but %s is made for %r: it is segmented as asked, and finds what the model was trained for",
                chosen_task,
                loaded.name,
                loaded.task,
            )
        if score_threshold is None:
            score_threshold = loaded.family.score_thresholds.get(chosen_task, 0.0)

        # Without `loaded`, whose weights would be kept: from the folder, since the hub may have other ones by then.
        family, settings, folder = loaded.family, loaded.settings, loaded.folder

        def open_after_device_failure() -> Backend:
            return open_on_cpu(family.load(settings, folder), precision)

        def open_in_other_precision() -> Backend:
            return open_after_overflow(family.load(settings, folder), opened.device)

        torch_alone = _torch_alone(loaded, fit)
        if torch_alone and backend not in ("auto", "torch"):
            raise ValueError(
                f"backend is {backend!r}, but {torch_alone} with backend 'torch' only; use that, or 'auto'"
            )
        if score_memory and not loaded.family.propagates:
            raise ValueError(
                f"score_memory is {score_memory!r}, but a query of {loaded.family.name} is another object in every "
                "frame and has nothing to remember; use 0, or a VidEoMT"
            )
        if top_k and loaded.family.top_k is None:
            raise ValueError(
                f"top_k is {top_k!r}, but {loaded.family.name} has as many instances as queries at most, always; use 0"
            )
        opened = open_backend(loaded, "torch" if torch_alone else backend, device, precision)
        overflows = (precision, opened.name, opened.precision) == ("auto", "torch", "float16")
        return cls(
            loaded,
            backend=opened,
            task=chosen_task,
            fit=fit,
            score_threshold=score_threshold,
            mask_threshold=mask_threshold,
            overlap_threshold=overlap_threshold,
            fuse_stuff=fuse_stuff,
            score_memory=score_memory,
            top_k=top_k,
            on_device_failure=open_after_device_failure if device == "auto" else None,
            on_overflow=open_in_other_precision if overflows else None,
        )

    @property
    def identity(self) -> str:
        """What the ids rest on: "query", the network's memory; "overlap", the place of things from frame to frame;
        "none", in the semantic task.
        """
        if self.task == "semantic":
            return "none"
        return "query" if self._family.propagates else "overlap"

    def open_stream(self) -> Stream:
        """A stream for one camera."""
        return Stream(Identities() if self._family.propagates else OverlapIdentities())

    def warm_up(self, height: int, width: int) -> None:
        """Runs a black image of that size, so that the first real one does not pay for what is done once, capture
        included.
        """
        image = np.zeros((height, width, 3), np.uint8)
        precision = self.precision
        try:
            self.segment(image, self.open_stream())
        except NotFiniteError as error:
            if self.precision == precision:
                raise
            log.warning("%s", error)
            self.segment(image, self.open_stream())

    def segment(
        self,
        image: np.ndarray | PilImage,
        stream: Stream,
        *,
        stamp: Stamp | None = None,
        with_masks: bool = False,
        with_logits: bool = False,
        with_confidence: bool = True,
    ) -> FrameResult:
        """Segments the next frame of a stream.

        image: (H, W, 3) uint8 RGB, with any strides, or one of PIL in 8 bits.
        stamp: seconds, on any clock that runs with the camera's; the ids use it. A float counts to the microsecond,
        which is what it holds since 1970; `Fraction(nanoseconds, 10**9)` counts to the nanosecond.
        with_masks, with_logits, with_confidence: whether to give the segments' masks, the network's logits, and the
        confidence of every pixel.

        Raises `ValueError` for what is no such image, `NotFiniteError` where the network gives NaN or infinity,
        `OutOfMemoryError` where the device has no memory left. The stream is then as before, and goes on if the caller
        wants.
        """
        return self.segment_batch(
            [image],
            [stream],
            stamps=[stamp],
            with_masks=with_masks,
            with_logits=with_logits,
            with_confidence=with_confidence,
        )[0]

    def segment_batch(
        self,
        images: Sequence[np.ndarray | PilImage],
        streams: Sequence[Stream],
        *,
        stamps: Sequence[Stamp | None] | None = None,
        with_masks: bool = False,
        with_logits: bool = False,
        with_confidence: bool = True,
    ) -> list[FrameResult]:
        """Segments one frame each of several streams in one pass of the network; otherwise as `segment`.

        The images may differ in size. Raises `ValueError` also where images, streams and stamps differ in number, or a
        stream is named twice.
        """
        stamps = [None] * len(images) if stamps is None else stamps
        if not len(images) == len(streams) == len(stamps):
            raise ValueError(
                f"got {len(images)} images, {len(streams)} streams and {len(stamps)} stamps, expected as many of each"
            )
        if len(set(streams)) < len(streams):
            raise ValueError("streams names one twice, expected one frame of each: the later waits for the earlier")
        if not images:
            return []
        self._forget_what_is_lost(streams)
        arrays = [as_image(image) for image in images]
        times = [nanoseconds(stamp) for stamp in stamps]
        active = self._pipeline.active
        starts = [stream._next for stream in streams]
        if not all(active.accepts(start.queries) for start in starts):
            raise DeviceLostError(
                f"frames run on {active.step.runs_on} in {active.step.precision} since a frame of another stream "
                "failed, and what this stream remembers is of something else: reset it"
            )
        request = Request(
            arrays,
            [active.step.first_queries if start.queries is None else start.queries for start in starts],
            [start.memory for start in starts],
            Settings(self.score_threshold, self.mask_threshold, self.overlap_threshold, self.fuse_stuff),
            with_masks,
            with_logits,
            with_confidence,
        )
        with self._pipeline.guard(active, len(images)), torch.inference_mode():
            frames = active.pipeline(request)
            # Only now, when nothing but the device itself can fail: a stream is never left half updated.
            return [
                self._result(frame, stream, stamp, request.settings.fuse_stuff, with_logits)
                for frame, stream, stamp in zip(frames, streams, times, strict=True)
            ]

    def _result(
        self, frame: Frame, stream: Stream, stamp: int | None, fuse_stuff: bool, with_logits: bool
    ) -> FrameResult:
        """The frame with ids, and the stream behind it."""
        begin = time.perf_counter()
        stream._next = Start(frame.output.next_queries, frame.memory)
        segments = self._identify(stream._identities, frame.label_map, stamp, fuse_stuff)
        identified = time.perf_counter()
        if self.task == "semantic":
            panoptic = np.zeros(frame.label_map.winner.shape, np.uint16)
        else:
            panoptic = frame.label_map.painted([segment.id for segment in segments])
        semantic, confidence = frame.label_map.semantic(), frame.label_map.shown_confidence()
        timings = Timings(
            preprocess=frame.preprocess,
            network=frame.network,
            postprocess=frame.postprocess + time.perf_counter() - identified,
            identity=identified - begin,
        )
        logits = _logits(frame.output) if with_logits else None
        return FrameResult(semantic, panoptic, confidence, segments, stream.epoch, timings, logits)

    def _forget_what_is_lost(self, streams: Sequence[Stream]) -> None:
        """Streams whose queries were lost with a device, or overflowed with a precision, begin anew."""
        for stream in streams:
            if not self._pipeline.active.accepts(stream._next.queries):
                stream.reset()

    def _identify(self, identities: Identities, found: LabelMap, stamp: int | None, fuse_stuff: bool) -> list[Segment]:
        """The segments with their ids."""
        regions = found.regions
        things = [self.labels.is_thing[region.class_id] for region in regions]
        fused = fuse_stuff and self.task == "panoptic"
        if self.task == "semantic":
            names = [Identity(id=0, age=0)] * len(things)
        else:
            owner = {region.query: index for index, region in enumerate(regions)}
            observations = [
                Observation(
                    slot=-1 - region.class_id if fused and not thing else _slot(region, owner[region.query] == index),
                    class_id=region.class_id,
                    # Where place is all there is to go by, stuff of which a frame has several is followed like things.
                    is_thing=thing or not (fused or self._family.propagates),
                    box=region.box,
                )
                for index, (region, thing) in enumerate(zip(regions, things, strict=True))
            ]
            seen = None if self._family.propagates else found.index()
            names = identities.update(observations, found.winner.shape[1], stamp, seen)
        return [
            Segment(
                id=name.id,
                class_id=region.class_id,
                class_name=self.labels.class_names[region.class_id],
                is_thing=thing,
                score=region.score,
                area=region.area,
                box=region.box,
                age=name.age,
                mask=region.mask,
            )
            for name, region, thing in zip(names, regions, things, strict=True)
        ]


def _expect(name: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def _slot(region: Region, owns: bool) -> int:
    """The slot of a segment; with `top_k` a query can be several, of which the likeliest, the last, owns its own."""
    return region.query if owns else region.query + MOST_QUERIES * (1 + region.class_id)


def _torch_alone(loaded: Checkpoint, fit: str) -> str | None:
    """What no export serves: it has one size of image, and the parts of a ViT only."""
    if not loaded.family.exports:
        return f"a {loaded.family.name} runs"
    if fit == "keep_aspect" and loaded.family.propagates:
        return "fit 'keep_aspect' runs"
    return None


def _logits(output: StepResult) -> Logits:
    # Copies, because the next frame may be written to the same memory.
    masks, classes = (logits[0].float().cpu().numpy().copy() for logits in (output.mask_logits, output.class_logits))
    return Logits(masks, classes)
