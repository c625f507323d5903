"""A frame's work can be held by a DEVICE graph: nothing in it waits for the host, and nothing of it is elsewhere.

torch's "meta" device says so without a GPU: its tensors have a type and a shape but no numbers, so whatever looks at a
number, makes a shape of one, or copies from or to the host stands out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eomt_ros.engine.backends import StepResult
from eomt_ros.engine.cuda.step import Inputs, Output, WholeStep
from eomt_ros.engine.networks import Dinov2Settings, Dinov3Settings, Eomt, QueryVit, Videomt
from eomt_ros.engine.postprocess.fixed_shape import Task
from eomt_ros.engine.preprocess.geometry import Fit, keep_aspect, pad_to_square, sliding_windows, stretch
from eomt_ros.engine.preprocess.pixels import Preprocessor
from test.engine.checkpoints import SMALL

QUERIES, CLASSES = 24, 5
CONFIG = {**SMALL, "num_queries": QUERIES, "id2label": {str(index): f"class {index}" for index in range(CLASSES)}}
DINOV3 = {**CONFIG, "model_type": "eomt_dinov3", "rope_parameters": {"rope_theta": 100.0}}
DEVICE = torch.device("meta")


class OnlyOnTheGpu(TorchDispatchMode):
    """Lists every operation that touches memory of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.strangers: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        self.operations += 1
        for each in tree_leaves((args, kwargs, result)):
            if isinstance(each, Tensor) and each.device != DEVICE:
                self.strangers.append(f"{operation} on {each.device}, {tuple(each.shape)}")
        return result


class Network:
    """A network whose weights lie on a GPU that is not there."""

    def __init__(self, kind: type[QueryVit], settings: Dinov2Settings | Dinov3Settings) -> None:
        with torch.device("meta"):
            self.network = kind(settings).eval().requires_grad_(False)
        for module in self.network.modules():
            for held in (module._parameters, module._buffers):
                for name, part in held.items():
                    if part is not None:
                        held[name] = torch.empty(part.shape, dtype=torch.bfloat16, device=DEVICE)

    def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
        masks, classes, left = self.network(pixels, queries)
        return StepResult(masks, classes, self.network.next_queries(left))


NETWORKS: dict[str, tuple[type[QueryVit], Callable[[], Dinov2Settings | Dinov3Settings]]] = {
    "videomt": (Videomt, lambda: Dinov2Settings.from_config(CONFIG)),
    "eomt": (Eomt, lambda: Dinov2Settings.from_config(CONFIG)),
    "videomt_dinov3": (Videomt, lambda: Dinov3Settings.from_config(DINOV3)),
    "eomt_dinov3": (Eomt, lambda: Dinov3Settings.from_config(DINOV3)),
}
PLACES: dict[str, Fit] = {
    "stretch": stretch((64, 64)),
    "keep_aspect": keep_aspect(64),
    "pad_to_square": pad_to_square(64),
    "windows": sliding_windows(64),
}


def whole_step(network: str, task: str, place: str, cameras: int, **more: Any) -> tuple[WholeStep, Inputs]:
    kind, settings = NETWORKS[network]
    most = CLASSES if task == "semantic" else more.get("top_k") or 16
    sizes = [(100 + 10 * camera, 150) for camera in range(cameras)]
    step = Network(kind, settings())
    with_memory = more.pop("with_memory", False)
    tasks = [
        Task(task, PLACES[place](size), most, **{"top_k": 0, "score_masks": True, "with_confidence": True, **more})
        for size in sizes
    ]
    inputs = Inputs(
        tuple(torch.empty(*size, 3, dtype=torch.uint8, device=DEVICE) for size in sizes),
        torch.empty(3 + cameras, dtype=torch.float64, device=DEVICE),
        torch.empty(cameras, QUERIES, SMALL["hidden_size"], dtype=torch.bfloat16, device=DEVICE),
        torch.empty(cameras, QUERIES, CLASSES + 1, device=DEVICE) if with_memory else None,
    )
    mean = torch.empty(1, 3, 1, 1, device=DEVICE)
    preprocess = Preprocessor((0.5,) * 3, (0.5,) * 3, dtype=torch.bfloat16)
    preprocess.mean = preprocess.std = mean
    return WholeStep(step, preprocess, tasks, [(2, 1, 0)] * cameras), inputs


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("panoptic", {}),
        ("panoptic", {"with_memory": True, "with_confidence": False}),
        ("instance", {}),
        ("instance", {"top_k": 7}),
        ("semantic", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("place", PLACES)
def test_a_frames_work_neither_waits_for_the_host_nor_leaves_the_gpu(network, task, more, place):
    if place == "windows" and task != "semantic":
        pytest.skip("windows are the semantic task's")
    with torch.inference_mode():
        step, inputs = whole_step(network, task, place, cameras=2, **more)
        step(inputs)  # what is made once for an image's size is made outside of the capture
        with OnlyOnTheGpu() as watch:
            outputs = step(inputs)
    assert watch.operations > 100
    assert watch.strangers == []
    assert all(isinstance(output, Output) for output in outputs)


@pytest.mark.parametrize(
    "work",
    [
        lambda values: values.nonzero(),
        lambda values: values[values > 0],
        lambda values: bool(values.sum() > 0),
        lambda values: values.amax().item(),
        lambda values: values.cpu(),
        lambda values: values + torch.tensor([1.0]).to(values.device),
    ],
)
def test_that_would_be_seen(work):
    """So that the test above is known to be able to fail."""
    with torch.inference_mode():
        values = torch.empty(3, device=DEVICE)
        with OnlyOnTheGpu() as watch:
            try:
                work(values)
            except Exception as error:
                watch.strangers.append(type(error).__name__)
    assert watch.strangers
