"""Class names, the thing/stuff split and colours of a checkpoint's classes.

They come from a table that lies with the checkpoint, or from one in `config/labels`: a published checkpoint has the
names at most, and some have wrong names.
"""

from __future__ import annotations

import colorsys
import logging
import reprlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from eomt_ros.engine.errors import LabelsError
from eomt_ros.model_options import TASKS
from eomt_ros.package_data import shipped
from eomt_ros.plain_yaml import load_plain_yaml
from eomt_ros.printable import printable
from eomt_ros.regular_file import read_bytes

log = logging.getLogger(__name__)

Color = tuple[int, int, int]

TABLE_ENTRIES = {"name", "task", "classes"}
CLASS_ENTRIES = {"name", "thing"}
LARGEST_SHORT_SIDE = 8192
"""Pixels."""
LARGEST_TABLE = 1 << 20
"""Bytes: `MOST_CLASSES` with names of usual length; a larger file is a mistake."""
MOST_CLASSES = 10_000
"""Classes of a model or a table; published ones have up to 1,203."""
LONGEST_NAME = 200
"""Characters of a class's name, which is in every message with that class."""

OWN_TABLE = "labels.yaml"
"""The table in a checkpoint's folder."""

ROLES = ("obstacle", "ground", "none")
"""The roles of a class for a robot: what it must not drive into, what it drives on, and neither."""

YAML_FORM: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 10 * LONGEST_NAME}

HUE_STEP = 0.618034
"""Step round the colour circle (the golden ratio): no hue comes near those just used."""


@dataclass(frozen=True)
class Labels:
    """The classes of a checkpoint, in the order of its class logits; or a robot's, in the order of its taxonomy."""

    name: str
    """The data set, or the checkpoint where no table fits; or the taxonomy."""
    class_names: tuple[str, ...]
    is_thing: tuple[bool, ...]
    """True for a class of countable objects, False for stuff (floor, sky). A robot's class that is made of both is
    True; which of the two a segment of it is, the segment says."""
    colors: tuple[Color, ...]
    """RGB, 0..255."""
    task: str
    """The task that the checkpoint is made for, one of `TASKS`."""
    short_side: int | None = None
    """Pixels of the shorter side in the evaluation of VidEoMT's authors; None where there is none."""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    """Glob patterns of the names of models that the table is for, each with the task of those models."""
    roles: tuple[str, ...] = ()
    """One of `ROLES` for each class. Left out: things are obstacles, stuff has the role none."""
    groups: tuple[tuple[str, ...], ...] = ()
    """For each class the names of the groups that it belongs to. Left out: none."""

    def __post_init__(self) -> None:
        if not self.roles:
            object.__setattr__(self, "roles", tuple("obstacle" if thing else "none" for thing in self.is_thing))
        if not self.groups:
            object.__setattr__(self, "groups", ((),) * len(self.class_names))


def labels_for(
    model: str, class_names: Sequence[str], table: str | Path | None = None, own: Path | None = None
) -> Labels:
    """Finds the labels of a checkpoint.

    Takes the first of these that exists: the file `table`; the file `own`, which lies with the checkpoint; a shipped
    table with a pattern for the model's name; a shipped table with the same class names; the checkpoint's own names,
    every class a thing, with a warning. A shipped table fits only if it has as many classes as the checkpoint.

    model: the checkpoint's name. class_names: its own names of its classes, in the order of its class logits.
    Raises `LabelsError` where a table is malformed, or `table` or `own` has another number of classes.
    """
    given = own if table is None else table
    if given is not None:
        labels = load_labels(given)
        if len(labels.class_names) != len(class_names):
            remedy = "leave the parameter empty" if table is not None else "give another by the parameter 'labels'"
            raise LabelsError(
                f"labels: {given} has {len(labels.class_names)} classes, but {model} has {len(class_names)}; "
                f"give a table with one entry per class of the checkpoint, in its order, or {remedy}"
            )
        return replace(labels, task=task_of(model, labels) or labels.task)
    own_names = tuple(name.strip() for name in class_names)  # published ADE20K models have a "bed "
    namesake = None
    for labels in shipped_tables():
        if len(labels.class_names) != len(class_names):
            continue
        task = task_of(model, labels)
        if task is not None:
            return replace(labels, task=task)
        if labels.class_names == own_names:
            namesake = namesake or labels
    if namesake is not None:
        return namesake
    log.warning(
        "no label table fits %s: its %d classes keep the checkpoint's own names and all count as things; "
        "give a table by the parameter 'labels' to tell things from stuff",
        model,
        len(class_names),
    )
    return Labels(model, tuple(class_names), (True,) * len(class_names), distinct_colors(len(class_names)), "panoptic")


