"""The robot's classes: which of the model's classes each is made of, and what it means for driving.

A taxonomy is a YAML file, or one of those in `config/taxonomies` by its name:

    classes:                          # in the order of the published ids
      - {name: floor, from: [floor-wood, rug-merged], role: ground}
      - {name: person, role: obstacle, groups: [people], color: [220, 20, 60]}
    others: unlabelled                # or keep: the model's other classes follow, with their own names

A class without `from` is made of the model's class of the same name.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eomt_ros.engine.errors import LabelsError
from eomt_ros.engine.model.labels import ROLES, Color, Labels, color_of, known_entries, read_table, text_of
from eomt_ros.package_data import shipped

MOST_ROBOT_CLASSES = 254
"""A mono8 image has 255 for what is unlabelled, and consumers such as Nav2 read it byte by byte."""
OTHERS = ("unlabelled", "keep")
GROUP = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
"""The name of a group, which is a step of a topic's name."""


@dataclass(frozen=True)
class RobotClass:
    """A class of a taxonomy."""

    name: str
    sources: tuple[str, ...]
    """Names of the model's classes that it is made of."""
    role: str
    """One of `ROLES`."""
    groups: tuple[str, ...]
    color: Color | None
    """None for that of the first source."""


@dataclass(frozen=True)
class Taxonomy:
    """The classes of a robot, in the order of their ids."""

    name: str
    path: Path
    classes: tuple[RobotClass, ...]
    keeps_others: bool
    """Whether the model's classes that no class is made of follow after these; else they are unlabelled."""


@dataclass(frozen=True)
class RobotLabels:
    """The classes of results, and where they come from."""

    labels: Labels
    model: Labels
    """The model's own."""
    class_ids: tuple[int, ...]
    """For each of the model's classes the class of `labels` that it is in; -1: none, its pixels are unlabelled."""

    @property
    def are_the_models(self) -> bool:
        """Whether results have the model's own classes, all of them."""
        return self.labels is self.model and -1 not in self.class_ids


def robot_labels(labels: Labels, taxonomy: str | Path = "", classes: Sequence[str] = ()) -> RobotLabels:
    """The classes of results. The model's own, unless told otherwise.

    labels: the model's. taxonomy: as in `load_taxonomy`. classes: names of those to keep, the others' pixels are
    unlabelled, and the ids stay; none, or "" alone, for all. Raises `LabelsError` for a taxonomy that is malformed or
    does not fit.
    """
    found = RobotLabels(labels, labels, tuple(range(len(labels.class_names))))
    if taxonomy:
        loaded = load_taxonomy(taxonomy)
        if problems := misfits(loaded, labels):
            more = f" ({len(problems) - 1} more: eomt-ros taxonomy {taxonomy} tells all)" if len(problems) > 1 else ""
            raise LabelsError(problems[0] + more)
        found = _applied(loaded, labels)
    wanted = [name for name in classes if name]  # ROS has no empty list, but one of an empty text
    names = found.labels.class_names
    for name in wanted:
        if name not in names:
            raise LabelsError(
                f"classes has {reprlib.repr(name)}, which is no class of {found.labels.name}{near(name, names)}"
            )
    if wanted:
        kept = {index for index, name in enumerate(names) if name in wanted}
        found = replace(found, class_ids=tuple(index if index in kept else -1 for index in found.class_ids))
    return found


def load_taxonomy(taxonomy: str | Path) -> Taxonomy:
    """Reads a taxonomy: the path of a YAML file, or the name of one in `config/taxonomies`.

    Raises `LabelsError` that names the file, the entry, its value and what was expected.
    """
    path = _path_of(taxonomy)
    table = known_entries(read_table(path, "taxonomy"), f"{path}: the taxonomy", {"classes"}, {"others"})
    others = table.get("others", OTHERS[0])
    if others not in OTHERS:
        raise LabelsError(f"{path}: others is {reprlib.repr(others)}, expected one of {', '.join(OTHERS)}")
    entries = table["classes"]
    if not isinstance(entries, list) or not entries:
        raise LabelsError(f"{path}: classes is {reprlib.repr(entries)}, expected a list with one entry per class")
    if len(entries) > MOST_ROBOT_CLASSES:
        raise LabelsError(f"{path} has {len(entries)} classes, expected at most {MOST_ROBOT_CLASSES}: ids are bytes")
    classes = tuple(_robot_class(entry, f"{path}: classes[{index}]") for index, entry in enumerate(entries))
    places: dict[str, int] = {}
    mapped: dict[str, int] = {}
    for index, each in enumerate(classes):
        if places.setdefault(each.name, index) != index:
            raise LabelsError(
                f"{path}: classes[{index}].name is {each.name!r}, the name of classes[{places[each.name]}] too, "
                "expected another"
            )
        for source in each.sources:
            if mapped.setdefault(source, index) != index:
                raise LabelsError(
                    f"{path}: classes[{index}] ({each.name}) is made of {source!r}, which classes[{mapped[source]}] "
                    f"({classes[mapped[source]].name}) is too, expected each of the model's classes once"
                )
    return Taxonomy(path.stem, path, classes, others == "keep")


