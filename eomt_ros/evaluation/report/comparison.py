"""Runs side by side: every figure, its difference from the first run's, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.report.figures import (
    GROUPS,
    NOTHING,
    OF_RECORDINGS,
    REPLAY_GROUP,
    Better,
    Figure,
    Kind,
    as_text,
    known,
    recording_figures,
)
from eomt_ros.evaluation.report.fleet import is_fleet
from eomt_ros.evaluation.report.page import TEMPLATES, fill_in, flat, said
from eomt_ros.evaluation.report.paired import CONFIDENCE, Evidence, PairedRuns, paired, signed
from eomt_ros.evaluation.report.returns import shares_by_time_away
from eomt_ros.evaluation.results import Figures, Results

SPEED_VARIES = 0.03
"""Share by which the speeds of two equal runs differ easily; smaller differences count as the same."""
SMALLEST = {
    **dict.fromkeys((Kind.SCORE, Kind.SHARE, Kind.METRES, Kind.SPEED), 0.0005),
    **dict.fromkeys((Kind.RATIO, Kind.SECONDS), 0.005),
    Kind.COUNT: 0.5,
}
"""Smaller differences do not show in the printed figure, and count as the same."""
SAME_INPUT = ("input", "topics", "truth", "task", "convention", "min_object_area", "min_object_frames")
"""Settings that must agree, or the runs answer different questions."""
SAME_MACHINE = ("device", "threads", "machine", "processor", "gpu")
"""Settings that must agree if speeds are to be compared."""
OF_THE_RUN = ("command", "date", "key")
"""Settings that have no influence on the figures; a comparison does not list them."""
OF_PAIRS = tuple(figure for group in GROUPS.values() for figure in group if figure.path in (*OF_RECORDINGS, "fps"))
"""Figures whose differences a page has for each recording."""
FEW = 8
"""Names that a warning lists at most, and recordings that are compared one by one."""


class Verdict(Enum):
    """A run's figure in relation to the first run's."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    OTHER = "other"
    """Of a figure that describes the input."""
    UNKNOWN = ""
    """One of the two does not have it."""


ARROWS = {Verdict.BETTER: "▲", Verdict.WORSE: "▼", Verdict.SAME: "=", Verdict.OTHER: "≠", Verdict.UNKNOWN: ""}
ANSI = {Verdict.BETTER: "\033[32m", Verdict.WORSE: "\033[31m"}
ANSI_END = "\033[0m"


@dataclass(frozen=True)
class ComparedRun:
    """An evaluation to be compared."""

    name: str
    """Its name in the comparison, such as its folder."""
    results: Results


@dataclass(frozen=True)
class ComparisonCell:
    """One run's figure."""

    text: str
    difference: str
    """From the first run's, with its sign; empty where there is none, and for the first run itself."""
    verdict: Verdict

    @property
    def arrow(self) -> str:
        """The verdict as a sign."""
        return ARROWS[self.verdict]


Rows = Mapping[str, tuple[ComparisonCell, ...]]
"""By the name of the figure, the cells of all runs."""


@dataclass(frozen=True)
class Comparison:
    """All figures of all runs."""

    names: tuple[str, ...]
    warnings: tuple[str, ...]
    """Why the runs cannot be compared as they are, a sentence each."""
    groups: Mapping[str, Rows]
    settings: Mapping[str, tuple[str, ...]]
    """Settings in which the runs differ, with the value of each run."""
    paired: Mapping[str, PairedRuns] = field(default_factory=dict)
    """By the name of a run, its recordings beside the same of the first run, where both are of many."""


def compare(runs: Sequence[ComparedRun]) -> Comparison:
    """Compares two or more runs with the first of them."""
    results = [run.results for run in runs]
    first, *others = runs
    pairs = {
        other.name: paired(first.results.recordings, other.results.recordings)
        for other in others
        if is_fleet(first.results) and is_fleet(other.results)
    }
    lacking = (each for name, pair in pairs.items() for each in _lacking(first.name, name, pair))
    return Comparison(
        tuple(run.name for run in runs),
        (*_warnings(runs), *lacking),
        rows_by_group(results, {**GROUPS, "Replay through the node": REPLAY_GROUP}, _by_recording(results)),
        _different_settings([dict(flat(result.settings)) for result in results]),
        pairs,
    )


