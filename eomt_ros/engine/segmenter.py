"""The engine's public face: images of a stream in, segmentations with lasting ids out."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine import checkpoint
from eomt_ros.engine.accelerate import expect_device, expect_precision
from eomt_ros.engine.backends import BACKENDS, Backend, StepResult, open_backend
from eomt_ros.engine.canvas import Segmentation
from eomt_ros.engine.checkpoint import Checkpoint
from eomt_ros.engine.errors import OutOfMemoryError
from eomt_ros.engine.fit import Placement
from eomt_ros.engine.identity import Identities, Identity, Observation
from eomt_ros.engine.identity_overlap import OverlapIdentities
from eomt_ros.engine.labels import TASKS
from eomt_ros.engine.networks import QueryVit
from eomt_ros.engine.preprocess import Preprocessor, expect_image

log = logging.getLogger(__name__)

FITS = ("stretch", "keep_aspect")
MOST_QUERIES = 1 << 16


@dataclass(frozen=True)
class Segment:
    """One thing, or one region of stuff, in one frame."""

    id: int
    """Lasts while the object is followed and is never used again in the epoch; 0 in the semantic task."""
    class_id: int
    class_name: str
    is_thing: bool
    score: float
    """0..1."""
    area: int
    """Pixels; in the instance task those of the whole mask, also where a later instance covers it."""
    box: tuple[int, int, int, int]
    """x, y, width, height in pixels, around what the area counts."""
    age: int
    """Frames since the id was given; 0 in the first."""
    mask: tuple[int, ...] | None = None
    """Run lengths over the box, row by row, the first run outside; None unless asked for. See `decode_mask`."""


@dataclass(frozen=True)
class Timings:
    """Seconds spent on one frame. On CUDA, where the host runs ahead, the network's share appears under `postprocess`.

    The frames of a batch share the time of their preprocessing and network.
    """

    preprocess: float
    network: float
    postprocess: float
    identity: float


@dataclass(frozen=True, eq=False)
class Logits:
    """What the network said, before any threshold."""

    masks: np.ndarray
    """(queries, h, w) float32, at the network's own size."""
    classes: np.ndarray
    """(queries, classes + 1) float32, the last column for "no object"."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame, segmented at its own size."""

    semantic: np.ndarray
    """(H, W) uint8 class ids, 255 unlabelled (uint16 and 65535 above 254 classes)."""
    panoptic: np.ndarray
    """(H, W) uint16 segment ids, 0 none; all 0 in the semantic task."""
    confidence: np.ndarray | None
    """(H, W) uint8, the probability of the pixel's class or segment times 255; None where it was not asked for."""
    segments: list[Segment]
    epoch: int
    """Ids are comparable within one epoch of the stream only."""
    timings: Timings
    logits: Logits | None = None


class Memory(NamedTuple):
    """The class logits that a stream's frames have had so far."""

    class_logits: Tensor
    """(1, queries, classes + 1), their mean."""
    frames: int

    @classmethod
    def after(cls, before: Memory | None, class_logits: Tensor, memory: float) -> Memory:
        """With one frame more; its part in the mean is 1 - `memory`, but where that is 1, the same as any frame's."""
        logits = class_logits.float()
        if before is None:
            return cls(logits, 1)
        part = 1 - memory if memory < 1 else 1 / (before.frames + 1)
        return cls(torch.lerp(before.class_logits, logits, part), before.frames + 1)


