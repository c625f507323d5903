"""Organised clouds and obstacles, beside plain NumPy."""

from __future__ import annotations

import numpy as np

from eomt_ros.space.cloud import obstacles, organised
from eomt_ros.space.pinhole import Pinhole
from test.space.cameras import DISTORTIONS, SIZE, camera_info, pinhole

IS_OBSTACLE = np.array([False, True, True])


def depth() -> np.ndarray:
    found = np.random.default_rng(0).uniform(1, 6, (SIZE[0] // 8, SIZE[1] // 8)).repeat(8, 0).repeat(8, 1)
    found[:50, :70] = np.nan
    return found.astype(np.float32)


def test_each_pixel_has_the_point_on_its_ray() -> None:
    view = Pinhole.of(camera_info(d=DISTORTIONS["plumb_bob"]))
    points = organised(depth(), view)
    expected = np.concatenate([view.rays() * depth()[..., None], depth()[..., None]], axis=2)
    assert points.shape == (*SIZE, 3)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, expected, rtol=1e-6)


def test_there_is_one_measured_point_for_each_voxel_that_an_obstacle_has() -> None:
    points = organised(depth(), pinhole())
    classes = np.random.default_rng(1).choice(np.array([0, 1, 2, 255], np.uint8), SIZE)
    # Points next to a voxel's side may be rounded into the other one.
    classes[(np.abs(points / 0.1 - np.round(points / 0.1)) < 0.02).any(axis=2)] = 0
    wanted = np.isin(classes, (1, 2)) & np.isfinite(points[..., 2])
    found, found_classes = obstacles(points, classes, IS_OBSTACLE, 0.1)
    cells = np.floor(found / 0.1).astype(int)
    assert len(np.unique(cells, axis=0)) == len(found)
    np.testing.assert_array_equal(
        np.unique(cells, axis=0), np.unique(np.floor(points[wanted] / 0.1).astype(int), axis=0)
    )
    measured = set(map(tuple, np.column_stack([points[wanted], classes[wanted]]).tolist()))
    assert set(map(tuple, np.column_stack([found, found_classes]).tolist())) <= measured


def test_ground_beside_an_obstacle_in_its_voxel_does_not_hide_it() -> None:
    points = np.array([[[0.01, 0.01, 1.01], [0.02, 0.01, 1.01]]], np.float32)
    found, classes = obstacles(points, np.array([[0, 1]], np.uint8), IS_OBSTACLE, 0.1)
    np.testing.assert_array_equal(found, points[0, 1:])
    assert classes.tolist() == [1]


def test_nothing_wanted_gives_no_points() -> None:
    points = organised(np.full(SIZE, np.nan, np.float32), pinhole())
    found, classes = obstacles(points, np.ones(SIZE, np.uint8), IS_OBSTACLE, 0.05)
    assert found.shape == (0, 3)
    assert classes.shape == (0,)


def test_classes_of_16_bits_and_points_beyond_all_voxels_are_taken() -> None:
    points = np.array([[[1e9, -1e9, 1e9], [0.0, 0.0, 2.0]]], np.float32)
    found, _ = obstacles(points, np.array([[2, 2]], np.uint16), IS_OBSTACLE, 0.01)
    assert len(found) == 2
