"""The engine's public face: images of a stream in, segmentations with lasting ids out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from eomt_ros.continuity import MAX_GAP, Admitted
from eomt_ros.engine.begun import Begun, Found
from eomt_ros.engine.device import free_devices
from eomt_ros.engine.errors import EngineError, NotFiniteError, OutOfMemoryError
from eomt_ros.engine.fallback import PipelineWithFallback
from eomt_ros.engine.ignore_mask import IgnoreMask, load_ignore_mask
from eomt_ros.engine.loading import Loaded, load, made_ready, with_score_threshold
from eomt_ros.engine.model.checkpoint import Checkpoint
from eomt_ros.engine.pipeline import FrameOutput, Request
from eomt_ros.engine.results import FrameResult, Timings
from eomt_ros.engine.stream import Stream
from eomt_ros.engine.tracking.embedding import embeddings_of
from eomt_ros.engine.tracking.places import Locate
from eomt_ros.engine.tracking.regions import segments_of
from eomt_ros.engine.tracking.reidentify import Recall
from eomt_ros.engine.tracking.shared_ids import SharedIds
from eomt_ros.engine.tracking.tracker import Identities
from eomt_ros.extras import missing
from eomt_ros.model_options import GONE, ModelOptions, rules_of
from eomt_ros.one_ahead import one_ahead
from eomt_ros.stamps import SECOND, Stamp

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

log = logging.getLogger(__name__)

GONE_NAMES = {
    "segment_stream": "call `segment` with each frame",
    "decode_jpeg": "give `segment` the decoded image",
    **GONE,
}
"""Names of former versions, and what to do instead."""


def _option(name: str) -> Any:
    """A property: one option of `Segmenter.options`."""
    return property(
        lambda segmenter: getattr(segmenter.options, name),
        lambda segmenter, value: setattr(segmenter, "options", replace(segmenter.options, **{name: value})),
    )


class Segmenter:
    """A network with all that belongs to it. It keeps nothing of a camera, so any number of streams can share it.

    Made by `load`, or by `of`. A `with` block closes it at its end.

    `labels`: the classes of results. `robot`: the same, with the model's that they are made of.
    """

    def __init__(self, loaded: Loaded) -> None:
        """Private: `load` and `of` make one."""
        self.name = loaded.checkpoint.name
        self.folder = loaded.checkpoint.folder
        self.labels = loaded.robot.labels
        self.robot = loaded.robot
        self._options = loaded.options
        self._family = loaded.checkpoint.family
        self._task = loaded.task
        self._pipeline: PipelineWithFallback | None = loaded.pipeline

    @classmethod
    def load(cls, model: str | Path | ModelOptions = "demo", **options: Any) -> Segmenter:
        """Loads a checkpoint and makes it ready.

        model: as `ModelOptions.model`, or all options. options: those of `ModelOptions`, by name.

        OpenVINO and ONNX Runtime run an export of the network, which `eomt-ros export` makes, or the first load that
        names them, and which is kept next to the checkpoint or in the user's cache. Every load holds its answer to
        torch's in float32.

        Raises `CheckpointError`, `LabelsError` or `IgnoreMaskError` for what cannot be loaded, `BackendError` for a
        backend that was asked for by name and is not installed or fails, `OutOfMemoryError` where a device that was
        asked for by name has no memory left, `ValueError` for an option with a value that is none of its.
        """
        names = [field.name for field in fields(ModelOptions)]
        for name in options:
            if name not in names:
                advice = GONE_NAMES.get(name, f"expected some of {', '.join(names)}")
                raise TypeError(f"Segmenter.load takes no {name!r}: {advice}")
        given = {name: getattr(model, name) for name in names} if isinstance(model, ModelOptions) else {"model": model}
        return cls(load(ModelOptions(**{**given, **options})))

    @classmethod
    def of(cls, checkpoint: Checkpoint, **options: Any) -> Segmenter:
        """Makes a checkpoint that is in memory ready, such as one that is still in training.

        Its network is the segmenter's from then on: it is moved to the device and rounded, or freed. options: those of
        `ModelOptions` by name, but not `model` and `labels`; with device and precision named, nothing is ever read from
        the checkpoint's folder. Raises as `load`.
        """
        return cls(made_ready(checkpoint, ModelOptions(model=checkpoint.name, **options)))

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the network's memory back to its device. A second time does nothing."""
        self._pipeline = None
        free_devices()

    if not TYPE_CHECKING:  # it would take every name for one that exists

        def __getattr__(self, name: str) -> None:
            advice = f": {GONE_NAMES[name]}" if name in GONE_NAMES else ""
            raise AttributeError(f"Segmenter has no {name!r}{advice}")

    @property
    def options(self) -> ModelOptions:
        """The options in use, task, size and score threshold as chosen for the model.

        It may be replaced at any time by one that differs in `live` ones, which the frames from then on read, each
        once. Raises `ValueError` where another differs.
        """
        return self._options

    @options.setter
    def options(self, wanted: ModelOptions) -> None:
        for name, rule in rules_of(ModelOptions).items():
            if not rule.live and getattr(wanted, name) != getattr(self._options, name):
                raise ValueError(
                    f"{name}: cannot become {getattr(wanted, name)!r} while it is {getattr(self._options, name)!r}; "
                    "load the model anew"
                )
        self._options = with_score_threshold(wanted, self._family)

    task = _option("task")
    fit = _option("fit")
    size = _option("size")
    score_threshold = _option("score_threshold")
    mask_threshold = _option("mask_threshold")
    overlap_threshold = _option("overlap_threshold")
    fuse_stuff = _option("fuse_stuff")
    score_memory = _option("score_memory")
    top_k = _option("top_k")
    remember = _option("remember")
    remember_similarity = _option("remember_similarity")

    @property
    def backend(self) -> str:
        """The runtime of the network: "torch", "openvino" or "onnxruntime"."""
        return self._open_pipeline.active.step.name

    @property
    def device(self) -> str:
        """The device that the network runs on: "cpu" or "cuda:N"."""
        return self._open_pipeline.active.step.runs_on

    @property
    def precision(self) -> str:
        """The type of most of the network's arithmetic: "float32", "bfloat16" or "float16"."""
        return self._open_pipeline.active.step.precision

    @property
    def identity(self) -> str:
        """The ground of the ids: "query", the network's memory; "overlap", the place of things from frame to frame;
        "none", in the semantic task.
        """
        if self.task == "semantic":
            return "none"
        return "query" if self._family.propagates else "overlap"

    @property
    def uses_places(self) -> bool:
        """True where the ids of things depend on their places, if those are known: where things are remembered."""
        return self.task != "semantic" and self.options.remember > 0

    def open_stream(self, *, max_gap: float = MAX_GAP, camera: str = "", shared_ids: SharedIds | None = None) -> Stream:
        """A stream for one camera.

        max_gap: as `Stream.max_gap`. camera: its name, where the option `ignore_mask` has a mask for each. shared_ids:
        those of several cameras of a robot; None for ids of its own. Raises `IgnoreMaskError` where there is no such
        mask.
        """
        return self._open_stream(max_gap, load_ignore_mask(self._options.ignore_mask, camera), shared_ids)

    def _open_stream(self, max_gap: float, ignored: IgnoreMask | None, shared_ids: SharedIds | None = None) -> Stream:
        if self._family.propagates:
            return Stream(self, Identities(shared_ids), max_gap, ignored)
        from eomt_ros.engine.tracking.by_overlap import OverlapIdentities  # not at the top: a start waits for scipy

        return Stream(self, OverlapIdentities(shared_ids), max_gap, ignored)

    def warm_up(self, height: int, width: int, images: int = 1) -> None:
        """Runs so many black images of that size at once, so that the first real ones do not pay for what is done once,
        capture included, nor find out that there is no memory for so many. Raises as `segment_batch`.
        """
        batch = [np.zeros((height, width, 3), np.uint8)] * images
        precision = self.precision
        try:
            self.segment_batch(batch, [self._open_stream(MAX_GAP, None) for _ in batch])
        except NotFiniteError as error:
            if self.precision == precision:
                raise
            log.warning("%s", error)
            self.segment_batch(batch, [self._open_stream(MAX_GAP, None) for _ in batch])

    def segment(
        self,
        image: np.ndarray | PilImage,
        stream: Stream,
        *,
        stamp: Stamp | Admitted | None = None,
        locate: Locate | None = None,
        with_masks: bool = False,
        with_logits: bool = False,
        with_confidence: bool = True,
        with_embeddings: bool = False,
    ) -> FrameResult:
        """Segments the next frame of a stream.

        image: (H, W, 3) uint8 RGB, with any strides, or one of PIL in 8 bits.
        stamp: seconds, on any clock that runs with the camera's; the ids use it. A float counts to the microsecond,
        which is what it holds since 1970; `Fraction(nanoseconds, 10**9)` counts to the nanosecond. With what
        `Stream.admit` gave in place of it, the stream begins anew by itself, as in `Stream.segment`.
        locate: gives the places of what the frame shows, by which things that come back are found again.
        with_masks, with_logits, with_confidence: whether to give the segments' masks, the network's logits, and the
        confidence of every pixel. with_embeddings: whether to give those of things where none are remembered.

        Raises `ValueError` for what is no such image, `NotFiniteError` where the network gives NaN or infinity,
        `OutOfMemoryError` where the device has no memory left. The stream is then as before, and goes on if the caller
        wants.
        """
        return self.segment_batch(
            [image],
            [stream],
            stamps=[stamp],
            locate=[locate],
            with_masks=with_masks,
            with_logits=with_logits,
            with_confidence=with_confidence,
            with_embeddings=with_embeddings,
        )[0]

    @overload
    def segment_batch(
        self,
        images: Sequence[np.ndarray | PilImage],
        streams: Sequence[Stream],
        *,
        stamps: Sequence[Stamp | Admitted | None] | None = None,
        locate: Sequence[Locate | None] | None = None,
        with_masks: bool = False,
        with_logits: bool = False,
        with_confidence: bool = True,
        with_embeddings: bool = False,
        return_exceptions: Literal[False] = False,
    ) -> list[FrameResult]: ...

    @overload
    def segment_batch(
        self,
        images: Sequence[np.ndarray | PilImage],
        streams: Sequence[Stream],
        *,
        stamps: Sequence[Stamp | Admitted | None] | None = None,
        locate: Sequence[Locate | None] | None = None,
        with_masks: bool = False,
        with_logits: bool = False,
        with_confidence: bool = True,
        with_embeddings: bool = False,
        return_exceptions: bool,
    ) -> list[FrameResult | EngineError | ValueError]: ...

    def segment_batch(
        self,
        images: Sequence[np.ndarray | PilImage],
        streams: Sequence[Stream],
        *,
        stamps: Sequence[Stamp | Admitted | None] | None = None,
        locate: Sequence[Locate | None] | None = None,
        with_masks: bool = False,
        with_logits: bool = False,
        with_confidence: bool = True,
        with_embeddings: bool = False,
        return_exceptions: bool = False,
    ) -> Any:
        """Segments one frame each of several streams in one pass of the network; otherwise as `segment`.

        The images may differ in size. A result is that of the camera alone: exactly in float32 on a CPU, and with
        OpenVINO and ONNX Runtime, which take frame by frame; else sums round otherwise and move an edge by a pixel.

        return_exceptions: whether to give the exception of a frame that fails in place of its result, as
        `asyncio.gather` does; its stream is then as before, and the others go on. Otherwise the first one is raised,
        and all streams are as before.

        Raises `ValueError` where images, streams, stamps and locate differ in number, or a stream is named twice.
        """
        stamps = [None] * len(images) if stamps is None else stamps
        locate = [None] * len(images) if locate is None else locate
        if not len(images) == len(streams) == len(stamps) == len(locate):
            raise ValueError(
                f"got {len(images)} images, {len(streams)} streams, {len(stamps)} stamps and {len(locate)} locate, "
                "expected as many of each"
            )
        if len(set(streams)) < len(streams):
            raise ValueError("streams names one twice, expected one frame of each: the later waits for the earlier")
        pipeline = self._open_pipeline
        active = pipeline.active
        begun: dict[int, Begun] = {}
        outputs: dict[int, FrameOutput | EngineError | ValueError] = {}
        for index, given in enumerate(zip(images, streams, stamps, locate, strict=True)):
            try:
                begun[index] = Begun.of(*given, task=self._task, step=active.step)
            except ValueError as error:
                if not return_exceptions:
                    raise
                outputs[index] = error.with_traceback(None)
        inputs = [each.frame for each in begun.values()]
        request = Request(inputs, self._options, with_masks, with_logits, with_confidence, with_embeddings)
        outputs.update(zip(begun, pipeline.run(active, request), strict=True))
        failed = [each for each in outputs.values() if isinstance(each, Exception)]
        if failed and not return_exceptions:
            try:
                raise failed[0]
            finally:
                del failed, outputs  # else the error and its traceback hold each other, and the images
        found: dict[int, Found] = {}
        for index, output in outputs.items():
            if isinstance(output, FrameOutput):
                try:
                    found[index] = begun[index].found(output)
                except OutOfMemoryError as error:
                    if not return_exceptions:
                        raise
                    outputs[index] = error.with_traceback(None)
        # Only now, when nothing can fail any more: a stream is never left half updated.
        results: list[FrameResult | EngineError | ValueError] = []
        for index, output in sorted(outputs.items()):
            if isinstance(output, FrameOutput):
                begun[index].advance(output, propagates=self._family.propagates)
                results.append(self._result(output, begun[index], request, found[index]))
            else:
                results.append(output)
        return results

    def begin(
        self,
        image: np.ndarray | PilImage,
        stream: Stream,
        *,
        stamp: Stamp | Admitted | None = None,
        locate: Locate | None = None,
        **wanted: Any,
    ) -> Callable[[], FrameResult]:
        """Runs the network on the next frame of a stream; what this gives does the rest, and returns its result.

        The rest may run on another thread while this one begins the next frame: it uses the stream's ids, and nothing
        that the next frame starts from. On one thread at a time, frames are begun in their order, and so are the rests
        done. wanted: with_masks and so on; all as in `segment`. Raises as `segment`; the rest
        raises what `locate` does, and `OutOfMemoryError`, after which the stream has gone on nevertheless.
        """
        pipeline = self._open_pipeline
        active = pipeline.active
        begun = Begun.of(image, stream, stamp, locate, task=self._task, step=active.step)
        request = Request([begun.frame], self._options, **wanted)
        (output,) = pipeline.run(active, request)
        if not isinstance(output, FrameOutput):
            try:
                raise output
            finally:
                del output  # as in `segment_batch`
        begun.advance(output, propagates=self._family.propagates)
        return lambda: self._result(output, begun, request, begun.found(output))

    def segment_video(self, path: str | Path, **wanted: Any) -> Iterator[FrameResult]:
        """Segments the frames of a video file, one after the other, in a stream of its own.

        While a result is in use, a thread reads the next frame and runs the network on it; it ends with the iterator.
        path: a video as ffmpeg reads it. wanted: what `segment` takes that begins with `with_`. Raises
        `VideoError` of `eomt_ros.video` for a file that cannot be read as a video, `ImportError` without PyAV.
        """
        try:
            from eomt_ros.video import read_video
        except ImportError as error:
            raise ImportError(missing(error, "evaluation")) from error
        problems: list[str] = []

        def begun() -> Generator[Callable[[], FrameResult], None, None]:
            stream = self.open_stream()
            for frame in read_video(Path(path), problems):
                yield stream.begin(frame.image, stamp=Fraction(frame.stamp, SECOND), **wanted)

        with closing(one_ahead(begun())) as ahead:
            for finish in ahead:
                yield finish()
        for problem in problems:
            log.warning("%s: %s", path, problem)

    @property
    def _open_pipeline(self) -> PipelineWithFallback:
        """Raises `EngineError` where the segmenter is closed."""
        if self._pipeline is None:
            raise EngineError("the segmenter is closed; load the model again")
        return self._pipeline

    def _result(self, frame: FrameOutput, begun: Begun, request: Request, found: Found) -> FrameResult:
        """The frame with ids."""
        begin = perf_counter()
        stream, start = begun.stream, begun.start
        if start.reset_reason:
            stream.forget_ids()
        label_map, options = found.label_map, request.options
        named = self.task != "semantic"
        described = named and (request.with_embeddings or options.remember > 0)
        segments = segments_of(
            label_map,
            self.labels,
            stream._identities if named else None,
            begun.stamp,
            fused=options.fuse_stuff and self.task == "panoptic",
            propagated=self._family.propagates,
            places=found.places,
            embeddings=embeddings_of(begun.frame.image, label_map) if described else None,
            recall=Recall(options.remember, options.remember_similarity),
        )
        identified = perf_counter()
        if not named:
            panoptic = np.zeros(label_map.winner.shape, np.uint16)
        else:
            panoptic = label_map.painted([segment.id for segment in segments])
        return FrameResult(
            semantic=label_map.semantic(),
            panoptic=panoptic,
            confidence=label_map.shown_confidence(),
            segments=segments,
            epoch=stream.epoch,
            reset_reason=start.reset_reason,
            labels=self.labels,
            logits=frame.logits,
            timings=Timings(
                preprocess=frame.preprocess,
                network=frame.network,
                postprocess=found.postprocess + perf_counter() - identified,
                identity=found.identity + identified - begin,
            ),
        )
