"""YAML as people write it by hand, read without what lets a small file grow large."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

LONGEST_VALUE = 1000
"""Characters of one text or number: of numbers that are longer even the printing takes for ever."""
DEEPEST = 100
"""Lists and mappings within one another: libyaml crashes where there are very many."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, ten times as fast, where PyYAML was built with it."""


def load_plain_yaml(text: str) -> Any:
    """The content of a text. Raises `yaml.YAMLError` or `ValueError` where it is not YAML, is deeper or has a longer
    value than people write, or has aliases: by those, and by merging what they stand for, a few lines unfold to
    billions of entries.
    """
    depth = 0
    events: Iterable[Any] = yaml.parse(text, LOADER)
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"line {line} has an alias (*), which is not read: write out what it is for")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST_VALUE:
            raise yaml.YAMLError(f"line {line} has a value of {len(event.value)} characters, at most {LONGEST_VALUE}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"line {line} is within {depth} lists and mappings, at most {DEEPEST}")
    return yaml.load(text, LOADER)
