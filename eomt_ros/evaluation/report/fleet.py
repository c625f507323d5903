"""`report.html` of many recordings: all together, slices, the worst ones, distributions, and a line for each."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.report.breakdown import where_wrong
from eomt_ros.evaluation.report.charts import Bar, clock, latency_histogram
from eomt_ros.evaluation.report.content import highest_first, readable_date, shell_command
from eomt_ros.evaluation.report.figures import (
    GROUPS,
    Better,
    Figure,
    as_text,
    groups,
    headline,
    recording_figures,
)
from eomt_ros.evaluation.report.page import TEMPLATES, embedded, fill_in, flat, said
from eomt_ros.evaluation.report.returns import return_rows
from eomt_ros.evaluation.report.sweep import sweep_tables
from eomt_ros.evaluation.results import Recording, Results

BINS = 20
"""Bars of a distribution."""
NAMED = 5
"""Recordings that are named: of each figure the worst, and those in a bar."""
MOST_FRAMES = 8
"""Worst frames, by mIoU and by objects, that a page has pictures of."""
FPS = next(figure for figure in GROUPS["Speed"] if figure.path == "fps")


@dataclass(frozen=True)
class Distribution:
    """How a figure is spread over the recordings of which it is known."""

    figure: Figure
    texts: tuple[str, ...]
    """Lowest, 10 %, median, 90 %, highest."""
    low: Recording
    high: Recording
    bars: tuple[Bar, ...]
    """From the lowest value to the highest."""


@dataclass(frozen=True)
class WorstRecordings:
    """The recordings that are worst in a figure."""

    figure: Figure
    recordings: tuple[Recording, ...]
    """Worst first."""


def is_fleet(results: Results) -> bool:
    """True for results of recordings that each have a folder of their own."""
    return bool(results.failed) or any(each.folder for each in results.recordings)


def render_fleet(results: Results, folder: Path) -> str:
    """The page; `folder` is where the folders of the recordings lie."""
    columns = [*recording_figures(results), FPS]
    command = results.settings.get("command")
    return fill_in(
        "fleet.html",
        script=(TEMPLATES / "sort.js").read_text(encoding="utf-8"),
        results=results,
        title=f"Evaluation of {said(results.settings.get('model'))} on {_recordings(len(results.sequences))}",
        facts=list(_facts(results)),
        headline=headline(results),
        columns=columns,
        tagged=any(each.tags for each in results.recordings),
        sizes={tag: sum(tag in each.tags for each in results.recordings) for tag in results.slices},
        worst=list(_worst(results.recordings, columns)),
        distributions=list(_distributions(results.recordings)),
        links={each.name: f"{each.folder}/report.html" for each in results.recordings if each.folder},
        worst_frames=results.worst_frames[:MOST_FRAMES],
        worst_frames_by_objects=results.worst_frames_by_objects[:MOST_FRAMES],
        wrong=where_wrong(results),
        swept=sweep_tables(results),
        returns=return_rows(results.returns),
        embedded=lambda path: embedded(folder / path) if _is_within(folder / path, folder) else None,
        bars=highest_first(results.class_iou),
        histogram=latency_histogram(results.latency_histogram, results.latency_ms),
        groups=groups(results),
        settings=[(name, text) for name, text in flat(results.settings) if name != "command"],
        command=shell_command(command),
    )


def _facts(results: Results) -> Iterator[tuple[str, str]]:
    for name in ("task", "device", "backend", "precision"):
        if results.settings.get(name) is not None:
            yield name, said(results.settings[name])
    if results.settings.get("date") is not None:
        yield "date", readable_date(said(results.settings["date"]))
    yield "length", f"{counted(results.frames, 'frame')}, {clock(results.seconds, digits=1)}"
    if results.frames_scored not in (0, results.frames):
        yield "with ground truth", f"{results.frames_scored:,} of {counted(results.frames, 'frame')}"


def _recordings(count: int) -> str:
    return counted(count, "recording")


def _worst(recordings: Sequence[Recording], figures: Sequence[Figure]) -> Iterator[WorstRecordings]:
    """For each figure that some direction of is better, the recordings that are worst in it."""
    for figure in figures:
        known = [(value, each) for each in recordings if (value := figure.value(each)) is not None]
        if figure.better is Better.NEITHER or not known:
            continue
        known.sort(key=lambda pair: pair[0], reverse=figure.better is Better.LOWER)
        best, _ = known[-1]
        if worse := tuple(each for value, each in known[:NAMED] if value != best):
            yield WorstRecordings(figure, worse)


def _distributions(recordings: Sequence[Recording]) -> Iterator[Distribution]:
    """Of all figures in which recordings differ."""
    for figure in (figure for group in GROUPS.values() for figure in group):
        known = [(value, each) for each in recordings if (value := figure.value(each)) is not None]
        known.sort(key=lambda pair: pair[0])
        values = [value for value, _ in known]
        if len(set(values)) < 2:
            continue
        tenths = statistics.quantiles(values, n=10, method="inclusive")
        five = (values[0], tenths[0], statistics.median(values), tenths[-1], values[-1])
        texts = tuple(as_text(value, figure.kind) for value in five)
        if texts[0] != texts[-1]:
            yield Distribution(figure, texts, known[0][1], known[-1][1], tuple(_bars(known, figure)))


def _bars(known: Sequence[tuple[float, Recording]], figure: Figure) -> Iterator[Bar]:
    """The numbers of recordings in equal steps from the lowest to the highest value."""
    low, high = known[0][0], known[-1][0]
    width = (high - low) / BINS
    members: list[list[str]] = [[] for _ in range(BINS)]
    for value, recording in known:
        members[min(int((value - low) / width), BINS - 1)].append(recording.name)
    most = max(map(len, members))
    for number, names in enumerate(members):
        if names:
            begin, end = (as_text(low + (number + step) * width, figure.kind) for step in (0, 1))
            more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
            title = f"{begin} to {end}: {counted(len(names), 'recording')}: {', '.join(names[:NAMED])}{more}"
            yield Bar(100 * number / BINS, 100 / BINS, 100 * len(names) / most, title)


def _is_within(file: Path, folder: Path) -> bool:
    """True for a file in the folder also where links lead to."""
    return folder.resolve() in file.resolve().parents
