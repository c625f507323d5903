"""The engine beside Hugging Face's processor and model: preprocessing, network step, whole frame; and its memory over
time.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from transformers import VideomtForUniversalSegmentation, VideomtVideoProcessor

from bench.timing import Row, compare
from eomt_ros.engine import Segmenter, checkpoint
from eomt_ros.engine.preprocess import Preprocessor
from test.engine.checkpoints import write_checkpoint

SMALL = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "image_size": 640,
    "num_blocks": 3,
    "num_queries": 200,
    "id2label": {index: f"class {index}" for index in range(40)},
}
"""The shape of videomt-dinov2-small-ytvis2019."""

FRAMES = 1000


def rows() -> Iterator[Row]:
    """All measurements of this file; random weights, random frames."""
    with tempfile.TemporaryDirectory() as folder:
        model = write_checkpoint(Path(folder) / "vit-s", **SMALL)
        yield preprocessing()
        yield from frames(model)
    yield memory()


def frame(height: int = 1080, width: int = 1920, seed: int = 0) -> np.ndarray:
    """A smooth random picture, (height, width, 3) uint8."""
    coarse = torch.rand(1, 3, 12, 20, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].clamp(0, 1)
    return (255 * fine).byte().permute(1, 2, 0).contiguous().numpy()


def preprocessing() -> Row:
    """A full-HD image to the network's 640 x 640."""
    image = frame()
    processor = VideomtVideoProcessor()
    ours = Preprocessor((640, 640), processor.image_mean, processor.image_std)
    clip = torch.from_numpy(image).permute(2, 0, 1)[None]
    return compare(
        "preprocessing, 1920x1080 to 640x640",
        lambda: ours(image),
        lambda: processor(videos=clip, return_tensors="pt"),
    )


@torch.inference_mode()
def frames(model: Path) -> Iterator[Row]:
    """The network's step, and whole frames of both tasks, at the shape of ViT-S."""
    image = frame()
    network = checkpoint.load(model).network
    reference = VideomtForUniversalSegmentation.from_pretrained(model).eval()
    processor = VideomtVideoProcessor()
    pixels = torch.randn(1, 3, 640, 640)
    queries = network.first_queries()
    yield compare(
        "network step, ViT-S 640, float32",
        lambda: network(pixels, queries),
        lambda: reference(pixel_values_videos=pixels[None]),
        pairs=5,
    )
    clip = torch.from_numpy(image).permute(2, 0, 1)[None]
    methods = {
        "panoptic": processor.post_process_panoptic_segmentation,
        "instance": processor.post_process_instance_segmentation,
    }
    for task, method in methods.items():
        segmenter = Segmenter.load(model, task=task, device="cpu")
        stream = segmenter.open_stream()

        def theirs(method=method) -> object:
            prepared = processor(videos=clip, return_tensors="pt")
            return method(reference(**prepared), target_sizes=[image.shape[:2]])

        yield compare(
            f"whole frame, 1920x1080, ViT-S 640, {task}",
            lambda segmenter=segmenter, stream=stream: segmenter.segment(image, stream),
            theirs,
            pairs=5,
            note="image in memory to label maps in memory",
        )


def memory() -> Row:
    """Growth of the process over a thousand frames of the demo model."""
    segmenter = Segmenter.load("demo", device="cpu")
    stream = segmenter.open_stream()
    images = [frame(240, 424, seed) for seed in range(10)]

    def run(count: int) -> int:
        for index in range(count):
            segmenter.segment(images[index % len(images)], stream)
        gc.collect()
        return psutil.Process().memory_info().rss

    before = run(100)
    grown = (run(FRAMES) - before) / 2**20
    return Row(f"memory over {FRAMES} frames, demo, 424x240", note=f"{grown:+.1f} MiB")
