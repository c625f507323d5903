"""What strangers wrote is shown in one line, cut."""

from __future__ import annotations

import pytest

from eomt_ros.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rgb8", "rgb8"),
        ("/kamera/größe", "/kamera/größe"),
        ("two\nlines\r\n and\ta tab ", "two lines and a tab"),
        ("red \x1b[31m, bell \a, nothing \0", "red ?[31m, bell ?, nothing ?"),
        ("turned \u202e round, half \ud800", "turned ? round, half ?"),
    ],
)
def test_a_text_is_one_line_of_characters_that_can_be_seen(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_text_is_cut_with_its_length() -> None:
    assert printable("x" * 200_000, 5) == "xxxxx... (200,000 characters)"
    assert printable("123456", 5) == "12345... (6 characters)"
    assert printable("12345", 5) == "12345"
