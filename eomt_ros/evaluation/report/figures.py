"""The figures of an evaluation in plain words: their names, what they mean, which way is better, how they print."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter

from eomt_ros.evaluation.results import Results

NOTHING = "—"
"""In place of a figure that cannot be known."""


class Better(Enum):
    """The direction in which a figure improves."""

    HIGHER = "higher is better"
    LOWER = "lower is better"
    NEITHER = "describes the input"


class Kind(Enum):
    """How a figure prints."""

    SCORE = "0 to 1"
    SHARE = "percent"
    COUNT = "number"
    RATIO = "number with a fraction"
    SECONDS = "s"
    MILLISECONDS = "ms"
    RATE = "per second"


class Needs(Enum):
    """What has to be there for a figure to be known."""

    RUN = "frames"
    IDS = "a task that has objects"
    CLASSES = "ground truth"
    OBJECTS = "ground truth with ids of objects, and a task that has objects"


@dataclass(frozen=True)
class Figure:
    """One figure of `Results`."""

    path: str
    """Where it is in `Results`, such as `latency_ms.p95`."""
    name: str
    meaning: str
    better: Better
    kind: Kind
    needs: Needs

    def value(self, results: Results) -> float | None:
        """The figure; None where it cannot be known."""
        return known(attrgetter(self.path)(results))

    def text(self, results: Results) -> str:
        """The figure as it prints."""
        return as_text(self.value(results), self.kind)

    def why_missing(self, results: Results) -> str:
        """The reason in a few words, where the figure cannot be known."""
        return why_missing(results, self.needs)

    @property
    def is_speed(self) -> bool:
        """Whether it depends on the machine, and varies from run to run."""
        return self.kind in (Kind.MILLISECONDS, Kind.RATE)


def known(value: float | None) -> float | None:
    """None for what is not a number either."""
    return None if value is None or math.isnan(value) else float(value)


def as_text(value: float | None, kind: Kind) -> str:
    """A number as its kind prints, `NOTHING` for None and NaN."""
    if value is None or math.isnan(value):
        return NOTHING
    return {
        Kind.SCORE: f"{value:.3f}",
        Kind.SHARE: f"{100 * value:.1f} %",
        Kind.COUNT: f"{value:,.0f}",
        Kind.RATIO: f"{value:.2f}",
        Kind.SECONDS: f"{value:,.2f} s",
        Kind.MILLISECONDS: f"{value:,.1f} ms",
        Kind.RATE: f"{value:,.1f}",
    }[kind]


def why_missing(results: Results, needs: Needs) -> str:
    """Why a figure with these needs cannot be known, in a few words."""
    if results.frames == 0:
        return "no frame was segmented"
    if needs is Needs.RUN:
        return "not measured"
    if needs is Needs.IDS:
        return (
            "the semantic task has no objects" if results.settings.get("task") == "semantic" else "no thing was found"
        )
    if results.frames_scored == 0:
        return "no ground truth"
    if needs is Needs.CLASSES:
        return "nothing of it in the ground truth"
    if results.settings.get("task") == "semantic":
        return "the semantic task has no objects"
    if results.objects is None:
        return "no object ids in the ground truth"
    if results.objects == 0:
        return "no object was in view"
    return "nothing to measure it on"


def headline(results: Results) -> tuple[Figure, ...]:
    """The figures that say most of a run."""
    return HEADLINE if results.frames_scored else WITHOUT_TRUTH


def groups(results: Results) -> dict[str, tuple[Figure, ...]]:
    """The figures that can be said of a run: without a ground truth none that needs one."""
    scored = results.frames_scored > 0
    chosen = {
        name: tuple(each for each in figures if scored or each.needs in (Needs.RUN, Needs.IDS))
        for name, figures in GROUPS.items()
    }
    return {name: figures for name, figures in chosen.items() if figures}


def _score(path: str, name: str, meaning: str, needs: Needs) -> Figure:
    return Figure(path, name, meaning, Better.HIGHER, Kind.SCORE, needs)


MIOU = _score(
    "miou",
    "mIoU",
    "Is each pixel's class right? The area where prediction and truth agree, over that of either; mean over classes.",
    Needs.CLASSES,
)
VPQ = _score(
    "vpq",
    "VPQ",
    "Are objects and areas found, well outlined, and called by one id for some frames? Mean over windows of frames.",
    Needs.OBJECTS,
)
VPQ_THINGS = _score("vpq_things", "VPQ things", "VPQ of countable objects alone.", Needs.OBJECTS)
VPQ_STUFF = _score("vpq_stuff", "VPQ stuff", "VPQ of areas such as floor and wall alone.", Needs.OBJECTS)
STQ = _score(
    "stq",
    "STQ",
    "Do classes and ids stay right from start to end? The geometric mean of SQ (classes) and AQ (ids).",
    Needs.OBJECTS,
)
SQ = _score("sq", "SQ", "The half of STQ that is about classes.", Needs.OBJECTS)
AQ = _score(
    "aq", "AQ", "The half of STQ that is about ids: does an object keep one id, and that to itself?", Needs.OBJECTS
)
MVC8 = _score(
    "mvc8",
    "mVC8",
    "Where the truth keeps its class for 8 frames, how often the prediction does too. Steady, not necessarily right.",
    Needs.CLASSES,
)
MVC16 = _score("mvc16", "mVC16", "The same over 16 frames.", Needs.CLASSES)

OBJECTS_COUNTED = Figure(
    "objects", "objects", "Different objects in the ground truth.", Better.NEITHER, Kind.COUNT, Needs.OBJECTS
)
OBJECTS_FOUND = Figure(
    "objects_found",
    "objects found",
    "Share of the objects that were matched at least once: right class, more than half overlap.",
    Better.HIGHER,
    Kind.SHARE,
    Needs.OBJECTS,
)
FRAMES_FOUND = Figure(
    "frames_found",
    "frames found",
    "Share of the objects' frames in view in which they were matched.",
    Better.HIGHER,
    Kind.SHARE,
    Needs.OBJECTS,
)
OBJECT_SECONDS = Figure(
    "object_seconds",
    "time in view",
    "How long objects were in view, summed over objects.",
    Better.NEITHER,
    Kind.SECONDS,
    Needs.OBJECTS,
)
ID_SWITCHES = Figure(
    "id_switches",
    "id switches",
    "How often an object was given another id than it had before.",
    Better.LOWER,
    Kind.COUNT,
    Needs.OBJECTS,
)
SWITCHES_PER_30_SECONDS = Figure(
    "switches_per_30_seconds",
    "id switches per 30 s",
    "How often an object that is in view for 30 s is given another id.",
    Better.LOWER,
    Kind.RATIO,
    Needs.OBJECTS,
)
FRAGMENTATIONS = Figure(
    "fragmentations",
    "fragmentations",
    "How often an object in view was lost for a while and then found again.",
    Better.LOWER,
    Kind.COUNT,
    Needs.OBJECTS,
)
WRONG_IDS_AFTER_REENTRY = Figure(
    "wrong_ids_after_reentry",
    "wrong ids after re-entry",
    "How often an object left the view and came back under another id.",
    Better.LOWER,
    Kind.COUNT,
    Needs.OBJECTS,
)
SECONDS_TO_FIRST_DETECTION = Figure(
    "seconds_to_first_detection",
    "time to first detection",
    "From coming into view to the first match; median over the objects that were found.",
    Better.LOWER,
    Kind.SECONDS,
    Needs.OBJECTS,
)
THINGS_PRECISION = Figure(
    "things_precision",
    "predicted and there",
    "Share of the predicted things, frame by frame, that match an object; the others are ghosts.",
    Better.HIGHER,
    Kind.SHARE,
    Needs.OBJECTS,
)
GHOSTS_PER_FRAME = Figure(
    "ghosts_per_frame",
    "ghosts per frame",
    "Predicted things that match no object: nothing is there, or it is of another class, or was found twice.",
    Better.LOWER,
    Kind.RATIO,
    Needs.OBJECTS,
)
IDF1 = _score(
    "idf1",
    "IDF1",
    "Does every object have one id, and every id one object? Counts what is missed, what is a ghost, and what "
    "is called by an id that is another's.",
    Needs.OBJECTS,
)
SHARED_IDS = Figure(
    "shared_ids",
    "ids of several objects",
    "How many ids stood for more than one object of a recording.",
    Better.LOWER,
    Kind.COUNT,
    Needs.OBJECTS,
)

THINGS_PER_FRAME = Figure(
    "predicted.things_per_frame",
    "things per frame",
    "How many things the model found in a frame.",
    Better.NEITHER,
    Kind.RATIO,
    Needs.IDS,
)
IDS = Figure(
    "predicted.ids",
    "ids",
    "Different ids that the model gave to things. Many more than there are things: it loses them.",
    Better.NEITHER,
    Kind.COUNT,
    Needs.IDS,
)
ID_SECONDS = Figure(
    "predicted.id_seconds",
    "time an id lasts",
    "From the first to the last frame with an id; median over ids.",
    Better.NEITHER,
    Kind.SECONDS,
    Needs.IDS,
)
FLICKER = Figure(
    "predicted.flicker",
    "flicker",
    "Share of the pixels whose class is another than in the frame before. What moves changes them too.",
    Better.NEITHER,
    Kind.SHARE,
    Needs.RUN,
)
UNLABELLED = Figure(
    "predicted.unlabelled_area",
    "unlabelled",
    "Share of the image in which the model found nothing.",
    Better.NEITHER,
    Kind.SHARE,
    Needs.RUN,
)

FPS = Figure(
    "fps", "frames per second", "How many frames were segmented in a second.", Better.HIGHER, Kind.RATE, Needs.RUN
)
LATENCY_P50 = Figure(
    "latency_ms.p50",
    "latency, median",
    "Half of the frames took no longer.",
    Better.LOWER,
    Kind.MILLISECONDS,
    Needs.RUN,
)
LATENCY_P95 = Figure(
    "latency_ms.p95",
    "latency, p95",
    "95 of 100 frames took no longer.",
    Better.LOWER,
    Kind.MILLISECONDS,
    Needs.RUN,
)
LATENCY_P99 = Figure(
    "latency_ms.p99",
    "latency, p99",
    "99 of 100 frames took no longer.",
    Better.LOWER,
    Kind.MILLISECONDS,
    Needs.RUN,
)

HEADLINE = (MIOU, VPQ, STQ, OBJECTS_FOUND, GHOSTS_PER_FRAME, IDF1, SWITCHES_PER_30_SECONDS, FPS, LATENCY_P95)
"""What a report begins with."""
WITHOUT_TRUTH = (THINGS_PER_FRAME, IDS, ID_SECONDS, FLICKER, UNLABELLED, FPS, LATENCY_P95)
"""And where nothing was scored."""

OBJECTS_GROUP = "What a robot sees"
GROUPS: dict[str, tuple[Figure, ...]] = {
    "Classes": (MIOU, MVC8, MVC16),
    "Objects over time": (VPQ, VPQ_THINGS, VPQ_STUFF, STQ, SQ, AQ),
    OBJECTS_GROUP: (
        OBJECTS_COUNTED,
        OBJECT_SECONDS,
        OBJECTS_FOUND,
        FRAMES_FOUND,
        SECONDS_TO_FIRST_DETECTION,
        THINGS_PRECISION,
        GHOSTS_PER_FRAME,
        IDF1,
        SHARED_IDS,
        ID_SWITCHES,
        SWITCHES_PER_30_SECONDS,
        FRAGMENTATIONS,
        WRONG_IDS_AFTER_REENTRY,
    ),
    "What the model says": (THINGS_PER_FRAME, IDS, ID_SECONDS, FLICKER, UNLABELLED),
    "Speed": (FPS, LATENCY_P50, LATENCY_P95, LATENCY_P99),
}
"""All of them, as tables show them."""
