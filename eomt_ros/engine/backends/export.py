"""Exports a network's step as an ONNX file, with torch's answers to check it by.

One ONNX file serves OpenVINO and ONNX Runtime, whatever their version and torch's, and a robot that is given it needs
neither torch's exporter nor its packages. The weights stay in the checkpoint, and are joined to the file when it is
read. Height and width are free in the file, and fixed by whoever runs it, because backends are fastest with fixed
sizes: what tells the patches of a size apart comes in as an input.

The batch is one frame: TensorRT takes minutes for every new one, and a frame's result does not depend on the streams
that share its batch.
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

from eomt_ros.engine.device import PRECISIONS
from eomt_ros.engine.errors import BackendError, first_line
from eomt_ros.engine.model.checkpoint import Checkpoint
from eomt_ros.engine.networks import QueryVit, StepResult
from eomt_ros.engine.preprocess.geometry import Size
from eomt_ros.regular_file import read_bytes

EXPORT_VERSION = 2
"""To be raised whenever this module writes something else for the same network."""

MODEL = "step.onnx"
ANSWERS = "answers.safetensors"
DATA = "step.onnx.data"
"""The weights of a network that has more than an ONNX file can."""
LARGEST_JOINED = 2**31 - 2**24
"""Bytes of weights that an ONNX file can have."""
LARGEST_MODEL = 1 << 26
"""Bytes of the file without weights; of ViT-L it has less than one in a hundred of that."""
WEIGHT = "network."
"""What the names of weights in the file begin with."""
INPUT_NAMES = ("pixels", "queries")
OUTPUT_NAMES = ("mask_logits", "class_logits", "next_queries")
PACKAGES = ("onnx", "onnxscript")

TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.1}
"""Largest error of a backend beside float32 torch, as a share of the root mean square; of ViT-S: 1e-6, 0.013."""

ONNX_TYPES = {torch.float32: 1, torch.float16: 10}
"""Of TensorProto.DataType in onnx.proto."""

Step = Callable[[Tensor, Tensor], StepResult]


@dataclass(frozen=True, eq=False)
class Export:
    """A network's step, ready to be written."""

    program: torch.onnx.ONNXProgram
    weights: dict[str, Tensor]
    """By their names in the file."""
    answers: dict[str, Tensor]

    def write(self, folder: Path) -> None:
        """Writes its files; raises `OSError` where it cannot."""
        import onnx_ir

        if _bytes_of(self.weights) > LARGEST_JOINED:
            onnx_ir.save(self.program.model, folder / MODEL, external_data=DATA)
        else:
            for name in self.weights.keys() & self.program.model.graph.initializers.keys():
                del self.program.model.graph.initializers[name]
            (folder / MODEL).write_bytes(onnx_ir.to_proto(self.program.model).SerializeToString())
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
    answers = _answers(network, probe(network, _own_size(network)))
    broken = [name for name, answer in answers.items() if not bool(answer.isfinite().all())]
    if broken:
        raise BackendError(
            f"in float32 the network's {', '.join(broken)} are NaN or infinite: an export has no measure"
        )
    step = _Step(network if dtype == torch.float32 else copy.deepcopy(network).to(dtype), dtype).eval()
    free = torch.export.Dim.DYNAMIC
    # Of three lengths, else the exporter may take the same length for the same dimension.
    grid = network.settings.grid[0] + 1, network.settings.grid[1] + 2
    size = [patches * network.settings.patch_size for patches in grid]
    positions = network.positions(grid)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                step,
                (torch.zeros(1, 3, *size), network.first_queries().clone(), *positions),
                input_names=(*INPUT_NAMES, *position_names(len(positions))),
                output_names=OUTPUT_NAMES,
                dynamic_shapes=({2: free, 3: free}, {}, tuple({0: free} for _ in positions)),
                dynamo=True,
                optimize=False,  # which would fold weights into others; the runtimes optimise
                verbose=False,
            )
    except Exception as error:  # the exporter's errors have no common base, and those of its packages come through
        raise BackendError(f"torch {torch.__version__} cannot export the network: {first_line(error)}") from error
    assert program is not None
    _tidy(program)
    return Export(program, _weights(step.network), answers)


def position_names(count: int) -> tuple[str, ...]:
    """The names of the inputs for `QueryVit.positions`, so many."""
    return tuple(f"positions_{index}" for index in range(count))


