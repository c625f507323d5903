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

from eomt_ros.engine.cuda.pipeline import LabelStep
from eomt_ros.engine.model.families import FAMILIES
from eomt_ros.engine.networks import Dinov2Settings, Dinov3Settings, Eomt, QueryVit, StepResult, Videomt
from eomt_ros.engine.pipeline import Task, run_network
from eomt_ros.engine.preprocess.geometry import Fit, keep_aspect, pad_to_square, sliding_windows, stretch
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
        answer: StepResult = self.network(pixels, queries)
        return answer


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


def whole_frame(network: str, task: str, place: str, cameras: int, top_k: int) -> Callable[[], list[Any]]:
    """The network and the post-processing of one frame of each camera, which have images of different sizes."""
    kind, settings = NETWORKS[network]
    step = Network(kind, settings())
    of_frames = Task(task, FAMILIES[network], PLACES[place], (True,) * CLASSES, score_memory=0.0, top_k=top_k)
    placements = [PLACES[place]((100 + 10 * camera, 150)) for camera in range(cameras)]
    pixels = [
        torch.empty(max(1, len(each.windows)), 3, *each.input, dtype=torch.bfloat16, device=DEVICE)
        for each in placements
    ]
    queries = [torch.empty(1, QUERIES, SMALL["hidden_size"], dtype=torch.bfloat16, device=DEVICE)] * cameras
    numbers = torch.empty(3, dtype=torch.float64, device=DEVICE)

    def frame() -> list[Any]:
        answers = run_network(step, pixels, queries)
        return [
            LabelStep(of_frames, placement, 16)(answer.mask_logits, answer.class_logits, numbers)
            for answer, placement in zip(answers, placements, strict=True)
        ]

    return frame


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("task", "top_k"), [("panoptic", 0), ("instance", 0), ("instance", 7), ("semantic", 0)])
@pytest.mark.parametrize("place", PLACES)
def test_a_frames_work_neither_waits_for_the_host_nor_leaves_the_gpu(network, task, top_k, place):
    if place == "windows" and task != "semantic":
        pytest.skip("windows are the semantic task's")
    with torch.inference_mode():
        frame = whole_frame(network, task, place, cameras=2, top_k=top_k)
        frame()  # what is made once for an image's size is made outside of the capture
        with OnlyOnTheGpu() as watch:
            outputs = frame()
    assert watch.operations > 100
    assert watch.strangers == []
    assert [len(each) for each in outputs] == [4, 4]


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
