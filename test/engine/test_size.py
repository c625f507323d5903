"""The option `size`: what is equal at any, and what is refused; beside Hugging Face it is in model/test_families.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eomt_ros.engine import Segmenter
from test.engine.checkpoints import SMALL, write_checkpoint, write_eomt, write_eomt_dinov3, write_mask2former
from test.engine.pictures import picture

SIDE = SMALL["image_size"]


def load(folder: Path, **options: Any) -> Segmenter:
    return Segmenter.load(folder, device="cpu", precision="float32", score_threshold=0.3, **options)


def test_the_checkpoints_own_size_is_what_there_is_without_the_option(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", seed=2)
    image = picture(90, 160, 1)
    segmenters = load(folder), load(folder, size=SIDE), load(folder, size=0)
    results = [each.segment(image, each.open_stream(), with_logits=True) for each in segmenters]
    assert [each.options.size for each in segmenters] == [SIDE] * 3
    for result in results[1:]:
        assert result.logits is not None
        assert results[0].logits is not None
        assert np.array_equal(result.logits.masks, results[0].logits.masks)
        assert result.segments == results[0].segments != []


@pytest.mark.parametrize("size", [32, 48, 128])
def test_a_network_whose_positions_are_rotations_is_at_any_size_as_one_made_for_it(tmp_path: Path, size: int) -> None:
    folder = write_eomt_dinov3(tmp_path / "model", seed=4)
    config = json.loads((folder / "config.json").read_text())
    at_size, image = load(folder, size=size), picture(90, 160, 1)
    logits = at_size.segment(image, at_size.open_stream(), with_logits=True).logits
    (folder / "config.json").write_text(json.dumps({**config, "image_size": size}))
    made_for_it = load(folder)
    expected = made_for_it.segment(image, made_for_it.open_stream(), with_logits=True).logits
    assert logits is not None
    assert expected is not None
    assert np.array_equal(logits.masks, expected.masks)
    assert np.array_equal(logits.classes, expected.classes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 40}, r"size is 40, expected a multiple of the network's patch \(16\), such as 32 or 48"),
        ({"size": 16}, r"size is 16, expected at least 32, or 0 for that of the model \(64\)"),
        ({"size": 16, "fit": "keep_aspect"}, r"size is 16, expected at least 32, or 0 for that of the model \(45\)"),
        ({"size": -16}, "size: got -16, expected 0 to 2048"),
        ({"size": 1 << 20}, "size: got 1048576, expected 0 to 2048"),
        ({"size": 48.0}, r"size: got 48.0 \(float\), expected a whole number"),
    ],
    ids=str,
)
def test_a_size_that_the_network_cannot_take_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    folder = write_checkpoint(tmp_path / "model")
    with pytest.raises(ValueError, match=said):
        load(folder, **options)


@pytest.mark.parametrize("write", [write_eomt, write_mask2former])
def test_families_that_resize_take_sizes_as_their_processors_do(tmp_path: Path, write: Callable[..., Path]) -> None:
    """Mask2Former's goes up to a multiple of 32 by itself."""
    folder = write(tmp_path / "model")
    if write is write_eomt:
        with pytest.raises(ValueError, match="size is 40, expected a multiple of the network's patch"):
            load(folder, size=40)
    else:
        assert load(folder, size=40).size == 40


def test_a_mask2former_that_does_not_resize_has_no_size(tmp_path: Path) -> None:
    folder = write_mask2former(tmp_path / "model")
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_resize": False}))
    assert load(folder).size == 0
    with pytest.raises(ValueError, match=r"size is 64, but the processor of model resizes no image .*; use 0"):
        load(folder, size=64)
