"""The figures of `metrics.json` by their dotted paths, such as `latency_ms.p95`: for gates and for tables."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from eomt_ros.evaluation.metrics.breakdown import SIZES
from eomt_ros.evaluation.metrics.returns import TIMES_AWAY
from eomt_ros.evaluation.metrics.vpq import VPQ_WINDOWS
from eomt_ros.evaluation.results import Figures

ALIASES = {"id_switches_per_30_s": "switches_per_30_seconds"}
"""Other names of figures."""
NO_FIGURES = frozenset({"schema_version", "slices"})
"""Fields with numbers that are none: slices have the same figures, and are asked for as slices."""
ANY = "*"
"""In a path, the place of a name, such as a class's."""
REPLAYED = ("replay.", "replays.")
"""Beginnings of the figures that a replay through the node alone has, which no gate asks for."""
COUNTED_BY_OTHERS = "other_metrics."
"""Beginning of the figures that TrackEval counts."""
BY_CLASS = ("class_iou", "by_class", "predicted.class_area", "objects_in_metres.by_class")
"""Figures that have a name of a class after them."""


def figure_paths(kind: type[Figures]) -> tuple[str, ...]:
    """The paths of all figures of `Results` or `Recording`; `*` stands for a name, as in `class_iou.*`."""
    return tuple(_paths(kind, ""))


def flat_figures(found: Figures) -> dict[str, float | None]:
    """All figures that `Results` or a `Recording` has, by path; None for those that cannot be known."""
    return dict(_values(type(found), found, ""))


def is_of_class(path: str) -> bool:
    """True for a figure of one class."""
    return any(path.startswith(f"{each}.") for each in BY_CLASS)


def expect_figure(path: str, kind: type[Figures], class_names: Sequence[str] | None = None) -> None:
    """Raises `ValueError`, with the nearest name, where `Results` or `Recording` has no figure of that path.

    class_names: the model's; None where they are not known yet, and any name of a class will do.
    """
    paths = (each for each in figure_paths(kind) if not each.startswith(REPLAYED))
    names = [name for pattern in paths for name in _with_names(pattern, class_names)]
    if not any(_fits(path, name) for name in names):
        like = difflib.get_close_matches(path, [*names, *ALIASES], 1) or difflib.get_close_matches(path, names, 1, 0.0)
        raise ValueError(f"there is no figure {path!r}; did you mean {like[0].replace(ANY, 'NAME')!r}?")


@cache
def _names_after() -> dict[str, tuple[str, ...]]:
    """The names that figures have after them."""
    from eomt_ros.engine.results import Timings  # which takes the memory of torch, and no table needs it

    return {
        "vpq_by_window": tuple(map(str, VPQ_WINDOWS)),
        "by_size": tuple(SIZES),
        "returns.by_time_away": tuple(TIMES_AWAY),
        "stages_ms": tuple(field.name for field in fields(Timings)),
    }


def _with_names(pattern: str, class_names: Sequence[str] | None) -> Iterator[str]:
    before, is_named, after = pattern.partition(f".{ANY}")
    names = _names_after().get(before, class_names if before in BY_CLASS else None)
    if not is_named or names is None:
        yield pattern
    else:
        yield from (f"{before}.{name}{after}" for name in names)


def _fits(path: str, name: str) -> bool:
    before, is_named, after = name.partition(ANY)
    if not is_named:
        return path == name
    return path.startswith(before) and path.endswith(after) and len(path) > len(before) + len(after)


def _paths(hint: Any, path: str) -> Iterator[str]:
    hint = _not_none(hint)
    if hint in (int, float):
        yield path
    elif is_dataclass(hint):
        for name, each in _figures_of(typing.cast(type, hint)):
            yield from _paths(each, f"{path}.{name}".lstrip("."))
    elif typing.get_origin(hint) is Mapping:
        yield from _paths(typing.get_args(hint)[1], f"{path}.{ANY}")


def _values(hint: Any, value: Any, path: str) -> Iterator[tuple[str, float | None]]:
    hint = _not_none(hint)
    if hint in (int, float):
        yield path, None if value is None or math.isnan(value) else value
    elif is_dataclass(value):
        for name, each in _figures_of(hint):
            yield from _values(each, getattr(value, name), f"{path}.{name}".lstrip("."))
    elif typing.get_origin(hint) is Mapping:
        for name, each in value.items():
            yield from _values(typing.get_args(hint)[1], each, f"{path}.{name}")


@cache
def _figures_of(kind: type) -> tuple[tuple[str, Any], ...]:
    """The fields of a dataclass that are figures, or hold some, with their types."""
    return tuple((name, hint) for name, hint in typing.get_type_hints(kind).items() if name not in NO_FIGURES)


def _not_none(hint: Any) -> Any:
    """What a value is that may be None too."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    return next(each for each in typing.get_args(hint) if each is not type(None))
