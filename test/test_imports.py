"""Imports run one way: modules have no circles, and a package imports what docs/architecture.md says, and no more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from test import ROOT

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "eomt_ros").rglob("*.py")
}
PACKAGES = {path.parent.name for path in (ROOT / "eomt_ros").glob("*/__init__.py")}


def imports(path: Path, *, at_load: bool = False) -> set[str]:
    """Our modules that a module imports; at_load: without those in functions and those for type checkers alone."""
    found = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), at_load):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (submodules & set(MODULES)) or {node.module}
    return found & set(MODULES)


def _nodes(tree: ast.AST, at_load: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if at_load and (for_types or isinstance(node, ast.FunctionDef)):
            continue
        yield node
        yield from _nodes(node, at_load)


def package_of(module: str) -> str | None:
    """The package directly below eomt_ros; None for a file there."""
    name = module.split(".")[1] if "." in module else ""
    return name if name in PACKAGES else None


def test_modules_import_each_other_without_a_circle() -> None:
    # What they import when they are loaded; raises CycleError that names the circle.
    order = TopologicalSorter({name: imports(path, at_load=True) for name, path in MODULES.items()})
    assert set(order.static_order()) == set(MODULES)


def test_packages_import_what_the_page_says() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `eomt_ros/(\w+)` \|.*\|([^|]*)\|$", text, re.MULTILINE)
    said = {package: set(re.findall(r"`(\w+)`", column)) for package, column in table}
    done: dict[str, set[str]] = {package: set() for package in PACKAGES}
    for name, path in MODULES.items():
        if package := package_of(name):
            done[package] |= {other for other in map(package_of, imports(path)) if other not in (None, package)}
    assert done == said


def test_packages_without_ros_import_none_of_it() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    without = set(re.findall(r"^\| `eomt_ros/(\w+)` \| [^|]*\bno ROS\b", text, re.MULTILINE))
    assert without == {"engine", "space", "evaluation", "training"}
    for name, path in MODULES.items():
        if package_of(name) in without:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                words = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                words += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                roots = {word.partition(".")[0] for word in words}
                assert not {root for root in roots if root.endswith("_msgs") or root in ("rclpy", "tf2_ros")}, name
