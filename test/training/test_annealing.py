"""Masked attention ends block by block, at the steps of the published configurations."""

from __future__ import annotations

import pytest

from eomt_ros.training.annealing import annealed_masking

# tue-mps/eomt, configs/dinov2/coco/panoptic: eomt_small_640, eomt_large_640 and eomt_giant_640, of 12 epochs each.
STEPS = 88692
BEGIN = {3: (14782, 36955, 59128), 4: (14782, 29564, 44346, 59128), 5: (14782, 25869, 36955, 48042, 59128)}
END = {3: (29564, 51737, 73910), 4: (29564, 44346, 59128, 73910), 5: (29564, 40651, 51737, 62824, 73910)}


@pytest.mark.parametrize("blocks", BEGIN)
@pytest.mark.parametrize("step", [0, 14782, 20000, 29564, 40000, 51000, 60000, 73909, 80000])
def test_masking_falls_as_published(blocks: int, step: int) -> None:
    expected = []
    for begin, end in zip(BEGIN[blocks], END[blocks], strict=True):
        progress = min(max((step - begin) / (end - begin), 0), 1)
        expected.append((1 - progress) ** 0.9)
    assert annealed_masking(step / STEPS, blocks) == pytest.approx(expected, abs=2e-4)


def test_all_blocks_mask_at_the_beginning_and_none_at_the_end() -> None:
    for blocks in (1, 2, 3, 4, 24):
        assert annealed_masking(0, blocks) == (1,) * blocks
        assert annealed_masking(1, blocks) == (0,) * blocks
