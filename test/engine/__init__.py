"""Tests of the engine, many of them against Hugging Face's `transformers`, whose models import torchvision.

Where torch is built without CUDA and torchvision with it, torchvision cannot load its operators and stumbles over the
two that it describes to torch on import. Nothing here calls them: it is enough that torch has heard of their names.
"""

import torch

try:
    import torchvision  # noqa: F401
except ModuleNotFoundError:
    pass  # transformers does without
except RuntimeError:
    OPERATORS = torch.library.Library("torchvision", "DEF")
    OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    OPERATORS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