def rows_by_group(
    runs: Sequence[Figures], groups: Mapping[str, Sequence[Figure]], between: Mapping[str, Rows] | None = None
) -> dict[str, Rows]:
    """The rows that any of the runs has, returns by time away, VPQ by window and IoU by class at the end.

    between: those before these.
    """
    rows: dict[str, Rows] = {
        name: {
            figure.name: cells_of([figure.value(run) for run in runs], figure.better, figure.kind) for figure in figures
        }
        for name, figures in groups.items()
    }
    rows |= between or {}
    for outcome, name, better in (("right", "the old id", Better.HIGHER), ("wrong", "another's id", Better.LOWER)):
        shares = [shares_by_time_away(run, outcome) for run in runs]
        rows[f"Returns with {name}, by time away"] = rows_of(shares, better, Kind.SHARE)
    rows["VPQ by window of frames"] = rows_of([run.vpq_by_window for run in runs])
    rows["IoU by class"] = rows_of([run.class_iou for run in runs])
    shown = {
        group: {name: cells for name, cells in each.items() if any(cell.text != NOTHING for cell in cells)}
        for group, each in rows.items()
    }
    return {group: each for group, each in shown.items() if each}


def _by_recording(results: Sequence[Results]) -> dict[str, dict[str, tuple[ComparisonCell, ...]]]:
    """A group for each recording of which two runs have figures, where there are several, but no long list of them."""
    recordings = [{each.name: each for each in result.recordings} for result in results]
    if not 1 < max(map(len, recordings)) <= FEW:
        return {}
    runs_of = Counter(name for each in recordings for name in each)
    figures = recording_figures(next(result for result in results if len(result.recordings) > 1))
    return {
        f"Recording {name}": {
            figure.name: cells_of(
                [figure.value(each[name]) if name in each else None for each in recordings], figure.better, figure.kind
            )
            for figure in figures
        }
        for name, runs in runs_of.items()
        if runs > 1
    }


def comparison_page(comparison: Comparison) -> str:
    """The comparison as a page of one file."""
    return fill_in(
        "comparison.html",
        script=(TEMPLATES / "sort.js").read_text(encoding="utf-8") if comparison.paired else "",
        comparison=comparison,
        confidence=f"{CONFIDENCE:.0%}".replace("%", " %"),
        columns=OF_PAIRS,
        signed=signed,
    )


