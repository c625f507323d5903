"""Numbers of things, in words."""

from __future__ import annotations

from dataclasses import dataclass


def counted(count: int, one: str, many: str = "") -> str:
    """`1 frame`, `2,000 frames`. many: the plural; empty: `one` with an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


@dataclass
class Tally:
    """Counts what went wrong in the same way, and keeps the first example."""

    count: int = 0
    example: str = ""

    def add(self, example: str) -> None:
        """Counts one more."""
        self.count += 1
        self.example = self.example or example

    def sentence(self, one: str, many: str) -> list[str]:
        """The count, what it is that was counted, and the example; nothing where nothing was counted."""
        return [f"{counted(self.count, one, many)}; first: {self.example}"] if self.count else []
