"""YAML as people write it by hand, read without what lets a small file grow large."""

from __future__ import annotations

from typing import Any

import yaml

LONGEST_VALUE = 1000
"""Characters of one text or number: of numbers that are longer even the printing takes for ever."""


def load_plain_yaml(text: str) -> Any:
    """The content of a text. Raises `yaml.YAMLError`, `ValueError` or `RecursionError` where it is not YAML, or has
    aliases: by those, and by merging what they stand for, a few lines unfold to billions of entries.
    """
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):  # not libyaml's parser: deep nesting crashes it
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"line {self.line + 1} has an alias (*), which is not read: write out what it is for")
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if len(node.value) > LONGEST_VALUE:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"line {line} has a value of {len(node.value)} characters, at most {LONGEST_VALUE}")
        return node
