"""Tiles: torch's own resize, and bounds that hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F

from eomt_ros.engine.postprocess.tiled_resize import Tiles
from test.engine.reference import noise

SCALES = [
    ((20, 30), (20, 30)),
    ((20, 30), (270, 480)),
    ((40, 40), (333, 517)),
    ((40, 64), (1, 1)),
    ((40, 64), (39, 65)),
    ((40, 64), (13, 7)),
    ((64, 7), (5, 300)),
    ((1, 1), (9, 4)),
    ((1, 5), (300, 3)),
    ((160, 160), (1080, 1920)),
]
scales = pytest.mark.parametrize(("samples", "size"), SCALES, ids=str)


def torch_resize(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(maps[None], size, mode="bilinear")[0]


def everywhere(tiles: Tiles) -> torch.Tensor:
    return torch.ones(len(tiles.maps), len(tiles.rows), len(tiles.columns), dtype=torch.bool)


def resize(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    tiles = Tiles(maps, size)
    resized = torch.full((len(maps), *size), torch.nan)
    for piece, values in tiles.resize(everywhere(tiles), lambda _, values: values):
        resized[piece.maps, piece.rows, piece.columns] = values
    return resized


@scales
def test_the_pieces_make_up_torchs_own_resize_but_for_rounding(samples, size):
    maps = noise(3, samples)
    assert (resize(maps, size) - torch_resize(maps, size)).abs().max() <= 2.0**-21 * maps.abs().max()


@pytest.mark.parametrize("scale", [0.25, 0.5, 1, 2, 8])
def test_where_nothing_is_rounded_the_pieces_make_up_torchs_own_resize(scale):
    maps = noise(3, (40, 72)).round()
    size = (int(40 * scale), int(72 * scale))
    assert torch.equal(resize(maps, size), torch_resize(maps, size))


def test_only_the_wanted_maps_are_resized_and_only_where_they_are_wanted():
    maps = noise(5, (30, 50))
    tiles = Tiles(maps, (400, 700))
    wanted = torch.rand(5, len(tiles.rows), len(tiles.columns), generator=torch.Generator().manual_seed(1)) < 0.3
    wanted[:, 1, 1] = False
    assert wanted.any(0).sum() > 2
    expected = torch_resize(maps, (400, 700))
    seen = torch.zeros_like(wanted)
    for piece, values in tiles.resize(wanted, lambda _, values: values):
        assert (values - expected[piece.maps, piece.rows, piece.columns]).abs().max() < 1e-5
        seen[(piece.maps, *piece.tile)] = True
    assert torch.equal(seen, wanted)


def test_where_no_map_is_wanted_nothing_is_done():
    tiles = Tiles(noise(2, (8, 8)), (50, 50))
    assert tiles.resize(~everywhere(tiles), lambda *_: pytest.fail("called")) == []


@scales
def test_no_pixel_leaves_the_bounds_of_its_cell(samples, size):
    maps = noise(2, samples)
    tiles = Tiles(maps, size)
    highest, lowest = tiles.bounds()
    row, column = (
        ((torch.arange(pixels) + 0.5) * (count / pixels) - 0.5).clamp(0, count - 1).floor().long()
        for pixels, count in zip(size, samples, strict=True)
    )
    resized = torch_resize(maps, size)
    assert (resized <= highest[:, row][:, :, column] + 1e-5).all()
    assert (resized >= lowest[:, row][:, :, column] - 1e-5).all()
    counted = torch.zeros(samples)
    counted.index_put_((row[:, None], column), torch.ones(()), accumulate=True)
    assert torch.equal(tiles.pixels(), counted)


@scales
def test_every_tile_with_a_pixel_above_a_height_has_a_cell_that_reaches_it(samples, size):
    maps = noise(3, samples)
    tiles = Tiles(maps, size)
    found = tiles.where(lambda highest, _: highest > 6)
    for piece, above in tiles.resize(everywhere(tiles), lambda _, values: (values > 6).any(2).any(1)):
        assert not (above & ~found[(piece.maps, *piece.tile)]).any()


@pytest.mark.parametrize("place", range(20))
def test_a_cell_is_found_in_the_tiles_that_show_it_and_in_no_other(place):
    maps = torch.zeros(1, 20, 20)
    maps[0, place, 19 - place] = 1
    tiles = Tiles(maps, (400, 800))
    shown = torch_resize(maps, tiles.size)[0] > 0
    expected = [[bool(shown[rows.pixels, columns.pixels].any()) for columns in tiles.columns] for rows in tiles.rows]
    assert tiles.where(lambda highest, _: highest > 0.5)[0].tolist() == expected


def test_torchs_threads_are_as_before_also_after_an_error_and_those_of_others_always():
    tiles = Tiles(noise(1, (8, 8)), (50, 50))
    threads = torch.get_num_threads()
    during, beside = [], []

    def fail(*_):
        during.append(torch.get_num_threads())
        with ThreadPoolExecutor(1) as other:
            beside.append(other.submit(torch.get_num_threads).result())
        raise KeyError

    try:
        torch.set_num_threads(3)
        with pytest.raises(KeyError):
            tiles.resize(everywhere(tiles), fail)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert during == [1]
    assert beside == [3], "a thread that begins with torch meanwhile"
