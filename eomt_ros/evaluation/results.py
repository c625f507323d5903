"""The results of an evaluation: the content of `metrics.json`, from which report and comparison are made."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eomt_ros.errors import UserError
from eomt_ros.evaluation.ids import ObjectTimeline, ReturnFigures
from eomt_ros.evaluation.json_file import JsonFileError, from_json, parse_json, write_json
from eomt_ros.evaluation.latency import Percentiles
from eomt_ros.evaluation.wrong import SegmentFigures, SweptFigures, WorstFrame
from eomt_ros.regular_file import read_bytes

SCHEMA_VERSION = 1
FILE = "metrics.json"
LARGEST_RESULTS = 1 << 27
"""Bytes of the file: enough for a hundred hours, and for ten thousand recordings of a hundred classes."""


class ResultsError(UserError):
    """A folder without results that can be read; the message says which and why."""


@dataclass(frozen=True)
class Drift:
    """Scores of the first minute and of the last one, which do not overlap."""

    first_miou: float | None
    last_miou: float | None
    first_vpq: float | None
    last_vpq: float | None


@dataclass(frozen=True)
class Interval:
    """A part of the run; all parts are about equally long."""

    sequence: str
    begin: float
    """Seconds from the start of the sequence, as is `end`."""
    end: float
    miou: float | None
    vpq: float | None
    id_switches: int | None
    latency_ms: float
    """Median of the engine's."""


Path2D = tuple[tuple[float, float], ...]
"""Points (x, y) on the ground, in metres, of one stretch of time."""


@dataclass(frozen=True)
class MappedObject:
    """One thing of the ground truth on the ground, and where it was located."""

    object_id: int
    class_name: str
    size: tuple[float, float]
    """Edges of its true box along x and y, in metres."""
    truth: tuple[Path2D, ...]
    """Of a thing that stands still a single point, as in `located`, where it is the median."""
    located: tuple[Path2D, ...]


@dataclass(frozen=True)
class GroundMap:
    """One sequence from above, in the odometry's frame."""

    sequence: str
    robot: Path2D
    objects: tuple[MappedObject, ...]


@dataclass(frozen=True)
class ReplayFigures:
    """Fate of the frames on their way through the node."""

    policy: str
    published: int
    processed: int
    dropped: int
    dropped_by_reason: Mapping[str, int]
    lost_on_the_way: int
    """Published, but never received by the node."""
    age_ms: Percentiles
    """From the publishing of an image to the arrival of its result."""


@dataclass(frozen=True)
class Predicted:
    """Figures that need no ground truth; None where there is nothing to count."""

    class_area: Mapping[str, float] = field(default_factory=dict)
    """Share of the image that a class has, mean over frames."""
    unlabelled_area: float | None = None
    """Share of the image that has no class, mean over frames."""
    flicker: float | None = None
    """Share of the pixels that have another class than in the frame before, mean over frames."""
    things_per_frame: float | None = None
    ids: int | None = None
    """Number of different ids of things."""
    id_seconds: float | None = None
    """Time from the first to the last frame with an id of a thing; median over ids."""


@dataclass(frozen=True)
class Spread:
    """Percentiles of an error; NaN where there was none to measure."""

    p50: float
    p90: float
    p95: float


@dataclass(frozen=True)
class VelocityErrors:
    """In m/s."""

    moving: Spread
    """Of things that move, once they have been in view for a second."""
    still: Spread
    """Of things that stand still for at least a second: the speed that they are said to have."""


@dataclass(frozen=True, kw_only=True)
class MetreFigures:
    """Errors in metres of true things in view, each thing in each frame counted once."""

    things: int
    """Things in view, summed over frames."""
    located_share: float | None
    """Share within `located_within_m` of the truth, of those that were found in the image; None where none was."""
    located_share_of_all: float | None
    """The same of all things in view."""
    position_error_m: Spread
    """Distance of the centres of the true and the located box."""
    size_error_m: Spread
    """Mean difference of the three edges of these boxes."""
    velocity_error_mps: VelocityErrors


@dataclass(frozen=True, kw_only=True)
class MetresByDistance(MetreFigures):
    """The same of things at a distance from the camera."""

    from_m: float
    to_m: float


