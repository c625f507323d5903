"""Preprocessing: equal to Hugging Face's for images of any size, and to itself for any strides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import VideomtVideoProcessor

from eomt_ros.engine.preprocess.geometry import stretch
from eomt_ros.engine.preprocess.pixels import Preprocessor
from test.engine.checkpoints import PREPROCESSOR

SIZE = (64, 64)
SIZES = [(64, 64), (48, 40), (63, 65), (240, 320), (333, 517), (500, 30), (30, 500), (3, 700), (2, 3), (1, 9), (1, 1)]


class Stretching:
    """A preprocessor of images that all become one size."""

    def __init__(self, size: tuple[int, int], *settings: object, **more: object) -> None:
        self._preprocess = Preprocessor(*settings, **more)
        self._place = stretch(size)

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        return self._preprocess(image, self._place(image.shape[:2]))


@pytest.fixture(scope="module")
def preprocess() -> Stretching:
    return Stretching(SIZE, PREPROCESSOR["image_mean"], PREPROCESSOR["image_std"])


def picture(height: int, width: int) -> np.ndarray:
    """A gradient with noise, so that both smooth and sharp places are there."""
    rng = np.random.default_rng(height * 10007 + width)
    slope = np.linspace(0, 160, height)[:, None, None] + np.linspace(0, 60, width)[None, :, None]
    return (slope + rng.integers(0, 36, (height, width, 3))).astype(np.uint8)


def hugging_faces(image: np.ndarray, size: tuple[int, int], **settings: object) -> torch.Tensor:
    """What Hugging Face's own preprocessing makes of one image, (1, 3, height, width)."""
    processor = VideomtVideoProcessor(size={"height": size[0], "width": size[1]}, **settings)
    clip = processor(videos=image[None], input_data_format="channels_last", return_tensors="pt")
    return clip["pixel_values_videos"][0]


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_any_size_equals_hugging_faces(preprocess, size):
    image = picture(*size)
    ours = preprocess(image)
    assert ours.shape == (1, 3, *SIZE)
    assert ours.dtype == torch.float32
    assert (ours - hugging_faces(image, SIZE)).abs().max() <= 1e-6


def test_noise_at_full_hd_equals_hugging_faces(preprocess):
    image = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    assert (preprocess(image) - hugging_faces(image, SIZE)).abs().max() <= 1e-6


def test_black_and_white_equal_hugging_faces(preprocess):
    for grey in (0, 255):
        image = np.full((50, 90, 3), grey, np.uint8)
        assert (preprocess(image) - hugging_faces(image, SIZE)).abs().max() <= 1e-6


def test_another_size_mean_and_deviation_equal_hugging_faces():
    mean, std = [0.5, 0.1, 0.9], [0.5, 0.3, 0.7]
    image = picture(90, 70)
    ours = Stretching((32, 96), mean, std)(image)
    assert (ours - hugging_faces(image, (32, 96), image_mean=mean, image_std=std)).abs().max() <= 1e-6


# --- views instead of copies


def reversed_channels(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1]


def grey(image: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.ascontiguousarray(image[:, :, :1]), image.shape)


def padded_rows(image: np.ndarray) -> np.ndarray:
    padded = np.full((image.shape[0], image.shape[1] + 5, 3), 99, np.uint8)
    padded[:, :-5] = image
    return padded[:, :-5]


def fourth_channel(image: np.ndarray) -> np.ndarray:
    return np.dstack((image, np.full(image.shape[:2], 77, np.uint8)))[:, :, :3]


def reversed_fourth_channel(image: np.ndarray) -> np.ndarray:
    return fourth_channel(image[:, :, ::-1])[:, :, ::-1]


def reversed_padded_rows(image: np.ndarray) -> np.ndarray:
    return padded_rows(image[:, :, ::-1])[:, :, ::-1]


def grey_padded_rows(image: np.ndarray) -> np.ndarray:
    return np.broadcast_to(padded_rows(image)[:, :, :1], image.shape)


def upside_down(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[::-1])[::-1]


def mirrored(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, ::-1])[:, ::-1]


def column_major(image: np.ndarray) -> np.ndarray:
    return np.asfortranarray(image)


def planar(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)


def read_only(image: np.ndarray) -> np.ndarray:
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)


def reversed_read_only(image: np.ndarray) -> np.ndarray:
    return read_only(np.ascontiguousarray(image[:, :, ::-1]))[:, :, ::-1]


VIEWS = [
    reversed_channels,
    grey,
    padded_rows,
    fourth_channel,
    reversed_fourth_channel,
    reversed_padded_rows,
    grey_padded_rows,
    upside_down,
    mirrored,
    column_major,
    planar,
    read_only,
    reversed_read_only,
]


@pytest.mark.parametrize("size", [(40, 50), (64, 64), (150, 200), (1, 1), (1, 40), (40, 1)], ids=str)
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
@pytest.mark.filterwarnings("error")
def test_a_view_gives_the_same_as_its_copy(preprocess, view, size):
    image = view(picture(*size))
    copy = np.array(image, order="C")
    assert torch.equal(preprocess(image), preprocess(copy))
    assert np.array_equal(image, copy), "the camera's image was written to"


# --- what is no image


@pytest.mark.parametrize(
    ("image", "numbers"),
    [
        (np.zeros((4, 5), np.uint8), r"\(4, 5\) uint8"),
        (np.zeros((4, 5, 4), np.uint8), r"\(4, 5, 4\) uint8"),
        (np.zeros((3, 4, 5), np.uint8), r"\(3, 4, 5\) uint8"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"\(1, 4, 5, 3\) uint8"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\) uint8"),
        (np.zeros((4, 0, 3), np.uint8), r"\(4, 0, 3\) uint8"),
        (np.zeros((4, 5, 3), np.float32), r"\(4, 5, 3\) float32"),
        (np.zeros((4, 5, 3), np.int8), r"\(4, 5, 3\) int8"),
        (np.zeros((4, 5, 3), np.uint16), r"\(4, 5, 3\) uint16"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_image_is_refused_with_its_shape_and_type(preprocess, image, numbers):
    with pytest.raises(ValueError, match=rf"image is {numbers}, expected \(height, width, 3\) uint8"):
        preprocess(image)


# --- where it goes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_the_same_numbers(preprocess, dtype):
    image = picture(90, 120)
    half = Stretching(SIZE, PREPROCESSOR["image_mean"], PREPROCESSOR["image_std"], dtype=dtype)(image)
    assert half.dtype == dtype
    assert torch.equal(half, preprocess(image).to(dtype))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_pixels_differ_by_one_grey_level_at_most(preprocess):
    on_cuda = Stretching(SIZE, PREPROCESSOR["image_mean"], PREPROCESSOR["image_std"], device="cuda")
    grey_level = 1 / 255 / min(PREPROCESSOR["image_std"])
    for size in SIZES:
        image = picture(*size)
        assert (on_cuda(image).cpu() - preprocess(image)).abs().max() <= grey_level + 1e-5
