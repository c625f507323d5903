"""Run lengths: what they say, and that nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from eomt_ros.engine.postprocess.rle import decode_mask, encode_mask


def test_the_first_run_counts_zeros_row_by_row():
    assert encode_mask(np.array([[0, 1, 1], [1, 0, 0]], bool)) == (1, 3, 2)


def test_a_mask_that_begins_with_one_has_no_zeros_first():
    assert encode_mask(np.array([[1, 1], [0, 1]], bool)) == (0, 2, 1, 1)


def test_a_full_mask_is_one_run():
    assert encode_mask(np.ones((3, 4), bool)) == (0, 12)


@given(npst.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_decoding_gives_the_mask_back(mask):
    runs = encode_mask(mask)
    assert sum(runs) == mask.size
    assert all(run > 0 for run in runs[1:])
    assert np.array_equal(decode_mask(runs, (5, 7, mask.shape[1], mask.shape[0])), mask)


@given(npst.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_mask_may_be_a_part_of_an_image(mask):
    image = np.zeros((20, 20), bool)
    part = image[3 : 3 + mask.shape[0], 4 : 4 + mask.shape[1]]
    part[:] = mask
    assert encode_mask(part) == encode_mask(mask)


def test_runs_that_do_not_fill_the_box_are_refused():
    with pytest.raises(ValueError, match="7 pixels in all, expected 2 x 3"):
        decode_mask((1, 6), (0, 0, 2, 3))
