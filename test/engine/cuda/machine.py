"""A GPU's edge without a GPU: work is captured by keeping the function."""

from __future__ import annotations

from dataclasses import dataclass

from eomt_ros.engine import Segmenter
from eomt_ros.engine.cuda.capture import Capture, Replay, Work
from eomt_ros.engine.cuda.pipeline import CudaPipeline
from eomt_ros.engine.pipeline import StepwisePipeline


def on_gpu(segmenter: Segmenter, capture: Capture | None = None) -> Segmenter:
    """A segmenter of a CPU, its frames on the GPU's way from now on."""
    active = segmenter._pipeline.active
    stepwise = active.pipeline
    assert isinstance(stepwise, StepwisePipeline)
    pipeline = CudaPipeline(stepwise.step, stepwise.preprocess, stepwise.task, capture)
    segmenter._pipeline.active = active._replace(pipeline=pipeline)
    return segmenter


def pipeline_of(segmenter: Segmenter) -> CudaPipeline:
    """The way that its frames go."""
    assert isinstance(segmenter._pipeline.active.pipeline, CudaPipeline)
    return segmenter._pipeline.active.pipeline


@dataclass
class Recorder:
    """Captures work as a graph does: it runs again into the same memory, with what its inputs hold by then."""

    captured: int = 0
    replayed: int = 0

    def __call__(self, work: Work) -> Replay:
        self.captured += 1
        outputs = work()

        def run() -> None:
            self.replayed += 1
            for kept, new in zip(outputs, work(), strict=True):
                kept.copy_(new)

        return Replay(run, outputs)
