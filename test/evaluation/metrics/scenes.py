"""Short sequences of small frames, hand-made or random, with their truth and what a model might make of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.ids import ReturnNumbers
from eomt_ros.evaluation.metrics import PartialScores, Scores
from eomt_ros.evaluation.results import Figures

FLOOR, WALL, BOX, BALL = range(4)
CLASS_NAMES = ("floor", "wall", "box", "ball")
IS_THING = (False, False, True, True)
UNLABELLED = 255
SECONDS = 0.1
RETURN_NUMBERS = [field.name for field in fields(ReturnNumbers)]

Place = tuple[int, int] | None
"""(object id, class); None for the floor."""
Pair = tuple[Truth, Prediction]


def images(*places: Place, side: int = 20) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Classes and ids of a row of square places, each `side` pixels high and wide."""
    classes = np.repeat([FLOOR if place is None else place[1] for place in places], side)
    ids = np.repeat([0 if place is None else place[0] for place in places], side)
    return np.tile(classes.astype(np.uint8), (side, 1)), np.tile(ids.astype(np.uint16), (side, 1))


def pair(truth: list[Place], prediction: list[Place] | None = None, *, epoch: int = 0, side: int = 20) -> Pair:
    """One frame; the prediction is the truth unless given."""
    predicted = images(*(truth if prediction is None else prediction), side=side)
    return Truth(*images(*truth, side=side)), Prediction(*predicted, epoch)


def rows(truth: list[int], prediction: list[int]) -> Pair:
    """One frame of classes only, of a single row of pixels."""
    return Truth(np.array([truth], np.uint8)), Prediction(np.array([prediction], np.uint8))


def play(scores: Scores, frames: list[Pair], name: str = "sequence") -> list[PartialScores]:
    """Scores a sequence."""
    scores.start_sequence(name)
    return [
        scores.update(truth, prediction, begin=number * SECONDS, seconds=SECONDS)
        for number, (truth, prediction) in enumerate(frames)
    ]


def score(*sequences: list[Pair], convention: Convention = Convention.STANDARD) -> Scores:
    """The score of whole sequences."""
    scores = Scores(CLASS_NAMES, IS_THING, convention)
    for number, frames in enumerate(sequences):
        play(scores, frames, f"sequence {number}")
    return scores


def flat(figures: Figures) -> dict[str, float | None]:
    """All figures by name, also those within others."""
    result: dict[str, float | None] = {}
    for field in fields(figures):
        value: Any = getattr(figures, field.name)
        if field.name in ("by_class", "by_size"):
            for part, of_part in value.items():
                result.update({f"{field.name} {part} {name}": each for name, each in vars(of_part).items()})
            continue
        if field.name == "returns":
            result.update({} if value is None else {f"returns {name}": getattr(value, name) for name in RETURN_NUMBERS})
            continue
        nested = value.items() if field.name in ("class_iou", "vpq_by_window") else [("", value)]
        result.update({f"{field.name} {name}".strip(): each for name, each in nested})
    return result


@dataclass
class _Thing:
    id: int
    class_id: int
    row: int
    column: int


def random_sequence(seed: int, frames: int = 10, shape: tuple[int, int] = (24, 36)) -> list[Pair]:
    """Things that wander, vanish and come back before floor and wall, partly unlabelled, and a model's view of them.

    The model misses some, confuses classes and ids, changes epochs, gives ids to stuff too, and is noisy.
    """
    random = np.random.default_rng(seed)
    height, width = shape
    things = [
        _Thing(number + 1, int(random.choice([BOX, BALL])), int(random.integers(height)), int(random.integers(width)))
        for number in range(4)
    ]
    names = {thing.id: int(random.integers(1, 500)) * 5 + thing.id for thing in things}
    epoch = 0
    result = []
    for _ in range(frames):
        truth = _draw(random, things, shape)
        if random.random() < 0.15:
            names[int(random.integers(1, 5))] = int(random.integers(1, 500)) * 5
        if random.random() < 0.05:
            epoch += 1
        result.append((truth, _guess(random, truth, names, epoch)))
    return result


def _draw(random: np.random.Generator, things: list[_Thing], shape: tuple[int, int]) -> Truth:
    height, width = shape
    classes, ids = np.full(shape, FLOOR, np.uint8), np.zeros(shape, np.uint16)
    classes[: height // 3] = WALL
    for thing in things:
        thing.row += int(random.integers(-1, 2))
        thing.column += int(random.integers(-1, 2))
        if random.random() < 0.85:
            area = np.s_[
                max(thing.row - 6, 0) : max(thing.row + 6, 0), max(thing.column - 6, 0) : max(thing.column + 6, 0)
            ]
            classes[area], ids[area] = thing.class_id, thing.id
    row, column = random.integers(height), random.integers(width)
    classes[row : row + 5, column : column + 9] = UNLABELLED
    ids[row : row + 5, column : column + 9] = 0
    # A part of a thing that nobody gave an id.
    ids[:3, :5] = 0
    return Truth(classes, ids)


def _guess(random: np.random.Generator, truth: Truth, names: dict[int, int], epoch: int) -> Prediction:
    assert truth.instances is not None
    classes, ids = truth.classes.copy(), np.zeros(truth.classes.shape, np.uint16)
    for number, name in names.items():
        ids[truth.instances == number] = name
        if random.random() < 0.1:
            classes[truth.instances == number] = random.choice([BOX, BALL, FLOOR])
        if random.random() < 0.1:
            classes[truth.instances == number], ids[truth.instances == number] = UNLABELLED, 0
    shifted = int(random.integers(-2, 3))
    classes, ids = np.roll(classes, shifted, axis=1), np.roll(ids, shifted, axis=1)
    classes[classes == UNLABELLED] = random.choice([FLOOR, BOX, UNLABELLED])
    stuff = (classes == FLOOR) | (classes == WALL)
    ids[stuff] = random.integers(3000, 3003)
    noisy = random.random(classes.shape) < 0.02
    classes[noisy], ids[noisy] = UNLABELLED, 0
    return Prediction(classes, ids, epoch)
