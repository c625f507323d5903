"""How much of a run is over, and which stage it is in."""

from __future__ import annotations

from dataclasses import dataclass

from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.state import RunState

IMAGE_SHARE = 0.4
"""Of a run that has an image stage and does not say how long."""


@dataclass(frozen=True)
class Stage:
    """A part of a run with one kind of samples, and an optimizer of its own."""

    name: str
    streams: bool
    """Whether queries are carried from chunk to chunk; else single images."""
    begin: float
    """Share of the run."""
    end: float

    def share(self, of_run: float) -> float:
        """The share of the stage that is over, 0 to 1."""
        return min(1.0, max(0.0, (of_run - self.begin) / (self.end - self.begin)))


def stages_of(settings: TrainingSettings, *, with_images: bool) -> list[Stage]:
    """The stages of a run, in order; with_images: whether it begins with single images if the settings do not say."""
    images = settings.image_share
    if settings.family == "eomt":
        images = 1.0
    elif images < 0:
        images = IMAGE_SHARE if with_images else 0.0
    stages = [Stage("images", False, 0.0, images), Stage("streams", True, images, 1.0)]
    return [stage for stage in stages if stage.end > stage.begin]


def share_of_run(settings: TrainingSettings, state: RunState, frames: int) -> float:
    """The share of the run that is over, 0 to 1; frames: labelled ones of the training data."""
    if settings.steps:
        return min(1.0, state.step / settings.steps)
    if settings.epochs:
        return min(1.0, state.frames / (settings.epochs * frames))
    return min(1.0, state.seconds / (60 * settings.minutes))
