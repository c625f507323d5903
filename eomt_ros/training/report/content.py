"""`report.html`: a training for people, in one file that opens from disk without a network."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.report.charts import Course, LineChart, clock, curves
from eomt_ros.evaluation.report.comparison import rows_by_group
from eomt_ros.evaluation.report.figures import GROUPS, NOTHING, Figure, Kind, Needs, as_text
from eomt_ros.evaluation.report.page import fill_in, flat, said, write_page
from eomt_ros.plain_yaml import load_plain_yaml
from eomt_ros.training.history import HISTORY_FILE, RunHistory, read_history
from eomt_ros.training.report.log_curves import curve, read_log
from eomt_ros.training.run_log import STEP
from eomt_ros.training.settings import MADE_WITH, SETTINGS_FILE

TEMPLATES = Path(__file__).parent / "templates"
REPORT = "report.html"
HEADLINE = ("miou", "vpq", "stq", "objects_found", "idf1", "switches_per_30_seconds")
"""The figures that the report begins with, as far as there are some."""
OVER_STEPS = ("miou", "vpq", "stq", "objects_found")
"""The figures of the chart of all validations."""
SCORED = {Needs.CLASSES, Needs.OBJECTS}
"""What figures of a validation need."""
LAST_ANSWER = ("class", "mask", "dice")
"""Columns of the log: the losses of the answer that is used."""


def write_report(folder: Path, unfinished: str = "") -> Path:
    """Writes `report.html` from what a training left in its folder so far, and returns its path.

    unfinished: a sentence that says why the run is not over, and how it goes on; empty where it is over.
    Raises `TrainingError` where there is no history of the run, `OSError`.
    """
    return write_page(render(read_history(folder), folder, unfinished), folder / REPORT, HISTORY_FILE)


def render(history: RunHistory, folder: Path, unfinished: str = "") -> str:
    """The page; `folder` is where log and settings lie."""
    log = read_log(folder)
    settings = _settings(folder)
    made_with = settings.pop(MADE_WITH, None) or {}
    compared = {name: each for name, each in (("start", history.start), ("best", history.best)) if each is not None}
    scored = [each.figures for each in compared.values()]
    shown = {name: figures for name, figures in GROUPS.items() if {each.needs for each in figures} <= SCORED}
    return fill_in(
        "training.html",
        templates=TEMPLATES,
        title=f"Training of {folder.resolve().name}",
        facts=list(_facts(history, log, settings, made_with)),
        unfinished=unfinished,
        problems=[
            *history.notes,
            *_worse(history),
            *dict.fromkeys(problem for each in compared.values() for problem in each.problems),
        ],
        tiles=list(_tiles(history)),
        best=history.best,
        validations=len(history.validations),
        charts_of_run=_charts(history, log),
        compared=list(compared),
        groups=rows_by_group(scored, shown) if scored else {},
        worst=() if history.best is None else history.best.worst_frames,
        data=history.data,
        classes=_classes(history),
        commands=_commands(folder.resolve(), history, made_with),
        settings=list(flat({**settings, **made_with})),
    )


def _settings(folder: Path) -> dict[str, Any]:
    """The run's settings; none where there is no file of them that can be read."""
    try:
        content = load_plain_yaml((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _facts(
    history: RunHistory, log: Mapping[str, list[float]], settings: Mapping[str, Any], made_with: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Names and values of the lines at the top."""
    yield "data", history.data.folder
    if made_with.get("start") is not None:
        yield "start", said(made_with["start"])
    yield from ((name, said(settings[name])) for name in ("task", "family", "size") if settings.get(name))
    if log.get(STEP):
        yield "length", f"{counted(int(log[STEP][-1]), 'step')}, {clock(sum(log.get('seconds', [])))}"
    if history.validations:
        seconds = sum(each.seconds for each in history.validations)
        yield "validation", f"{counted(len(history.validations), 'time')}, {clock(seconds)}"


def _worse(history: RunHistory) -> Iterator[str]:
    """A sentence where the result is worse than what it was made of."""
    before = None if history.start is None else history.start.score
    after = None if history.best is None else history.best.score
    if before is not None and after is not None and after < before:
        yield (
            f"the best network is worse than the start: its score is {after:.3f}, that of the start was {before:.3f}; "
            "train longer, on more or better labels, or with a lower learning_rate"
        )


def _figures(paths: tuple[str, ...]) -> list[Figure]:
    by_path = {figure.path: figure for figures in GROUPS.values() for figure in figures}
    return [by_path[path] for path in paths]


def _tiles(history: RunHistory) -> Iterator[tuple[Figure, str, str]]:
    """The most important figures: what each is, of the best, and of the start."""
    if history.best is None:
        return
    for figure in _figures(HEADLINE):
        value = figure.value(history.best.figures)
        if value is not None:
            before = None if history.start is None else figure.value(history.start.figures)
            yield figure, as_text(value, figure.kind), as_text(before, figure.kind)


def _charts(history: RunHistory, log: dict[str, list[float]]) -> list[tuple[str, str, LineChart]]:
    """The charts that there are, with their titles and texts."""
    last = max([0.0, *log.get(STEP, []), *(each.step for each in history.validations)])

    def scores(*paths: str) -> dict[str, Course]:
        return {
            figure.name: [(each.step, figure.value(each.figures)) for each in history.validations]
            for figure in _figures(paths)
        }

    def logged(*names: str) -> dict[str, Course]:
        return {name.replace("_", " "): curve(log, name) for name in names if name in log}

    charts = (
        (
            "Scores",
            "Of the validation part. Each point is one validation.",
            curves(scores(*OVER_STEPS), Kind.SCORE, last=last, highest=1.0),
        ),
        (
            "Loss",
            "The sum of all losses of a step, of every joint block's answer.",
            curves(logged("loss"), Kind.SCORE, last=last),
        ),
        (
            "Losses of the last answer",
            "Of the answer that is used: its classes, and its masks by cross-entropy and by dice.",
            curves(logged(*LAST_ANSWER), Kind.SCORE, last=last),
        ),
        ("Learning rate", "The highest of all weights.", curves(logged("learning_rate"), Kind.POWER_OF_TEN, last=last)),
    )
    return [(title, text, chart) for title, text, chart in charts if chart is not None]


def _classes(history: RunHistory) -> list[tuple[str, list[str]]]:
    """A row for each class: its share of the pixels and its things, in both parts."""
    parts = list(history.data.parts.values())
    names = dict.fromkeys(name for part in parts for name in part.pixels)
    rows = []
    for name in names:
        cells = []
        for part in parts:
            all_pixels = sum(part.pixels.values())
            share = part.pixels.get(name, 0) / all_pixels if all_pixels else None
            things = f"{part.things[name]:,}" if name in part.things else NOTHING
            cells += [f"{part.pixels.get(name, 0):,}", as_text(share, Kind.SHARE), things]
        rows.append((name, cells))
    return rows


def _commands(folder: Path, history: RunHistory, made_with: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What to do with the result, and how: a text and a command each."""
    model = shlex.quote(str(folder))
    repeated = (
        f"eomt-ros train {shlex.quote(history.data.folder)} --settings {shlex.quote(str(folder / SETTINGS_FILE))} "
        f"--start {shlex.quote(str(made_with.get('start', 'MODEL')))} --out NEW_FOLDER"
    )
    return [
        ("On the robot", f"ros2 launch eomt_ros segment.launch.py model:={model}"),
        ("On a recording", f"eomt-ros evaluate RECORDING --model {model} --out scores"),
        ("In Python", f"Segmenter.load({str(folder)!r})  # from eomt_ros.engine import Segmenter"),
        ("The same training again", repeated),
    ]
