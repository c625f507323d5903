"""The settings of many recordings as those of one run: what they have in common, and all values where they differ."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from eomt_ros.evaluation.results import ResultsError

SAME = (
    "weights_sha256",
    "task",
    "fit",
    "size",
    "score_threshold",
    "mask_threshold",
    "overlap_threshold",
    "fuse_stuff",
    "score_memory",
    "top_k",
    "classes",
    "max_gap",
    "sweep",
    "convention",
    "min_object_area",
    "min_object_frames",
)
"""Settings that must agree, or the figures of all together are those of no model."""
BETTER_THE_SAME = (("precision",), ("backend",), ("versions", "eomt_ros"))
"""Settings whose figures differ little."""
OF_ONE = ("input", "fingerprint", "tags", "key")
"""Settings of a recording by itself."""
UNITED = ("topics", "truth")
"""Lists, of which a run has all entries."""
MOST_VALUES = 20
"""Values of a setting that are kept where recordings differ in it."""


class DifferentModelsError(ResultsError):
    """A recording whose figures belong to another model, or were counted in another way, than those before it."""


class JoinedSettings:
    """Takes the settings of recordings in any order."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, ...], dict[str, Any]] = defaultdict(dict)
        """By the names that lead to a setting, its values by their text."""
        self._first: tuple[str, Mapping[str, Any]] | None = None

    def add(self, name: str, settings: Mapping[str, Any]) -> None:
        """Adds those of the recording `name`. Raises `DifferentModelsError` where one differs that must not."""
        self._first = self._first or (name, settings)
        other, first = self._first
        for setting in SAME:
            if settings.get(setting) != first.get(setting):
                raise DifferentModelsError(
                    f"{setting} is {settings.get(setting)}, in {other} it is {first.get(setting)}: figures of both "
                    "together are those of no model; evaluate one of them again, or remove its folder"
                )
        for names, value in _leaves({name: each for name, each in settings.items() if name not in OF_ONE}):
            for part in value if names[0] in UNITED and isinstance(value, list) else [value]:
                self._values[names][json.dumps(part, sort_keys=True)] = part

    def joined(self) -> dict[str, Any]:
        """The settings of all: a list of values where they differ, of times the last."""
        joined: dict[str, Any] = {}
        for names, values in self._values.items():
            place = joined
            for name in names[:-1]:
                place = place.setdefault(name, {})
            ordered = [values[text] for text in sorted(values)]
            if names == ("date",):
                ordered = ordered[-1:]
            if len(ordered) > MOST_VALUES:
                ordered = [*ordered[:MOST_VALUES], f"and {len(ordered) - MOST_VALUES:,} more"]
            place[names[-1]] = ordered if names[0] in UNITED or len(ordered) > 1 else ordered[0]
        return joined

    def problems(self) -> Iterator[str]:
        """Settings in which the recordings had better not differ, a sentence each."""
        for names in BETTER_THE_SAME:
            values = self._values.get(names, {})
            if len(values) > 1:
                yield f"recordings differ in {'.'.join(names)}: {', '.join(map(str, values.values()))}"


def _leaves(settings: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value
