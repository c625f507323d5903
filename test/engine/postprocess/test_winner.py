"""The highest of several maps: torch's argmax, ties and all."""

from __future__ import annotations

import pytest
import torch

from eomt_ros.engine.postprocess.tiled_resize import Tiles
from eomt_ros.engine.postprocess.winner import contending, first_highest
from test.engine.reference import blobs, noise


def quantised(maps: int, levels: int) -> torch.Tensor:
    return torch.randint(levels, (maps, 40, 50), generator=torch.Generator().manual_seed(0)) / 8


@pytest.mark.parametrize(
    "values", [noise(6, (40, 50)), quantised(6, 3), torch.zeros(4, 5, 6), noise(1, (4, 5))], ids=range(4)
)
def test_the_highest_is_argmax_and_of_equal_ones_the_first(values):
    highest, first, pixels = first_highest(values.clone())
    winner = values.argmax(0)
    assert torch.equal(highest, values.amax(0))
    assert torch.equal(first, torch.nn.functional.one_hot(winner, len(values)).permute(2, 0, 1).float())
    assert torch.equal(pixels.long(), winner.flatten().bincount(minlength=len(values)))


@pytest.mark.parametrize("maps", [noise(9, (20, 20)), blobs(9, (20, 20)), torch.full((3, 20, 20), -200.0)])
def test_whoever_wins_a_pixel_contends_in_its_tile(maps):
    tiles = Tiles(maps.sigmoid(), (300, 600))
    contends = tiles.where(contending)
    everyone = torch.ones_like(contends)
    for piece, won in tiles.resize(everyone, lambda _, values: first_highest(values)[2]):
        assert not ((won > 0) & ~contends[(slice(None), *piece.tile)]).any()


def test_where_one_map_is_far_above_the_others_it_contends_alone():
    maps = torch.full((3, 4, 4), 0.1)
    maps[1] = 0.9
    assert torch.equal(contending(maps, maps).sum((1, 2)), torch.tensor([0, 16, 0]))
