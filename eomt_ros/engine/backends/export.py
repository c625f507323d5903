"""Exports a network's step as an ONNX file, with torch's answers to check it by.

One ONNX file serves OpenVINO and ONNX Runtime, whatever their version and torch's, and a robot that is given it needs
neither torch's exporter nor its packages.

The batch is fixed at one frame: backends are fastest with fixed sizes, TensorRT takes minutes for every new one, and a
frame's result does not depend on the streams that share its batch.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from eomt_ros.engine.errors import BackendError, first_line
from eomt_ros.engine.model.checkpoint import Checkpoint
from eomt_ros.engine.networks import QueryVit, StepResult

EXPORT_VERSION = 1
"""To be raised whenever this module writes something else for the same network."""

MODEL = "step.onnx"
ANSWERS = "answers.safetensors"
INPUT_NAMES = ("pixels", "queries")
OUTPUT_NAMES = ("mask_logits", "class_logits", "next_queries")
PACKAGES = ("onnx", "onnxscript")

TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.1}
"""Largest error of a backend beside float32 torch, as a share of the root mean square; of ViT-S: 1e-6, 0.013."""

Step = Callable[[Tensor, Tensor], StepResult]


@dataclass(frozen=True, eq=False)
class Export:
    """A network's step, ready to be written."""

    program: torch.onnx.ONNXProgram
    answers: dict[str, Tensor]

    def write(self, folder: Path) -> None:
        """Writes its files; raises `OSError` where it cannot."""
        self.program.save(folder / MODEL)
        # As bytes, because what safetensors writes itself only its owner may read.
        (folder / ANSWERS).write_bytes(save(self.answers))


def exportable(checkpoint: Checkpoint) -> QueryVit:
    """A checkpoint's network, where it can be exported; raises `BackendError` where it cannot."""
    if not checkpoint.family.exports:
        raise BackendError(
            f"{checkpoint.name} is a {checkpoint.family.name}, which has no export: use backend 'torch', or 'auto'"
        )
    return cast(QueryVit, checkpoint.network)  # the only networks with an export


def export_step(network: QueryVit, dtype: torch.dtype) -> Export:
    """Exports a network's step, with the answers of float32 torch to a made-up frame.

    network: float32, on the CPU. dtype: what the export computes in; pixels, queries and outputs are float32 always.

    Raises `BackendError` where torch cannot.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(
            f"there is no export of the network yet, and to make it {' and '.join(missing)} is missing: "
            f"pip install {' '.join(PACKAGES)}, or bring an export that `eomt-ros export` made on another machine"
        )
    inputs = probe(network)
    with torch.inference_mode():
        answers = dict(zip(OUTPUT_NAMES, network(*inputs), strict=True))
    broken = [name for name, answer in answers.items() if not bool(answer.isfinite().all())]
    if broken:
        raise BackendError(
            f"in float32 the network's {', '.join(broken)} are NaN or infinite: an export has no measure"
        )
    step = _Step(network if dtype == torch.float32 else copy.deepcopy(network).to(dtype), dtype).eval()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                step, inputs, input_names=INPUT_NAMES, output_names=OUTPUT_NAMES, dynamo=True, verbose=False
            )
    except Exception as error:  # the exporter's errors have no common base, and those of its packages come through
        raise BackendError(f"torch {torch.__version__} cannot export the network: {first_line(error)}") from error
    assert program is not None
    return Export(program, {name: _sample(answer) for name, answer in answers.items()})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what the exporter and its packages tell their developers."""
    loggers = [logging.getLogger(name) for name in ("onnx_ir", "onnxscript", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def check_step(step: Step, network: QueryVit, precision: str, folder: Path, who: str) -> None:
    """Raises `BackendError` unless a step that was made from `folder` answers as torch did when it was exported."""
    answers = load_file(folder / ANSWERS)
    for name, found in zip(OUTPUT_NAMES, step(*probe(network)), strict=True):
        expected = answers[name]
        found = _sample(found)
        if found.shape != expected.shape:
            raise BackendError(f"{who} gives {name} of shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
        error = float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())
        if not error <= TOLERANCES[precision]:
            raise BackendError(
                f"{who} computes something else than torch: {name} differs by {error:.2g} of its size, expected at "
                f"most {TOLERANCES[precision]:g} in {precision}; use backend 'torch', or another version of {who}"
            )


def probe(network: QueryVit) -> tuple[Tensor, Tensor]:
    """Pixels and queries of a made-up frame, the same on every machine: (1, 3, size, size), (1, queries, hidden)."""
    size = network.settings.image_size
    count = 3 * size * size
    # Weyl's sequence: as good as noise here, and exact integers all the way, unlike a random generator's future.
    levels = (torch.arange(count, dtype=torch.int64) * 2654435761) % 2**32
    pixels = (levels.double() / 2**30 - 2).float().view(1, 3, size, size)
    return pixels, network.first_queries().clone()


def _sample(answer: Tensor) -> Tensor:
    """All of a small answer; of masks, a pixel in sixteen."""
    return (answer[..., ::4, ::4] if answer.ndim == 4 else answer).contiguous()


class _Step(nn.Module):
    """The network, with float32 in and out."""

    def __init__(self, network: QueryVit, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, pixels: Tensor, queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        masks, classes, next_queries = self.network(pixels.to(self.dtype), queries.to(self.dtype))
        return masks.float(), classes.float(), next_queries.float()
