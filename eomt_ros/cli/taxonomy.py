"""`eomt-ros taxonomy`: whether a robot's classes fit a model, and what Nav2 has to know of them."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from eomt_ros.engine import Labels
    from eomt_ros.engine.model.taxonomy import Taxonomy

NAV2 = """\
# Of {path}: a cost for every class, since the layer ignores a class without one.
semantic_segmentation_layer:
  plugin: semantic_segmentation_layer::SemanticSegmentationLayer
  enabled: true
  observation_sources: camera
  camera:
    segmentation_topic: /segment/semantic
    confidence_topic: /segment/confidence
    labels_topic: /segment/label_info
    pointcloud_topic: /segment/points
    use_cost_selection: true  # of the pixels in a cell the costliest counts
    max_obstacle_distance: 5.0
    min_obstacle_distance: 0.3
    tile_map_decay_time: 5.0
    class_types: {types}
"""


class Cost(NamedTuple):
    """What the layer is told of the classes of a role: `max_cost` from a mean confidence above `mark_confidence` on."""

    base_cost: int
    max_cost: int
    mark_confidence: int
    dominant_priority: bool
    meaning: str


COSTS = {
    "obstacle": Cost(254, 254, 0, True, "lethal as soon as it is seen, whatever was seen there before"),
    "ground": Cost(0, 0, 0, False, "free"),
    "none": Cost(255, 0, 255, False, "says nothing about a cell: always base_cost, which is NO_INFORMATION"),
}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "taxonomy",
        help="check what a robot calls things against a model's classes",
        description="Check a taxonomy against the classes of a model, and list its classes with their ids. Says which "
        "names the model does not know, with the nearest one that it does, and which of its classes nobody asks for. "
        "The exit code is 1 where something does not fit.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("taxonomy", metavar="FILE", help="a YAML file, or the name of one of config/taxonomies")
    parser.add_argument("--model", default="demo", help="as in eomt-ros evaluate (default: demo)")
    parser.add_argument("--labels", metavar="YAML", help="a table of the model's classes, as in eomt-ros evaluate")
    parser.add_argument(
        "--nav2",
        action="store_true",
        help="print the YAML of Nav2's semantic segmentation layer instead, with a cost for every class",
    )


def run(options: argparse.Namespace) -> int:
    """Prints the classes, or the YAML, and returns the exit code. Raises `EngineError`."""
    from eomt_ros.engine.model.checkpoint import load_model_labels
    from eomt_ros.engine.model.taxonomy import load_taxonomy, misfits, robot_labels, unmapped

    taxonomy = load_taxonomy(options.taxonomy)
    of_model = load_model_labels(options.model, options.labels)
    problems = misfits(taxonomy, of_model)
    for problem in problems:
        print(f"eomt-ros: {problem}", file=sys.stderr)
    if problems:
        return 1
    robot = robot_labels(of_model, options.taxonomy).labels
    if options.nav2:
        print(_nav2(robot, str(taxonomy.path)), end="")
        return 0
    _print_classes(taxonomy, robot, of_model)
    if left := unmapped(taxonomy, of_model):
        fate = "follow with their own names" if taxonomy.keeps_others else "are unlabelled"
        print(f"\n{len(left)} of {len(of_model.class_names)} classes of {of_model.name} {fate}: {', '.join(left)}")
    return 0


def _print_classes(taxonomy: Taxonomy, robot: Labels, of_model: Labels) -> None:
    """A table of the classes."""
    things = dict(zip(of_model.class_names, of_model.is_thing, strict=True))
    sources = {each.name: each.sources for each in taxonomy.classes}
    rows = [("id", "name", "kind", "role", "groups", "made of")]
    for number, (name, role, groups) in enumerate(zip(robot.class_names, robot.roles, robot.groups, strict=True)):
        made_of = sources.get(name, (name,))
        kinds = sorted({"thing" if things[source] else "stuff" for source in made_of}, reverse=True)
        rows.append((str(number), name, ", ".join(kinds), role, ", ".join(groups) or "-", ", ".join(made_of)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def _nav2(robot: Labels, path: str) -> str:
    """The parameters of `semantic_segmentation_layer` (its README and src/semantic_segmentation_layer.cpp)."""
    by_role = {
        role: [name for name, own in zip(robot.class_names, robot.roles, strict=True) if own == role] for role in COSTS
    }
    used = {role: names for role, names in by_role.items() if names}  # the layer reports a type without classes
    text = NAV2.format(path=path, types=json.dumps(list(used)))
    for role, names in used.items():
        cost = COSTS[role]
        text += (
            f"    {role}:  # {cost.meaning}\n"
            f"      classes: {json.dumps(names, ensure_ascii=False)}\n"
            f"      base_cost: {cost.base_cost}\n"
            f"      max_cost: {cost.max_cost}\n"
            f"      mark_confidence: {cost.mark_confidence}\n"
            f"      samples_to_max_cost: 0\n"
            f"      dominant_priority: {json.dumps(cost.dominant_priority)}\n"
        )
    return text
