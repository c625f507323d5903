"""Texts that a stranger wrote - a name from the network, from a bag, from a file - as they may be shown."""

from __future__ import annotations

LONGEST = 300
"""Characters."""


def printable(text: str, longest: int = LONGEST) -> str:
    """The text in one line, cut, and of characters that can be seen: `?` stands for any other."""
    line = " ".join(text[: 4 * longest].split())
    shown = "".join(each if each.isprintable() else "?" for each in line[:longest])
    return shown if len(line) <= longest and len(text) <= 4 * longest else f"{shown}... ({len(text):,} characters)"