def _tidy(program: torch.onnx.ONNXProgram) -> None:
    """Names the free dimensions, and removes what is for the exporter's developers: where in its files, and this
    machine's, each operation comes from.
    """
    import onnx_ir

    graph = program.model.graph
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for output in node.outputs:
            output.metadata_props.clear()
            output.doc_string = None
            if output not in graph.outputs:
                output.shape = None
    pixels, _, *positions = graph.inputs
    pixels.shape = onnx_ir.Shape((1, 3, "height", "width"))
    for each in positions:
        assert each.shape is not None
        each.shape = onnx_ir.Shape(("patches", each.shape[1]))
    masks = graph.outputs[0]
    assert masks.shape is not None
    masks.shape = onnx_ir.Shape((1, masks.shape[1], "mask_height", "mask_width"))


def _weights(network: QueryVit) -> dict[str, Tensor]:
    return {WEIGHT + name: weight for name, weight in network.state_dict().items()}


def _bytes_of(weights: dict[str, Tensor]) -> int:
    return sum(weight.nbytes for weight in weights.values())


def with_weights(folder: Path, network: QueryVit) -> bytes | Path:
    """An export as runtimes read it, with the weights of the network that it was made from: a whole ONNX file's
    content, or where it lies. Raises `OSError`.
    """
    if (folder / DATA).exists():
        return folder / MODEL
    dtype = PRECISIONS[folder.name.partition("-")[0]]
    weights = {name: weight.to(dtype).contiguous() for name, weight in _weights(network).items()}
    # Protobuf messages one after the other are one message, with the fields of both (protobuf.dev, encoding,
    # "Last One Wins"): here ModelProto.graph.initializer of onnx.proto.
    records: list[bytes | memoryview] = []
    for name, weight in weights.items():
        content = weight.view(-1).view(torch.uint8).numpy().data
        head = b"".join(b"\x08" + _varint(length) for length in weight.shape)  # dims
        head += b"\x10" + _varint(ONNX_TYPES[dtype]) + b"\x42" + _varint(len(name)) + name.encode()
        head += b"\x4a" + _varint(len(content))  # raw_data
        records += [b"\x2a" + _varint(len(head) + len(content)) + head, content]
    length = sum(map(len, records))
    return b"".join([read_bytes(folder / MODEL, LARGEST_MODEL), b"\x3a" + _varint(length), *records])


def _varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    groups = [number >> shift & 0x7F for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


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


def check_step(step: Step, size: Size, network: QueryVit, precision: str, folder: Path, who: str) -> None:
    """Raises `BackendError` unless a step that was made from `folder`, for one size of image, answers as torch does."""
    inputs = probe(network, size)
    # Those that are kept are for the network's own size, which need not be made ready for the check alone.
    answers = load_file(folder / ANSWERS) if size == _own_size(network) else _answers(network, inputs)
    for name, found in zip(OUTPUT_NAMES, step(*inputs), strict=True):
        expected = answers[name]
        found = _sample(found)
        if found.shape != expected.shape:
            raise BackendError(f"{who} gives {name} of shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
        error = float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())
        if not error <= TOLERANCES[precision]:
            raise BackendError(
                f"{who} computes something else than torch: {name} differs by {error:.2g} of its size, expected at "
                f"most {TOLERANCES[precision]:g} in {precision}; use backend 'torch', or another version of it"
            )


def probe(network: QueryVit, size: Size) -> tuple[Tensor, Tensor]:
    """Pixels and queries of a made-up frame, the same on every machine: (1, 3, *size), (1, queries, hidden)."""
    count = 3 * size[0] * size[1]
    # Weyl's sequence: as good as noise here, and exact integers all the way, unlike a random generator's future.
    levels = (torch.arange(count, dtype=torch.int64) * 2654435761) % 2**32
    pixels = (levels.double() / 2**30 - 2).float().view(1, 3, *size)
    return pixels, network.first_queries().clone()


def _own_size(network: QueryVit) -> Size:
    """The size that the network was trained on."""
    return network.settings.image_size, network.settings.image_size


def _answers(network: QueryVit, inputs: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    with torch.inference_mode():
        return {name: _sample(answer) for name, answer in zip(OUTPUT_NAMES, network(*inputs), strict=True)}


def _sample(answer: Tensor) -> Tensor:
    """All of a small answer; of masks, a pixel in sixteen."""
    return (answer[..., ::4, ::4] if answer.ndim == 4 else answer).contiguous()


class _Step(nn.Module):
    """The network, with float32 in and out."""

    def __init__(self, network: QueryVit, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, pixels: Tensor, queries: Tensor, *positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cast = [each.to(self.dtype) for each in (pixels, queries, *positions)]
        masks, classes, next_queries = self.network(*cast[:2], tuple(cast[2:]))
        return masks.float(), classes.float(), next_queries.float()