def misfits(taxonomy: Taxonomy, labels: Labels) -> list[str]:
    """What of a taxonomy does not fit a model's classes, a sentence each."""
    problems = [
        f"{taxonomy.path}: classes[{index}] ({each.name}) is made of {source!r}, which is no class of "
        f"{labels.name}{near(source, labels.class_names)}"
        for index, each in enumerate(taxonomy.classes)
        for source in each.sources
        if source not in labels.class_names
    ]
    if taxonomy.keeps_others:
        names = {each.name for each in taxonomy.classes}
        left = unmapped(taxonomy, labels)
        problems += [
            f"{taxonomy.path}: others is keep, and the model's class {name!r}, which no class is made of, has the name "
            "of one of the robot's: rename that, or make it of this one"
            for name in left
            if name in names
        ]
        if (count := len(names) + len(left)) > MOST_ROBOT_CLASSES:
            problems.append(
                f"{taxonomy.path}: others is keep, which makes {count} classes, expected at most {MOST_ROBOT_CLASSES}: "
                "ids are bytes"
            )
    return problems


def unmapped(taxonomy: Taxonomy, labels: Labels) -> tuple[str, ...]:
    """The model's classes that no class is made of."""
    mapped = {source for each in taxonomy.classes for source in each.sources}
    return tuple(dict.fromkeys(name for name in labels.class_names if name not in mapped))


def near(name: str, known: Sequence[str]) -> str:
    """The known name that is nearest, as the rest of a sentence; nothing where none is near."""
    lowered = {each.lower(): each for each in reversed(known)}
    alike = difflib.get_close_matches(name.lower(), lowered, 1) or [each for each in lowered if name.lower() in each]
    return f"; the nearest is {lowered[alike[0]]!r}" if alike else ""


def _applied(taxonomy: Taxonomy, labels: Labels) -> RobotLabels:
    others = unmapped(taxonomy, labels) if taxonomy.keeps_others else ()
    place = {name: index for index, name in enumerate(labels.class_names)}
    kept = [RobotClass(name, (name,), labels.roles[place[name]], labels.groups[place[name]], None) for name in others]
    classes = *taxonomy.classes, *kept
    ids = {source: index for index, each in enumerate(classes) for source in each.sources}
    robot = Labels(
        name=taxonomy.name,
        class_names=tuple(each.name for each in classes),
        is_thing=tuple(any(labels.is_thing[place[source]] for source in each.sources) for each in classes),
        colors=tuple(each.color or labels.colors[place[each.sources[0]]] for each in classes),
        task=labels.task,
        short_side=labels.short_side,
        roles=tuple(each.role for each in classes),
        groups=tuple(each.groups for each in classes),
    )
    return RobotLabels(robot, labels, tuple(ids.get(name, -1) for name in labels.class_names))


def _path_of(taxonomy: str | Path) -> Path:
    """Raises `LabelsError` where there is no such file, and it is no name of a shipped one."""
    path = Path(taxonomy).expanduser()
    names = []
    if len(path.parts) == 1 and not path.suffix:
        try:
            folder = shipped("config/taxonomies", "config/taxonomies")
        except FileNotFoundError as error:
            raise LabelsError(f"taxonomy {taxonomy}: {error}") from error
        names = sorted(each.stem for each in folder.glob("*.yaml"))
        if path.name in names:
            return folder / f"{path.name}.yaml"
    if names and not path.is_file():
        raise LabelsError(
            f"taxonomy {str(taxonomy)!r} is no file and none of those that come with the package, which are "
            f"{', '.join(names)}{near(path.name, names)}"
        )
    return path


def _robot_class(entry: Any, where: str) -> RobotClass:
    entry = known_entries(entry, where, {"name", "role"}, {"from", "groups", "color"})
    name = text_of(entry["name"], f"{where}.name")
    if entry["role"] not in ROLES:
        raise LabelsError(f"{where}.role is {reprlib.repr(entry['role'])}, expected one of {', '.join(ROLES)}")
    sources = _names(entry.get("from", [name]), f"{where}.from", "the model's classes")
    if not sources:
        raise LabelsError(
            f"{where}.from is empty, expected names of the model's classes, or no entry for {name!r} itself"
        )
    groups = _names(entry.get("groups", []), f"{where}.groups", "groups")
    for index, group in enumerate(groups):
        if not GROUP.fullmatch(group):
            raise LabelsError(
                f"{where}.groups[{index}] is {group!r}, expected letters, digits and underscores that begin with a "
                "letter: it is a step of a topic's name"
            )
    color = color_of(entry["color"], f"{where}.color") if "color" in entry else None
    return RobotClass(name, sources, entry["role"], groups, color)


def _names(value: Any, where: str, of_what: str) -> tuple[str, ...]:
    """A list of names, each once."""
    if not isinstance(value, list):
        raise LabelsError(f"{where} is {reprlib.repr(value)}, expected a list of names of {of_what}: [...]")
    names: list[str] = []
    for index, each in enumerate(value):
        name = text_of(each, f"{where}[{index}]")
        if name in names:
            raise LabelsError(f"{where}[{index}] is {name!r}, which stands there twice, expected each once")
        names.append(name)
    return tuple(names)
