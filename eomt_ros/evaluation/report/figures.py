"""The figures of an evaluation for people: name, meaning, direction that is better, format."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from eomt_ros.evaluation.results import Figures, Results
from eomt_ros.evaluation.wrong import SweptFigures

NOTHING = "—"
"""Printed in place of a figure that cannot be known."""


class Better(Enum):
    """The direction in which a figure improves."""

    HIGHER = "higher is better"
    LOWER = "lower is better"
    NEITHER = "describes the input"


class Kind(Enum):
    """Format of a figure."""

    SCORE = "{:.3f}"
    SHARE = "{:.1%}"
    COUNT = "{:,.0f}"
    RATIO = "{:.2f}"
    SECONDS = "{:,.2f} s"
    MILLISECONDS = "{:,.1f} ms"
    RATE = "{:,.1f}"
    METRES = "{:.3f} m"
    SPEED = "{:.3f} m/s"
    POWER_OF_TEN = "{:.1e}"


class Needs(Enum):
    """The input that a figure needs."""

    RUN = "frames"
    IDS = "a task that has objects"
    CLASSES = "ground truth"
    OBJECTS = "ground truth with ids of objects, and a task that has objects"
    METRES = "the same, and depth, odometry and true boxes"


@dataclass(frozen=True)
class Figure:
    """One figure of `Results`, perhaps of `Recording` too."""

    path: str
    """Its place there, such as `latency_ms.p95`."""
    name: str
    kind: Kind
    better: Better
    needs: Needs

    @property
    def meaning(self) -> str:
        """In a sentence or two, for those who read the figure."""
        return MEANINGS[self.path]

    def value(self, results: Figures | SweptFigures) -> float | None:
        """The figure; None where it cannot be known."""
        value: Any = results
        for name in self.path.split("."):
            value = getattr(value, name, None)
        return known(value)

    def text(self, results: Figures | SweptFigures) -> str:
        """The figure as it prints."""
        return as_text(self.value(results), self.kind)

    def why_missing(self, results: Results) -> str:
        """The reason in a few words, where the figure cannot be known."""
        return why_missing(results, self.needs)


def known(value: float | None) -> float | None:
    """The value; None also for NaN."""
    return None if value is None or math.isnan(value) else float(value)


def as_text(value: float | None, kind: Kind) -> str:
    """A number as its kind prints, `NOTHING` for None and NaN."""
    return NOTHING if known(value) is None else kind.value.format(value).replace("%", " %")


def why_missing(results: Results, needs: Needs) -> str:
    """Why a figure with these needs cannot be known, in a few words."""
    semantic = results.settings.get("task") == "semantic"
    if results.frames == 0:
        return "no frame was segmented"
    if needs is Needs.RUN:
        return "not measured"
    if needs is Needs.IDS:
        return "the semantic task has no objects" if semantic else "no thing was found"
    if results.frames_scored == 0:
        return "no ground truth"
    if needs is Needs.CLASSES:
        return "nothing of it in the ground truth"
    if semantic:
        return "the semantic task has no objects"
    if results.objects is None:
        return "no object ids in the ground truth"
    return "nothing to measure it on" if results.objects else "no object was in view"


def headline(results: Results) -> list[Figure]:
    """The most important figures of a run."""
    return _figures(HEADLINE if results.frames_scored else HEADLINE_WITHOUT_TRUTH)


def recording_figures(results: Results) -> list[Figure]:
    """The figures of a run that say how its recordings differ."""
    in_metres = OF_RECORDINGS_IN_METRES if results.objects_in_metres is not None else ()
    return _figures((*OF_RECORDINGS, *in_metres) if results.frames_scored else OF_RECORDINGS_WITHOUT_TRUTH)


def _figures(paths: Iterable[str]) -> list[Figure]:
    figures = {figure.path: figure for group in GROUPS.values() for figure in group}
    return [figures[path] for path in paths]


def groups(results: Results) -> dict[str, list[Figure]]:
    """The figures of a run by group: without a ground truth none that needs one, without depth none in metres."""
    needs = set(Needs) if results.frames_scored else {Needs.RUN, Needs.IDS}
    needs -= {Needs.METRES} if results.objects_in_metres is None else set()
    chosen = {name: [figure for figure in figures if figure.needs in needs] for name, figures in GROUPS.items()}
    return {name: figures for name, figures in chosen.items() if figures}


def _errors(field: str, name: str, kind: Kind, high: str = "p90") -> tuple[Figure, Figure]:
    """The median and a high percentile of an error in metres."""
    return (
        Figure(f"objects_in_metres.{field}.p50", f"{name}, median", kind, Better.LOWER, Needs.METRES),
        Figure(f"objects_in_metres.{field}.{high}", f"{name}, {high}", kind, Better.LOWER, Needs.METRES),
    )


OBJECTS_GROUP = "What a robot sees"
METRES_GROUP = "In metres"
PREDICTIONS_GROUP = "What the model says"
GROUPS: dict[str, tuple[Figure, ...]] = {
    "Classes": (
        Figure("miou", "mIoU", Kind.SCORE, Better.HIGHER, Needs.CLASSES),
        Figure("mvc8", "mVC8", Kind.SCORE, Better.HIGHER, Needs.CLASSES),
        Figure("mvc16", "mVC16", Kind.SCORE, Better.HIGHER, Needs.CLASSES),
    ),
    "Objects over time": (
        Figure("vpq", "VPQ", Kind.SCORE, Better.HIGHER, Needs.OBJECTS),
        Figure("vpq_things", "VPQ things", Kind.SCORE, Better.HIGHER, Needs.OBJECTS),
        Figure("vpq_stuff", "VPQ stuff", Kind.SCORE, Better.HIGHER, Needs.OBJECTS),
        Figure("stq", "STQ", Kind.SCORE, Better.HIGHER, Needs.OBJECTS),
        Figure("sq", "SQ", Kind.SCORE, Better.HIGHER, Needs.OBJECTS),
        Figure("aq", "AQ", Kind.SCORE, Better.HIGHER, Needs.OBJECTS),
    ),
    OBJECTS_GROUP: (
        Figure("objects", "objects", Kind.COUNT, Better.NEITHER, Needs.OBJECTS),
        Figure("object_seconds", "time in view", Kind.SECONDS, Better.NEITHER, Needs.OBJECTS),
        Figure("objects_found", "objects found", Kind.SHARE, Better.HIGHER, Needs.OBJECTS),
        Figure("frames_found", "frames found", Kind.SHARE, Better.HIGHER, Needs.OBJECTS),
        Figure("seconds_to_first_detection", "time to first detection", Kind.SECONDS, Better.LOWER, Needs.OBJECTS),
        Figure("things_precision", "predicted and there", Kind.SHARE, Better.HIGHER, Needs.OBJECTS),
        Figure("ghosts_per_frame", "ghosts per frame", Kind.RATIO, Better.LOWER, Needs.OBJECTS),
        Figure("idf1", "IDF1", Kind.SCORE, Better.HIGHER, Needs.OBJECTS),
        Figure("shared_ids", "ids of several objects", Kind.COUNT, Better.LOWER, Needs.OBJECTS),
        Figure("id_switches", "id switches", Kind.COUNT, Better.LOWER, Needs.OBJECTS),
        Figure("switches_per_30_seconds", "id switches per 30 s", Kind.RATIO, Better.LOWER, Needs.OBJECTS),
        Figure("fragmentations", "fragmentations", Kind.COUNT, Better.LOWER, Needs.OBJECTS),
        Figure("wrong_ids_after_reentry", "wrong ids after re-entry", Kind.COUNT, Better.LOWER, Needs.OBJECTS),
        Figure("returns.returned", "returns", Kind.COUNT, Better.NEITHER, Needs.OBJECTS),
        Figure("returns_right", "returns with the old id", Kind.SHARE, Better.HIGHER, Needs.OBJECTS),
        Figure("returns_wrong", "returns with another's id", Kind.SHARE, Better.LOWER, Needs.OBJECTS),
    ),
    METRES_GROUP: (
        Figure("objects_in_metres.things", "things in view, in all frames", Kind.COUNT, Better.NEITHER, Needs.METRES),
        Figure("objects_in_metres.located_share", "located, of those found", Kind.SHARE, Better.HIGHER, Needs.METRES),
        Figure("objects_in_metres.located_share_of_all", "located, of all", Kind.SHARE, Better.HIGHER, Needs.METRES),
        *_errors("position_error_m", "position error", Kind.METRES),
        *_errors("size_error_m", "size error", Kind.METRES),
        *_errors("velocity_error_mps.moving", "velocity error, moving", Kind.SPEED),
        *_errors("velocity_error_mps.still", "speed of still things", Kind.SPEED, "p95"),
    ),
    PREDICTIONS_GROUP: (
        Figure("predicted.things_per_frame", "things per frame", Kind.RATIO, Better.NEITHER, Needs.IDS),
        Figure("predicted.ids", "ids", Kind.COUNT, Better.NEITHER, Needs.IDS),
        Figure("predicted.id_seconds", "time an id lasts", Kind.SECONDS, Better.NEITHER, Needs.IDS),
        Figure("predicted.flicker", "flicker", Kind.SHARE, Better.NEITHER, Needs.RUN),
        Figure("predicted.unlabelled_area", "unlabelled", Kind.SHARE, Better.NEITHER, Needs.RUN),
    ),
    "Speed": (
        Figure("fps", "frames per second", Kind.RATE, Better.HIGHER, Needs.RUN),
        Figure("latency_ms.p50", "latency, median", Kind.MILLISECONDS, Better.LOWER, Needs.RUN),
        Figure("latency_ms.p95", "latency, p95", Kind.MILLISECONDS, Better.LOWER, Needs.RUN),
        Figure("latency_ms.p99", "latency, p99", Kind.MILLISECONDS, Better.LOWER, Needs.RUN),
    ),
}
"""All of them, as tables show them."""
HEADLINE = (
    "miou",
    "vpq",
    "stq",
    "objects_found",
    "ghosts_per_frame",
    "idf1",
    "switches_per_30_seconds",
    "fps",
    "latency_ms.p95",
)
"""The figures that a report begins with."""
HEADLINE_WITHOUT_TRUTH = (*(figure.path for figure in GROUPS[PREDICTIONS_GROUP]), "fps", "latency_ms.p95")
"""The same where nothing was scored."""
OF_RECORDINGS = ("miou", "vpq", "stq", "objects_found", "idf1", "id_switches")
"""The figures of each recording, where there are several."""
OF_RECORDINGS_IN_METRES = ("objects_in_metres.position_error_m.p50", "objects_in_metres.located_share")
"""And these where they are known."""
OF_RECORDINGS_WITHOUT_TRUTH = tuple(figure.path for figure in GROUPS[PREDICTIONS_GROUP])
"""The same where nothing was scored."""
REPLAY_GROUP = (
    Figure("replay.dropped", "dropped", Kind.COUNT, Better.LOWER, Needs.RUN),
    Figure("replay.lost_on_the_way", "lost on the way", Kind.COUNT, Better.LOWER, Needs.RUN),
    Figure("replay.age_ms.p50", "age of a result, median", Kind.MILLISECONDS, Better.LOWER, Needs.RUN),
    Figure("replay.age_ms.p95", "age of a result, p95", Kind.MILLISECONDS, Better.LOWER, Needs.RUN),
)
"""Of a replay through the node; a comparison shows them, the report has a table of its own."""

MEANINGS = {
    "miou": "Is each pixel's class right? The area where prediction and truth agree, over that of either; mean over "
    "classes.",
    "mvc8": "Where the truth keeps its class for 8 frames, how often the prediction does too. Steady, not necessarily "
    "right.",
    "mvc16": "The same over 16 frames.",
    "vpq": "Are objects and areas found, well outlined, and called by one id for some frames? Mean over windows of "
    "frames.",
    "vpq_things": "VPQ of countable objects alone.",
    "vpq_stuff": "VPQ of areas such as floor and wall alone.",
    "stq": "Do classes and ids stay right from start to end? The geometric mean of SQ (classes) and AQ (ids).",
    "sq": "The half of STQ that is about classes.",
    "aq": "The half of STQ that is about ids: does an object keep one id, and that to itself?",
    "objects": "Different objects in the ground truth.",
    "object_seconds": "How long objects were in view, summed over objects.",
    "objects_found": "Share of the objects that were matched at least once: right class, more than half overlap.",
    "frames_found": "Share of the objects' frames in view in which they were matched.",
    "seconds_to_first_detection": "From coming into view to the first match; median over the objects that were found.",
    "things_precision": "Share of the predicted things, frame by frame, that match an object; the others are ghosts.",
    "ghosts_per_frame": "Predicted things that match no object: nothing is there, or it is of another class, or was "
    "found twice.",
    "idf1": "Does every object have one id, and every id one object? Counts what is missed, what is a ghost, and what "
    "is called by an id that is another's.",
    "shared_ids": "How many ids stood for more than one object of a recording.",
    "id_switches": "How often an object was given another id than it had before.",
    "switches_per_30_seconds": "How often an object that is in view for 30 s is given another id.",
    "fragmentations": "How often an object in view was lost for a while and then found again.",
    "wrong_ids_after_reentry": "How often an object left the view and came back under another id.",
    "returns.returned": "How often an object was found again after 2 s or more in which it was not.",
    "returns_right": "Share of the returns after 2 to 60 s with the id that the object had before.",
    "returns_wrong": "Share of the same with an id that another object had before: a robot takes one for the other.",
    "objects_in_metres.things": "Things of the ground truth within 5 m of the camera, each counted in every frame.",
    "objects_in_metres.located_share": "Share of the things found in the image whose centre is within 0.3 m of the "
    "true one.",
    "objects_in_metres.located_share_of_all": "The same share of all things in view.",
    "objects_in_metres.position_error_m.p50": "From the true centre to the located one.",
    "objects_in_metres.position_error_m.p90": "90 of 100 are not farther off.",
    "objects_in_metres.size_error_m.p50": "Difference of the true box's edges and the located one's, mean of three.",
    "objects_in_metres.size_error_m.p90": "90 of 100 do not differ more.",
    "objects_in_metres.velocity_error_mps.moving.p50": "Of things that move, once they were in view for a second.",
    "objects_in_metres.velocity_error_mps.moving.p90": "90 of 100 are not farther off.",
    "objects_in_metres.velocity_error_mps.still.p50": "How fast things seem that have stood still for a second. What "
    "the robot's own motion adds shows here.",
    "objects_in_metres.velocity_error_mps.still.p95": "95 of 100 seem no faster.",
    "predicted.things_per_frame": "How many things the model found in a frame.",
    "predicted.ids": "Different ids that the model gave to things. Many more than there are things: it loses them.",
    "predicted.id_seconds": "From the first to the last frame with an id; median over ids.",
    "predicted.flicker": "Share of the pixels whose class is another than in the frame before. What moves changes them "
    "too.",
    "predicted.unlabelled_area": "Share of the image in which the model found nothing.",
    "fps": "How many frames were segmented in a second.",
    "latency_ms.p50": "Half of the frames took no longer.",
    "latency_ms.p95": "95 of 100 frames took no longer.",
    "latency_ms.p99": "99 of 100 frames took no longer.",
}
"""By `Figure.path`."""
