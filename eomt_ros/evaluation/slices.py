"""Slices of many recordings, such as all of one site or of the night: by tags that a recording has.

Tags come from patterns of paths (`--slice site=night:PATTERN`), and from a YAML beside the recording: `bag.tags.yaml`
for the folder `bag`, `video.mp4.tags.yaml` for `video.mp4`.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from eomt_ros.errors import UserError
from eomt_ros.evaluation.results import Recording, Results
from eomt_ros.plain_yaml import load_plain_yaml
from eomt_ros.printable import printable
from eomt_ros.regular_file import read_bytes

TAGS_SUFFIX = ".tags.yaml"
LARGEST_TAGS = 1 << 16
"""Bytes of the YAML; a larger one is another file."""
MOST_TAGS = 50
LONGEST_TAG = 100
"""Characters."""
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class SliceError(UserError):
    """A slice, or tags of a recording, that nobody can understand; the message says which and what is expected."""


@dataclass(frozen=True)
class SlicePattern:
    """The tag of the recordings whose paths fit a pattern."""

    tag: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> SlicePattern:
        """Reads `site=night:PATTERN`, or `night:PATTERN`. Raises `SliceError`."""
        tag, _, pattern = (part.strip() for part in text.partition(":"))
        if not pattern or not _is_tag(tag):
            raise SliceError(
                f"--slice {text!r}: expected a tag and a pattern of paths, such as site=night:'night_*' or "
                "night:'bags/night/*'"
            )
        return cls(tag, pattern)

    def fits(self, path: Path | str) -> bool:
        """True if the whole path or address fits, or its last parts: `night/*` fits `/bags/night/1`."""
        text = str(path)
        return PurePosixPath(text if _ADDRESS.match(text) else os.path.abspath(text)).match(self.pattern)


def tags_of(path: Path | str, patterns: Iterable[SlicePattern]) -> tuple[str, ...]:
    """The tags of a recording, each once, sorted.

    path: or address (`s3://...`), beside which no YAML is looked for. Raises `SliceError` for a wrong YAML.
    """
    found = {each.tag for each in patterns if each.fits(path)}
    if not _ADDRESS.match(str(path)):
        found |= _tags_beside(Path(os.path.abspath(path)))
    return tuple(sorted(found))


def one_recording_slices(found: Results, tags: Sequence[str]) -> dict[str, Recording]:
    """The slices of an evaluation of one recording, which has these tags: each of them has all its figures."""
    shared = {each.name for each in fields(Recording)} & {each.name for each in fields(Results)}
    figures = {name: getattr(found, name) for name in shared}
    return {tag: Recording(name=tag, **figures) for tag in tags}


def _tags_beside(recording: Path) -> set[str]:
    path = recording.with_name(recording.name + TAGS_SUFFIX) if recording.name else recording
    try:
        content = load_plain_yaml(read_bytes(path, LARGEST_TAGS).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SliceError(f"{path} cannot be read: {printable(str(error))}") from error
    try:
        tags = set(_tags(content))
    except ValueError as error:
        raise SliceError(
            f"{path}: {error}, expected entries such as `site: night` or `weather: [rain, dark]`, or a list of tags"
        ) from error
    if len(tags) > MOST_TAGS:
        raise SliceError(f"{path} has {len(tags)} tags, expected at most {MOST_TAGS}")
    return tags


def _tags(content: Any) -> Iterator[str]:
    """The tags that a YAML's content is. Raises `ValueError`."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            for each in value if isinstance(value, list) else [value]:
                yield _tag(f"{_text(key)}={_text(each)}")
    elif isinstance(content, list):
        yield from (_tag(_text(each)) for each in content)
    elif content is not None:
        raise ValueError(f"it holds {printable(repr(content), 60)}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | datetime.date):
        return str(value).strip()
    raise ValueError(f"{printable(repr(value), 60)} is no text or number")


def _tag(text: str) -> str:
    if not _is_tag(text):
        raise ValueError(f"{printable(text, LONGEST_TAG)!r} is no tag of at most {LONGEST_TAG} characters")
    return text


def _is_tag(text: str) -> bool:
    """True for a name, and for `key=value` with both of them."""
    return len(text) <= LONGEST_TAG and text.isprintable() and all(part.strip() for part in text.split("="))
