"""Rays of pixels, checked by OpenCV's projection, and CameraInfo that says no view."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from eomt_ros.space.pinhole import CameraInfoError, Pinhole
from test.space.cameras import DISTORTIONS, FOCAL, SIZE, camera_info


@pytest.mark.parametrize("model", DISTORTIONS)
def test_a_ray_projects_to_its_pixel(model: str) -> None:
    view = Pinhole.of(camera_info(distortion_model=model, d=DISTORTIONS[model]))
    rays = view.rays().astype(np.float64).reshape(-1, 1, 2)
    points, zero = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=2), np.zeros(3)
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    back, _ = project(points, zero, zero, view.matrix, view.distortion)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    np.testing.assert_allclose(back.reshape(*SIZE, 2), np.stack([x, y], axis=-1), atol=0.05)


def test_pixels_that_the_distortion_does_not_reach_have_no_ray() -> None:
    # This polynomial turns back within the picture: its corners are no image of anything.
    view = Pinhole.of(camera_info(d=(-0.6, 0.0, 0.0, 0.0, 0.0)))
    rays = view.rays()
    assert np.isnan(rays[0, 0]).all()
    assert np.isfinite(rays[118, 160]).all()


def test_a_distortion_that_reaches_hardly_any_pixel_is_refused() -> None:
    with pytest.raises(CameraInfoError, match=r"D of plumb_bob .* calibrate"):
        Pinhole.of(camera_info(d=(-60.0, 0.0, 0.0, 0.0, 0.0))).rays()


def test_rectified_images_take_p_without_distortion() -> None:
    view = Pinhole.of(camera_info(d=DISTORTIONS["plumb_bob"]), rectified=True)
    assert view.rays()[110, 250] == pytest.approx([0.5, 0.0])


def test_names_of_ros_1_are_read() -> None:
    info = camera_info()
    fields = {name.upper() if name in "dkrp" else name: value for name, value in vars(info).items()}
    assert Pinhole.of(SimpleNamespace(**fields)).rays()[118, 160] == pytest.approx([0.0, 0.0])


def test_rays_are_kept_and_protected() -> None:
    first, second = (Pinhole.of(camera_info(k=[301.0, 0, 160, 0, 301, 118, 0, 0, 1])).rays() for _ in range(2))
    assert first is second
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


@pytest.mark.parametrize("scale", [0.5, 2])
def test_the_same_view_in_another_size_sees_the_same_rays(scale: float) -> None:
    view = Pinhole.of(camera_info())
    other = view.at(int(240 * scale), int(320 * scale))
    # Four pixels of the larger have one of the smaller in their middle.
    small, large = (view.rays(), other.rays()) if scale > 1 else (other.rays(), view.rays())
    means = large.reshape(small.shape[0], 2, small.shape[1], 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(means, small, atol=1e-6)


def test_another_shape_is_not_the_same_view() -> None:
    with pytest.raises(CameraInfoError, match=r"320x240.*424x240.*remap camera_info"):
        Pinhole.of(camera_info()).at(240, 424)


def test_binning_and_region_of_interest_are_heeded() -> None:
    full = Pinhole.of(camera_info())
    region = SimpleNamespace(x_offset=40, y_offset=20, width=200, height=160, do_rectify=False)
    cut = Pinhole.of(camera_info(roi=region))
    assert (cut.height, cut.width) == (160, 200)
    np.testing.assert_allclose(cut.rays(), full.rays()[20:180, 40:240], atol=1e-6)
    binned = Pinhole.of(camera_info(roi=region, binning_x=2, binning_y=2))
    np.testing.assert_allclose(binned.rays(), cut.at(80, 100).rays(), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"width": 0}, r"size is 0x240.*driver"),
        ({"k": [0.0] * 9}, r"focal lengths in K are 0 and 0.*calibrate"),
        ({"k": [FOCAL, 0, np.nan, 0, FOCAL, 118, 0, 0, 1]}, r"K is .*nan.*finite"),
        ({"k": [FOCAL, 3.0, 160, 0, FOCAL, 118, 0, 0, 1]}, r"K is .*3\.0.*fx 0 cx"),
        ({"d": [np.inf, 0, 0, 0, 0]}, r"D is .*inf.*finite"),
        ({"d": [0.1, 0.1]}, r"D has 2 numbers, expected 0 or 4 or 5"),
        ({"distortion_model": "double_sphere"}, r"'double_sphere', expected plumb_bob, rational_polynomial"),
        ({"distortion_model": "", "d": [0.1] * 5}, r"distortion_model is ''"),
        ({"distortion_model": "equidistant", "d": []}, r"D has 0 numbers, expected 4"),
        ({"binning_x": 400}, r"binning is 400x1"),
        ({"roi": SimpleNamespace(x_offset=300, y_offset=0, width=100, height=100)}, r"100x100 at \(300, 0\)"),
    ],
)
def test_what_says_no_view_is_refused_with_the_field_and_its_value(changes: dict[str, object], text: str) -> None:
    with pytest.raises(CameraInfoError, match=text):
        Pinhole.of(camera_info(**changes))


def test_no_distortion_needs_no_model() -> None:
    assert Pinhole.of(camera_info(distortion_model="", d=[])).rays()[118, 160] == pytest.approx([0.0, 0.0])