@dataclass(frozen=True, kw_only=True)
class ObjectsInMetresFigures(MetreFigures):
    """The same of things within `within_m` of the camera, and of parts of them."""

    within_m: float
    located_within_m: float
    by_distance: tuple[MetresByDistance, ...] = ()
    """Also of things beyond `within_m`."""
    by_class: Mapping[str, MetreFigures] = field(default_factory=dict)
    """Within `within_m`; classes with things in view only."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The scores of predictions. None where one cannot be known: without ground truth, or in the semantic task."""

    miou: float | None = None
    class_iou: Mapping[str, float | None] = field(default_factory=dict)
    vpq: float | None = None
    vpq_things: float | None = None
    vpq_stuff: float | None = None
    vpq_by_window: Mapping[str, float | None] = field(default_factory=dict)
    """By the number of frames in a window: 1, 2, 4, 6, 8."""
    by_class: Mapping[str, SegmentFigures] = field(default_factory=dict)
    """Of things and stuff; only classes that are true or predicted anywhere."""
    by_size: Mapping[str, SegmentFigures] = field(default_factory=dict)
    """Of things: tiny, small, medium, large, see `metrics.breakdown`; only sizes that there are."""
    stq: float | None = None
    sq: float | None = None
    aq: float | None = None
    mvc8: float | None = None
    mvc16: float | None = None

    objects: int | None = None
    objects_found: float | None = None
    """Share of the objects that were matched at least once."""
    frames_found: float | None = None
    """Share of the objects' frames in view in which they were matched."""
    object_seconds: float | None = None
    """Time in view, summed over objects."""
    id_switches: int | None = None
    switches_per_30_seconds: float | None = None
    """Id switches per 30 seconds of one object in view."""
    fragmentations: int | None = None
    wrong_ids_after_reentry: int | None = None
    seconds_to_first_detection: float | None = None
    """Median over the objects that were found."""
    things_precision: float | None = None
    """Share of the predicted things that matched an object."""
    ghosts_per_frame: float | None = None
    """Predicted things that matched none."""
    idf1: float | None = None
    shared_ids: int | None = None
    """Ids that were matched with more than one object of a sequence."""
    returns: ReturnFigures | None = None
    """Objects that were found again after two seconds or more."""
    returns_right: float | None = None
    """Share of those found again after a minute at most that got their old id; None where there is none."""
    returns_wrong: float | None = None
    """Share of the same that got an id which another object had before."""
    objects_in_metres: ObjectsInMetresFigures | None = None
    """None where a recording lacks depth, odometry, or the true boxes."""


@dataclass(frozen=True, kw_only=True)
class Recording(Figures):
    """The figures of one sequence of a run: of a camera, a bag, a video."""

    name: str
    frames: int
    frames_scored: int
    seconds: float
    predicted: Predicted = Predicted()
    fps: float | None = None
    """Of the engine alone; known of the recordings of a fleet, as is all that follows."""
    latency_ms: Percentiles | None = None
    """Of the engine per frame."""
    folder: str = ""
    """Where its own evaluation lies, relative to this one's; empty where it has none."""
    fingerprint: str = ""
    """Of the recording's content; in `settings` of its own evaluation."""
    tags: tuple[str, ...] = ()
    """Slices that it belongs to; in `settings` of its own evaluation."""


@dataclass(frozen=True)
class FailedRecording:
    """A recording that could not be evaluated."""

    name: str
    path: str
    """Path or address of the recording."""
    error: str


