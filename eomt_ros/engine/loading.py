"""From the options that were asked for, and a checkpoint, to a backend, its fallbacks and their pipelines."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

from eomt_ros.engine.backends import Backend, open_after_overflow, open_backend, open_on_cpu
from eomt_ros.engine.cuda import open_pipeline
from eomt_ros.engine.fallback import OpenFallback, PipelineWithFallback
from eomt_ros.engine.ignore_mask import CAMERA, load_ignore_mask
from eomt_ros.engine.model.checkpoint import Checkpoint, load_checkpoint
from eomt_ros.engine.model.families import Family
from eomt_ros.engine.model.taxonomy import RobotLabels, robot_labels
from eomt_ros.engine.networks import VitSettings
from eomt_ros.engine.pipeline import Pipeline, Task
from eomt_ros.engine.postprocess.label_map import ResultClasses
from eomt_ros.engine.preprocess.geometry import Size
from eomt_ros.engine.preprocess.pixels import Preprocessor
from eomt_ros.model_options import ModelOptions

log = logging.getLogger(__name__)

USUAL_IMAGE = (480, 640)
"""Height and width that a model is made ready for, where nothing is known of the images."""

LEAST_SIZE = 32
"""Pixels: a smaller input has not even two patches a side."""

Fallbacks = tuple[OpenFallback | None, OpenFallback | None]
"""For a device that fails, and for an overflow of float16; None: there is none."""


class Loaded(NamedTuple):
    """All that a segmenter is made of."""

    checkpoint: Checkpoint
    robot: RobotLabels
    """The classes of results."""
    options: ModelOptions
    """With what was left to the model."""
    task: Task
    pipeline: PipelineWithFallback


def load(asked: ModelOptions) -> Loaded:
    """Loads a model as asked for; raises as `Segmenter.load`."""
    return made_ready(load_checkpoint(asked.model, asked.labels or None), asked)


def made_ready(checkpoint: Checkpoint, asked: ModelOptions, image: Size = USUAL_IMAGE) -> Loaded:
    """The rest, for a checkpoint whose network is the segmenter's from then on; raises as `Segmenter.of`.

    image: the size that most will have.
    """
    options = _chosen_for(checkpoint, asked)
    robot = robot_labels(checkpoint.labels, asked.taxonomy, asked.classes)
    if CAMERA not in asked.ignore_mask:
        load_ignore_mask(asked.ignore_mask)  # now, since it may be long until the first stream is opened
    task = Task(
        name=options.task,
        family=checkpoint.family,
        place=checkpoint.family.fit(checkpoint.settings, checkpoint.processor, options.task, options.fit, options.size),
        classes=ResultClasses(robot.class_ids, checkpoint.labels.is_thing, len(robot.labels.class_names)),
        score_memory=options.score_memory,
        top_k=options.top_k,
    )
    opened = _backend_for(checkpoint, asked, task, image)
    pipeline = pipeline_for(checkpoint, task, opened, fallbacks_for(checkpoint, asked, opened))
    return Loaded(checkpoint, robot, options, task, pipeline)


def _chosen_for(loaded: Checkpoint, asked: ModelOptions) -> ModelOptions:
    """The options with what they leave to the model. Raises `ValueError` where they do not go together."""
    family = loaded.family
    options = replace(asked, task=asked.task or loaded.task, size=_size_for(loaded, asked))
    if options.task != loaded.task:
        log.warning(
            "task %r, but %s is made for %r: it is segmented as asked, and finds what the model was trained for",
            *(options.task, loaded.name, loaded.task),
        )
    if not family.exports and asked.backend not in ("auto", "torch"):
        raise ValueError(
            f"backend is {asked.backend!r}, but a {family.name} runs with backend 'torch' only; use that, or 'auto'"
        )
    if asked.score_memory and not family.propagates:
        raise ValueError(
            f"score_memory is {asked.score_memory!r}, but a query of {family.name} is another object in every "
            "frame and has nothing to remember; use 0, or a VidEoMT"
        )
    if asked.top_k and family.top_k is None:
        raise ValueError(
            f"top_k is {asked.top_k!r}, but {family.name} has as many instances as queries at most, always; use 0"
        )
    return with_score_threshold(options, family)


def size_of(loaded: Checkpoint, fit: str) -> int:
    """The size that the checkpoint has for a `fit`; 0: that of the image."""
    return loaded.family.size(loaded.settings, loaded.processor, fit, loaded.labels.short_side)


def _size_for(loaded: Checkpoint, asked: ModelOptions) -> int:
    """The size that is asked for, or the checkpoint's. Raises `ValueError` for one that the network cannot take."""
    own, size = size_of(loaded, asked.fit), asked.size
    if size in (0, own):
        return own
    if not own:
        raise ValueError(
            f"size is {size}, but the processor of {loaded.name} resizes no image (do_resize: false); use 0"
        )
    if size < LEAST_SIZE:
        raise ValueError(f"size is {size}, expected at least {LEAST_SIZE}, or 0 for that of the model ({own})")
    if _is_padded(loaded, asked) or not isinstance(loaded.settings, VitSettings):
        return size
    if rest := size % (patch := loaded.settings.patch_size):
        near = f"{size - rest} or {size - rest + patch}"
        raise ValueError(f"size is {size}, expected a multiple of the network's patch ({patch}), such as {near}")
    return size


def _is_padded(loaded: Checkpoint, asked: ModelOptions) -> bool:
    """True where images of every size are padded to whole patches."""
    return asked.fit == "keep_aspect" and loaded.family.propagates


def with_score_threshold(options: ModelOptions, family: Family) -> ModelOptions:
    """The options with the family's score threshold for the task, where they leave it to that."""
    if options.score_threshold >= 0:
        return options
    return replace(options, score_threshold=family.score_thresholds.get(options.task, 0.0))


def _backend_for(loaded: Checkpoint, asked: ModelOptions, task: Task, image: Size) -> Backend:
    """The checkpoint's network, ready to run; raises as `open_backend`, which takes the network over."""
    if loaded.family.exports:
        return open_backend(loaded, asked.backend, asked.device, asked.precision, task.place(image).input)
    # Not what the network gets of it: a Mask2Former may refuse this image, and take all that come.
    return open_backend(loaded, "torch", asked.device, asked.precision, image)


def fallbacks_for(loaded: Checkpoint, asked: ModelOptions, opened: Backend) -> Fallbacks:
    """The functions that open the backend that takes over."""
    # Without `loaded`, whose weights would be kept: from the folder, since the hub may have other ones by then.
    family, settings, folder = loaded.family, loaded.settings, loaded.folder
    precision, device = asked.precision, opened.device

    def open_after_device_failure() -> Backend:
        return open_on_cpu(family.load(settings, folder), precision)

    def open_in_other_precision() -> Backend:
        return open_after_overflow(family.load(settings, folder), device)

    overflows = (precision, opened.name, opened.precision) == ("auto", "torch", "float16")
    return open_after_device_failure if asked.device == "auto" else None, open_in_other_precision if overflows else None


def pipeline_for(loaded: Checkpoint, task: Task, opened: Backend, fallbacks: Fallbacks) -> PipelineWithFallback:
    """The pipeline of a backend, and of those that take over."""
    processor = loaded.processor

    def pipeline_on(step: Backend) -> Pipeline:
        preprocess = Preprocessor(processor.image_mean, processor.image_std, device=step.device, dtype=step.dtype)
        return open_pipeline(step, preprocess, task)

    on_device_failure, on_overflow = fallbacks
    return PipelineWithFallback(opened, pipeline_on, on_device_failure=on_device_failure, on_overflow=on_overflow)
