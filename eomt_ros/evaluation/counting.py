"""Numbers of things, in words."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """`1 frame`, `2,000 frames`. many: the plural; empty: `one` with an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