@dataclass(frozen=True, kw_only=True)
class Results(Figures):
    """The results of one evaluation."""

    schema_version: int
    settings: Mapping[str, Any]
    """All that is needed to repeat the run: input, topics, model, task, thresholds, precision, versions."""
    class_names: tuple[str, ...]
    is_thing: tuple[bool, ...] = ()
    """By class id; empty in files of older versions."""
    sequences: tuple[str, ...]
    problems: tuple[str, ...]
    """Faults of the input that could be worked around, a sentence each; also that the run was stopped."""
    frames: int
    """Number of frames that were segmented."""
    frames_scored: int
    """Number of them that have a ground truth."""
    seconds: float
    """Length of the sequences, by their stamps."""

    fps: float
    """Of the engine alone, pixels in, result out; through the node: results per second."""
    latency_ms: Percentiles
    """Of the engine per frame."""
    stages_ms: Mapping[str, Percentiles]
    latency_histogram: tuple[tuple[float, int], ...] = ()
    """(lower edge in ms, frames); edges ascend, and the last one closes the histogram with 0 frames."""

    predicted: Predicted = Predicted()
    recordings: tuple[Recording, ...] = ()
    """The same figures of each sequence that was begun, in their order; empty in files of older versions. Of a fleet,
    of each recording, by name."""
    failed: tuple[FailedRecording, ...] = ()
    """Recordings of a fleet without figures."""
    slices: Mapping[str, Recording] = field(default_factory=dict)
    """By tag, the figures of all recordings of a fleet that have it, from their counts."""
    drift: Drift | None = None
    """None where no sequence lasts two minutes, or none of those has a ground truth."""
    intervals: tuple[Interval, ...] = ()
    timelines: tuple[ObjectTimeline, ...] = ()
    maps: tuple[GroundMap, ...] = ()
    """Of the first sequences with figures in metres."""
    worst_frames: tuple[WorstFrame, ...] = ()
    """Those with the lowest mIoU."""
    worst_frames_by_objects: tuple[WorstFrame, ...] = ()
    """Those with most objects that are missed, that are not there, or that have a new id."""
    sweep: tuple[SweptFigures, ...] = ()
    """Figures with other thresholds, from the same pass of the network, and with other sizes."""
    replay: ReplayFigures | None = None
    replays: Mapping[str, ReplayFigures] = field(default_factory=dict)
    """The same for each of several cameras, by the name of its sequence."""
    other_metrics: Mapping[str, float] = field(default_factory=dict)
    """Figures of other people's programs, by their names; empty unless asked for."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """What the figures are made of, see `counts.py`; empty in files of older versions."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Paths of `overlay` (video), `bag`, `exports` (predictions), `frames`, `objects` (CSV), relative to the folder."""


def begin(folder: Path) -> None:
    """Writes a `metrics.json` without figures, so that a folder is known for what it is. Raises `OSError`."""
    write_json({"schema_version": SCHEMA_VERSION}, folder / FILE)


def has_begun(folder: Path) -> bool:
    """True if an evaluation was begun in a folder, by any version."""
    with suppress(ResultsError):
        return "schema_version" in _content(folder)
    return False


def has_figures(folder: Path) -> bool:
    """True if an evaluation has written figures into a folder."""
    with suppress(ResultsError):
        return len(_content(folder)) > 1
    return False


def nothing_scored(results: Results) -> str | None:
    """Why nothing was scored although there is a ground truth; None where something was, or where there is none."""
    truth = results.settings.get("truth")
    if not truth or results.miou is not None or not results.frames:
        return None
    why = "all of it is unlabelled" if results.frames_scored else "; ".join(results.problems)
    return f"nothing was scored, although there is a ground truth ({', '.join(truth)}): {why}"


def write_results(results: Results, folder: Path) -> Path:
    """Writes `metrics.json` into a folder and returns its path; what is not a number becomes null. Raises `OSError`."""
    write_json(results, folder / FILE)
    return folder / FILE


def read_results(folder: Path) -> Results:
    """The results that an evaluation left in a folder. Raises `ResultsError`."""
    path, content = folder / FILE, _content(folder)
    if (version := content.get("schema_version")) != SCHEMA_VERSION:
        raise ResultsError(
            f"{path}: schema_version is {version}, expected {SCHEMA_VERSION}: it was written by another version of "
            "eomt_ros; evaluate again with this one, or read it with that one"
        )
    if len(content) == 1:
        raise ResultsError(f"{path} has no figures: the evaluation was ended before its first frame was scored")
    try:
        return from_json(Results, content)
    except JsonFileError as error:
        raise ResultsError(f"{path} holds no results: {error}") from error


def _content(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        return parse_json(read_bytes(path, LARGEST_RESULTS).decode("utf-8"))
    except FileNotFoundError as error:
        raise ResultsError(f"{folder} has no {FILE}: expected a folder that an evaluation wrote") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from error
    except JsonFileError as error:
        raise ResultsError(f"{path} holds no results: {error}") from error
