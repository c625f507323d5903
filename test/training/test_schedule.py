"""Stages of a run, and how much of it is over."""

from __future__ import annotations

from typing import Any

import pytest

from eomt_ros.training.schedule import share_of_run, stages_of
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.state import RunState


@pytest.mark.parametrize(
    ("settings", "with_images", "expected"),
    [
        ({}, True, [("images", 0, 0.4), ("streams", 0.4, 1)]),
        ({}, False, [("streams", 0, 1)]),
        ({"image_share": 0.25}, False, [("images", 0, 0.25), ("streams", 0.25, 1)]),
        ({"image_share": 1.0}, True, [("images", 0, 1)]),
        ({"family": "eomt"}, False, [("images", 0, 1)]),
    ],
)
def test_images_come_first_where_they_are_needed_or_asked_for(
    settings: dict[str, Any], with_images: bool, expected: list[tuple[str, float, float]]
) -> None:
    stages = stages_of(TrainingSettings(**settings), with_images=with_images)
    assert [(stage.name, stage.begin, stage.end) for stage in stages] == expected


def test_the_length_of_a_run_is_in_steps_passes_or_minutes() -> None:
    state = RunState(step=5, frames=300, seconds=90.0)
    assert share_of_run(TrainingSettings(minutes=0, steps=20), state, 1000) == 0.25
    assert share_of_run(TrainingSettings(minutes=0, epochs=2), state, 1000) == 0.15
    assert share_of_run(TrainingSettings(minutes=15), state, 1000) == 0.1
    assert share_of_run(TrainingSettings(minutes=1), state, 1000) == 1