def task_of(model: str, labels: Labels) -> str | None:
    """The task that a model of this name is made for, by the first pattern that fits it; None where none does."""
    fitting = (task for pattern, task in labels.checkpoints.items() if fnmatchcase(model.lower(), pattern.lower()))
    return next(fitting, None)


def shipped_tables() -> Iterator[Labels]:
    """Reads the tables of `config/labels` one by one; raises `LabelsError` where they are missing or malformed."""
    try:
        folder = shipped("config/labels", "config/labels")
    except FileNotFoundError as error:
        raise LabelsError(f"the label tables are missing: {error}") from error
    for path in sorted(folder.glob("*.yaml")):
        yield load_labels(path)


def load_labels(path: str | Path) -> Labels:
    """Reads a table: `name`, `task`, `classes` (each with `name`, `thing`, optional `color`), and optionally
    `short_side` and `checkpoints`, a list of patterns or, where some are made for another task, patterns with tasks.

    Raises `LabelsError` that names the file, the entry, its value and what was expected.
    """
    path = Path(path).expanduser()
    table = known_entries(
        read_table(path, "label table"), f"{path}: the table", TABLE_ENTRIES, {"checkpoints", "short_side"}
    )
    task = table["task"]
    if task not in TASKS:
        raise LabelsError(f"{path}: task is {reprlib.repr(task)}, expected one of {', '.join(TASKS)}")
    classes = table["classes"]
    if not isinstance(classes, list) or not classes:
        raise LabelsError(f"{path}: classes is {reprlib.repr(classes)}, expected a list with one entry per class")
    if len(classes) > MOST_CLASSES:
        raise LabelsError(f"{path} has {len(classes)} classes, expected at most {MOST_CLASSES}")
    short_side = table.get("short_side")
    if short_side is not None and (type(short_side) is not int or not 0 < short_side <= LARGEST_SHORT_SIDE):
        raise LabelsError(
            f"{path}: short_side is {reprlib.repr(short_side)}, expected pixels, at most {LARGEST_SHORT_SIDE}"
        )

    places: dict[str, int] = {}
    things: list[bool] = []
    colors: list[Color] = []
    for index, (entry, color) in enumerate(zip(classes, distinct_colors(len(classes)), strict=True)):
        where = f"{path}: classes[{index}]"
        entry = known_entries(entry, where, CLASS_ENTRIES, {"color"})
        name = text_of(entry["name"], f"{where}.name")
        if places.setdefault(name, index) != index:
            raise LabelsError(f"{where}.name is {name!r}, the name of classes[{places[name]}] too, expected another")
        if not isinstance(entry["thing"], bool):
            raise LabelsError(f"{where}.thing is {reprlib.repr(entry['thing'])}, expected true or false")
        things.append(entry["thing"])
        colors.append(color_of(entry["color"], f"{where}.color") if "color" in entry else color)
    return Labels(
        name=text_of(table["name"], f"{path}: name"),
        class_names=tuple(places),
        is_thing=tuple(things),
        colors=tuple(colors),
        task=task,
        short_side=short_side,
        checkpoints=_checkpoints(table.get("checkpoints", []), task, path),
    )


