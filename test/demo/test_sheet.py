"""The contact sheet shows every picture once, in order, with its caption."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.sheet import ContactSheet
from eomt_ros.replay.tiles import CAPTION_HEIGHT, MARGIN


def page_of(sheet: ContactSheet, path: Path) -> np.ndarray:
    sheet.write(path)
    page = cv2.imread(str(path))
    assert page is not None
    return page[..., ::-1]


def test_pictures_lie_row_by_row_below_their_captions(tmp_path: Path) -> None:
    sheet = ContactSheet(columns=3)
    colors = [(10 * number, 255 - 10 * number, 7) for number in range(5)]
    for color in colors:
        sheet.add(np.full((48, 64, 3), color, np.uint8), "1.0 s")
    page = page_of(sheet, tmp_path / "sheet.png")
    height, width = 48 + CAPTION_HEIGHT + MARGIN, 64 + MARGIN
    assert page.shape == (2 * height + MARGIN, 3 * width + MARGIN, 3)
    for number, color in enumerate(colors):
        top, left = number // 3 * height + MARGIN, number % 3 * width + MARGIN
        tile = page[top : top + height - MARGIN, left : left + width - MARGIN]
        assert (tile[CAPTION_HEIGHT:] == color).all()
        assert tile[:CAPTION_HEIGHT].max() > 200  # something is written there


def test_wide_pictures_are_shrunk_in_proportion(tmp_path: Path) -> None:
    sheet = ContactSheet(tile_width=64)
    sheet.add(np.full((96, 128, 3), 99, np.uint8), "")
    assert page_of(sheet, tmp_path / "sheet.png").shape == (48 + CAPTION_HEIGHT + 2 * MARGIN, 64 + 2 * MARGIN, 3)


def test_pictures_of_several_sizes_share_a_page(tmp_path: Path) -> None:
    sheet = ContactSheet(columns=2)
    sheet.add(np.zeros((48, 64, 3), np.uint8), "")
    sheet.add(np.zeros((90, 30, 3), np.uint8), "")
    assert page_of(sheet, tmp_path / "sheet.png").shape == (90 + CAPTION_HEIGHT + 2 * MARGIN, 2 * 64 + 3 * MARGIN, 3)


def test_sheet_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures"):
        ContactSheet().write(tmp_path / "sheet.png")
