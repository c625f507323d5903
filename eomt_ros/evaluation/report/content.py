"""What `report.html` of an evaluation shows, in one file that opens from disk without a network."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.report.breakdown import where_wrong
from eomt_ros.evaluation.report.charts import clock, latency_histogram, latency_over_time, scores_over_time
from eomt_ros.evaluation.report.figures import (
    OBJECTS_GROUP,
    Needs,
    groups,
    headline,
    known,
    recording_figures,
    why_missing,
)
from eomt_ros.evaluation.report.ground import ground_charts
from eomt_ros.evaluation.report.page import embedded, fill_in, flat, said
from eomt_ros.evaluation.report.returns import return_rows
from eomt_ros.evaluation.report.sweep import sweep_tables
from eomt_ros.evaluation.report.timeline import id_chart
from eomt_ros.evaluation.results import MetreFigures, ObjectsInMetresFigures, ReplayFigures, Results

SMALLEST_AREA = 0.0005
"""Smallest share of the image for which the area of a class is shown."""
TOGETHER = "all together"
"""Name of the figures of all recordings, beside those of each."""
MOST_RECORDINGS = 60
"""Recordings that have a line each."""
LARGEST_VIDEO = 32 << 20
"""Bytes: a page that holds more opens slowly."""


def render(results: Results, folder: Path) -> str:
    """The page; `folder` is where pictures and video lie."""
    overlay = results.files.get("overlay")
    size = None if overlay is None else _size(folder / overlay)
    replays = {**results.replays, **({} if results.replay is None else {TOGETHER: results.replay})}
    areas = {name: area for name, area in results.predicted.class_area.items() if area >= SMALLEST_AREA}
    return fill_in(
        "report.html",
        results=results,
        title=f"Evaluation of {said(results.settings.get('model'))}",
        facts=list(_facts(results)),
        headline=headline(results),
        together=TOGETHER,
        replays=list(replays),
        fates=_fates(list(replays.values())),
        ages=[
            (f"age of a result, {name}" if results.replays else "age of a result", each.age_ms)
            for name, each in replays.items()
        ],
        recordings=results.recordings[:MOST_RECORDINGS] if len(results.recordings) > 1 else (),
        recording_figures=recording_figures(results),
        partly_scored=results.frames_scored not in (0, results.frames),
        groups=groups(results),
        bars=highest_first(results.class_iou),
        areas=highest_first(areas),
        wrong=where_wrong(results),
        swept=sweep_tables(results),
        returns=return_rows(results.returns),
        without_iou=[name for name in results.class_names if known(results.class_iou.get(name)) is None],
        no_classes=why_missing(results, Needs.CLASSES),
        no_objects=why_missing(results, Needs.OBJECTS),
        windows={k: value for k, value in results.vpq_by_window.items() if known(value) is not None},
        scores=scores_over_time(results),
        speed=latency_over_time(results),
        histogram=latency_histogram(results.latency_histogram, results.latency_ms),
        ids=id_chart(results),
        metres=_metre_rows(results.objects_in_metres),
        grounds=ground_charts(results),
        embedded=lambda path: embedded(folder / path),
        overlay=overlay,
        overlay_size=size,
        video=embedded(folder / overlay)
        if overlay is not None and size is not None and size <= LARGEST_VIDEO
        else None,
        objects_group=OBJECTS_GROUP,
        limits=_limits(results.settings),
        settings=[(name, text) for name, text in flat(results.settings) if name != "command"],
        command=shell_command(results.settings.get("command")),
    )


def _facts(results: Results) -> Iterator[tuple[str, str]]:
    """Names and values of the lines at the top: input, task, device, date, length."""
    settings = results.settings
    for name in ("input", "task", "device"):
        if settings.get(name) is not None:
            yield name, said(settings[name])
    if settings.get("date") is not None:
        yield "date", readable_date(said(settings["date"]))
    recordings = f" in {len(results.sequences)} recordings" if len(results.sequences) > 1 else ""
    frames = counted(results.frames, "frame")
    yield "length", f"{frames}, {clock(results.seconds, digits=1)}{recordings}"
    if results.frames_scored not in (0, results.frames):
        yield "with ground truth", f"{results.frames_scored:,} of {frames}"
    if results.frames_scored and settings.get("convention") is not None:
        yield "convention", f"{settings['convention']}: {Convention(settings['convention']).meaning}"


def _fates(replays: Sequence[ReplayFigures]) -> list[tuple[str, list[str]]]:
    """What became of the frames in each of some replays, of which the last has them all: a line for each fate."""
    lines = [("policy", [each.policy for each in replays])]
    lines += [
        (name, [f"{getattr(each, field):,}" for each in replays])
        for name, field in (("published", "published"), ("processed", "processed"), ("dropped by the node", "dropped"))
    ]
    lines += [
        (f"\N{EM SPACE}{reason}", [f"{each.dropped_by_reason.get(reason, 0):,}" for each in replays])
        for reason, count in (replays[-1].dropped_by_reason.items() if replays else ())
        if count
    ]
    return [*lines, ("lost on the way to it", [f"{each.lost_on_the_way:,}" for each in replays])]


def _metre_rows(found: ObjectsInMetresFigures | None) -> dict[str, list[tuple[str, MetreFigures]]]:
    """Groups of rows of the figures in metres, with their names."""
    if found is None:
        return {}
    near = f"within {found.within_m:g} m"
    distances = [(f"{each.from_m:g} to {each.to_m:g} m", each) for each in found.by_distance if each.things]
    return {"By distance": [*distances, (f"all {near}", found)], f"By class, {near}": list(found.by_class.items())}


def _limits(settings: Mapping[str, Any]) -> str | None:
    """The limits of the objects that count, in words."""
    area, frames = settings.get("min_object_area"), settings.get("min_object_frames")
    if area is None or frames is None:
        return None
    side = math.ceil(math.sqrt(640 * 480 * area))
    return (
        f"An object is in view, and a prediction can be a ghost, from {100 * area:g} % of the image on, which is "
        f"{side}x{side} of 640x480 pixels. Objects in view for fewer than {counted(frames, 'frame')} are left out."
    )


def highest_first(shares: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """The classes that have a value, with it."""
    pairs = [(name, share) for name, share in shares.items() if share is not None and known(share) is not None]
    return sorted(pairs, key=lambda pair: -pair[1])


def _size(file: Path) -> int | None:
    """Bytes; None where there is no such file."""
    try:
        return file.stat().st_size
    except OSError:
        return None


def readable_date(text: str) -> str:
    """A date of ISO 8601 for people."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").rstrip()
    except ValueError:
        return text


def shell_command(command: Any) -> str | None:
    """A command of the settings as it is typed."""
    return shlex.join(map(str, command)) if isinstance(command, list | tuple) else command