def _checkpoints(given: Any, task: str, path: Path) -> dict[str, str]:
    """Patterns with their tasks."""
    if isinstance(given, list):
        given = {text_of(pattern, f"{path}: checkpoints[{index}]"): task for index, pattern in enumerate(given)}
    if not isinstance(given, dict):
        raise LabelsError(
            f"{path}: checkpoints is {reprlib.repr(given)}, expected a list of model name patterns, or patterns with "
            "tasks"
        )
    for pattern, made_for in given.items():
        text_of(pattern, f"{path}: checkpoints")
        if made_for not in TASKS:
            raise LabelsError(
                f"{path}: checkpoints[{pattern!r}] is {reprlib.repr(made_for)}, expected one of {', '.join(TASKS)}"
            )
    return given


def table_text(labels: Labels) -> str:
    """A table, a line for each class, that `load_labels` reads as these labels, roles and groups left out."""
    table = {"name": labels.name, "task": labels.task}
    optional = {"short_side": labels.short_side, "checkpoints": dict(labels.checkpoints)}
    head = yaml.safe_dump({**table, **{name: value for name, value in optional.items() if value}}, **YAML_FORM)
    lines = [
        yaml.safe_dump({"name": name, "thing": thing, "color": list(color)}, default_flow_style=True, **YAML_FORM)
        for name, thing, color in zip(labels.class_names, labels.is_thing, labels.colors, strict=True)
    ]
    return f"{head}classes:\n" + "".join(f"  - {line}" for line in lines)


def distinct_colors(count: int) -> tuple[Color, ...]:
    """The first `count` colours, RGB, of a fixed endless row in which neighbours are far apart."""
    colors = []
    for index in range(count):
        hue = index * HUE_STEP % 1.0
        saturation = (0.85, 0.5, 0.7)[index % 3]
        value = (0.95, 0.75, 0.55, 0.85)[index % 4]
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colors)


def read_table(path: Path, what: str) -> Any:
    """The content of a YAML file; what: its kind, in an error's text. Raises `LabelsError`."""
    try:
        return load_plain_yaml(read_bytes(path, LARGEST_TABLE).decode("utf-8"))
    except OSError as error:
        raise LabelsError(f"{what} {path} cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise LabelsError(f"{path} is not YAML: {printable(str(error))}") from error


def known_entries(entries: Any, where: str, needed: Collection[str], optional: Collection[str]) -> Mapping[str, Any]:
    """The entries, all needed ones and no unknown ones; where: their place in an error's text. Raises `LabelsError`."""
    known = ", ".join(sorted(needed)) + "".join(f", {name} (optional)" for name in sorted(optional))
    if not isinstance(entries, dict):
        raise LabelsError(f"{where} is {reprlib.repr(entries)}, expected a mapping of {known}")
    missing = sorted(set(needed) - set(entries))
    if missing:
        raise LabelsError(f"{where} has no {missing[0]}, expected {known}")
    unknown = [entry for entry in entries if entry not in needed and entry not in optional]
    if unknown:
        raise LabelsError(f"{where} has an unknown entry {reprlib.repr(unknown[0])}, expected {known}")
    return entries


def text_of(value: Any, where: str) -> str:
    """A name; where: as in `known_entries`. Raises `LabelsError`."""
    if not is_name(value):
        raise LabelsError(
            f"{where} is {reprlib.repr(value)}, expected text (in quotes if it looks like a number), a line of at "
            f"most {LONGEST_NAME} characters"
        )
    return str(value)


def is_name(value: Any) -> bool:
    """True for what can be the name of a class: a line of text, not too long for messages."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value.strip()) <= len(value) <= LONGEST_NAME


def color_of(value: Any, where: str) -> Color:
    """RGB, 0..255; where: as in `known_entries`. Raises `LabelsError`."""
    parts = value if isinstance(value, list) else []
    if len(parts) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in parts):
        raise LabelsError(f"{where} is {reprlib.repr(value)}, expected [red, green, blue], whole numbers from 0 to 255")
    red, green, blue = parts
    return red, green, blue
