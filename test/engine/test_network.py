"""The network: stepped frame by frame it equals Hugging Face's forward over the whole clip."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import VideomtConfig

from eomt_ros.engine.networks import Dinov2Settings, StepResult, Videomt
from test.engine.checkpoints import random_network

TOLERANCE = 1e-5

SHAPES: dict[str, dict[str, Any]] = {
    "small": {},
    "wider": {"hidden_size": 64, "num_attention_heads": 8, "mlp_ratio": 4},
    "one head": {"num_attention_heads": 1},
    "queries from the first layer on": {"num_hidden_layers": 3, "num_blocks": 3},
    "queries in the last layer only": {"num_hidden_layers": 5, "num_blocks": 1},
    "one query": {"num_queries": 1},
    "many queries": {"num_queries": 50},
    "no registers": {"num_register_tokens": 0},
    "many registers": {"num_register_tokens": 7},
    "one upscale block": {"num_upscale_blocks": 1},
    "three upscale blocks": {"num_upscale_blocks": 3, "image_size": 32},
    "small patches": {"patch_size": 8},
    "odd patches": {"patch_size": 14, "image_size": 70},
    "swiglu": {"use_swiglu_ffn": True},
    "swiglu of a width that is rounded": {"use_swiglu_ffn": True, "hidden_size": 40, "mlp_ratio": 3},
    "relu": {"hidden_act": "relu"},
    "silu": {"hidden_act": "silu"},
    "coarse layer norm": {"layer_norm_eps": 1e-2},
    "one class": {"id2label": {0: "floor"}},
}


def pair(**shape: Any) -> tuple[torch.nn.Module, Videomt]:
    """Hugging Face's network with random weights, and ours with the same."""
    theirs = random_network(**shape)
    with torch.no_grad():
        # Random weights give mask logits of 100, where float32 itself is no finer than 1e-5; trained ones stay near 10.
        theirs.mask_head.fc3.weight.mul_(0.1)
        theirs.mask_head.fc3.bias.mul_(0.1)
    ours = Videomt(Dinov2Settings.from_config(theirs.config.to_dict()))
    weights = {name: weight for name, weight in theirs.state_dict().items() if name not in Videomt.TRAINING_ONLY}
    ours.load_state_dict(weights)
    return theirs, ours.eval()


def clip_of(network: Videomt, batch: int, frames: int) -> Tensor:
    """Random normalised clips, (batch, frames, 3, image_size, image_size)."""
    size = network.settings.image_size
    return torch.randn(batch, frames, 3, size, size, generator=torch.Generator().manual_seed(1))


def step_through(network: Videomt, clip: Tensor) -> list[StepResult]:
    queries = network.first_queries(clip.shape[0])
    outputs = []
    for pixels in clip.unbind(1):
        outputs.append(network(pixels, queries))
        queries = outputs[-1].next_queries
    return outputs


@torch.no_grad()
def assert_steps_equal_the_clip(
    theirs: torch.nn.Module, ours: Videomt, clip: Tensor, tolerance: float = TOLERANCE
) -> None:
    expected = theirs(pixel_values_videos=clip)
    outputs = step_through(ours, clip)
    # The reference's outputs are frame-major: all streams of the first frame, then all of the second.
    masks = torch.cat([output.mask_logits for output in outputs])
    classes = torch.cat([output.class_logits for output in outputs])
    assert masks.shape == expected.masks_queries_logits.shape
    assert classes.shape == expected.class_queries_logits.shape
    assert (masks - expected.masks_queries_logits).abs().max() <= tolerance
    assert (classes - expected.class_queries_logits).abs().max() <= tolerance


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_stepping_equals_the_forward_over_the_clip(shape, batch):
    theirs, ours = pair(**shape)
    assert_steps_equal_the_clip(theirs, ours, clip_of(ours, batch, frames=5))


def test_stepping_equals_the_forward_over_a_long_clip():
    """In float64: what float32 rounds in one frame, the queries carry on into the next and make larger."""
    theirs, ours = pair()
    assert_steps_equal_the_clip(theirs.double(), ours.double(), clip_of(ours, 1, frames=40).double(), tolerance=1e-9)


@torch.no_grad()
def test_the_queries_carry_what_earlier_frames_showed():
    """Without this, networks that both forget would pass for equal."""
    _, ours = pair()
    clip = clip_of(ours, 1, frames=5)
    outputs = step_through(ours, clip)
    alone = ours(clip[:, 4], ours.first_queries())
    assert (outputs[4].mask_logits - alone.mask_logits).abs().max() > 0.1
    assert (outputs[4].class_logits - alone.class_logits).abs().max() > 0.1


@torch.no_grad()
def test_streams_in_a_batch_do_not_influence_each_other():
    _, ours = pair()
    clip = clip_of(ours, 3, frames=5)
    together = step_through(ours, clip)
    for index in range(3):
        for one, all_ in zip(step_through(ours, clip[index : index + 1]), together, strict=True):
            for alone, batched in zip(one, all_, strict=True):
                assert (alone[0] - batched[index]).abs().max() <= TOLERANCE


PUBLISHED = {"num_attention_heads": 6, "hidden_size": 384, "mlp_ratio": 4, "num_queries": 200, "image_size": 256}
"""The sizes of the small model, on a smaller image; it has more of the same layers."""


@torch.no_grad()
@pytest.mark.parametrize("batch", [2, 4])
def test_at_the_sizes_of_published_models_a_batch_is_its_frames(batch):
    _, network = pair(**PUBLISHED)
    first = clip_of(network, batch, 2)
    together = step_through(network, first)
    for stream in range(batch):
        for one, whole in zip(step_through(network, first[stream : stream + 1].clone()), together, strict=True):
            for name, part in one._asdict().items():
                # To the last bit where this was written; another processor may sum in another order.
                torch.testing.assert_close(part[0], getattr(whole, name)[stream], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_a_stream_carries_does_not_grow():
    _, ours = pair()
    settings = ours.settings
    for output in step_through(ours, clip_of(ours, 2, frames=5)):
        assert output.next_queries.shape == (2, settings.num_queries, settings.hidden_size)


# --- what cannot be built


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"hidden_size": 0}, "hidden_size is 0, expected a whole number from 1 to 65536"),
        ({"num_queries": "200"}, "num_queries is '200', expected a whole number from 1 to 65536"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True, expected a whole number from 1 to 1000"),
        ({"num_register_tokens": -1}, "num_register_tokens is -1, expected a whole number from 0 to 65536"),
        ({"hidden_act": "tanh"}, "hidden_act is 'tanh', expected one of gelu, relu, silu"),
        ({"hidden_size": 32, "num_attention_heads": 5}, r"hidden_size is 32, expected a multiple .*\(5\)"),
        ({"image_size": 100}, r"image_size is 100, expected a multiple of patch_size \(16\)"),
        ({"num_hidden_layers": 3, "num_blocks": 4}, r"num_blocks is 4, expected at most num_hidden_layers \(3\)"),
    ],
    ids=str,
)
def test_settings_that_describe_no_network_are_refused(entries, message):
    with pytest.raises(ValueError, match=message):
        Dinov2Settings.from_config(entries)


def test_settings_that_a_config_leaves_out_are_hugging_faces():
    ours = Dinov2Settings.from_config({})
    assert vars(ours) == {name: getattr(VideomtConfig(), name) for name in vars(ours)}