class Stream:
    """One camera: the queries that the next frame starts from, and the ids given so far.

    Made by `Segmenter.open_stream`. A stream takes the frames of one camera, in order, one at a time.
    """

    def __init__(self, identities: Identities | None = None) -> None:
        self._identities = identities or Identities()
        self._queries: Tensor | None = None
        self._memory: Memory | None = None

    @property
    def epoch(self) -> int:
        """How often the ids began anew: by `reset`, or because an epoch's 65,535 ids had run out."""
        return self._identities.epoch

    def reset(self) -> None:
        """Forgets queries and ids, as if the camera had just been switched on; the next epoch begins."""
        self._queries = None
        self._memory = None
        self._identities.restart()


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
    ) -> None:
        self.name = checkpoint.name
        self.folder = checkpoint.folder
        self.labels = checkpoint.labels
        self.task = task
        self.backend = backend.name
        self.device = backend.runs_on
        self.precision = backend.precision
        self.score_threshold = score_threshold
        self.mask_threshold = mask_threshold
        self.overlap_threshold = overlap_threshold
        self.fuse_stuff = fuse_stuff
        self.score_memory = score_memory
        self.top_k = top_k
        self._step = backend
        self._family = checkpoint.family
        self.fit = fit
        self._place_in = checkpoint.family.fit(checkpoint.settings, task, fit, checkpoint.labels.short_side)
        self._preprocess = Preprocessor(
            checkpoint.image_mean,
            checkpoint.image_std,
            device=backend.device,
            dtype=backend.dtype,
        )

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
    ) -> Segmenter:
        """Loads a checkpoint and makes it ready.

        model: a folder with `config.json` and `model.safetensors`, a hub id, or "demo", which ships with the package.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "float32" (the reference), "bfloat16", "float16", or "auto": bfloat16 where the
        device computes in it, else float32 on a CPU and float16 on a GPU.
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
        for by name and is not installed or fails, `ValueError` for an argument that is not one of the above.
        """
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
        loaded = checkpoint.load(model, labels)
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
        return cls(
            loaded,
            backend=open_backend(loaded, "torch" if torch_alone else backend, device, precision),
            task=chosen_task,
            fit=fit,
            score_threshold=score_threshold,
            mask_threshold=mask_threshold,
            overlap_threshold=overlap_threshold,
            fuse_stuff=fuse_stuff,
            score_memory=score_memory,
            top_k=top_k,
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
        """Runs a black image of that size, so that the first real one does not pay for what torch does once."""
        self.segment(np.zeros((height, width, 3), np.uint8), self.open_stream())

    def segment(
        self,
        image: np.ndarray,
        stream: Stream,
        *,
        stamp: float | None = None,
        with_masks: bool = False,
        with_logits: bool = False,
        with_confidence: bool = True,
    ) -> FrameResult:
        """Segments the next frame of a stream.

        image: (H, W, 3) uint8 RGB, with any strides.
        stamp: seconds, on any clock that runs with the camera's; the ids use it.
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
        images: Sequence[np.ndarray],
        streams: Sequence[Stream],
        *,
        stamps: Sequence[float | None] | None = None,
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
        for stamp in stamps:
            if stamp is not None and not math.isfinite(stamp):
                raise ValueError(f"stamp is {stamp!r}, expected seconds, or None where the time is not known")
        if not images:
            return []
        try:
            return self._segment(images, streams, stamps, with_masks, with_logits, with_confidence)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise OutOfMemoryError(
                f"{self.device} has no memory left for {len(images)} image(s): {str(error).splitlines()[0]} "
                "Use a smaller model, precision float16 or fewer cameras, or free the device of other programs."
            ) from error

    @torch.inference_mode()
    def _segment(
        self,
        images: Sequence[np.ndarray],
        streams: Sequence[Stream],
        stamps: Sequence[float | None],
        with_masks: bool,
        with_logits: bool,
        with_confidence: bool,
    ) -> list[FrameResult]:
        fuse_stuff = self.fuse_stuff
        start = time.perf_counter()
        placements = [self._place(image) for image in images]
        pixels = [self._preprocess(image, placement) for image, placement in zip(images, placements, strict=True)]
        prepared = time.perf_counter()
        outputs = self._run(pixels, [self._queries_of(stream) for stream in streams])
        memories = [self._remember(stream, output) for stream, output in zip(streams, outputs, strict=True)]
        computed = time.perf_counter()

        segmentations = []
        moments = [computed]
        for output, memory, placement in zip(outputs, memories, placements, strict=True):
            scored = output if memory is None else output._replace(class_logits=memory.class_logits)
            segmentations.append(self._postprocess(scored, placement, fuse_stuff, with_masks, with_confidence))
            moments.append(time.perf_counter())

        results = []
        for index, (stream, segmentation) in enumerate(zip(streams, segmentations, strict=True)):
            begin = time.perf_counter()
            # Only now, when nothing can fail any more: a stream is never left half updated. As a copy, since a view
            # would keep those of the whole batch in memory.
            stream._queries = outputs[index].next_queries[:1].clone()
            stream._memory = memories[index]
            segments, panoptic = self._identify(stream._identities, segmentation, stamps[index], fuse_stuff)
            timings = Timings(
                preprocess=prepared - start,
                network=computed - prepared,
                postprocess=moments[index + 1] - moments[index],
                identity=time.perf_counter() - begin,
            )
            results.append(
                FrameResult(
                    semantic=segmentation.semantic,
                    panoptic=panoptic,
                    confidence=segmentation.confidence,
                    segments=segments,
                    epoch=stream.epoch,
                    timings=timings,
                    logits=_logits(outputs[index]) if with_logits else None,
                )
            )
        return results

    def _place(self, image: np.ndarray) -> Placement:
        expect_image(image)
        return self._place_in((image.shape[0], image.shape[1]))

    def _run(self, pixels: Sequence[Tensor], queries: Sequence[Tensor]) -> list[StepResult]:
        """The network's answer to each image, all that are of one size in one pass.

        pixels: (windows or 1, 3, height, width) of each. queries: (1, queries, hidden) of each.
        """
        answers: dict[int, StepResult] = {}
        for size in dict.fromkeys(each.shape[2:] for each in pixels):
            members = [index for index, each in enumerate(pixels) if each.shape[2:] == size]
            counts = [len(pixels[index]) for index in members]
            starts = torch.cat([queries[index].expand(len(pixels[index]), -1, -1) for index in members])
            output = self._step(torch.cat([pixels[index] for index in members]), starts)
            parts = zip(*(torch.split(part, counts) for part in output), strict=True)
            answers.update(zip(members, (StepResult(*part) for part in parts), strict=True))
        return [answers[index] for index in range(len(pixels))]

    def _queries_of(self, stream: Stream) -> Tensor:
        """What the stream's frame starts from, (1, queries, hidden)."""
        return self._step.first_queries if stream._queries is None else stream._queries

    def _remember(self, stream: Stream, output: StepResult) -> Memory | None:
        """The stream's memory with the next frame in it."""
        if not self.score_memory:
            return None
        return Memory.after(stream._memory, output.class_logits, self.score_memory)

    def _postprocess(
        self, output: StepResult, placement: Placement, fuse_stuff: bool, with_masks: bool, with_confidence: bool
    ) -> Segmentation:
        return self._family.postprocess(
            output.mask_logits,
            output.class_logits,
            placement,
            task=self.task,
            is_thing=self.labels.is_thing,
            score_threshold=self.score_threshold,
            mask_threshold=self.mask_threshold,
            overlap_threshold=self.overlap_threshold,
            fuse_stuff=fuse_stuff,
            with_masks=with_masks,
            with_confidence=with_confidence,
            **({"top_k": self.top_k, "score_masks": self._family.top_k == "masks"} if self.top_k else {}),
        )

    def _identify(
        self, identities: Identities, found: Segmentation, stamp: float | None, fuse_stuff: bool
    ) -> tuple[list[Segment], np.ndarray]:
        """The segments with their ids, and the image of ids, (H, W) uint16."""
        things = [self.labels.is_thing[class_id] for class_id in found.class_ids]
        fused = fuse_stuff and self.task == "panoptic"
        if self.task == "semantic":
            names = [Identity(id=0, age=0)] * len(things)
        else:
            owner = {query: index for index, query in enumerate(found.queries)}
            observations = [
                Observation(
                    slot=-1 - class_id if fused and not thing else _slot(query, class_id, owner[query] == index),
                    class_id=class_id,
                    # Where place is all there is to go by, stuff of which a frame has several is followed like things.
                    is_thing=thing or not (fused or self._family.propagates),
                    box=box,
                )
                for index, (query, class_id, thing, box) in enumerate(
                    zip(found.queries, found.class_ids, things, found.boxes, strict=True)
                )
            ]
            names = identities.update(observations, found.semantic.shape[1], stamp, found.segment_index)
        masks = found.masks or [None] * len(names)
        segments = [
            Segment(
                id=name.id,
                class_id=class_id,
                class_name=self.labels.class_names[class_id],
                is_thing=thing,
                score=score,
                area=area,
                box=box,
                age=name.age,
                mask=mask,
            )
            for name, class_id, thing, score, area, box, mask in zip(
                names, found.class_ids, things, found.scores, found.areas, found.boxes, masks, strict=True
            )
        ]
        id_of_index = np.array([0, *(segment.id for segment in segments)], dtype=np.uint16)
        return segments, id_of_index[found.segment_index]


def _expect(name: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def _slot(query: int, class_id: int, owns: bool) -> int:
    """The slot of a segment; with `top_k` a query can be several, of which the likeliest, the last, owns its own."""
    return query if owns else query + MOST_QUERIES * (1 + class_id)


def _torch_alone(loaded: Checkpoint, fit: str) -> str | None:
    """What no export serves: it has one size of image, and the parts of a ViT only."""
    if not isinstance(loaded.network, QueryVit):
        return f"a {loaded.family.name} runs"
    if fit == "keep_aspect" and loaded.family.propagates:
        return "fit 'keep_aspect' runs"
    return None


def _logits(output: StepResult) -> Logits:
    masks, classes = (logits[0].float().cpu().numpy() for logits in (output.mask_logits, output.class_logits))
    return Logits(masks, classes)
