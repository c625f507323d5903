"""Text from the network, from a bag or from a file, made safe to show."""

from __future__ import annotations

MAX_CHARACTERS = 300


def printable(text: str, longest: int = MAX_CHARACTERS) -> str:
    """The text in one line, cut, and of characters that can be seen: `?` stands for any other."""
    line = " ".join(text[: 4 * longest].split())
    shown = "".join(each if each.isprintable() else "?" for each in line[:longest])
    return shown if len(line) <= longest and len(text) <= 4 * longest else f"{shown}... ({len(text):,} characters)"
