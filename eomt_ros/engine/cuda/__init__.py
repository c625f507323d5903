"""The network and the post-processing, captured as CUDA graphs."""

from __future__ import annotations

from eomt_ros.engine.backends import Backend
from eomt_ros.engine.backends.torch_backend import TorchBackend
from eomt_ros.engine.cuda.capture import CudaCapture
from eomt_ros.engine.cuda.pipeline import CudaPipeline
from eomt_ros.engine.pipeline import Pipeline, StepwisePipeline, Task
from eomt_ros.engine.preprocess.pixels import Preprocessor

__all__ = ["open_pipeline"]


def open_pipeline(step: Backend, preprocess: Preprocessor, task: Task) -> Pipeline:
    """The fastest pipeline on the backend's device."""
    if task.family.captures and isinstance(step, TorchBackend) and step.device.type == "cuda":
        return CudaPipeline(step, preprocess, task, CudaCapture(step.device))
    return StepwisePipeline(step, preprocess, task)
