"""What is done otherwise on a GPU: whole frames as CUDA graphs, copies beside the network."""

from __future__ import annotations

import logging

from eomt_ros.engine.backends import Backend
from eomt_ros.engine.backends.torch_backend import TorchBackend
from eomt_ros.engine.cuda.capture import CudaCapture
from eomt_ros.engine.cuda.frames import GpuFrames
from eomt_ros.engine.cuda.jpeg import TorchvisionDecoder
from eomt_ros.engine.cuda.queues import CudaQueues
from eomt_ros.engine.pipeline import Frames, PlainFrames, Recipe
from eomt_ros.engine.postprocess import videomt as postprocess
from eomt_ros.engine.preprocess.pixels import Preprocessor

log = logging.getLogger(__name__)

__all__ = ["open_frames"]


def open_frames(step: Backend, preprocess: Preprocessor, recipe: Recipe, *, compile: bool) -> Frames:
    """The fastest way that frames can take on the backend's device."""
    # Mask2Former's network is transformers' own, and its post-processing has no form for graphs.
    serves = isinstance(step, TorchBackend) and recipe.family.postprocess is postprocess.postprocess
    if not serves or step.device.type != "cuda":
        if compile:
            log.warning("compile has no effect: it is for VidEoMT and EoMT on a GPU with backend 'torch'")
        return PlainFrames(step, preprocess, recipe)
    assert isinstance(step, TorchBackend)
    queues, capture = CudaQueues(step.device), CudaCapture(step.device)
    decode = TorchvisionDecoder(step.device)
    return GpuFrames(step, preprocess, recipe, queues, capture, decode, compile=compile)
