"""Counts read as a person would say them."""

from __future__ import annotations

import pytest

from eomt_ros.evaluation.counting import counted


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames"), (12000, "12,000 frames")]
)
def test_one_is_singular_and_all_else_is_plural(count: int, said: str) -> None:
    assert counted(count, "frame") == said


def test_words_that_change_otherwise_are_given_in_full() -> None:
    assert [counted(count, "class is", "classes are") for count in (1, 2)] == ["1 class is", "2 classes are"]