def comparison_text(comparison: Comparison, *, colors: bool = False) -> str:
    """The comparison as a table for the terminal; `colors` adds escape sequences for better and worse."""
    lines = [f"warning: {warning}" for warning in comparison.warnings]
    if lines:
        lines.append("")
    rows = [row for group in comparison.groups.values() for row in group.items()]
    first = max(len(name) for name, _ in rows) + 4
    widths = [
        max(len(name), *(len(_beside(cells[number], number)) for _, cells in rows))
        for number, name in enumerate(comparison.names)
    ]
    heads = [name.rjust(width) for name, width in zip(comparison.names, widths, strict=True)]
    lines.append(" " * first + "   ".join(heads))
    for group, members in comparison.groups.items():
        lines.append(group)
        for name, cells in members.items():
            texts = [
                _painted(cell.verdict, _beside(cell, number).rjust(width), colors)
                for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append(f"  {name:<{first - 2}}" + "   ".join(texts).rstrip())
    for name, pair in comparison.paired.items():
        lines += ["", *_paired_lines(comparison.names[0], name, pair, colors)]
    if comparison.settings:
        lines += ["", "settings that differ"]
        lines += [f"  {name}: {' | '.join(values)}" for name, values in comparison.settings.items()]
    lines += ["", f"beside {comparison.names[0]}; speeds within {SPEED_VARIES:.0%} are the same"]
    return "\n".join(lines)


def _paired_lines(first: str, name: str, pairs: PairedRuns, colors: bool) -> Iterator[str]:
    """A table of the differences of recordings."""
    yield f"{name} beside {first}, recording by recording: {counted(len(pairs.pairs), 'recording')} that both have"
    rows = [("", "mean", f"{CONFIDENCE:.0%} interval", "better in", "worse in")]
    rows += [
        (each.figure.name, each.mean_text, each.interval_text, f"{each.better:,}", f"{each.worse:,}")
        for each in pairs.figures
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    evidence = ["", *(_painted_evidence(each.evidence, colors) for each in pairs.figures)]
    for (figure, *texts), found in zip(rows, evidence, strict=True):
        columns = [text.rjust(width) for text, width in zip(texts, widths[1:], strict=True)]
        yield f"  {figure:<{widths[0]}}  {'   '.join([*columns, found])}".rstrip()


def _painted_evidence(evidence: Evidence, colors: bool) -> str:
    verdicts = {Evidence.BETTER: Verdict.BETTER, Evidence.WORSE: Verdict.WORSE}
    return _painted(verdicts.get(evidence, Verdict.SAME), evidence.value, colors)


def _lacking(first: str, other: str, pairs: PairedRuns) -> Iterator[str]:
    for lacks, has, names in ((other, first, pairs.only_first), (first, other, pairs.only_second)):
        if names:
            yield (
                f"{lacks} lacks {counted(len(names), 'recording')} that {has} has: {_few(names)}: figures of all "
                "together are of other recordings, differences by recording are of those that both have"
            )


def _different_settings(settings: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name for each in settings for name in each if name not in OF_THE_RUN)
    values = {name: tuple(each.get(name, NOTHING) for each in settings) for name in names}
    return {name: shown for name, shown in values.items() if len(set(shown)) > 1}


def rows_of(
    figures: Sequence[Mapping[str, float | None]], better: Better = Better.HIGHER, kind: Kind = Kind.SCORE
) -> dict[str, tuple[ComparisonCell, ...]]:
    """A row for each entry that any of the runs has."""
    names = dict.fromkeys(name for mapping in figures for name in mapping)
    return {name: cells_of([known(mapping.get(name)) for mapping in figures], better, kind) for name in names}


def cells_of(values: Sequence[float | None], better: Better, kind: Kind) -> tuple[ComparisonCell, ...]:
    """A row: each run's figure, compared with the first run's."""
    first = ComparisonCell(as_text(values[0], kind), "", Verdict.UNKNOWN)
    return (first, *(_cell(value, values[0], better, kind) for value in values[1:]))


def _cell(value: float | None, first: float | None, better: Better, kind: Kind) -> ComparisonCell:
    text = as_text(value, kind)
    if value is None or first is None:
        return ComparisonCell(text, "", Verdict.UNKNOWN)
    difference = value - first
    if abs(difference) < SMALLEST.get(kind, SPEED_VARIES * abs(first)) or difference == 0:
        return ComparisonCell(text, "", Verdict.SAME)
    said = f"{'+' if difference > 0 else '-'}{as_text(abs(difference), kind)}"
    if better is Better.NEITHER:
        return ComparisonCell(text, said, Verdict.OTHER)
    improved = (difference > 0) == (better is Better.HIGHER)
    return ComparisonCell(text, said, Verdict.BETTER if improved else Verdict.WORSE)


def _beside(cell: ComparisonCell, number: int) -> str:
    return f"{cell.text} {cell.difference:>9} {cell.arrow:1} {cell.verdict.value:6}" if number else cell.text


def _painted(verdict: Verdict, text: str, colors: bool) -> str:
    return f"{ANSI[verdict]}{text}{ANSI_END}" if colors and verdict in ANSI else text


def _warnings(runs: Sequence[ComparedRun]) -> Iterator[str]:
    first = runs[0]
    for run in runs[1:]:
        for what, value, expected in _differences(first.results, run.results):
            yield f"{run.name} has {what} {value}, {first.name} has {expected}: they cannot be compared as they are"
        for name in SAME_MACHINE:
            if _differ(run.results.settings, first.results.settings, name):
                value, expected = said(run.results.settings[name]), said(first.results.settings[name])
                yield (
                    f"{run.name} ran with {name} {value}, {first.name} with {expected}: their speeds cannot be compared"
                )
        if (run.results.replay is None) != (first.results.replay is None):
            through = run.name if first.results.replay is None else first.name
            yield f"only {through} went through the node: its frames per second are those of the whole node"
    for run in runs:
        if run.results.problems:
            count = len(run.results.problems)
            yield f"{run.name} had {counted(count, 'problem')}, the first: {run.results.problems[0]}"


def _differences(first: Results, other: Results) -> Iterator[tuple[str, str, str]]:
    contents = [str(each.settings.get("fingerprint") or "")[:12] for each in (other, first)]
    if all(contents) and contents[0] != contents[1]:
        yield "an input with the content", contents[0], contents[1]
    # One recording at two paths is one recording.
    same_content = all(contents) and contents[0] == contents[1]
    for name in SAME_INPUT:
        if _differ(other.settings, first.settings, name) and not (name == "input" and same_content):
            yield name, said(other.settings[name]), said(first.settings[name])
    if other.frames != first.frames:
        yield "frames", f"{other.frames:,}", f"{first.frames:,}"
    if other.frames_scored != first.frames_scored:
        yield "frames with ground truth", f"{other.frames_scored:,}", f"{first.frames_scored:,}"
    if other.class_names != first.class_names:
        yield "classes", _few(other.class_names), _few(first.class_names)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    return name in one and name in other and one[name] != other[name]
